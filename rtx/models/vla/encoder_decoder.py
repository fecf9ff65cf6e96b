"""The encoder-decoder family: a vision transformer and T5 or UL2, as PaLI-X (arXiv 2305.18565) and RT-2-PaLI-X have them.

    pictures [b, i, h, w, 3] -> ViT, each picture for itself -> projection --+
                                                                             +-> [i * n | l] -> encoder --+
    prompt [b, l] -> embedding ----------------------------------------------+                            |
    answer, one later, behind the start token -> embedding -> decoder <----- cross-attention -------------+  -> hidden

Published: n pictures enter as n * k patch embeddings through a projection, together with the embeddings of the prompt; the
encoder reads them jointly, the decoder writes. Ours, because no text says it: the pictures come first; the projection is one
dense layer with a bias; relative positions count through the joint sequence, pictures' tokens row by row, padding and absent
pictures included (T5's bias reaches 128 tokens, beyond that all are equally far), so that one bias serves the whole batch.
Absent pictures and padding are attended to by nobody.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Bool, Float, Int, UInt8

from rtx.models.remat import Remat
from rtx.models.rt1.layers import Dense
from rtx.models.vla import t5
from rtx.models.vla.t5 import PAD, Cache, Decoder, Embedder, Encoder, T5Config
from rtx.models.vla.vit import ViT, ViTConfig


class EncoderDecoder(nn.Module):
    """A backbone: `__call__` for training, `read` and `write` for acting, `logits` for some or all of the vocabulary.

    Ids are T5's: 0 is padding (and what the decoder starts from); valid tokens lie at the left.
    """

    vision: ViTConfig
    language: T5Config
    dtype: DTypeLike = jnp.float32
    remat: Remat = "dots"  # what of a layer the backward pass keeps

    def setup(self) -> None:
        self.img = ViT(self.vision, dtype=self.dtype, remat=self.remat)
        self.projection = Dense(self.language.width, dtype=self.dtype)
        self.token_embedder = Embedder(self.language)
        self.encoder = Encoder(self.language, self.dtype, self.remat)
        self.decoder = Decoder(self.language, self.dtype, self.remat)

    def __call__(
        self,
        pictures: UInt8[Array, "b i h w 3"],
        picture_mask: Bool[Array, "b i"],
        prompt: Int[Array, "b l"],
        answer: Int[Array, "b m"],
    ) -> Float[Array, "b m d"]:
        """Teacher forcing: row j predicts answer[:, j]; it has seen the answer before j and not j itself."""
        encoded, valid = self._encode(pictures, picture_mask, prompt)
        before = jnp.pad(answer[:, :-1], ((0, 0), (1, 0)), constant_values=PAD)
        hidden = self.decoder(self.token_embedder(before), encoded, valid)
        if self.is_initializing():
            self.logits(hidden[:, :1])  # so that the head gets its parameters
        return hidden

    def read(
        self,
        pictures: UInt8[Array, "b i h w 3"],
        picture_mask: Bool[Array, "b i"],
        prompt: Int[Array, "b l"],
        *,
        room: int,
    ) -> tuple[Float[Array, "b d"], Cache]:
        """What predicts the first token of the answer, and a memory with room for `room` tokens of it."""
        encoded, valid = self._encode(pictures, picture_mask, prompt)
        start = jnp.full((len(prompt), 1), PAD, jnp.int32)
        hidden, memory = self.decoder.read(self.token_embedder(start), encoded, valid, room=1 + room)
        return hidden[:, 0], memory

    def write(self, tokens: Int[Array, "b n"], memory: Cache) -> tuple[Float[Array, "b n d"], Cache]:
        """Reads `n` more tokens of the answer; row j predicts the token after token j. Padding may lie among them: rows that
        have nothing to say yet while others do."""
        return self.decoder.write(self.token_embedder(tokens), tokens != PAD, memory)

    def logits(self, hidden: Float[Array, "*n d"], ids: Int[Array, " r"] | None = None) -> Float[Array, "*n v"]:
        """Float32 over the vocabulary, or over the tokens `ids` alone, in their order."""
        return self.decoder.logits(hidden, self.token_embedder.embedding, ids)

    def _encode(
        self, pictures: UInt8[Array, "b i h w 3"], picture_mask: Bool[Array, "b i"], prompt: Int[Array, "b l"]
    ) -> tuple[Float[Array, "b s d"], Bool[Array, "b s"]]:
        b, i = picture_mask.shape
        seen = self.projection(self.img(pictures.reshape(b * i, *pictures.shape[2:])))
        n = seen.shape[1]
        words = self.token_embedder(prompt).astype(self.dtype)
        joined = jnp.concatenate([seen.reshape(b, i * n, -1), words], axis=1)
        valid = jnp.concatenate([jnp.repeat(picture_mask, n, axis=1), prompt != PAD], axis=1)
        return self.encoder(joined, valid), valid


def unrolled(params: Mapping[str, Any]) -> dict[str, Any]:
    """`EncoderDecoder`'s "params" with the text part's layers one by one, for acting. See `t5.unrolled`."""
    return {**params, **{stack: t5.unrolled(params[stack]) for stack in ("encoder", "decoder")}}
