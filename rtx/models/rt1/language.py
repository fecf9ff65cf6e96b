"""Instruction to one sentence vector: word embeddings, one attention layer, and attention pooling, trained with the policy."""

from __future__ import annotations

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from rtx.models.rt1.config import RT1Config
from rtx.models.rt1.layers import Dense, MultiHeadDotProductAttention


class SentenceEncoder(nn.Module):
    """Ids `[b, l]` (0 = padding) to a unit-variance vector `[b, s]`. An empty instruction gives a vector of its own."""

    config: RT1Config

    @nn.compact
    def __call__(self, text: Int[Array, "b l"]) -> Float[Array, "b s"]:
        cfg, dtype = self.config, jnp.dtype(self.config.compute_dtype)
        small = nn.initializers.normal(0.5)
        words = nn.Embed(cfg.text_vocabulary, cfg.text_width, embedding_init=small, dtype=dtype, name="words")(text)
        places = self.param("places", nn.initializers.normal(0.1), (text.shape[1], cfg.text_width), jnp.float32)
        x = words + places.astype(dtype)
        valid = text > 0
        head_width = cfg.text_width // cfg.text_heads
        mixed = MultiHeadDotProductAttention(cfg.text_heads, head_width, dtype=dtype, name="attention")(
            nn.LayerNorm(dtype=dtype, name="norm")(x), jnp.broadcast_to(valid[:, None, :], (*text.shape, text.shape[1]))
        )
        x = x + mixed
        pooled = self._pool(x, valid)
        return nn.LayerNorm(dtype=dtype, name="out_norm")(Dense(cfg.sentence_width, dtype=dtype, name="out")(pooled))

    def _pool(self, x: Float[Array, "b l d"], valid: Bool[Array, "b l"]) -> Float[Array, "b d"]:
        """One learned query per head over the words, and each head's slice of features."""
        cfg = self.config
        scores = Dense(cfg.text_heads, dtype=x.dtype, name="pool")(x).astype(jnp.float32)
        weights = jax.nn.softmax(jnp.where(valid[..., None], scores, -1e30), axis=1)
        weights = jnp.where(valid[..., None], weights, 0.0).astype(x.dtype)
        heads = x.reshape(*x.shape[:2], cfg.text_heads, -1)
        return jnp.einsum("ble,bleh->beh", weights, heads).reshape(x.shape[0], -1)
