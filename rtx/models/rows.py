"""What models report of a batch row by row, so that it can be told of each data set apart."""

from __future__ import annotations

import jax.numpy as jnp
from jaxtyping import Array, Float


def mean_of_rows(value: Array, weight: Array) -> Float[Array, " b"]:
    """Weighted mean of each row, float32; NaN where a row has nothing of the kind."""
    axes = tuple(range(1, value.ndim))
    weight = weight.astype(jnp.float32)
    total = jnp.sum(jnp.where(weight > 0, value.astype(jnp.float32) * weight, 0.0), axes)
    return jnp.where(jnp.any(weight > 0, axes), total / jnp.maximum(jnp.sum(weight, axes), 1.0), jnp.nan)
