"""The action itself, by an MLP with absolute error (OpenVLA-OFT, arXiv 2502.19645): the median where the data disagree.

    readouts of a step -> LayerNorm -> Dense -> ReLU -> blocks x + ReLU(Dense(LayerNorm(x))) -> LayerNorm -> Dense -> action

Each step of the chunk reads its own readouts, so n must be a multiple of k. OFT has n = k * a and width 4096.
"""

from __future__ import annotations

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from rtx.errors import UserError
from rtx.models.protocol import Promise
from rtx.models.vla.heads.layers import clipped, valid_mean
from rtx.models.vla.heads.promised import kept


class L1Head(nn.Module):
    chunk: int
    action_dims: int
    width: int = 256
    num_blocks: int = 2

    @nn.compact
    def __call__(self, readout: Float[Array, "b n d"]) -> Float[Array, "b k a"]:
        """Raises UserError where the readouts cannot be shared out among the steps."""
        b, n, _ = readout.shape
        if n % self.chunk:
            raise UserError(f"l1 head: {n} readouts cannot be shared out among the {self.chunk} steps of a chunk")
        x = nn.LayerNorm()(readout.astype(jnp.float32).reshape(b, self.chunk, -1))
        x = nn.relu(nn.Dense(self.width)(x))
        for _ in range(self.num_blocks):
            x = x + nn.relu(nn.Dense(self.width)(nn.LayerNorm()(x)))
        return nn.Dense(self.action_dims)(nn.LayerNorm()(x))

    def loss(
        self, readout: Float[Array, "b n d"], action: Float[Array, "b k a"], mask: Bool[Array, "b k a"], rng: jax.Array
    ) -> Float[Array, " b"]:
        """Mean absolute error of each sample; `rng` is unused."""
        return valid_mean(jnp.abs(self(readout) - action), mask)

    def act(
        self,
        readout: Float[Array, "b n d"],
        rng: jax.Array,
        mask: Bool[Array, "b k a"] | None = None,
        promise: Promise | None = None,
    ) -> Float[Array, "b k a"]:
        """The same for every `rng` and `mask`; what is promised is put in front."""
        return kept(clipped(self(readout)), promise)
