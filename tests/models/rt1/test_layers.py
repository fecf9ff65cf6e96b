"""FiLM, TokenLearner and attention against numbers worked out by hand."""

from __future__ import annotations

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.typing import DTypeLike

from rtx.models.rt1.layers import Dense, FilmConditioning, MultiHeadDotProductAttention, TokenLearnerModuleV11, masked_attention

RNG = jax.random.PRNGKey(0)


def init(module: nn.Module, *inputs: jax.Array) -> Any:
    return jax.jit(module.init)(RNG, *inputs)


def run(module: nn.Module, params: Any, *inputs: jax.Array, **options: Any) -> Any:
    """Compiled as one: faster than one small program per operation."""
    return jax.jit(lambda p, *xs: module.apply(p, *xs, **options))(params, *inputs)


def test_dense_is_flax_dense() -> None:
    x = jax.random.normal(RNG, (2, 3, 5))
    ours, theirs = Dense(4), nn.Dense(4)
    params = init(ours, x)
    assert jax.tree.map(jnp.shape, params) == jax.tree.map(jnp.shape, init(theirs, x))
    np.testing.assert_allclose(run(ours, params, x), run(theirs, params, x), atol=1e-6)


def test_film_starts_as_identity_and_then_scales_and_shifts() -> None:
    x = jnp.arange(8.0).reshape(1, 2, 2, 2)
    condition = jnp.asarray([[1.0, 2.0]])
    film = FilmConditioning()
    params = init(film, x, condition)
    np.testing.assert_array_equal(run(film, params, x, condition), x)
    set_to = {
        "Dense_0": {"kernel": jnp.asarray([[1.0, 0.0], [0.0, 3.0]]), "bias": jnp.asarray([0.5, 0.0])},  # add = (1.5, 6)
        "Dense_1": {"kernel": jnp.asarray([[1.0, 0.0], [0.0, -1.0]]), "bias": jnp.zeros(2)},  # mul = (1, -2)
    }
    out = run(film, {"params": set_to}, x, condition)
    np.testing.assert_allclose(out[0, 0], [[0 * 2 + 1.5, 1 * -1 + 6], [2 * 2 + 1.5, 3 * -1 + 6]])


def test_film_keeps_samples_apart() -> None:
    film = FilmConditioning()
    x, condition = jnp.ones((2, 3, 4)), jnp.asarray([[1.0], [5.0]])
    params = jax.tree.map(jnp.ones_like, init(film, x, condition))
    out = run(film, params, x, condition)  # add = mul = c + 1
    np.testing.assert_allclose(out[0], np.full((3, 4), 5.0))
    np.testing.assert_allclose(out[1], np.full((3, 4), 13.0))


def test_token_learner_weighs_unnormalised_features() -> None:
    """With scores made to follow the first feature's sign, one token gathers each half of the positions."""
    learner = TokenLearnerModuleV11(num_tokens=2, hidden=1)
    x = jnp.asarray([[[10.0, 0.0], [30.0, 0.0], [0.0, 6.0], [0.0, 2.0]]])
    params = init(learner, x)["params"]
    params["token_masking"]["Dense_0"] = {"kernel": jnp.asarray([[10.0], [-10.0]]), "bias": jnp.zeros(1)}
    params["token_masking"]["Dense_1"] = {"kernel": jnp.asarray([[1.0, -1.0]]), "bias": jnp.zeros(2)}
    tokens, maps = run(learner, {"params": params}, x)
    np.testing.assert_allclose(maps[0], [[0.5, 0.5, 0.0, 0.0], [0.0, 0.0, 0.5, 0.5]], atol=1e-5)
    np.testing.assert_allclose(tokens[0], [[20.0, 0.0], [0.0, 4.0]], atol=1e-3)


def test_token_learner_names_are_the_released_ones() -> None:
    params = init(TokenLearnerModuleV11(num_tokens=81), jnp.zeros((1, 9, 16)))["params"]
    assert params["token_masking"]["Dense_0"]["kernel"].shape == (16, 64)
    assert params["token_masking"]["Dense_1"]["kernel"].shape == (64, 81)
    assert set(params["LayerNorm_0"]) == {"scale", "bias"}


def test_masked_attention_by_hand() -> None:
    query = jnp.asarray([[[[2.0]], [[2.0]], [[2.0]]]])  # b q e h = 1 3 1 1
    key = jnp.asarray([[[[0.0]], [[np.log(3.0) / 2]]]])
    value = jnp.asarray([[[[4.0]], [[8.0]]]])
    mask = jnp.asarray([[[True, True], [True, False], [False, False]]])
    out = masked_attention(query, key, value, mask)[0, :, 0, 0]
    np.testing.assert_allclose(out, [4 * 0.25 + 8 * 0.75, 4.0, 0.0], rtol=1e-6)


def test_attention_equals_flax_and_has_its_parameters() -> None:
    x = jax.random.normal(RNG, (2, 5, 6))
    ours = MultiHeadDotProductAttention(num_heads=2, head_width=4)
    theirs = nn.MultiHeadDotProductAttention(num_heads=2, qkv_features=8)
    params = init(ours, x, jnp.ones((1, 5, 5), bool))
    assert jax.tree.map(jnp.shape, params) == jax.tree.map(jnp.shape, init(theirs, x, x))
    mask = jnp.tril(jnp.ones((5, 5), bool))
    np.testing.assert_allclose(run(ours, params, x, mask[None]), theirs.apply(params, x, x, mask=mask[None, None]), atol=1e-5)


def test_attention_to_the_first_tokens_only_equals_masking_the_others() -> None:
    x = jax.random.normal(RNG, (2, 5, 6))
    attention = MultiHeadDotProductAttention(num_heads=2, head_width=4)
    full = jnp.broadcast_to(jnp.arange(5) < 3, (1, 5, 5))
    params = init(attention, x, full)
    np.testing.assert_allclose(run(attention, params, x, full), run(attention, params, x, full[:, :, :3]), atol=1e-6)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_parameters_stay_float32(dtype: DTypeLike) -> None:
    x = jnp.ones((1, 3, 4), dtype)
    attention = MultiHeadDotProductAttention(num_heads=2, head_width=2, dtype=dtype)
    params = init(attention, x, jnp.ones((1, 3, 3), bool))
    assert {leaf.dtype for leaf in jax.tree.leaves(params)} == {jnp.dtype("float32")}
    assert run(attention, params, x, jnp.ones((1, 3, 3), bool)).dtype == dtype
