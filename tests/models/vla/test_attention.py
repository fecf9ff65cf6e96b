import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rtx.models.remat import rematerialized
from rtx.models.vla.attention import attend, masked, soft_cap

B, KV_HEADS, GROUP, Q, S, H = 2, 2, 3, 5, 5, 4


def of_reference(query, key, value, mask, cap):
    """What `attend` says, in the words of the formula."""
    scores = masked(soft_cap(query @ key.swapaxes(2, 3), cap), mask)
    probability = jax.nn.softmax(scores, axis=-1)
    if mask is not None:
        probability *= masked(jnp.ones_like(scores), mask) > 0
    return probability @ value


def arrays(dtype=jnp.float32):
    keys = jax.random.split(jax.random.key(0), 4)
    shapes = [(B, KV_HEADS, GROUP * Q, H), (B, KV_HEADS, S, H), (B, KV_HEADS, S, H), (B, KV_HEADS, GROUP * Q, H)]
    return [jax.random.normal(key, shape).astype(dtype) for key, shape in zip(keys, shapes, strict=True)]


def a_mask():
    """Row 0 of the first sample sees nothing, no row of it key 3; causal in the second."""
    mask = np.ones((B, Q, S), bool)
    mask[0, 0], mask[0, :, 3], mask[1] = False, False, np.tril(mask[1])
    return jnp.asarray(mask)


@pytest.mark.parametrize("mask", [None, a_mask(), a_mask()[:, 1:2]], ids=["all", "per row", "one for all rows"])
@pytest.mark.parametrize("cap", [None, 1.5])
def test_results_and_gradients_are_those_of_the_formula(mask, cap):
    *given, weight = arrays()
    of = lambda function: jax.value_and_grad(lambda *x: jnp.sum(jnp.sin(function(*x, mask, cap)) * weight), (0, 1, 2))(*given)  # noqa: E731
    (value, gradients), (expected, expected_gradients) = of(attend), of(of_reference)
    np.testing.assert_allclose(value, expected, rtol=1e-5)
    for gradient, wanted in zip(gradients, expected_gradients, strict=True):
        np.testing.assert_allclose(gradient, wanted, atol=1e-5)
    np.testing.assert_allclose(attend(*given, mask, cap), of_reference(*given, mask, cap), atol=1e-6)


def test_far_scores_neither_overflow_nor_vanish():
    query, key, value, _ = arrays()
    found = attend(1e3 * query, key, value, None, None)
    np.testing.assert_allclose(found, of_reference(1e3 * query, key, value, None, None), atol=1e-5)


def test_bfloat16_stays_so_and_is_near():
    given = arrays(jnp.bfloat16)[:3]
    wide = [x.astype(jnp.float32) for x in given]
    sums = lambda *x: attend(*x, a_mask(), None).astype(jnp.float32).sum()  # noqa: E731
    assert attend(*given, a_mask(), None).dtype == jnp.bfloat16
    for narrow, exact in zip(jax.grad(sums, (0, 1, 2))(*given), jax.grad(sums, (0, 1, 2))(*wide), strict=True):
        assert narrow.dtype == jnp.bfloat16
        np.testing.assert_allclose(narrow.astype(jnp.float32), exact, atol=0.05)


class Layer(nn.Module):
    def __call__(self, query, key, value):
        return attend(query, key, value, None, None)


@pytest.mark.parametrize("name", ["dots", "weights"])
def test_the_backward_pass_keeps_no_scores(name):
    """Nothing that is tokens by tokens large goes from the forward to the backward pass."""
    query, key, value, _ = arrays()
    layer = rematerialized(Layer, name)()
    _, pull = jax.vjp(lambda *x: layer.apply({}, *x), query, key, value)
    kept = [leaf.shape for leaf in jax.tree.leaves(pull)]
    assert (B, KV_HEADS, GROUP * Q, H) in kept
    assert (B, KV_HEADS, GROUP * Q, S) not in kept


def test_soft_cap_bounds_and_leaves_small_numbers():
    x = jnp.array([-1000.0, -0.01, 0.0, 0.01, 1000.0])
    np.testing.assert_allclose(soft_cap(x, 30.0), [-30, -0.01, 0, 0.01, 30], atol=1e-6)
    assert soft_cap(x, None) is x
