"""Gemma and Gemma 2 (arXiv 2403.08295, 2408.00118) with a cache of keys and values; big_vision's parameter names.

A layer:

    x += post_attention_norm(attention(pre_attention_norm(x)))        the post norms are Gemma 2's
    x += post_ffw_norm(mlp(pre_ffw_norm(x)))

`heads` queries share `kv_heads` keys and values, which are never repeated: the queries of one key lie together as rows of one
matrix. A layer reads the cache and hands back the keys and values of its new rows only; all layers' rows enter the cache in one
write afterwards.

Parameters come in two forms, told apart by their names:

    layers/...        stacked on axis 0, layers scanned        checkpoints, training
    layers_{i}/...    one by one, as `unrolled` makes them     acting: every product has a matrix of its own, which is read in
                                                               place; from a stack XLA copies it out first

Letters besides the project's: g queries per key, f hidden width of the MLP.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Bool, Float, Int

from rtx.errors import UserError
from rtx.models.layout import by_rows, looked_up
from rtx.models.remat import Remat, rematerialized
from rtx.models.vla.attention import attend, masked, soft_cap

EPSILON = 1e-6

KeysValues = tuple[jax.Array, jax.Array]
"""Heads first: each [b, kv_heads, s, head_dim] of one layer, [layers, b, kv_heads, s, head_dim] of all."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class GemmaConfig:
    vocab: int = 257_152  # Gemma's 256,000 pieces, 1,024 <loc>, 128 <seg>
    width: int
    depth: int
    mlp: int
    heads: int
    kv_heads: int
    head_dim: int
    query_scale: float
    attn_softcap: float | None = None
    final_softcap: float | None = None
    post_norms: bool = False
    rope_base: float = 10_000.0

    def __post_init__(self) -> None:
        sizes = {name: getattr(self, name) for name in ("vocab", "width", "depth", "mlp", "heads", "kv_heads", "head_dim")}
        if small := [name for name, size in sizes.items() if size < 1]:
            raise UserError(f"GemmaConfig: {', '.join(small)} must be at least 1")
        if self.heads % self.kv_heads:
            raise UserError(f"GemmaConfig: heads {self.heads} is not divisible by kv_heads {self.kv_heads}")
        if self.head_dim % 2:
            raise UserError(f"GemmaConfig: head_dim {self.head_dim} must be even, since positions turn pairs")


def gemma_2b() -> GemmaConfig:
    """PaliGemma 3B's."""
    return GemmaConfig(width=2048, depth=18, mlp=16_384, heads=8, kv_heads=1, head_dim=256, query_scale=256**-0.5)


def gemma2_2b() -> GemmaConfig:
    """PaliGemma 2 3B's. Fine-tuning sets the final soft cap to None."""
    return GemmaConfig(
        width=2304, depth=26, mlp=9216, heads=8, kv_heads=4, head_dim=256, query_scale=256**-0.5,
        attn_softcap=50.0, final_softcap=30.0, post_norms=True,
    )  # fmt: skip


def gemma2_9b() -> GemmaConfig:
    """PaliGemma 2 10B's."""
    return GemmaConfig(
        width=3584, depth=42, mlp=14_336, heads=16, kv_heads=8, head_dim=256, query_scale=256**-0.5,
        attn_softcap=50.0, final_softcap=30.0, post_norms=True,
    )  # fmt: skip


def gemma2_27b() -> GemmaConfig:
    """PaliGemma 2 28B's. The query scale is that of width / heads, not of head_dim."""
    return GemmaConfig(
        width=4608, depth=46, mlp=36_864, heads=32, kv_heads=16, head_dim=128, query_scale=144**-0.5,
        attn_softcap=50.0, final_softcap=30.0, post_norms=True,
    )  # fmt: skip


