"""Real-time chunking in heads: weights by hand, guidance and inpainting against plain float64 loops, and what comes back."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rtx.models.protocol import Promise
from rtx.models.vla.heads import HEADS, build_head
from rtx.models.vla.heads.diffusion import cosine_betas, denoise
from rtx.models.vla.heads.flow import flow
from rtx.models.vla.heads.promised import kept, weights
from tests.models.vla.heads.two_modes import LEFT, answers

K, A = 6, 3
RNG = np.random.default_rng(0)
OLD = RNG.uniform(-0.9, 0.9, (3, K, A))
HELD, KNOWN = (0, 2, 3), (0, 5, 3)  # nothing promised, a soft end, a hard one


def promise(held=HELD, known=KNOWN, old=OLD):
    return Promise(jnp.asarray(old, jnp.float32), jnp.asarray(held, jnp.int32), jnp.asarray(known, jnp.int32))


def soft(held, known):
    """Equation 5, row by row."""
    said = []
    for row in range(K):
        c = (known - row) / (known - held + 1)
        said.append(1.0 if row < held else c * (np.e**c - 1) / (np.e - 1) if row < known else 0.0)
    return said


def test_the_soft_mask():
    assert soft(2, 5)[2:5] == pytest.approx([0.4876, 0.1888, 0.0413], abs=1e-4)  # c = 3/4, 1/2, 1/4
    np.testing.assert_allclose(weights(promise(), K), [soft(*pair) for pair in zip(HELD, KNOWN, strict=True)], atol=1e-6)
    np.testing.assert_array_equal(weights(promise((K,) * 3, (K,) * 3), K), 1.0)


MATRIX = RNG.normal(0, 0.4, (K * A, K * A))  # every row of the chunk looks at every other


def velocity(x, time, tanh):
    """Of a network: not linear, so that its Jacobian matters."""
    flat = x.reshape(len(x), -1)
    return (tanh(flat @ MATRIX) + 0.3 * time + flat).reshape(x.shape)


def float64_flow(noise, mask, num_steps, beta):
    """Algorithm 1's guided inference with t = 1 noise: the Jacobian written out."""
    x, old, said = noise.copy(), OLD, []
    for i in range(num_steps):
        t = 1 - i / num_steps
        x = np.where(mask, x, t * noise)
        told = velocity(x, t, np.tanh)
        action = x - t * told
        weight = np.array([soft(*pair) for pair in zip(HELD, KNOWN, strict=True)])[..., None]
        off = np.where(mask, weight * (old - action), 0.0).reshape(len(x), -1)
        guided = []
        for row in range(len(x)):
            slope = 1 - np.tanh(x[row].reshape(-1) @ MATRIX) ** 2
            of_told = slope[:, None] * MATRIX.T + np.eye(K * A)  # [out, in]
            guided.append((np.eye(K * A) - t * of_told).T @ off[row])
        r2 = (1 - (1 - t)) ** 2 / ((1 - t) ** 2 + t**2)
        strength = beta if t == 1 else min(beta, t / ((1 - t) * r2))
        said.append(strength)
        x = x - (told - strength * np.stack(guided).reshape(x.shape)) / num_steps
    assert min(said) < beta == max(said), "the clip is met, and not always"
    return x


def test_guidance_is_the_papers():
    noise, mask = RNG.normal(size=(3, K, A)), np.ones((3, K, A), bool)
    mask[:, :, 2] = False
    expected = float64_flow(noise, mask, 10, 5.0)
    run = jax.jit(lambda x, told: flow(lambda x, t: velocity(x, t[:, None], jnp.tanh), x, 10, jnp.asarray(mask), told))
    free, told = run(jnp.asarray(noise, jnp.float32), None), run(jnp.asarray(noise, jnp.float32), promise())
    np.testing.assert_allclose(told, expected, atol=1e-4)
    np.testing.assert_allclose(told[0], free[0], atol=1e-5)  # nothing is promised in this row
    for row in (1, 2):
        before, after = (np.abs(each[row, : HELD[row], :2] - OLD[row, : HELD[row], :2]).mean() for each in (free, told))
        assert after < 0.5 * before
        assert np.abs(told[row, HELD[row] :] - free[row, HELD[row] :]).max() > 0.01


def float64_denoise(draws, betas):
    x, left = draws["start"], np.cumprod(1 - betas)
    weight = np.array([soft(*pair) for pair in zip(HELD, KNOWN, strict=True)])[..., None]
    for t in reversed(range(len(betas))):
        noise = np.tanh(x.reshape(len(x), -1) @ MATRIX).reshape(x.shape)
        action = np.clip((x - np.sqrt(1 - left[t]) * noise) / np.sqrt(left[t]), -1, 1)
        action = (1 - weight) * action + weight * OLD
        before = left[t - 1] if t else 1.0
        mean = (np.sqrt(before) * betas[t] * action + np.sqrt(1 - betas[t]) * (1 - before) * x) / (1 - left[t])
        x = mean + (np.sqrt(betas[t]) * draws[t] if t else 0.0)
    return x


