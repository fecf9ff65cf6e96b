"""The loss in pieces: against plain float64, and without the table of logits."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.extend.core import jaxprs_in_params

from rtx.models.vla.loss import cross_entropy

B, R, D, V = 3, 7, 4, 50


@pytest.fixture(scope="module")
def case():
    rng = np.random.default_rng(0)
    hidden = rng.normal(size=(B, R, D)).astype(np.float32)
    head = rng.normal(size=(D, V)).astype(np.float32)
    counted = np.arange(R) < np.array([[7], [2], [4]])
    return hidden, head, rng.integers(0, V, (B, R)), counted


def summed(hidden, head, labels, counted, max_entries):
    entropy, hit = cross_entropy(
        lambda h: h @ head, jnp.asarray(hidden), jnp.asarray(labels), jnp.asarray(counted), vocab=V, max_entries=max_entries
    )
    return jnp.sum(jnp.where(counted, entropy, 0)), (entropy, hit)


@pytest.mark.parametrize("positions", [1, 2, 3, 7, 100])
def test_pieces_give_the_sums_and_gradients_of_the_table(case, positions):
    hidden, head, labels, counted = case
    logits = hidden.astype(np.float64) @ head.astype(np.float64)
    p = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    expected = -np.log(np.take_along_axis(p, labels[..., None], -1))[..., 0]
    run = jax.jit(jax.value_and_grad(summed, argnums=(0, 1), has_aux=True), static_argnums=4)
    (_, (entropy, hit)), (to_hidden, to_head) = run(hidden, head, labels, counted, positions * B * V)
    np.testing.assert_allclose(np.asarray(entropy)[counted], expected[counted], rtol=1e-5)
    np.testing.assert_array_equal(np.asarray(hit)[counted], (logits.argmax(-1) == labels)[counted])
    pull = (p - np.eye(V)[labels]) * counted[..., None]  # one-hot here only
    np.testing.assert_allclose(to_hidden, pull @ head.T, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(to_head, np.einsum("brd,brv->dv", hidden, pull), rtol=1e-4, atol=1e-5)


def largest(jaxpr):
    """Entries of the largest array in a program, loops and branches included."""
    found = [np.prod(v.aval.shape, dtype=int) for eqn in jaxpr.eqns for v in eqn.outvars]
    inner = [largest(sub) for eqn in jaxpr.eqns for sub in jaxprs_in_params(eqn.params)]
    return max([*found, *inner], default=0)


def test_the_table_never_exists(case):
    hidden, head, labels, counted = case
    grad = jax.grad(lambda h, w: summed(h, w, labels, counted, 2 * B * V)[0], argnums=(0, 1))
    assert largest(jax.make_jaxpr(grad)(hidden, head).jaxpr) == 2 * B * V < B * R * V
