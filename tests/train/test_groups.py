"""Groups of a batch: sorted and cut to what they hold, and the step over them is the step over the whole batch."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from rtx.errors import UserError
from rtx.models.vla.planning import build_vla
from rtx.spec import Batch
from rtx.train import groups, imitation
from rtx.train.config import OptimizationConfig
from rtx.train.state import init_state
from tests.models.vla import tiny_vla

TEXT, ANSWER = 64, 32
CONFIG = OptimizationConfig(num_steps=8, warmup_steps=0)


def mixed(config, *, size: int = 8, num_robots: int = 4, seed: int = 0) -> Batch:
    """Robots with short prompts among questions with long ones, in an order without order."""
    rng = np.random.default_rng(seed)
    is_robot = rng.permutation(np.arange(size) < num_robots)
    text, target = np.zeros((size, TEXT), np.int32), np.zeros((size, ANSWER), np.int32)
    for row, robot in enumerate(is_robot):
        said, answered = (rng.integers(4, 17), 0) if robot else (rng.integers(20, TEXT + 1), rng.integers(3, 25))
        text[row, :said] = rng.integers(3, 40, said)
        target[row, :answered] = rng.integers(3, 40, answered)
    batch = tiny_vla.batch(config, size=size)
    mask = np.broadcast_to(is_robot[:, None, None], batch.action_mask.shape).copy()
    return dataclasses.replace(
        batch, text=text, target=target, action_mask=mask, embodiment=(~is_robot).astype(np.int32),
        sample=np.arange(size, dtype=np.int64) + 11,
    )  # fmt: skip


def config_of(family: str):
    return tiny_vla.FAMILIES[family](
        text_length=TEXT, answer_length=ANSWER, roles=("primary",), history=1, chunk=1, image_size=(16, 16)
    )


def test_rows_are_sorted_by_length_and_none_is_lost():
    batch = mixed(config_of("paligemma"))
    short, long = groups.split(batch, 2)
    assert sorted([*short.sample, *long.sample]) == batch.sample.tolist()
    assert (short.embodiment == 0).all()
    assert (long.embodiment == 1).all()
    for part in (short, long):
        for i, sample in enumerate(part.sample):
            np.testing.assert_array_equal(part.text[i], batch.text[batch.sample == sample][0])
            np.testing.assert_array_equal(part.images["primary"][i], batch.images["primary"][batch.sample == sample][0])
    (whole,) = groups.split(batch, 1)
    assert whole is batch
    with pytest.raises(UserError, match=r"8 rows cannot be cut into train.groups = 3"):
        groups.split(batch, 3)


def test_texts_are_cut_to_a_width_that_holds_the_longest():
    assert groups.widths(64) == (64, 32, 16)
    assert groups.widths(300) == (300, 150, 75, 38)
    assert groups.widths(20) == (20,)
    batch = mixed(config_of("paligemma"))
    short, long = (groups.narrowed(part) for part in groups.split(batch, 2))
    assert (short.text.shape, short.target.shape) == ((4, 16), (4, 16))
    assert long.text.shape == (4, 64)
    whole = groups.narrowed(batch)
    np.testing.assert_array_equal(whole.target, batch.target[:, : whole.target.shape[1]])
    assert not batch.target[:, whole.target.shape[1] :].any()
    assert groups.narrowed(dataclasses.replace(batch, target=None)).target is None
    gap = np.zeros((1, 64), np.int32)
    gap[0, [0, 40]] = 5
    assert groups.lengths(gap).tolist() == [41], "padding inside is no end"


def test_short_prompts_do_not_pay_for_long_texts():
    """Robot prompts of 16 tokens and web texts of 64, half and half."""
    text = np.zeros((32, TEXT), np.int32)
    text[::2, :16], text[1::2] = 5, 5
    batch = dataclasses.replace(mixed(config_of("paligemma"), size=32, num_robots=16), text=text, target=None)
    there, paid = groups.num_tokens(batch)
    parts = [groups.num_tokens(groups.narrowed(part)) for part in groups.split(batch, 2)]
    assert (there / paid, sum(p[0] for p in parts) / sum(p[1] for p in parts)) == (0.625, 1.0)
    assert groups.num_tokens(groups.narrowed(batch)) == (there, paid), "one long row makes the whole batch pay"


def test_the_step_over_groups_is_the_step_over_the_batch():
    config = config_of("paligemma")
    model, optimizer, batch = build_vla(config), optax.sgd(1.0), mixed(config)
    state = jax.jit(lambda: init_state(model, optimizer, batch, seed=0, ema=False))()
    quickly = {"xla_backend_optimization_level": 0} if jax.default_backend() == "cpu" else {}  # to compile
    step = jax.jit(imitation.make_step(model, optimizer, CONFIG, num_sets=2), compiler_options=quickly)

    in_turns = dataclasses.replace(CONFIG, accumulate=2)
    twice = jax.jit(imitation.make_step(model, optimizer, in_turns, num_sets=2), compiler_options=quickly)

    def after(batch: Batch, num_groups: int, *, narrow: bool, step=step):
        placed = imitation.place_groups(batch, num_groups=num_groups, narrow=narrow)
        new, values = step(state, placed)
        gradient = jax.tree.map(lambda old, new: np.asarray(old - new), state.variables["params"], new.variables["params"])
        return gradient, jax.device_get(values)

    whole, figures = after(batch, 1, narrow=False)
    shuffled = groups.take_rows(batch, np.random.default_rng(1).permutation(8))
    others = [after(batch, 2, narrow=True), after(shuffled, 2, narrow=True), after(batch, 2, narrow=True, step=twice)]
    for other, other_figures in others:
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), whole, other)
        for name in ("loss", "grad_norm", "accuracy", "accuracy_text", "l1", "tokens"):
            np.testing.assert_allclose(other_figures[name], figures[name], rtol=1e-5, err_msg=name)
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5), figures["sets"], other_figures["sets"])
    assert max(float(jnp.abs(leaf).max()) for leaf in jax.tree.leaves(whole)) > 1e-2, "there is something to compare"
    actions, texts = figures["sets"]["accuracy"].weight, figures["sets"]["accuracy_text"].weight
    assert actions.tolist() == [4 * 9, 0], "a robot says eight numbers and an end; questions have no action"
    assert texts.tolist() == [0, figures["tokens"] - 4 * 9]