class Gemma(nn.Module):
    """Embedded tokens to hidden rows. `embed` before, `logits` after."""

    config: GemmaConfig
    dtype: DTypeLike = jnp.float32
    remat: Remat = "dots"  # what of a layer the backward pass keeps

    def setup(self) -> None:
        self.embedder = Embedder(self.config, self.dtype)
        self.final_norm = RMSNorm()
        if self.has_variable("params", "layers_0"):
            self.each = [Block(self.config, self.dtype, True, name=f"layers_{i}") for i in range(self.config.depth)]
            return
        self.each = []
        block = rematerialized(Block, self.remat, prevent_cse=False)
        self.layers = nn.scan(
            block,
            variable_axes={"params": 0},
            split_rngs={"params": True},
            in_axes=(nn.broadcast, nn.broadcast, 0, nn.broadcast),
            length=self.config.depth,
        )(self.config, self.dtype, False)

    def embed(self, ids: Int[Array, "b n"]) -> Float[Array, "b n d"]:
        return self.embedder.embed(ids)

    def __call__(
        self,
        x: Float[Array, "b n d"],
        positions: Int[Array, "b n"],
        mask: Bool[Array, "b q n"],
        cache: KeysValues | None = None,
        cached: Bool[Array, "b s"] | None = None,
    ) -> tuple[Float[Array, "b n d"], KeysValues]:
        """Hidden rows after the last norm, and the keys and values of these rows of all layers.

        mask[b, q, k]: row q sees row k; one q stands for all rows. With `cache`, all rows also see it where `cached` is True.
        """
        if not self.each:
            x, new = self.layers(x, positions, mask, cache, cached)
            return self.final_norm(x), new
        rows = []
        for i, layer in enumerate(self.each):
            x, of_layer = layer(x, positions, mask, cache and (cache[0][i], cache[1][i]), cached)
            rows.append(of_layer)
        keys, values = zip(*rows, strict=True)
        return self.final_norm(x), (jnp.stack(keys), jnp.stack(values))

    def logits(self, hidden: Float[Array, "*n d"], ids: Int[Array, " r"] | None = None) -> Float[Array, "*n v"]:
        """Float32, after the soft cap; only of the tokens `ids` if given."""
        return self.embedder.logits(hidden, ids)


class Embedder(nn.Module):
    """The table of both ends: its rows times sqrt(width) are the inputs, products with its rows the logits."""

    config: GemmaConfig
    dtype: DTypeLike

    def setup(self) -> None:
        init = nn.initializers.variance_scaling(1.0, "fan_in", "normal", in_axis=1, out_axis=0)
        self.input_embedding = self.param("input_embedding", init, (self.config.vocab, self.config.width), jnp.float32)

    def embed(self, ids: Int[Array, "b n"]) -> Float[Array, "b n d"]:
        scale = jnp.asarray(math.sqrt(self.config.width), self.dtype)  # rounded as the released models round it
        return looked_up(self.input_embedding, ids).astype(self.dtype) * scale

    def logits(self, hidden: Float[Array, "*n d"], ids: Int[Array, " r"] | None) -> Float[Array, "*n v"]:
        table = self.input_embedding if ids is None else jnp.take(self.input_embedding, ids, axis=0)
        rows = hidden.astype(self.dtype).reshape(-1, hidden.shape[-1])
        logits = jnp.matmul(rows, table.astype(self.dtype).T, preferred_element_type=jnp.float32)
        return soft_cap(logits, self.config.final_softcap).reshape(*hidden.shape[:-1], table.shape[0])


class Block(nn.Module):
    config: GemmaConfig
    dtype: DTypeLike
    unrolled: bool

    @nn.compact
    def __call__(
        self,
        x: Float[Array, "b n d"],
        positions: Int[Array, "b n"],
        mask: Bool[Array, "b q n"],
        cache: KeysValues | None,
        cached: Bool[Array, "b s"] | None,
    ) -> tuple[Float[Array, "b n d"], KeysValues]:
        cfg, x = self.config, by_rows(x)
        normed = RMSNorm(name="pre_attention_norm")(x)
        mixed, new = Attention(cfg, self.dtype, self.unrolled, name="attn")(normed, positions, mask, cache, cached)
        x = x + (RMSNorm(name="post_attention_norm")(mixed) if cfg.post_norms else mixed)
        out = FeedForward(cfg, self.dtype, self.unrolled, name="mlp")(RMSNorm(name="pre_ffw_norm")(x))
        return x + (RMSNorm(name="post_ffw_norm")(out) if cfg.post_norms else out), new


