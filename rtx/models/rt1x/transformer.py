"""RT-1's transformer over image tokens, without the rows that nobody reads.

Published sequence: for every frame its m image tokens, then its 11 action tokens, with absolute positions. Mask: a row sees
the image tokens at or before itself and no action token, not even its own:

    row / key        i0 i1  a0 a1   i2 i3  a2 a3        two frames of two image (i) and two action (a) tokens
    i0 i1  a0 a1     1. 11  .. ..
    i2 i3  a2 a3     11 11  .. ..   1. 11  .. ..        (a0 and a1 see i0 i1; a2 and a3 see all four)

The inputs of action tokens are zero, and the logits of a frame's eleven action tokens are read one row early: at its last
image token and its first ten action tokens. So, exactly:

    keys and values      image tokens only
    rows                 image tokens, and ten action rows of those frames whose action is asked for
    last layer           queries at the rows that are read, with the projections of keys and values folded into them
    attention            a block of frames at a time against the frames up to it, because later ones are masked anyway

For 15 frames and one action that is 1,225 rows of 1,380, and 11 in the last layer.
"""

from __future__ import annotations

import math

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from rtx.models.layout import by_rows
from rtx.models.remat import rematerialized
from rtx.models.rt1.layers import Dense, HeadProjection
from rtx.models.rt1x.config import NUM_ACTION_TOKENS, RT1XConfig

NUM_QUERIES = NUM_ACTION_TOKENS - 1
"""Action rows of a frame that are read; its first action token's logits come from its last image token."""

BLOCK_FRAMES = 3
"""Frames whose rows attend together. Of 15 frames, 5 blocks skip 40 % of the scores; single frames would skip 47 % in
products so small that on a CPU a step took half as long again."""


def attention_mask(history: int, tokens_per_image: int) -> np.ndarray:
    """The published mask in full, bool `[n, n]` with n = history * (tokens_per_image + 11): which row sees which key."""
    place = np.arange(history * (tokens_per_image + NUM_ACTION_TOKENS))
    is_image = place % (tokens_per_image + NUM_ACTION_TOKENS) < tokens_per_image
    return (place[None, :] <= place[:, None]) & is_image[None, :]


def image_positions(history: int, tokens_per_image: int) -> np.ndarray:
    """Place of every image token in the published sequence, int [t, m]."""
    frame = np.arange(history)[:, None] * (tokens_per_image + NUM_ACTION_TOKENS)
    return frame + np.arange(tokens_per_image)


def query_positions(history: int, tokens_per_image: int, num_steps: int) -> np.ndarray:
    """Place of the action rows that are read, of the last `num_steps` frames, int [num_steps, 10]."""
    frame = np.arange(history - num_steps, history)[:, None] * (tokens_per_image + NUM_ACTION_TOKENS)
    return frame + tokens_per_image + np.arange(NUM_QUERIES)


def read_rows(t: int, m: int, num_steps: int) -> np.ndarray:
    """Numbers of the rows whose outputs are the logits: of each frame its last image token, then its action rows."""
    last_image = np.arange(t - num_steps, t)[:, None] * m + m - 1
    queries = t * m + np.arange(num_steps * NUM_QUERIES).reshape(num_steps, NUM_QUERIES)
    return np.concatenate([last_image, queries], 1).reshape(-1)


class Positions(nn.Module):
    """The published dense layer over a one-hot index: one row of its kernel, plus its bias."""

    length: int
    features: int

    @nn.compact
    def __call__(self, places: Int[np.ndarray, "*n"]) -> Float[Array, "*n d"]:
        kernel = self.param("kernel", nn.initializers.lecun_normal(), (self.length, self.features), jnp.float32)
        bias = self.param("bias", nn.initializers.zeros, (self.features,), jnp.float32)
        return kernel[places] + bias


