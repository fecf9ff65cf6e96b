"""Diffusion: schedule and steps against closed forms in float64; both modes come back."""

import jax
import jax.numpy as jnp
import numpy as np

from rtx.models.vla.heads.diffusion import cosine_betas, denoise, noised
from tests.models.vla.heads.two_modes import LEFT, RIGHT, SHARE_LEFT, answers

BETAS = cosine_betas(20)


def alpha_bar(t):
    """The closed form of arXiv 2102.09672, equation 17."""

    def f(x):
        return np.cos((x / 20 + 0.008) / 1.008 * np.pi / 2) ** 2

    return f(np.asarray(t, np.float64)) / f(0.0)


def test_schedule():
    assert BETAS.dtype == np.float64
    left = np.cumprod(1 - BETAS)
    np.testing.assert_allclose(left[:-1], alpha_bar(np.arange(1, 20)), rtol=1e-12)
    assert BETAS[-1] == 0.999  # the last would take all
    assert np.all(np.diff(BETAS) > 0)


def test_noising_in_float64():
    rng = np.random.default_rng(0)
    action, noise, step = rng.uniform(-1, 1, (4, 2, 3)), rng.normal(size=(4, 2, 3)), np.array([0, 5, 18, 12])
    left = alpha_bar(step + 1)[:, None, None]
    expected = np.sqrt(left) * action + np.sqrt(1 - left) * noise
    f32 = (jnp.asarray(x, jnp.float32) for x in (action, noise))
    np.testing.assert_allclose(noised(*f32, jnp.asarray(step), BETAS), expected, atol=1e-6)


def test_data_of_one_point_come_back_without_noise():
    """The noise of a point is known exactly; the last step adds none, so nothing is left of it."""
    point = jnp.asarray([[[0.3, -0.7]], [[0.9, 0.1]]])
    left = jnp.asarray(np.cumprod(1 - BETAS), jnp.float32)

    def noise_in(noisy, step):
        part = left[step][:, None, None]
        return (noisy - jnp.sqrt(part) * point) / jnp.sqrt(1 - part)

    np.testing.assert_allclose(denoise(noise_in, jax.random.key(0), (2, 1, 2), BETAS), point, atol=1e-5)


def test_normal_data_come_back_with_the_spread_that_20_steps_leave():
    """For normal data the noise to expect is linear, so each step is: mean and variance follow in float64."""
    mean, spread = 0.4, 0.2
    left = np.cumprod(1 - BETAS)

    def factors(t, sqrt=np.sqrt):  # expected noise = gain * noisy + offset
        gain = sqrt(1 - left[t]) / (left[t] * spread**2 + 1 - left[t])
        return gain, -gain * sqrt(left[t]) * mean

    m, v = 0.0, 1.0
    for t in reversed(range(20)):
        gain, offset = factors(t)
        part = BETAS[t] / np.sqrt(1 - left[t])
        scale = (1 - part * gain) / np.sqrt(1 - BETAS[t])
        m, v = scale * m - part * offset / np.sqrt(1 - BETAS[t]), scale**2 * v + (BETAS[t] if t else 0)
    table = jnp.asarray([factors(t) for t in range(20)], jnp.float32)

    def noise_in(noisy, step):
        gain, offset = table[step].T
        return gain[:, None, None] * noisy + offset[:, None, None]

    samples = denoise(noise_in, jax.random.key(1), (20_000, 1, 1), BETAS)
    np.testing.assert_allclose(samples.mean(), m, atol=4 * spread / np.sqrt(20_000))
    np.testing.assert_allclose(samples.std(), np.sqrt(v), rtol=4 / np.sqrt(40_000))
    np.testing.assert_allclose([m, np.sqrt(v)], [mean, spread], rtol=0.2)


def test_both_modes_come_back():
    said = answers("diffusion", num_steps=400)
    left, right = np.abs(said - LEFT) < 0.2, np.abs(said - RIGHT) < 0.2
    assert np.mean(left | right) > 0.9
    assert abs(np.mean(left) - SHARE_LEFT) < 0.1
