"""What holds for every head: shapes, bounds, masks, and where the randomness goes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rtx.errors import UserError
from rtx.models.vla.heads import HEADS, build_head

B, N, D, K, A = 3, 4, 8, 2, 5
RNG = np.random.default_rng(0)
READOUT = jnp.asarray(RNG.normal(size=(B, N, D)), jnp.float32)
ACTION = jnp.asarray(RNG.uniform(-1, 1, (B, K, A)), jnp.float32)
MASK = jnp.ones((B, K, A), bool).at[0, :, 3:].set(False).at[2].set(False)  # the last sample has no action at all
KEY = jax.random.key(0)


@pytest.fixture(scope="module", params=HEADS)
def head(request):
    return build_head(request.param, chunk=K, action_dims=A, width=16)


@pytest.fixture(scope="module")
def variables(head):
    return jax.jit(lambda: head.init(KEY, READOUT, ACTION, MASK, KEY, method="loss"))()


@pytest.fixture(scope="module")
def loss(head, variables):
    return jax.jit(lambda readout, action, rng: head.apply(variables, readout, action, MASK, rng, method="loss"))


@pytest.fixture(scope="module")
def act(head, variables):
    return jax.jit(lambda readout, rng, mask=None: head.apply(variables, readout, rng, mask, method="act"))


def test_a_loss_for_each_sample_and_none_without_valid_entries(loss):
    value = loss(READOUT, ACTION, KEY)
    assert value.shape == (B,)
    assert np.all(value[:2] > 0)
    assert value[2] == 0


def test_invalid_entries_never_enter_the_loss(loss):
    changed = jnp.where(MASK, ACTION, 77.0)
    np.testing.assert_array_equal(loss(READOUT, changed, KEY), loss(READOUT, ACTION, KEY))
    assert np.all(loss(READOUT, jnp.where(MASK, 0.9 - ACTION, ACTION), KEY)[:2] != loss(READOUT, ACTION, KEY)[:2])


def test_gradients_reach_every_parameter_and_the_readout(head, variables):
    def total(v, readout):
        return head.apply(v, readout, ACTION, MASK, KEY, method="loss").sum()

    of_head, of_readout = jax.jit(jax.grad(total, argnums=(0, 1)))(variables, READOUT)
    assert all(np.any(leaf != 0) for leaf in jax.tree.leaves(of_head))
    assert np.any(of_readout[0] != 0)
    assert not np.any(of_readout[2] != 0)


def test_acts_within_bounds_also_from_wild_readouts(act):
    for scale in (1.0, 1e4):
        action = act(scale * READOUT, KEY)
        assert action.shape == (B, K, A)
        assert action.dtype == jnp.float32
        assert np.all(np.isfinite(action))
        assert np.max(np.abs(action)) <= 1


def test_the_key_is_used_where_a_head_samples_and_only_there(head, act):
    same, other = act(READOUT, KEY), act(READOUT, jax.random.key(1))
    np.testing.assert_array_equal(same, act(READOUT, KEY))
    assert np.array_equal(same, other) == (type(head).__name__ == "L1Head")


def test_what_the_robot_lacks_does_not_steer_the_rest(head, variables):
    """With the mask, what a network makes of absent entries is as good as never made."""
    if type(head).__name__ == "L1Head":
        return
    mask = jnp.broadcast_to(jnp.arange(A) < 3, (B, K, A))
    spoiled = jax.tree.map(lambda leaf: leaf, variables)
    last = spoiled["params"]["network"]["Dense_9"]  # the ninth after two of the time, one in, two in each of three blocks
    last["bias"] += 9.0 * ~mask[0].reshape(-1)
    run = jax.jit(lambda v, m: head.apply(v, READOUT, KEY, m, method="act"))
    np.testing.assert_array_equal(run(variables, mask)[..., :3], run(spoiled, mask)[..., :3])
    assert np.any(run(variables, None)[..., :3] != run(spoiled, None)[..., :3])


def test_unknown_head_names_the_choices():
    with pytest.raises(UserError, match=r"unknown action head 'difusion'; did you mean 'diffusion'"):
        build_head("difusion", chunk=1, action_dims=1)
