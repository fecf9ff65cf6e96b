"""Cross-entropy over a large vocabulary without its table: logits exist for a few tokens at a time, and twice.

    hidden [b, r, d] --cut along r--> [b, c, d] --head--> [b, c, v] --log-sum-exp, label's logit--> entropy [b, c]
                                                          forgotten, and computed again in the backward pass

With 257,152 ids the table of a batch would be larger than the model. There is no one-hot either: a label's logit is looked
up. Pieces without a counted token (the ends of short answers) are skipped.
"""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from rtx.models.layout import num_row_shards

Logits = Callable[[Array], Array]
"""hidden [b, c, d] -> float32 [b, c, v]."""

MAX_ENTRIES = 1 << 26
"""Logits that exist at a time, of all rows on one device (256 MB)."""


def cross_entropy(
    logits_of: Logits,
    hidden: Float[Array, "b r d"],
    labels: Int[Array, "b r"],
    counted: Bool[Array, "b r"],
    *,
    vocab: int,
    max_entries: int = MAX_ENTRIES,
) -> tuple[Float[Array, "b r"], Bool[Array, "b r"]]:
    """Nats per token, float32, and whether the label is the likeliest; both may be anything where `counted` is False."""
    b, r = labels.shape
    c = max(1, max_entries * num_row_shards() // (b * vocab))
    if c >= r:
        return jax.checkpoint(lambda h, y: _piece(logits_of, h, y))(hidden, labels)
    pad = -r % c

    def cut(x: Array) -> Array:
        """[b, r, ...] to [pieces, b, c, ...]."""
        padded = jnp.pad(x, ((0, 0), (0, pad), *((0, 0),) * (x.ndim - 2)))
        return jnp.moveaxis(padded.reshape(b, -1, c, *x.shape[2:]), 1, 0)

    # Around the branch: what only one branch keeps for the backward pass, the head itself, would be kept once a piece.
    @jax.checkpoint
    def piece(h: Array, y: Array, wanted: Array) -> tuple[Array, Array]:
        nothing = (jnp.zeros(y.shape, jnp.float32), jnp.zeros(y.shape, bool))
        return jax.lax.cond(jnp.any(wanted), lambda: _piece(logits_of, h, y), lambda: nothing)

    _, pieces = jax.lax.scan(lambda _, one: (None, piece(*one)), None, (cut(hidden), cut(labels), cut(counted)))
    entropy, hit = (jnp.moveaxis(x, 0, 1).reshape(b, -1)[:, :r] for x in pieces)
    return entropy, hit


def _piece(logits_of: Logits, hidden: Array, labels: Array) -> tuple[Array, Array]:
    logits = logits_of(hidden)
    chosen = jnp.take_along_axis(logits, labels[..., None], axis=-1)[..., 0]
    return jax.nn.logsumexp(logits, axis=-1) - chosen, jnp.argmax(logits, axis=-1) == labels
