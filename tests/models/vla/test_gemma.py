import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rtx.errors import UserError
from rtx.models.vla.gemma import GemmaConfig, as_matrix, gemma2_27b, kernel_init, rotate

SMALL = {"width": 8, "depth": 1, "mlp": 8, "head_dim": 4, "query_scale": 0.5}


def test_configs_that_cannot_be_are_refused():
    with pytest.raises(UserError, match="heads 3 is not divisible by kv_heads 2"):
        GemmaConfig(**SMALL, heads=3, kv_heads=2)
    with pytest.raises(UserError, match="head_dim 5 must be even"):
        GemmaConfig(**{**SMALL, "head_dim": 5}, heads=2, kv_heads=1)
    with pytest.raises(UserError, match="depth, heads must be at least 1"):
        GemmaConfig(**{**SMALL, "depth": 0}, heads=0, kv_heads=1)


def test_the_largest_scales_queries_by_width_over_heads():
    config = gemma2_27b()
    assert config.query_scale == pytest.approx((config.width / config.heads) ** -0.5)
    assert config.query_scale != pytest.approx(config.head_dim**-0.5)


def test_rotation_turns_halves_and_only_differences_count():
    x = jax.random.normal(jax.random.key(0), (1, 1, 2, 6))
    turned = rotate(x, jnp.array([[0, 3]]), 10_000.0)
    np.testing.assert_allclose(turned[0, 0, 0], x[0, 0, 0], atol=1e-6)
    angle = 3 * 10_000.0 ** (-np.arange(3) / 3)
    first, second = np.split(np.asarray(x[0, 0, 1]), 2)
    expected = np.concatenate([first * np.cos(angle) - second * np.sin(angle), second * np.cos(angle) + first * np.sin(angle)])
    np.testing.assert_allclose(turned[0, 0, 1], expected, atol=1e-6)
    later = rotate(x, jnp.array([[40, 43]]), 10_000.0)
    score, score_later = (float(t[0, 0, 0] @ t[0, 0, 1]) for t in (turned, later))
    assert score == pytest.approx(score_later, abs=1e-5)


def test_heads_side_by_side():
    kernel = jnp.arange(2 * 3 * 4 * 5.0).reshape(2, 3, 4, 5)
    matrix = as_matrix(kernel)
    assert matrix.shape == (4, 30)
    np.testing.assert_array_equal(matrix[:, 20:25], kernel[1, 1])


def test_matrices_start_with_the_variance_of_their_inputs():
    heads = kernel_init(-2)(jax.random.key(0), (3, 64, 50))
    assert float(heads.std()) == pytest.approx(64**-0.5, rel=0.05)
    both = kernel_init((-3, -2))(jax.random.key(0), (8, 32, 50))
    assert float(both.std()) == pytest.approx(256**-0.5, rel=0.05)
