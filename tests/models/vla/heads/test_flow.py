"""Flow matching: times, features and steps against closed forms in float64; both modes come back."""

import jax
import jax.numpy as jnp
import numpy as np
import scipy.stats

from rtx.models.vla.heads.flow import flow, random_times, time_features
from tests.models.vla.heads.two_modes import LEFT, RIGHT, SHARE_LEFT, answers


def test_times_are_beta_distributed():
    times = np.asarray(random_times(jax.random.key(0), 20_000), np.float64)
    assert 0.001 <= times.min() <= times.max() <= 1
    assert scipy.stats.kstest((times - 0.001) / 0.999, scipy.stats.beta(1.5, 1).cdf).pvalue > 0.01


def test_time_features_in_float64():
    times = np.array([0.001, 0.25, 1.0])
    periods = 4e-3 * 1000 ** (np.arange(16) / 15)
    turns = 2 * np.pi * times[:, None] / periods
    expected = np.concatenate([np.sin(turns), np.cos(turns)], -1)
    # a turn of up to 1,571 radians in float32 is known to 1e-4
    np.testing.assert_allclose(time_features(jnp.asarray(times, jnp.float32), 32), expected, atol=2e-4)


def test_data_of_one_point_come_back_without_noise():
    """The way to a point is straight, so Euler steps stay on it, and the last ends there."""
    point = jnp.asarray([[[0.3, -0.7]], [[0.9, 0.1]]])
    noise = jax.random.normal(jax.random.key(0), point.shape)
    said = flow(lambda x, time: (x - point) / time[:, None, None], noise, 10)
    np.testing.assert_allclose(said, point, atol=1e-5)


def test_ten_euler_steps_in_float64():
    noise = np.random.default_rng(0).normal(size=(2, 3, 4))
    x = noise
    for i in range(10):
        x = x - 0.1 * (np.sin(3 * x) + (1 - i / 10))
    said = flow(lambda x, time: jnp.sin(3 * x) + time[:, None, None], jnp.asarray(noise, jnp.float32), 10)
    np.testing.assert_allclose(said, x, atol=2e-6)


def test_both_modes_come_back():
    said = answers("flow", num_steps=400)
    left, right = np.abs(said - LEFT) < 0.2, np.abs(said - RIGHT) < 0.2
    assert np.mean(left | right) > 0.9
    assert abs(np.mean(left) - SHARE_LEFT) < 0.1
