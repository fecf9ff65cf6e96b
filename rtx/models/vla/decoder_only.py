"""PaliGemma's network (arXiv 2407.07726, 2412.03555): SigLIP's tokens and the text in one sequence through Gemma.

    [tokens of picture 1 | ... | of picture i | prompt | answer]

Pictures and prompt see each other in both directions, the answer sees them and what was answered before (prefix-LM):

    row / key      p p t t a a         two picture (p), two prompt (t), two answer (a) tokens
    p p t t        1 1 1 1 . .
    a              1 1 1 1 1 .
    a              1 1 1 1 1 1

Absent pictures and padding (token 0) are seen by nobody and take no position, so padding between prompt and answer changes
nothing. Row of a token gives the next token; the first answer token comes from the last valid token of the prompt.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Bool, Float, Int, UInt8

from rtx.models.remat import Remat
from rtx.models.vla import gemma
from rtx.models.vla.gemma import Gemma, GemmaConfig
from rtx.models.vla.vit import ViT, ViTConfig


class Memory(NamedTuple):
    """What was read so far: the cache of all layers and which of its places hold something."""

    keys: Float[Array, "layers b kv s h"]
    values: Float[Array, "layers b kv s h"]
    there: Bool[Array, "b s"]
    place: Int[Array, ""]  # where the next token goes
    position: Int[Array, " b"]  # of the next token, as the rotary positions count: valid tokens only


class DecoderOnly(nn.Module):
    """Parameters as in big_vision's checkpoints: `img/...`, `llm/...`."""

    vision: ViTConfig
    language: GemmaConfig
    dtype: DTypeLike = jnp.float32  # of the computation; parameters stay float32
    remat: Remat = "dots"  # what of a layer the backward pass keeps

    def setup(self) -> None:
        self.img = ViT(self.vision, features=self.language.width, dtype=self.dtype, remat=self.remat)
        self.llm = Gemma(self.language, dtype=self.dtype, remat=self.remat)

    def __call__(
        self,
        pictures: UInt8[Array, "b i h w 3"],
        picture_mask: Bool[Array, "b i"],
        prompt: Int[Array, "b l"],
        answer: Int[Array, "b m"],
    ) -> Float[Array, "b m d"]:
        """Teacher forcing: row j of the result predicts answer[:, j]. Valid tokens lie at the left; 0 is padding."""
        prefix, there = self._prefix(pictures, picture_mask, prompt)
        given = answer[:, :-1]
        x = jnp.concatenate([prefix, self.llm.embed(given)], 1)
        valid = jnp.concatenate([there, given != 0], 1)
        hidden, _ = self.llm(x, positions_of(valid), prefix_mask(valid, prefix.shape[1]))
        first = _rows(hidden, last_of(there))
        return jnp.concatenate([first[:, None], hidden[:, prefix.shape[1] :]], 1)

    def read(
        self, pictures: UInt8[Array, "b i h w 3"], picture_mask: Bool[Array, "b i"], prompt: Int[Array, "b l"], *, room: int
    ) -> tuple[Float[Array, "b d"], Memory]:
        """The row that predicts the first answer token, and a memory with room for `room` answer tokens."""
        x, there = self._prefix(pictures, picture_mask, prompt)
        hidden, (keys, values) = self.llm(x, positions_of(there), there[:, None])
        more = ((0, 0), (0, 0), (0, 0), (0, room), (0, 0))
        memory = Memory(
            keys=jnp.pad(keys, more),
            values=jnp.pad(values, more),
            there=jnp.pad(there, ((0, 0), (0, room))),
            place=jnp.asarray(x.shape[1], jnp.int32),
            position=there.sum(1, dtype=jnp.int32),
        )
        return _rows(hidden, last_of(there)), memory

    def write(self, tokens: Int[Array, "b n"], memory: Memory) -> tuple[Float[Array, "b n d"], Memory]:
        """The rows of n more answer tokens, each predicting the token after it. Token 0 is padding here too: nobody sees it.

        The caller keeps within the room asked for: beyond it the last places are overwritten.
        """
        valid = tokens != 0
        positions = memory.position[:, None] + positions_of(valid)
        mask = prefix_mask(valid, 0)
        hidden, (keys, values) = self.llm(self.llm.embed(tokens), positions, mask, (memory.keys, memory.values), memory.there)
        at = (0, 0, 0, memory.place, 0)
        return hidden, Memory(
            keys=jax.lax.dynamic_update_slice(memory.keys, keys, at),
            values=jax.lax.dynamic_update_slice(memory.values, values, at),
            there=jax.lax.dynamic_update_slice(memory.there, valid, (0, memory.place)),
            place=memory.place + tokens.shape[1],
            position=memory.position + valid.sum(1, dtype=jnp.int32),
        )

    def logits(self, hidden: Float[Array, "*n d"], ids: Int[Array, " r"] | None = None) -> Float[Array, "*n v"]:
        """Float32, after the soft cap; with `ids` only those tokens' rows of the head are multiplied."""
        return self.llm.logits(hidden, ids)

    def _prefix(
        self, pictures: UInt8[Array, "b i h w 3"], picture_mask: Bool[Array, "b i"], prompt: Int[Array, "b l"]
    ) -> tuple[Float[Array, "b s d"], Bool[Array, "b s"]]:
        """Embedded pictures and prompt, and which of them count. Only text is scaled by sqrt(width)."""
        b, i = picture_mask.shape
        features = self.img(pictures.reshape(b * i, *pictures.shape[2:]))
        num_tokens = features.shape[1]
        x = jnp.concatenate([features.reshape(b, i * num_tokens, -1), self.llm.embed(prompt)], 1)
        return x, jnp.concatenate([jnp.repeat(picture_mask, num_tokens, axis=1), prompt != 0], 1)


def unrolled(params: Mapping[str, Any]) -> dict[str, Any]:
    """ "params" as acting reads them fastest; `DecoderOnly` takes either form. Drop the stacked ones: this holds them again."""
    return {**params, "llm": gemma.unrolled(params["llm"])}


def prefix_mask(valid: Bool[Array, "b n"], prefix: int) -> Bool[Array, "b n n"]:
    """mask[b, q, k]: k is valid, and lies in the first `prefix` places or not behind q."""
    place = jnp.arange(valid.shape[1])
    seen = (place[None, :] < prefix) | (place[None, :] <= place[:, None])
    return valid[:, None, :] & seen


def positions_of(valid: Bool[Array, "b n"]) -> Int[Array, "b n"]:
    """Number of valid tokens before each; padding repeats a neighbour's, which nobody sees."""
    return jnp.maximum(jnp.cumsum(valid, axis=1, dtype=jnp.int32) - 1, 0)


def last_of(valid: Bool[Array, "b n"]) -> Int[Array, " b"]:
    """Place of the last valid token."""
    return jnp.max(jnp.where(valid, jnp.arange(valid.shape[1]), 0), axis=1)


def _rows(x: Float[Array, "b n d"], place: Int[Array, " b"]) -> Float[Array, "b d"]:
    return jnp.take_along_axis(x, place[:, None, None], axis=1)[:, 0]