class CausalImageAttention(nn.Module):
    """Attention of given rows to all image tokens at or before them; names as in `flax.linen.MultiHeadDotProductAttention`."""

    config: RT1XConfig

    @nn.compact
    def __call__(
        self,
        rows: Float[Array, "b r d"],
        images: Float[Array, "b n d"],
        places: Int[np.ndarray, " r"],
        *,
        train: bool,
    ) -> Float[Array, "b r d"]:
        """`places`: of the rows, in the published sequence."""
        cfg, dtype, width = self.config, rows.dtype, rows.shape[-1]
        into = (width, cfg.num_heads, cfg.head_width)
        query, key, value = (HeadProjection(into, num_inputs=1, dtype=dtype, name=name) for name in ("query", "key", "value"))
        drop = nn.Dropout(cfg.dropout, broadcast_dims=(0, 1), deterministic=not train)  # one draw for all heads and samples
        asked = (query(rows) / math.sqrt(cfg.head_width)).transpose(0, 2, 1, 3)
        if few_rows(len(places), images.shape[1], width, cfg.head_width):
            mixed = self._folded(asked, images, key, value, places, drop)
        else:
            mixed = self._by_blocks(asked, images, key, value, places, drop)
        out = HeadProjection((cfg.num_heads, cfg.head_width, width), num_inputs=2, dtype=dtype, name="out")
        return out(mixed.transpose(0, 2, 1, 3))

    def _by_blocks(
        self,
        asked: Float[Array, "b e r h"],
        images: Float[Array, "b n d"],
        key: HeadProjection,
        value: HeadProjection,
        places: Int[np.ndarray, " r"],
        drop: nn.Dropout,
    ) -> Float[Array, "b e r h"]:
        # heads first: XLA's CPU backend multiplies such stacks of matrices twice as fast
        keys, values = (project(images).transpose(0, 2, 1, 3) for project in (key, value))
        of_image = image_positions(self.config.history, self.config.tokens_per_image).reshape(-1)
        order, sizes = blocks_of(places, self.config)
        mixed: list[jax.Array] = []
        for block in np.split(order, np.cumsum(sizes)[:-1]):
            seen = int(np.searchsorted(of_image, places[block].max(), side="right"))
            scores = _take(asked, block, axis=2) @ keys[:, :, :seen].swapaxes(2, 3)
            weight, total = softmax_parts(scores, of_image[:seen] <= places[block][:, None])
            mixed.append((drop(weight).astype(values.dtype) @ values[:, :, :seen]) / total.astype(values.dtype))
        return _take(jnp.concatenate(mixed, 2), np.argsort(order), axis=2)

    def _folded(
        self,
        asked: Float[Array, "b e r h"],
        images: Float[Array, "b n d"],
        key: HeadProjection,
        value: HeadProjection,
        places: Int[np.ndarray, " r"],
        drop: nn.Dropout,
    ) -> Float[Array, "b e r h"]:
        """The same sums in another order: q (K x) = (q K) x, so that no key and no value is ever made."""
        of_image = image_positions(self.config.history, self.config.tokens_per_image).reshape(-1)
        (into_key, key_bias), (into_value, value_bias) = key.weights(), value.weights()
        b, e, r, _ = asked.shape
        spread = jnp.einsum("berh,deh->berd", asked, into_key).reshape(b, e * r, -1)
        scores = (spread @ images.swapaxes(1, 2)).reshape(b, e, r, -1) + jnp.einsum("berh,eh->ber", asked, key_bias)[..., None]
        weight, total = softmax_parts(scores, of_image <= places[:, None])
        share = (drop(weight) / total).astype(images.dtype)
        seen = (share.reshape(b, e * r, -1) @ images).reshape(b, e, r, -1)
        return jnp.einsum("berd,deh->berh", seen, into_value) + share.sum(-1, keepdims=True) * value_bias[:, None]


def few_rows(num_rows: int, num_keys: int, width: int, head_width: int) -> bool:
    """Whether so few rows ask that folding the projections into them takes fewer products than making keys and values."""
    folded = num_rows * width * (num_keys + head_width)
    return folded < num_keys * head_width * (width + num_rows)


def softmax_parts(
    scores: Float[Array, "b e r n"], mask: Bool[np.ndarray, "r n"]
) -> tuple[Float[Array, "b e r n"], Float[Array, "b e r 1"]]:
    """Numerator and denominator of the softmax over allowed keys, float32: dividing after the mixing saves a pass."""
    allowed = jnp.where(jnp.asarray(mask), scores.astype(jnp.float32), -1e30)
    weight = jnp.exp(allowed - jax.lax.stop_gradient(jnp.max(allowed, -1, keepdims=True)))
    return weight, jnp.sum(weight, -1, keepdims=True)


