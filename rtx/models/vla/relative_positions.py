"""T5's relative positions (arXiv 1910.10683, section 2.1): a learned bias per head and bucket of distance.

Near distances have a bucket each, far ones share buckets that grow with the logarithm, up to a distance beyond which all are
alike. Looking in both directions (the encoder), each has half of the buckets.
"""

from __future__ import annotations

import functools

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int


@functools.lru_cache
def bucket_of_distance(buckets: int, max_distance: int) -> np.ndarray:
    """Bucket of the distances 0 .. max_distance, int32; farther ones share the last entry's.

    The lower half of the buckets holds one distance each, the upper half rises with the logarithm up to `max_distance`.
    """
    exact = buckets // 2
    distance = np.arange(max_distance + 1)
    # The nudge keeps distances on a boundary (16 of 8..128) on its upper side in any precision.
    share = np.log(np.maximum(distance, 1) / exact * (1 + 1e-9)) / np.log(max_distance / exact)
    far = np.minimum(exact + np.floor(share * (buckets - exact)), buckets - 1)
    return np.where(distance < exact, distance, far).astype(np.int32)


def bucket(offset: Int[Array, "*n"], *, buckets: int, max_distance: int, bidirectional: bool) -> Int[Array, "*n"]:
    """Bucket of an offset key - query. One direction alone (the decoder): keys ahead count as distance 0."""
    if not bidirectional:
        table = bucket_of_distance(buckets, max_distance)
        return jnp.asarray(table)[jnp.clip(-offset, 0, max_distance)]
    table = bucket_of_distance(buckets // 2, max_distance)
    near = jnp.asarray(table)[jnp.minimum(jnp.abs(offset), max_distance)]
    return jnp.where(offset > 0, near + buckets // 2, near)


class RelativePositions(nn.Module):
    """A bias per head and bucket of distance, float32."""

    heads: int
    buckets: int
    max_distance: int
    bidirectional: bool

    def setup(self) -> None:
        init = nn.initializers.variance_scaling(1.0, "fan_avg", "uniform")
        self.rel_embedding = self.param("rel_embedding", init, (self.heads, self.buckets), jnp.float32)

    def __call__(self, n: int) -> Float[Array, "1 e n n"]:
        """Of n tokens in a row. Entry (i, j) depends on j - i alone.

        So the biases of all offsets are looked up once and laid into rows that are one longer than the rows they are read as:
        each row begins one step earlier than the one before. The gradient is a sum then, instead of a scatter of n * n.
        """
        place = jnp.arange(2 * n)
        biases = self.at(jnp.where(place < n, place, place - 2 * n))
        rows = jnp.broadcast_to(biases[:, None], (len(biases), n, 2 * n)).reshape(len(biases), -1)
        return rows[:, : n * (2 * n - 1)].reshape(-1, n, 2 * n - 1)[None, :, :, :n]

    def at(self, offset: Int[Array, "*n"]) -> Float[Array, " e *n"]:
        """Of offsets key - query, one by one."""
        sizes = {"buckets": self.buckets, "max_distance": self.max_distance}
        return self.rel_embedding[:, bucket(offset, **sizes, bidirectional=self.bidirectional)]
