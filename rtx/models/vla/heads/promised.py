"""How much each row of a new chunk owes to the old one: real-time chunking's soft mask (arXiv 2506.07339, equation 5).

row         0 .. held - 1     held .. known - 1                                        known ..
weight      1                 c (e^c - 1) / (e - 1),  c = (known - i) / (known - held + 1)     0
"""

from __future__ import annotations

import jax.numpy as jnp
from jaxtyping import Array, Float

from rtx.models.protocol import Promise


def weights(promise: Promise, chunk: int) -> Float[Array, "b k"]:
    """Between 0 and 1, falling."""
    row, held, known = jnp.arange(chunk), promise.held[:, None], promise.known[:, None]
    c = (known - row) / (known - held + 1)
    soft = c * jnp.expm1(c) / jnp.expm1(1.0)
    return jnp.where(row < held, 1.0, jnp.where(row < known, soft, 0.0))


def kept(action: Float[Array, "b k a"], promise: Promise | None) -> Float[Array, "b k a"]:
    """The chunk with the held rows as they were promised."""
    if promise is None:
        return action
    is_held = jnp.arange(action.shape[1]) < promise.held[:, None]
    return jnp.where(is_held[..., None], promise.action, action)
