"""What the heads share: the mean over valid entries, and the residual MLP that undoes noise."""

from __future__ import annotations

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float


def valid_mean(error: Float[Array, "b k a"], mask: Bool[Array, "b k a"]) -> Float[Array, " b"]:
    """Mean of each sample's valid entries; 0 where there are none."""
    total = jnp.sum(jnp.where(mask, error, 0.0), axis=(-2, -1))
    return total / jnp.maximum(jnp.sum(mask, axis=(-2, -1)), 1)


def clipped(action: Float[Array, "*b"]) -> Float[Array, "*b"]:
    """Model space ends at -1 and 1."""
    return jnp.clip(action, -1.0, 1.0)


class Denoiser(nn.Module):
    """Octo's score network (arXiv 2405.12213): what is noise in a whole chunk, given the readouts and features of the time.

    Readouts are normalised first, since backbones leave them at different scales.
    """

    width: int
    num_blocks: int
    time_dim: int

    @nn.compact
    def __call__(
        self, noisy: Float[Array, "b k a"], time: Float[Array, "b f"], readout: Float[Array, "b n d"]
    ) -> Float[Array, "b k a"]:
        b, k, a = noisy.shape
        time = nn.Dense(self.time_dim)(nn.silu(nn.Dense(2 * self.time_dim)(time)))
        seen = nn.LayerNorm()(readout.astype(jnp.float32)).reshape(b, -1)
        x = nn.Dense(self.width)(jnp.concatenate([time, seen, noisy.reshape(b, k * a)], axis=-1))
        for _ in range(self.num_blocks):
            x = x + nn.Dense(self.width)(nn.silu(nn.Dense(4 * self.width)(nn.LayerNorm()(x))))
        return nn.Dense(k * a)(nn.silu(x)).reshape(b, k, a)


def keys(rng: jax.Array) -> tuple[jax.Array, jax.Array]:
    """One for the times, one for the noise."""
    first, second = jax.random.split(rng)
    return first, second