def _take(x: jax.Array, rows: np.ndarray, axis: int = 1) -> jax.Array:
    """The numbered rows, as a slice where they lie together: that copies nothing."""
    if np.array_equal(rows, np.arange(rows[0], rows[0] + len(rows))):
        return jax.lax.slice_in_dim(x, int(rows[0]), int(rows[-1]) + 1, axis=axis)
    return jnp.take(x, rows, axis=axis)


def blocks_of(places: np.ndarray, config: RT1XConfig) -> tuple[np.ndarray, list[int]]:
    """Rows sorted by place, and how many belong to each block of frames: int [r] and the sizes of its runs."""
    order = np.argsort(places, kind="stable")
    block = places[order] // ((config.tokens_per_image + NUM_ACTION_TOKENS) * BLOCK_FRAMES)
    _, sizes = np.unique(block, return_counts=True)
    return order, [int(size) for size in sizes]


class TransformerBlock(nn.Module):
    """Pre-norm: x + attention(LN(x)), then x + dropout(FFN(LN(x)))."""

    config: RT1XConfig

    @nn.compact
    def __call__(
        self,
        x: Float[Array, "b r d"],
        places: Int[np.ndarray, " r"],
        wanted: Int[np.ndarray, " q"],
        *,
        train: bool,
    ) -> Float[Array, "b q d"]:
        """`x`: the image tokens, then action rows. Returns the rows numbered `wanted`; the others serve as keys only."""
        cfg, dtype, x = self.config, x.dtype, by_rows(x)
        num_images = cfg.history * cfg.tokens_per_image
        normed = nn.LayerNorm(epsilon=1e-6, dtype=dtype, name="LayerNorm_0")(x)
        attention = CausalImageAttention(cfg, name="MultiHeadDotProductAttention_0")
        mixed = attention(_take(normed, wanted), normed[:, :num_images], places[wanted], train=train)
        x = _take(x, wanted) + mixed
        normed = nn.LayerNorm(epsilon=1e-6, dtype=dtype, name="LayerNorm_1")(x)
        return x + nn.Dropout(cfg.dropout)(self._feed_forward(normed), deterministic=not train)

    def _feed_forward(self, x: Float[Array, "b q d"]) -> Float[Array, "b q d"]:
        cfg, dtype, width = self.config, x.dtype, x.shape[-1]
        if cfg.ffn == "linear":
            return Dense(width, use_bias=False, dtype=dtype, name="Dense_0")(x)
        swish = nn.silu(Dense(cfg.mlp_width, use_bias=False, dtype=dtype, name="Dense_0")(x))
        gate = Dense(cfg.mlp_width, use_bias=False, dtype=dtype, name="Dense_1")(x)
        return Dense(width, use_bias=False, dtype=dtype, name="Dense_2")(swish * gate)


class Transformer(nn.Module):
    """Image tokens of all frames to the logits of the last `num_steps` frames' action tokens, float32."""

    config: RT1XConfig

    @nn.compact
    def __call__(self, images: Float[Array, "b t m f"], *, num_steps: int, train: bool) -> Float[Array, "b k 11 v"]:
        cfg, dtype = self.config, images.dtype
        b, t, m, features = images.shape
        of_queries = query_positions(t, m, num_steps).reshape(-1)
        places = np.concatenate([image_positions(t, m).reshape(-1), of_queries])
        project = Dense(cfg.width, dtype=dtype, name="Dense_0")
        x = project(images.reshape(b, t * m, features))
        # The action tokens' inputs are zero: what the projection makes of that, its bias, is the same row for all.
        nothing = jnp.broadcast_to(project(jnp.zeros((1, 1, features), dtype)), (b, len(of_queries), cfg.width))
        x = jnp.concatenate([x, nothing], 1)
        x += Positions(t * (m + NUM_ACTION_TOKENS), cfg.width, name="Dense_1")(places).astype(dtype)
        everything, read = np.arange(len(places)), read_rows(t, m, num_steps)
        for i in range(cfg.num_layers):
            wanted = read if i == cfg.num_layers - 1 else everything

            def layer(block: TransformerBlock, x: jax.Array, wanted: np.ndarray = wanted) -> jax.Array:
                return block(x, places, wanted, train=train)

            x = rematerialized(layer, cfg.remat)(TransformerBlock(cfg, name=f"TransformerBlock_{i}"), x)
        logits = Dense(cfg.num_bins, dtype=dtype, name="Dense_2")(x).astype(jnp.float32)
        return logits.reshape(b, num_steps, NUM_ACTION_TOKENS, cfg.num_bins)