class Attention(nn.Module):
    config: GemmaConfig
    dtype: DTypeLike
    unrolled: bool

    @nn.compact
    def __call__(
        self,
        x: Float[Array, "b n d"],
        positions: Int[Array, "b n"],
        mask: Bool[Array, "b q n"],
        cache: KeysValues | None,
        cached: Bool[Array, "b s"] | None,
    ) -> tuple[Float[Array, "b n d"], KeysValues]:
        cfg, (b, n, d) = self.config, x.shape
        out_of = Weights((cfg.heads, cfg.head_dim, d), (-3, -2), self.dtype, name="attn_vec_einsum")()
        query, key, value = self._heads(x)
        query = rotate(query, positions, cfg.rope_base) * cfg.query_scale
        key = rotate(key, positions, cfg.rope_base)
        grouped = query.reshape(b, cfg.kv_heads, cfg.heads // cfg.kv_heads * n, cfg.head_dim)
        mixed = self._mix(grouped, (key, value), mask, cache, cached)
        rows = mixed.reshape(b, cfg.heads, n, cfg.head_dim).swapaxes(1, 2).reshape(b * n, cfg.heads * cfg.head_dim)
        return (rows @ out_of.reshape(-1, d)).reshape(b, n, d), (key, value)

    def _heads(self, x: Float[Array, "b n d"]) -> tuple[jax.Array, jax.Array, jax.Array]:
        """Queries [b, heads, n, h], keys and values [b, kv_heads, n, h], before positions."""
        cfg, (b, n, d) = self.config, x.shape
        rows = x.reshape(b * n, d)
        if self.unrolled:
            width = (cfg.heads + 2 * cfg.kv_heads) * cfg.head_dim
            together = rows @ Weights((d, width), -2, self.dtype, name="qkv")()
            products = jnp.split(together, [cfg.heads * cfg.head_dim], axis=-1)
        else:  # apart: queries may be split over devices where keys and values, of fewer heads, are not
            query = Weights((cfg.heads, d, cfg.head_dim), -2, self.dtype, name="q_einsum")()
            key_value = Weights((2, cfg.kv_heads, d, cfg.head_dim), -2, self.dtype, name="kv_einsum")()
            products = [rows @ as_matrix(query), rows @ as_matrix(key_value)]
        query, key_value = (product.reshape(b, n, -1, cfg.head_dim).swapaxes(1, 2) for product in products)
        key, value = jnp.split(key_value, 2, axis=1)
        return query, key, value

    def _mix(
        self,
        query: Float[Array, "b e gn h"],
        new: KeysValues,
        mask: Bool[Array, "b q n"],
        cache: KeysValues | None,
        cached: Bool[Array, "b s"] | None,
    ) -> Float[Array, "b e gn h"]:
        """One softmax over the cache's rows and the new ones."""
        if cache is None or cached is None:
            return attend(query, *new, mask, self.config.attn_softcap)
        scores = [self._scores(query, new[0], mask), self._scores(query, cache[0], cached[:, None])]
        probability = jax.nn.softmax(jnp.concatenate(scores, -1), axis=-1).astype(self.dtype)
        of_new, of_cache = jnp.split(probability, [new[0].shape[2]], axis=-1)
        return of_new @ new[1] + of_cache @ cache[1].astype(self.dtype)

    def _scores(
        self, query: Float[Array, "b e gn h"], key: Float[Array, "b e s h"], mask: Bool[Array, "b q s"]
    ) -> Float[Array, "b e gn s"]:
        """Float32."""
        scores = jnp.matmul(query, key.astype(self.dtype).swapaxes(2, 3), preferred_element_type=jnp.float32)
        return masked(soft_cap(scores, self.config.attn_softcap), mask)


class FeedForward(nn.Module):
    """Gated GELU (tanh form)."""

    config: GemmaConfig
    dtype: DTypeLike
    unrolled: bool

    @nn.compact
    def __call__(self, x: Float[Array, "b n d"]) -> Float[Array, "b n d"]:
        d, f = x.shape[-1], self.config.mlp
        if self.unrolled:
            gate, up = (self.param(name, kernel_init(-2), (d, f), jnp.float32) for name in ("gate", "up"))
        else:
            gate, up = self.param("gating_einsum", kernel_init(-2), (2, d, f), jnp.float32)
        linear = self.param("linear", kernel_init(-2), (f, d), jnp.float32).astype(self.dtype)
        rows = x.reshape(-1, d)
        hidden = nn.gelu(rows @ gate.astype(self.dtype), approximate=True) * (rows @ up.astype(self.dtype))
        return (hidden @ linear).reshape(x.shape)


class RMSNorm(nn.Module):
    """x / rms(x) * (1 + scale), in float32, result as wide as x."""

    @nn.compact
    def __call__(self, x: Float[Array, "*n d"]) -> Float[Array, "*n d"]:
        scale = self.param("scale", nn.initializers.zeros, (x.shape[-1],), jnp.float32)
        wide = x.astype(jnp.float32)
        normed = wide * jax.lax.rsqrt(jnp.mean(jnp.square(wide), axis=-1, keepdims=True) + EPSILON)
        return (normed * (1 + scale.astype(jnp.float32))).astype(x.dtype)


class Weights(nn.Module):
    """One matrix called `w`, as big_vision's Einsum layers hold it."""

    shape: tuple[int, ...]
    in_axis: int | tuple[int, ...]
    dtype: DTypeLike

    @nn.compact
    def __call__(self) -> Float[Array, "*shape"]:
        return self.param("w", kernel_init(self.in_axis), self.shape, jnp.float32).astype(self.dtype)


def kernel_init(in_axis: int | tuple[int, ...]) -> nn.initializers.Initializer:
    """Variance 1 / (number of inputs); axes that are neither input nor the last are separate matrices."""

    def init(key: jax.Array, shape: tuple[int, ...], dtype: DTypeLike = jnp.float32) -> jax.Array:
        axes = (in_axis,) if isinstance(in_axis, int) else in_axis
        inputs = math.prod(shape[axis] for axis in axes)
        return jax.random.truncated_normal(key, -2, 2, shape, dtype) * (inputs**-0.5 / 0.87962566103423978)

    return init


def as_matrix(kernel: Float[Array, "*e d h"]) -> Float[Array, "d eh"]:
    """Heads side by side."""
    return jnp.moveaxis(kernel, -2, 0).reshape(kernel.shape[-2], -1)


def unrolled(params: Mapping[str, Any]) -> dict[str, Any]:
    """Gemma's stacked "params" as one tree a layer, for acting: queries, keys and values one matrix, gate and up two.

    The same numbers come out. On a CPU a token of a network of 108 M parameters takes a third of the time (50 ms for 137).
    """

    def layer(stacked: Mapping[str, Any]) -> dict[str, Any]:
        attention, mlp = dict(stacked["attn"]), dict(stacked["mlp"])
        heads = [as_matrix(attention.pop(name)["w"]) for name in ("q_einsum", "kv_einsum")]
        mlp["gate"], mlp["up"] = mlp.pop("gating_einsum")
        return {**stacked, "attn": {**attention, "qkv": {"w": jnp.concatenate(heads, -1)}}, "mlp": mlp}

    depth = jax.tree.leaves(params["layers"])[0].shape[0]
    one = jax.jit(lambda stacked, i: layer(jax.tree.map(lambda leaf: leaf[i], stacked)))
    others = {name: value for name, value in params.items() if name != "layers"}
    return others | {f"layers_{i}": one(params["layers"], i) for i in range(depth)}


def rotate(x: Float[Array, "b e n h"], positions: Int[Array, "b n"], base: float) -> Float[Array, "b e n h"]:
    """Rotary positions (arXiv 2104.09864) on halves: dimension i turns with i + h/2; float32 inside."""
    half = x.shape[-1] // 2
    frequency = base ** (-jnp.arange(half, dtype=jnp.float32) / half)
    angle = positions.astype(jnp.float32)[:, None, :, None] * frequency
    sin, cos = jnp.sin(angle), jnp.cos(angle)
    first, second = x[..., :half].astype(jnp.float32), x[..., half:].astype(jnp.float32)
    return jnp.concatenate([first * cos - second * sin, second * cos + first * sin], -1).astype(x.dtype)
