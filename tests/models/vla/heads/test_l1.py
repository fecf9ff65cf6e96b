"""The L1 head: its numbers against the formula, its steps apart, and the median of two modes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rtx.errors import UserError
from rtx.models.vla.heads.l1 import L1Head
from tests.models.vla.heads.two_modes import RIGHT, SPREAD, answers


def normal(x):
    return (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-6)


def test_formula_and_loss_in_float64():
    rng = np.random.default_rng(0)
    readout, action = rng.normal(size=(2, 4, 3)), rng.uniform(-1, 1, (2, 2, 5))
    head = L1Head(chunk=2, action_dims=5, width=7)
    variables = head.init(jax.random.key(0), jnp.asarray(readout, jnp.float32))
    params = {name: {k: np.asarray(v, np.float64) for k, v in leaf.items()} for name, leaf in variables["params"].items()}

    def dense(name, x):
        return x @ params[name]["kernel"] + params[name]["bias"]

    x = np.maximum(dense("Dense_0", normal(readout.reshape(2, 2, 6))), 0)
    for name in ("Dense_1", "Dense_2"):
        x = x + np.maximum(dense(name, normal(x)), 0)
    expected = dense("Dense_3", normal(x))
    np.testing.assert_allclose(head.apply(variables, jnp.asarray(readout, jnp.float32)), expected, atol=2e-6)

    mask = rng.uniform(size=action.shape) < 0.5
    arrays = (jnp.asarray(readout, jnp.float32), jnp.asarray(action, jnp.float32), jnp.asarray(mask))
    loss = head.apply(variables, *arrays, jax.random.key(0), method="loss")
    by_hand = [np.abs(expected - action)[i][mask[i]].mean() for i in range(2)]
    np.testing.assert_allclose(loss, by_hand, rtol=1e-5)


def test_a_step_reads_its_own_readouts():
    readout = jax.random.normal(jax.random.key(1), (1, 4, 3))
    head = L1Head(chunk=2, action_dims=5, width=7)
    variables = head.init(jax.random.key(0), readout)
    changed = head.apply(variables, readout.at[:, 3].add(1.0)) - head.apply(variables, readout)
    assert not np.any(changed[:, 0] != 0)
    assert np.all(changed[:, 1] != 0)
    with pytest.raises(UserError, match="3 readouts cannot be shared out among the 2 steps"):
        head.apply(variables, readout[:, :3])


def test_says_the_median_of_two_modes():
    said = answers("l1", num_steps=300)
    # The mean would be 0.17; the median of 30 % left and 70 % right lies 0.57 spreads left of the right mode's middle.
    np.testing.assert_allclose(said, RIGHT - 0.566 * SPREAD, atol=0.02)