def test_inpainting_in_float64():
    betas, key = cosine_betas(20), jax.random.key(3)
    shape = (3, K, A)
    draws = {t: np.asarray(jax.random.normal(jax.random.fold_in(key, t), (2, *shape)), np.float64)[0] for t in range(20)}
    draws["start"] = np.asarray(jax.random.normal(jax.random.fold_in(key, 20), shape), np.float64)

    def noise_in(x, step):
        return jnp.tanh(x.reshape(3, -1) @ jnp.asarray(MATRIX, jnp.float32)).reshape(x.shape)

    run = jax.jit(lambda told: denoise(noise_in, key, shape, betas, None, told))
    told, free = run(promise()), run(None)
    np.testing.assert_allclose(told, float64_denoise(draws, betas), atol=2e-4)
    np.testing.assert_allclose(told[0], free[0], atol=1e-6)
    np.testing.assert_allclose(told[1, :2], OLD[1, :2], atol=1e-5)  # as free samples of one point do
    assert np.abs(told[1, 2:] - free[1, 2:]).max() > 0.01


@pytest.fixture(scope="module", params=HEADS)
def head(request):
    """Random weights: what it says means nothing, but depends on what it is shown."""
    made = build_head(request.param, chunk=K, action_dims=A, width=16)
    readout = jnp.asarray(RNG.normal(size=(3, K, 8)), jnp.float32)
    old = jnp.asarray(OLD, jnp.float32)
    variables = jax.jit(lambda: made.init(jax.random.key(0), readout, old, old < 2, jax.random.key(0), method="loss"))()
    drawn = np.random.default_rng(1)
    variables = jax.tree.map(lambda leaf: jnp.asarray(drawn.normal(0, 0.3, leaf.shape), leaf.dtype), variables)
    run = jax.jit(lambda told: made.apply(variables, readout, jax.random.key(2), None, told, method="act"))
    return request.param, run


def test_what_is_held_comes_back_and_the_rest_goes_on_from_it(head):
    name, run = head
    free, told = run(None), run(promise())
    np.testing.assert_allclose(told[0], free[0], atol=1e-5)
    for row in (1, 2):
        np.testing.assert_array_equal(told[row, : HELD[row]], OLD[row, : HELD[row]].astype(np.float32))
    assert np.all(np.abs(told) <= 1)
    assert np.all(np.isfinite(told))
    if name == "l1":  # it answers at once: spliced
        np.testing.assert_array_equal(told[1, 2:], free[1, 2:])
        return
    assert np.abs(told[1, 2:] - free[1, 2:]).max() > 0.01
    # What was known, not held, draws too: the seam is smaller than where the same rows are put in front of a free answer.
    far = [np.abs(each[1, 2:5] - OLD[1, 2:5]).mean() for each in (told, free)]
    assert far[0] < far[1]


def test_other_numbers_of_rows_compile_nothing(head):
    _, run = head
    run(promise())
    compiled = run._cache_size()
    run(promise((1, 4, 6), (2, 6, 6)))
    assert run._cache_size() == compiled


@pytest.mark.parametrize("name", ["diffusion", "flow"])
def test_a_chunk_goes_on_the_way_it_was_begun(name):
    """What real-time chunking is for: the data go left or right all along, the free answers mostly right; begun left, the
    rest goes left, where putting the beginning in front of a free answer would jump."""
    left = Promise(jnp.full((256, 6, 1), LEFT), jnp.full(256, 2), jnp.full(256, 4))
    free, told = answers(name, num_steps=500, chunk=6, promise=left)
    goes_left = [float(np.mean(np.abs(each[:, 2:] - LEFT).max(1) < 0.25)) for each in (free, told)]
    assert goes_left[0] < 0.4, "three in ten"
    assert goes_left[1] > 2 * goes_left[0]
    jump = [float(np.abs(each - LEFT)[:, 2].mean()) for each in (free, told)]  # where the beginning ends
    assert jump[1] < 0.5 * jump[0]
    np.testing.assert_array_equal(told[:, :2], np.float32(LEFT))


def test_rows_are_put_in_front():
    said = kept(jnp.zeros((3, K, A)), promise())
    np.testing.assert_array_equal(said[2, :3], OLD[2, :3].astype(np.float32))
    assert np.all(said[2, 3:] == 0)
    assert np.all(said[0] == 0)
