"""The step: learns, skips what is not finite without a trace, decays and averages what it should; evaluation per data set."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from rtx.errors import UserError
from rtx.models.families import build_model
from rtx.spec import Batch
from rtx.train import imitation
from rtx.train.config import DataSet
from rtx.train.overrides import override
from rtx.train.state import init_state
from tests.train.small_run import small_config

SMALL = small_config((DataSet(prepared="unused"),))  # the program of the loop's tests, so that it is compiled once
CONFIG, RT1 = SMALL.train, build_model(SMALL.model)


def batch(seed=0, b=4) -> Batch:
    rng = np.random.default_rng(seed)
    return Batch(
        images={"primary": rng.integers(0, 256, (b, 2, 16, 16, 3), np.uint8)},
        image_mask={"primary": np.ones((b, 2), bool)},
        history_mask=np.ones((b, 2), bool),
        proprio=rng.uniform(-1, 1, (b, 2, 10)).astype(np.float32),
        text=rng.integers(0, 16, (b, 4)).astype(np.int32),
        action=rng.uniform(-1, 1, (b, 2, 8)).astype(np.float32),
        action_mask=np.ones((b, 2, 8), bool),
        embodiment=(np.arange(b) % 2).astype(np.int32),
        sample=np.arange(b, dtype=np.int64) + (3 << 40),
    )


@pytest.fixture(scope="module")
def trained():
    """The step, a fresh state, and the states after each of 8 steps on one batch."""
    optimizer = imitation.make_optimizer(CONFIG)
    donating = jax.jit(imitation.make_step(RT1, optimizer, CONFIG), donate_argnums=0)

    def step(state, batch):
        return donating(jax.tree.map(jnp.copy, state), batch)

    state = jax.jit(lambda b: init_state(RT1, optimizer, b, seed=0, ema=True))(batch())
    state = jax.device_put(state, jax.devices()[0])  # as the loop places it
    states, losses = [state], []
    for _ in range(8):
        state, values = step(state, imitation.place(batch()))
        states.append(state)
        losses.append(float(values["loss"]))
    return step, states, losses


def assert_equal(a, b):
    jax.tree.map(np.testing.assert_array_equal, a, b)


def test_loss_falls(trained):
    _, _, losses = trained
    assert losses[-1] < losses[0] - 0.1


def test_two_runs_are_equal_to_the_bit(trained):
    step, states, _ = trained
    again, _ = step(states[0], imitation.place(batch()))
    assert_equal(again, states[1])


def test_one_micro_batch_that_is_not_finite_spoils_the_whole_step(trained):
    """Of two, the second; everything but the counters stays to the bit."""
    _, states, _ = trained
    config = dataclasses.replace(CONFIG, accumulate=2)
    step = jax.jit(imitation.make_step(RT1, imitation.make_optimizer(config), config))
    good, values = step(states[3], imitation.place(batch()))
    assert (int(good.step), int(values["nonfinite"])) == (4, 0)
    assert any((a != b).any() for a, b in zip(jax.tree.leaves(good.ema), jax.tree.leaves(states[3].ema), strict=True))
    proprio = batch().proprio.copy()
    proprio[1::2] = np.nan
    after, values = step(states[3], imitation.place(dataclasses.replace(batch(), proprio=proprio)))
    assert int(values["nonfinite"]) == 1
    for name in ("variables", "ema", "opt_state", "rng"):
        assert_equal(getattr(after, name), getattr(states[3], name))


@pytest.mark.parametrize("field", ["proprio", "action"])
def test_a_step_that_is_not_finite_changes_only_counters(trained, field):
    step, states, _ = trained
    values = getattr(batch(), field).copy()
    values[1] = np.nan
    bad = dataclasses.replace(batch(), **{field: values})
    after, metrics = step(states[3], imitation.place(bad))
    assert metrics["nonfinite"] == 1
    for name in ("variables", "ema", "opt_state", "rng"):
        assert_equal(getattr(after, name), getattr(states[3], name))
    assert (int(after.step), int(after.nonfinite), int(after.nonfinite_in_a_row)) == (4, 1, 1)
    after, metrics = step(after, imitation.place(bad))
    assert (int(after.nonfinite), int(metrics["nonfinite_in_a_row"])) == (2, 2)
    after, metrics = step(after, imitation.place(batch()))
    assert (int(after.nonfinite), int(after.nonfinite_in_a_row), int(metrics["nonfinite"])) == (2, 0, 0)


def test_average_follows_with_the_decay_it_says(trained):
    _, states, _ = trained
    now, before = states[8], states[7]
    decay = 8 / 17  # still growing to 0.9
    expected = jax.tree.map(lambda e, p: e * decay + p * (1 - decay), before.ema, now.variables["params"])
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6), now.ema, expected)


def test_schedule_warms_up_and_ends_where_it_says():
    schedule = imitation.make_schedule(dataclasses.replace(CONFIG, num_steps=20, final_lr=0.1))
    assert [float(schedule(i)) for i in (0, 1, 2)] == pytest.approx([0.0, 0.005, 0.01])
    assert float(schedule(20)) == pytest.approx(0.001)
    assert float(schedule(11)) == pytest.approx((0.01 + 0.001) / 2)


def test_other_schedules_by_name():
    constant = imitation.make_schedule(dataclasses.replace(CONFIG, schedule="constant", warmup_steps=4))
    assert [float(constant(i)) for i in (0, 2, 4, 5, 10_000)] == pytest.approx([0.0, 0.005, 0.01, 0.01, 0.01])
    falling = imitation.make_schedule(dataclasses.replace(CONFIG, schedule="rsqrt", warmup_steps=4))
    assert [float(falling(i)) for i in (0, 2, 4, 16, 400)] == pytest.approx([0.0, 0.005, 0.01, 0.005, 0.001])
    at_once = imitation.make_schedule(dataclasses.replace(CONFIG, schedule="constant", warmup_steps=0))
    assert float(at_once(0)) == pytest.approx(0.01)


def test_schedules_that_contradict_themselves_are_refused():
    with pytest.raises(UserError, match=r"train\.final_lr 0\.1 is of the cosine"):
        override(SMALL, ["train.schedule=constant", "train.final_lr=0.1"])
    with pytest.raises(UserError, match=r"warmup_steps must be at least 1 with train\.schedule=rsqrt"):
        override(SMALL, ["train.schedule=rsqrt", "train.warmup_steps=0"])
    with pytest.raises(UserError, match=r"batch_size 4 must be a multiple of train\.groups 1 x train\.accumulate 3"):
        override(SMALL, ["train.accumulate=3"])


def test_clipping_and_decay_do_what_they_say():
    config = dataclasses.replace(CONFIG, warmup_steps=0, weight_decay=0.5, clip_norm=1.0)
    params = {"kernel": jnp.ones((2, 2)), "bias": jnp.ones(2)}
    zero = jax.tree.map(jnp.zeros_like, params)
    optimizer = imitation.make_optimizer(config)
    updates, _ = optimizer.update(zero, optimizer.init(params), params)
    np.testing.assert_allclose(updates["kernel"], -0.01 * 0.5 * np.ones((2, 2)), rtol=1e-6)
    np.testing.assert_array_equal(updates["bias"], 0.0)
    huge = {"kernel": jnp.full((2, 2), 1e6), "bias": jnp.zeros(2)}
    _, state = optimizer.update(huge, optimizer.init(params), params)
    first_moment = optax.tree.get(state, "mu")["kernel"]
    np.testing.assert_allclose(first_moment, 0.1 * 0.5, rtol=1e-5)  # (1 - b1) times a gradient of norm 1


def test_evaluation_of_a_set_does_not_depend_on_its_neighbours(trained):
    _, states, _ = trained
    evaluate = jax.jit(imitation.make_evaluate(RT1, 2))
    loss_of = jax.jit(lambda params, one: RT1.loss({"params": params}, one, jax.random.key(0), train=False)[0])
    whole = batch(b=4)
    mask = whole.action_mask.copy()
    mask[2, 1:] = False
    mask[3] = False  # a row that only fills up the batch
    whole = dataclasses.replace(whole, action_mask=mask)
    sums = jax.device_get(evaluate(states[5], imitation.place(whole)))
    np.testing.assert_array_equal(sums["loss"].weight, [16 + 8, 16])

    def alone(row):
        one = jax.tree.map(lambda leaf: jnp.asarray(leaf[row : row + 1]), imitation.place(whole))
        return float(loss_of(states[5].ema, one))

    np.testing.assert_allclose(sums["loss"].total, [16 * alone(0) + 8 * alone(2), 16 * alone(1)], rtol=1e-5)


def test_sample_numbers_keep_all_their_bits():
    placed = np.asarray(imitation.place(batch()).sample)
    np.testing.assert_array_equal(placed, [[i, 3 << 8] for i in range(4)])
