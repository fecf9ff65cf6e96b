"""Each name computes again what it says, and nothing else changes."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rtx.models.remat import REMATS, rematerialized


class Layer(nn.Module):
    """One product with a parameter, one of activations with each other."""

    @nn.compact
    def __call__(self, x):
        hidden = nn.tanh(nn.Dense(4, use_bias=False)(x))
        return jnp.sin(hidden @ hidden.swapaxes(1, 2))


def gradient(name):
    layer = rematerialized(Layer, name)()
    return jax.grad(lambda params, x: layer.apply(params, x).sum(), argnums=(0, 1))


X = np.random.default_rng(0).normal(size=(2, 3, 5)).astype(np.float32)
PARAMS = Layer().init(jax.random.key(0), X)


@pytest.mark.parametrize(("name", "again"), [("none", 0), ("dots", 0), ("weights", 1), ("layers", 2)])
def test_products_that_are_computed_again(name, again):
    products = str(jax.make_jaxpr(gradient(name))(PARAMS, X)).count("dot_general[")
    least = str(jax.make_jaxpr(gradient("none"))(PARAMS, X)).count("dot_general[")
    assert products - least == again


def test_the_gradient_is_the_same():
    expected = gradient("none")(PARAMS, X)
    for name in REMATS:
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5), gradient(name)(PARAMS, X), expected)
