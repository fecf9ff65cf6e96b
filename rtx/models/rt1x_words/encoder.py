"""Pieces of words to a sentence vector: a small transformer encoder, its outputs averaged over the words."""

from __future__ import annotations

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from rtx.models.rt1.layers import Dense, MultiHeadDotProductAttention
from rtx.models.rt1x_words.config import RT1XWordsConfig


class TextEncoder(nn.Module):
    """Ids `[b, l]` (0 = padding) to float32 `[b, s]` of length about 1, as the vectors of a sentence encoder are."""

    config: RT1XWordsConfig

    @nn.compact
    def __call__(self, text: Int[Array, "b l"]) -> Float[Array, "b s"]:
        cfg, dtype = self.config, jnp.dtype(self.config.compute_dtype)
        pieces = nn.Embed(cfg.text_vocabulary, cfg.text_width, embedding_init=nn.initializers.normal(0.5), name="pieces")(text)
        places = self.param("places", nn.initializers.normal(0.1), (text.shape[1], cfg.text_width), jnp.float32)
        x, valid = (pieces + places).astype(dtype), text > 0
        mask = jnp.broadcast_to(valid[:, None, :], (*text.shape, text.shape[1]))
        for i in range(cfg.text_layers):
            attention = MultiHeadDotProductAttention(
                cfg.text_heads, cfg.text_width // cfg.text_heads, dtype=dtype, name=f"attention_{i}"
            )
            x = x + attention(nn.LayerNorm(dtype=dtype, name=f"attention_norm_{i}")(x), mask)
            normed = nn.LayerNorm(dtype=dtype, name=f"norm_{i}")(x)
            hidden = nn.gelu(Dense(4 * cfg.text_width, dtype=dtype, name=f"wide_{i}")(normed))
            x = x + Dense(cfg.text_width, dtype=dtype, name=f"narrow_{i}")(hidden)
        weight = valid[..., None].astype(jnp.float32)
        mean = jnp.sum(x.astype(jnp.float32) * weight, 1) / jnp.maximum(jnp.sum(weight, 1), 1.0)
        sentence: jax.Array = nn.LayerNorm(name="out_norm")(Dense(cfg.sentence_width, name="out")(mean))
        return sentence / jnp.sqrt(jnp.float32(cfg.sentence_width))
