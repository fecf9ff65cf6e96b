"""Training a part of a model: what is frozen stays to the bit, adapters begin as nothing and end merged, runs resume."""

import dataclasses
import logging
import shutil
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rtx.errors import UserError
from rtx.models.families import model_from_json
from rtx.models.lora import LoRAConfig
from rtx.train import checkpoint, imitation, loop, pytree
from rtx.train.config import config_from_json, config_to_json
from rtx.train.export import merge_checkpoint
from rtx.train.overrides import override
from rtx.train.state import from_tree, init_state, to_tree
from tests.train.small_run import small_config, write_sets
from tests.train.test_imitation import CONFIG, RT1, assert_equal, batch

ADAPTED = dataclasses.replace(
    CONFIG,
    freeze=("^(image_tokenizer|language|mixer)",),
    lora=LoRAConfig(rules=("Transformer_0/", "image_tokenizer"), rank=2),
    lr_scale=(("^lora/", 2.0),),
)


@pytest.fixture(scope="module")
def states():
    """The state before the first step and after each of three, whose second is not finite."""
    optimizer, b = imitation.make_optimizer(ADAPTED), imitation.place(batch())
    state = jax.jit(lambda b: init_state(RT1, optimizer, b, seed=0, ema=True, parts=ADAPTED.parts))(batch())
    step = jax.jit(imitation.make_step(RT1, optimizer, ADAPTED))
    found = [state]
    for bad in (False, True, False):
        state, _ = step(state, dataclasses.replace(b, action=b.action * jnp.nan) if bad else b)
        found.append(state)
    return found


def params_of(state):
    return pytree.flatten(state.variables["params"])


def test_frozen_parameters_stay_to_the_bit_and_all_others_move(states):
    before, after = params_of(states[0]), params_of(states[-1])
    trained = set(pytree.flatten(states[0].ema))
    for path, leaf in before.items():
        assert np.array_equal(leaf, after[path]) == (path not in trained), path
    adapted = {path.removeprefix("lora/")[:-2] for path in before if path.startswith("lora/")}
    assert {"image_tokenizer_primary/query/kernel", "Transformer_0/Dense_2/kernel"} <= adapted
    assert not trained & adapted
    assert {"Transformer_0/Dense_2/bias", "sentence/kernel", "lora/Transformer_0/Dense_2/kernel/b"} <= trained
    assert not [path for path in trained if path.startswith(("image_tokenizer", "language", "mixer"))]


def test_optimizer_and_average_hold_what_is_trained_and_nothing_else(states):
    trained, _ = ADAPTED.parts.split(states[0].variables["params"])
    assert set(pytree.flatten(states[0].ema)) == set(pytree.flatten(trained))
    held = pytree.num_elements(states[0].opt_state) - 2  # counters of updates and of the schedule
    assert held == 2 * pytree.num_elements(trained)


def test_adapters_begin_as_nothing(states):
    """To the bit: the same fresh parameters, and the same loss and actions from them."""
    plain = jax.jit(lambda b: init_state(RT1, imitation.make_optimizer(CONFIG), b, seed=0, ema=False))(batch()).variables
    seen = imitation.served(states[0], ADAPTED.parts)
    assert_equal(seen, plain)
    act = jax.jit(RT1.act)
    assert_equal(act(seen, batch(), jax.random.key(0)), act(plain, batch(), jax.random.key(0)))


def test_a_step_that_is_not_finite_changes_nothing(states):
    for name in ("variables", "ema", "opt_state"):
        assert_equal(getattr(states[1], name), getattr(states[2], name))


def test_scales_and_biases_of_stacked_layers_do_not_decay():
    config = dataclasses.replace(CONFIG, warmup_steps=0, weight_decay=0.5)
    params = {
        "layers": {"norm": {"scale": jnp.ones((3, 4))}, "Dense_0": {"bias": jnp.ones((3, 4)), "kernel": jnp.ones((3, 4, 4))}}
    }
    optimizer = imitation.make_optimizer(config)
    updates, _ = optimizer.update(jax.tree.map(jnp.zeros_like, params), optimizer.init(params), params)
    moved = {path for path, leaf in pytree.flatten(updates).items() if np.any(leaf != 0)}
    assert moved == {"layers/Dense_0/kernel"}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """(configuration, run folder) of 6 steps with a checkpoint at 3, begun at the end of another run, in `base`."""
    folder = tmp_path_factory.mktemp("adaptation")
    config = small_config(write_sets(folder / "data"), num_steps=6, eval_samples=2)
    base = dataclasses.replace(CONFIG, num_steps=3)
    loop.train(dataclasses.replace(config, train=base), folder / "base")
    config = dataclasses.replace(config, train=dataclasses.replace(ADAPTED, num_steps=6, start=str(folder / "base")))
    loop.train(config, folder / "run")
    return config, folder / "run"


def test_what_is_frozen_is_what_the_run_began_with(run):
    _, folder = run
    base, adapted = (pytree.flatten(checkpoint.open_checkpoint(one).variables) for one in (folder.parent / "base", folder))
    assert set(base) == set(adapted)
    for path, leaf in base.items():
        is_tokenizers = path.startswith("params/image_tokenizer")  # frozen, but its kernels have factors
        same = path.startswith(("params/language", "params/mixer")) or (is_tokenizers and not path.endswith("kernel"))
        assert np.array_equal(leaf, adapted[path]) == same, path


def test_configuration_survives_its_file_and_the_command_line(run):
    config, _ = run
    assert config_from_json(config_to_json(config)) == config
    changed = override(config, ["train.freeze=a/,^(?!b)", "train.lora.rank=4", "train.lora.rules=(c|d)/"])
    assert (changed.train.freeze, changed.train.lora) == (("a/", "^(?!b)"), LoRAConfig(rules=("(c|d)/",), rank=4))
    with pytest.raises(UserError, match=r"train.freeze: '\(a'.*(\n.*)*train.lora.alpha"):
        override(config, ["train.freeze=(a", "train.lora.alpha=0"])


def test_a_resumed_run_ends_alike(run, tmp_path, caplog):
    config, folder = run
    other = tmp_path / "run"
    (other / "checkpoints").mkdir(parents=True)
    shutil.copy(folder / "config.json", other)
    shutil.copytree(folder / "checkpoints" / "3", other / "checkpoints" / "3")
    with caplog.at_level(logging.INFO):
        loop.train(config, other)
    assert "start: step=3 of 6 resumed" in caplog.text
    assert "% trained" in caplog.text
    assert_equal(*(checkpoint.open_checkpoint(one, 6).variables for one in (folder, other)))


def test_the_export_acts_as_the_adapted_model(run, tmp_path):
    """The run's own numbers, merged inside a compiled program as while training, against the exported file."""
    config, folder = run
    begin = partial(init_state, RT1, imitation.make_optimizer(config.train), seed=0, ema=True, parts=config.train.parts)
    here = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    restored = checkpoint.restore(folder / "checkpoints", pytree.abstract(to_tree(jax.eval_shape(begin, batch())), here))
    adapted = jax.jit(lambda state: imitation.served(state, config.train.parts))(from_tree(restored.state))
    plain = checkpoint.open_checkpoint(merge_checkpoint(folder, tmp_path))
    assert model_from_json(plain.model).config == config.model
    assert jax.tree.structure(plain.variables) == jax.tree.structure(adapted)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-7), plain.variables, adapted)
    act = jax.jit(RT1.act)
    said = [act(variables, batch(), jax.random.key(0)) for variables in (plain.variables, adapted)]
    np.testing.assert_allclose(*said, rtol=1e-5, atol=1e-6)
