"""Actions as tokens: each dimension of model space [-1, 1] cut into `num_bins` equal steps.

    token = round((clip(x) + 1) / 2 * (num_bins - 1))          value = token / (num_bins - 1) * 2 - 1

so the first and last bin sit exactly on -1 and +1, and a round trip is off by half a bin at most. `rounding="truncate"`
takes the floor instead, as RT-1 and the released RT-1-X weights do: decoded values are then low by up to one bin.
Source: RT-1 (arXiv 2212.06817) and google-deepmind/open_x_embodiment `models/rt1.py`; RT-2 uses the same 256 bins as text.

Pure functions of arrays: the same object serves NumPy on the host and JAX inside a compiled step.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from rtx.errors import UserError


@dataclass(frozen=True, kw_only=True)
class UniformTokenizer:
    """Uniform bins over model space. `first_id` is where the bins start in a larger vocabulary (0 for RT-1)."""

    num_bins: int = 256
    rounding: Literal["nearest", "truncate"] = "nearest"
    first_id: int = 0

    def __post_init__(self) -> None:
        if self.num_bins < 2:
            raise UserError(f"action tokenizer: num_bins {self.num_bins} must be at least 2")
        if self.rounding not in ("nearest", "truncate"):
            raise UserError(f"action tokenizer: rounding {self.rounding!r} must be 'nearest' or 'truncate'")

    @property
    def bin_width(self) -> float:
        """Distance of neighbouring values in model space."""
        return 2.0 / (self.num_bins - 1)

    @property
    def token_ids(self) -> tuple[int, ...]:
        """Ids `encode` can return, in order of value: what a decoder may choose from."""
        return tuple(range(self.first_id, self.first_id + self.num_bins))

    def position(self, action: Float[Array, "*b a"]) -> Float[Array, "*b a"]:
        """Where a value lies on the axis of bins, before rounding: float32 in [0, num_bins - 1]. Clips first."""
        return (jnp.clip(jnp.asarray(action, jnp.float32), -1.0, 1.0) + 1.0) * (0.5 * (self.num_bins - 1))

    def encode(self, action: Float[Array, "*b a"]) -> Int[Array, "*b a"]:
        """Model space to ids, int32. Values outside [-1, 1] are clipped."""
        position = self.position(action)
        index = jnp.round(position) if self.rounding == "nearest" else jnp.floor(position)
        return index.astype(jnp.int32) + self.first_id

    def decode(self, token: Int[Array, "*b a"]) -> Float[Array, "*b a"]:
        """Ids to model space, float32. Ids outside `token_ids` are clipped to the nearest."""
        index = jnp.clip(token - self.first_id, 0, self.num_bins - 1)
        # Compiled as one fused multiply-add, the last bin would come out one rounding above 1.
        return jnp.minimum(index.astype(jnp.float32) * self.bin_width - 1.0, 1.0)

    def soft_labels(self, action: Float[Array, "*b a"], *, sigma_bins: float) -> Float[Array, "*b a v"]:
        """Target distribution over the bins: a Gaussian of `sigma_bins` around the value itself (not around its bin).

        With few demonstrations, neighbouring bins share evidence this way. `sigma_bins=0` gives `encode` as one-hot.
        """
        if sigma_bins == 0:
            return jax.nn.one_hot(self.encode(action) - self.first_id, self.num_bins)
        offset = jnp.arange(self.num_bins, dtype=jnp.float32) - self.position(action)[..., None]
        return jax.nn.softmax(-0.5 * jnp.square(offset / sigma_bins), axis=-1)

    def expectation(self, logits: Float[Array, "*b a v"], *, radius_bins: int) -> Float[Array, "*b a"]:
        """Mean value of the distribution within `radius_bins` of its mode, in model space.

        Finer than a bin, and unlike the plain mean it never lands between two modes ("left" and "right" of an obstacle).
        """
        logits = logits.astype(jnp.float32)
        bins = jnp.arange(self.num_bins)
        near = jnp.abs(bins - jnp.argmax(logits, axis=-1)[..., None]) <= radius_bins
        probability = jax.nn.softmax(jnp.where(near, logits, -jnp.inf), axis=-1)
        return probability @ (bins.astype(jnp.float32) * self.bin_width - 1.0)
