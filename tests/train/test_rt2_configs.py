"""configs/rt2.py against the paper's figures; and the smallest of each family takes a loss."""

import runpy
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rtx.models.families import build_model, reads
from rtx.models.vla.config import PaLIConfig, PaliGemmaConfig
from rtx.spec import Batch
from rtx.train.config import config_from_json, config_to_json
from rtx.train.imitation import make_schedule
from tests.models.vla.test_presets import num_parameters

CONFIGS = runpy.run_path(str(Path(__file__).resolve().parents[2] / "configs" / "rt2.py"))
LAPTOP = ("small", "nano", "small_pali", "nano_pali")
PAPER = ("pali_x_55b", "pali_x_5b", "palm_e_12b", "pali_3b", "paligemma_3b")


@pytest.mark.parametrize("name", [*PAPER, *LAPTOP])
def test_a_configuration_comes_back_from_json(name):
    config = CONFIGS[name]()
    assert config_from_json(config_to_json(config)) == config
    assert reads(config.model) == "vla"
    assert config.model.image_size == config.data.image_size
    assert isinstance(config.model, PaLIConfig if "pali_" in name or name.endswith("_pali") else PaliGemmaConfig)


@pytest.mark.parametrize(
    ("name", "lr", "batch_size", "num_steps", "robot_share"),
    [
        ("pali_x_55b", 1e-3, 2048, 80_000, 0.5),
        ("pali_x_5b", 1e-3, 2048, 270_000, 0.5),
        ("palm_e_12b", 4e-4, 512, 1_000_000, 0.66),
        ("pali_3b", 1e-3, 128, 300_000, 0.5),
    ],
)
def test_the_papers_table(name, lr, batch_size, num_steps, robot_share):
    data, train = CONFIGS[name]().data, CONFIGS[name]().train
    assert (data.batch_size, train.num_steps, data.robot_share) == (batch_size, num_steps, robot_share)
    schedule = make_schedule(train)
    assert [float(schedule(step)) for step in (train.warmup_steps, num_steps - 1)] == pytest.approx([lr, lr])
    assert len(data.sets) == 3


def test_how_each_model_spells_its_bins():
    assert CONFIGS["pali_x_55b"]().data.action_words == "integers"
    assert CONFIGS["palm_e_12b"]().data.action_words == "rarest"
    paligemma = CONFIGS["paligemma_3b"]()
    assert paligemma.data.action_words == "given"
    assert (paligemma.model.action_ids[0], paligemma.model.action_ids[255]) == (257_023, 257_023 - 255)  # <loc1023> and down
    assert [CONFIGS[name]().model.num_bins for name in ("pali_3b", "pali_x_55b")] == [21, 256]


@pytest.mark.parametrize(("name", "millions"), [("small", 30), ("nano", 3), ("small_pali", 32.5), ("nano_pali", 3.05)])
def test_the_small_ones_are_small(name, millions):
    assert sum(num_parameters(CONFIGS[name]().model).values()) == pytest.approx(millions * 1e6, rel=0.05)


def batch(config, *, size: int) -> Batch:
    """Row 0 a robot, row 1 a question, and so on."""
    rng, model = np.random.default_rng(0), config.model
    mask = np.zeros((size, model.chunk, model.action_dims), bool)
    mask[::2] = True
    target = np.zeros((size, 6), np.int32)
    target[1::2, :3] = [7, 8, 1]
    there = np.ones((size, model.history), bool)
    return Batch(
        images={role: rng.integers(0, 256, (size, model.history, *model.image_size, 3), np.uint8) for role in model.roles},
        image_mask=dict.fromkeys(model.roles, there),
        history_mask=there,
        proprio=np.zeros((size, model.history, 0), np.float32),
        text=rng.integers(3, 500, (size, 8)).astype(np.int32),
        action=rng.uniform(-1, 1, mask.shape).astype(np.float32),
        action_mask=mask,
        embodiment=np.zeros(size, np.int32),
        sample=np.arange(size),
        target=target,
    )


@pytest.mark.parametrize("name", ["nano", "nano_pali"])
def test_the_smallest_take_a_loss(name):
    """At first every token is as likely as any other."""
    config = CONFIGS[name]()
    model, samples = build_model(config.model), batch(config, size=2)
    variables = jax.jit(model.init)(jax.random.key(0), samples)
    loss, _, _ = jax.jit(model.loss, static_argnames="train")(variables, samples, jax.random.key(1), train=True)
    assert float(loss) == pytest.approx(np.log(config.model.language.vocab), abs=2.0)


@pytest.mark.parametrize("name", ["pali_x_55b", "palm_e_12b"])
def test_the_loss_and_gradient_of_the_largest_trace(name):
    """Lowered for abstract parameters, nothing allocated: 54 and 12 billion parameters, two samples."""
    config = CONFIGS[name]()
    model = build_model(config.model)
    samples = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), batch(config, size=2))
    variables = jax.eval_shape(model.init, jax.random.key(0), samples)

    def loss(params, samples, rng):
        return model.loss({"params": params}, samples, rng, train=True)[0]

    lowered = jax.jit(jax.value_and_grad(loss)).lower(variables["params"], samples, jax.random.key(1))
    value, gradient = lowered.out_info
    assert (value.shape, value.dtype) == ((), jnp.float32)
    assert jax.tree.map(lambda leaf: leaf.shape, gradient) == jax.tree.map(lambda leaf: leaf.shape, variables["params"])
