"""Flow matching over the chunk (arXiv 2210.02747), with pi0's settings (arXiv 2410.24164): a straight way from noise to action.

    x_t = t noise + (1 - t) action,    the network tells the velocity noise - action,    t = 1 is noise
    training   t = 0.999 s + 0.001, s ~ Beta(1.5, 1): more often near the noise
    acting     10 Euler steps from t = 1 to t = 0
    promised   the velocity is corrected towards what the robot will do anyway: real-time chunking (arXiv 2506.07339)
                   v - min(beta, (t^2 + (1 - t)^2) / (t (1 - t))) * J^T W (promised - action)
                   where action = x - t v(x), J its Jacobian

pi0's velocity comes from a transformer of 300 M parameters that attends to the backbone's keys; here it is a small MLP on the
readouts, the one of the diffusion head.
"""

from __future__ import annotations

from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from rtx.models.protocol import Promise
from rtx.models.vla.heads.layers import Denoiser, clipped, keys, valid_mean
from rtx.models.vla.heads.promised import kept, weights

MAX_GUIDANCE = 5.0  # beta: with few steps larger ones diverge; the paper's


def random_times(rng: jax.Array, num: int) -> Float[Array, " b"]:
    """Beta(1.5, 1) * 0.999 + 0.001, by its inverse distribution function: P(s < x) = x^1.5."""
    return 0.999 * jax.random.uniform(rng, (num,)) ** (1 / 1.5) + 0.001


def time_features(
    time: Float[Array, " b"], size: int, *, shortest: float = 4e-3, longest: float = 4.0
) -> Float[Array, "b {size}"]:
    """Sines, then cosines, of periods in geometric order."""
    periods = np.geomspace(shortest, longest, size // 2)
    turn = time[:, None] * jnp.asarray(2 * np.pi / periods, jnp.float32)
    return jnp.concatenate([jnp.sin(turn), jnp.cos(turn)], axis=-1)


def flow(
    velocity: Callable[[Float[Array, "b k a"], Float[Array, " b"]], Float[Array, "b k a"]],
    noise: Float[Array, "b k a"],
    num_steps: int,
    mask: Bool[Array, "b k a"] | None = None,
    promise: Promise | None = None,
) -> Float[Array, "b k a"]:
    """From `noise` at t = 1 to a sample at t = 0 in equal Euler steps. Not clipped to model space.

    Entries that `mask` calls invalid are shown to `velocity` as in training: on the straight way to 0; they have no promise.
    """
    is_there = jnp.ones(noise.shape, bool) if mask is None else mask

    def at(x: jax.Array, time: jax.Array) -> jax.Array:
        return velocity(x, jnp.full(noise.shape[0], time))

    def guided(x: jax.Array, time: jax.Array, promise: Promise) -> jax.Array:
        def action_of(x: jax.Array) -> tuple[jax.Array, jax.Array]:
            told = at(x, time)
            return x - time * told, told

        action, back_through, told = jax.vjp(action_of, x, has_aux=True)
        off = jnp.where(is_there, weights(promise, noise.shape[1])[..., None] * (promise.action - action), 0.0)
        straight = time * (1 - time)
        strength = jnp.where(straight > 0, (time**2 + (1 - time) ** 2) / jnp.maximum(straight, 1e-6), jnp.inf)
        return told - jnp.minimum(strength, MAX_GUIDANCE) * back_through(off)[0]

    def back(i: jax.Array, x: jax.Array) -> jax.Array:
        time = 1 - i / num_steps
        if mask is not None:
            x = jnp.where(mask, x, time * noise)
        return x - (at(x, time) if promise is None else guided(x, time, promise)) / num_steps

    return jax.lax.fori_loop(0, num_steps, back, noise)


class FlowHead(nn.Module):
    chunk: int
    action_dims: int
    width: int = 256
    num_blocks: int = 3
    time_dim: int = 32
    num_steps: int = 10

    def setup(self) -> None:
        self.network = Denoiser(self.width, self.num_blocks, self.time_dim)

    def loss(
        self, readout: Float[Array, "b n d"], action: Float[Array, "b k a"], mask: Bool[Array, "b k a"], rng: jax.Array
    ) -> Float[Array, " b"]:
        """Squared error of the velocity at one random time of each sample."""
        of_time, of_noise = keys(rng)
        time = random_times(of_time, action.shape[0])
        noise = jax.random.normal(of_noise, action.shape)
        action = jnp.where(mask, action, 0.0)
        on_the_way = time[:, None, None] * noise + (1 - time[:, None, None]) * action
        told = self.network(on_the_way, time_features(time, self.time_dim), readout)
        return valid_mean((told - (noise - action)) ** 2, mask)

    def act(
        self,
        readout: Float[Array, "b n d"],
        rng: jax.Array,
        mask: Bool[Array, "b k a"] | None = None,
        promise: Promise | None = None,
    ) -> Float[Array, "b k a"]:
        """A sample. `mask`: the entries that the robot has, where known."""
        network, variables = self.network.unbind()

        def velocity(x: jax.Array, time: jax.Array) -> jax.Array:
            return network.apply(variables, x, time_features(time, self.time_dim), readout)  # type: ignore[return-value]

        noise = jax.random.normal(rng, (readout.shape[0], self.chunk, self.action_dims))
        return kept(clipped(flow(velocity, noise, self.num_steps, mask, promise)), promise)
