"""Vision transformer: SigLIP's (arXiv 2303.15343) and ViT-22B's (arXiv 2302.05442), with big_vision's parameter names.

    sequential    x += attention(LN_0(x));  x += mlp(LN_1(x))
    parallel      x += attention(LN_0(x)) + mlp(LN_0(x))               ViT-22B

Pictures in bytes become [-1, 1], then one linear map per patch, plus learned positions; their number follows from the
pictures. Layers are scanned: one traced body, parameters stacked on axis 0.
"""

from __future__ import annotations

import dataclasses
import math

import flax.linen as nn
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Float, UInt8

from rtx.errors import UserError
from rtx.models.layout import by_rows
from rtx.models.remat import Remat, rematerialized
from rtx.models.rt1.layers import Dense, HeadProjection
from rtx.models.vla.attention import attend

EPSILON = 1e-6


@dataclasses.dataclass(frozen=True, kw_only=True)
class ViTConfig:
    patch: int  # pixels
    width: int
    depth: int
    mlp: int
    heads: int
    parallel: bool = False  # attention and MLP side by side from one LayerNorm
    qk_norm: bool = False  # LayerNorm over each head's queries and keys
    qkv_bias: bool = True  # False also takes the biases out of the LayerNorms, as in ViT-22B

    def __post_init__(self) -> None:
        sizes = {name: getattr(self, name) for name in ("patch", "width", "depth", "mlp", "heads")}
        if small := [name for name, size in sizes.items() if size < 1]:
            raise UserError(f"ViTConfig: {', '.join(small)} must be at least 1")
        if self.width % self.heads:
            raise UserError(f"ViTConfig: width {self.width} is not divisible by heads {self.heads}")

    def num_tokens(self, height: int, width: int) -> int:
        """Tokens of a picture of so many pixels. Raises UserError where patches do not cover it exactly."""
        if height % self.patch or width % self.patch:
            raise UserError(f"pictures of {height}x{width} pixels: both sides must be multiples of the patch, {self.patch}")
        return (height // self.patch) * (width // self.patch)


def so400m() -> ViTConfig:
    """SigLIP So400m/14, PaliGemma's."""
    return ViTConfig(patch=14, width=1152, depth=27, mlp=4304, heads=16)


def big_g() -> ViTConfig:
    """ViT-G/14, 2B parameters: RT-2-PaLI-3B's."""
    return ViTConfig(patch=14, width=1664, depth=48, mlp=8192, heads=16)


def vit_e() -> ViTConfig:
    """ViT-e/14, 4B parameters: RT-2-PaLM-E-12B's."""
    return ViTConfig(patch=14, width=1792, depth=56, mlp=15360, heads=16)


def vit_22b() -> ViTConfig:
    """ViT-22B/14: RT-2-PaLI-X-55B's."""
    return ViTConfig(patch=14, width=6144, depth=48, mlp=24576, heads=48, parallel=True, qk_norm=True, qkv_bias=False)


class ViT(nn.Module):
    """Pictures to tokens; with `features`, through the linear map called `head` to another width."""

    config: ViTConfig
    features: int | None = None
    dtype: DTypeLike = jnp.float32
    remat: Remat = "dots"  # what of a layer the backward pass keeps

    @nn.compact
    def __call__(self, pictures: UInt8[Array, "n h w 3"]) -> Float[Array, "n s d"]:
        cfg = self.config
        tokens = PatchEmbedding(cfg, self.dtype, name="embedding")(pictures)
        shape = (1, tokens.shape[1], cfg.width)
        tokens += self.param("pos_embedding", nn.initializers.normal(1 / math.sqrt(cfg.width)), shape, jnp.float32)
        tokens = Encoder(cfg, self.dtype, self.remat, name="Transformer")(tokens.astype(self.dtype))
        if self.features is None:
            return tokens
        # big_vision starts `head` at zero; noise keeps the first RMSNorm behind it away from dividing by sqrt(epsilon).
        return Dense(self.features, dtype=self.dtype, name="head")(tokens)


class PatchEmbedding(nn.Module):
    """The convolution with stride = kernel size, as one matrix product over patches."""

    config: ViTConfig
    dtype: DTypeLike

    @nn.compact
    def __call__(self, pictures: UInt8[Array, "n h w 3"]) -> Float[Array, "n s d"]:
        """Float32."""
        p, width = self.config.patch, self.config.width
        n, height, across, _ = pictures.shape
        num_tokens = self.config.num_tokens(height, across)
        init = nn.initializers.lecun_normal(in_axis=(0, 1, 2), out_axis=3)
        kernel = self.param("kernel", init, (p, p, 3, width), jnp.float32)
        bias = self.param("bias", nn.initializers.zeros, (width,), jnp.float32)
        patches = pictures.reshape(n, height // p, p, across // p, p, 3).transpose(0, 1, 3, 2, 4, 5)  # while still bytes
        rows = (patches.reshape(n * num_tokens, p * p * 3).astype(jnp.float32) / 127.5 - 1).astype(self.dtype)
        embedded = (rows @ kernel.reshape(-1, width).astype(self.dtype)).astype(jnp.float32) + bias
        return embedded.reshape(n, num_tokens, width)


class Encoder(nn.Module):
    """All layers, then `encoder_norm`."""

    config: ViTConfig
    dtype: DTypeLike
    remat: Remat

    @nn.compact
    def __call__(self, x: Float[Array, "n s d"]) -> Float[Array, "n s d"]:
        block = rematerialized(EncoderBlock, self.remat, prevent_cse=False)
        layers = nn.scan(block, variable_axes={"params": 0}, split_rngs={"params": True}, length=self.config.depth)
        x, _ = layers(self.config, self.dtype, name="encoderblock")(x, None)
        return layer_norm(self.config, self.dtype, "encoder_norm")(x)


class EncoderBlock(nn.Module):
    config: ViTConfig
    dtype: DTypeLike

    @nn.compact
    def __call__(self, x: Float[Array, "n s d"], _: None) -> tuple[Float[Array, "n s d"], None]:
        """Shaped for `nn.scan`: carries x, takes and gives nothing else."""
        cfg, x = self.config, by_rows(x)
        attention = SelfAttention(cfg, self.dtype, name="MultiHeadDotProductAttention_0")
        mlp = Mlp(cfg, self.dtype, name="MlpBlock_0")
        normed = layer_norm(cfg, self.dtype, "LayerNorm_0")(x)
        if cfg.parallel:
            return x + attention(normed) + mlp(normed), None
        x = x + attention(normed)
        return x + mlp(layer_norm(cfg, self.dtype, "LayerNorm_1")(x)), None


class Mlp(nn.Module):
    config: ViTConfig
    dtype: DTypeLike

    @nn.compact
    def __call__(self, x: Float[Array, "n s d"]) -> Float[Array, "n s d"]:
        hidden = nn.gelu(Dense(self.config.mlp, dtype=self.dtype, name="Dense_0")(x), approximate=True)
        return Dense(self.config.width, dtype=self.dtype, name="Dense_1")(hidden)


class SelfAttention(nn.Module):
    """Every token sees every token of its picture; softmax in float32."""

    config: ViTConfig
    dtype: DTypeLike

    @nn.compact
    def __call__(self, x: Float[Array, "n s d"]) -> Float[Array, "n s d"]:
        cfg = self.config
        head_width = cfg.width // cfg.heads
        into = (cfg.width, cfg.heads, head_width)
        query, key, value = (
            HeadProjection(into, 1, cfg.qkv_bias, self.dtype, name=name)(x) for name in ("query", "key", "value")
        )
        if cfg.qk_norm:
            query = layer_norm(cfg, self.dtype, "query_norm")(query)
            key = layer_norm(cfg, self.dtype, "key_norm")(key)
        # heads first: XLA's CPU backend multiplies such stacks of matrices twice as fast
        query, key, value = (heads.swapaxes(1, 2) for heads in (query / math.sqrt(head_width), key, value))
        mixed = attend(query, key, value, None, None).swapaxes(1, 2)
        return HeadProjection((cfg.heads, head_width, cfg.width), 2, True, self.dtype, name="out")(mixed)


def layer_norm(config: ViTConfig, dtype: DTypeLike, name: str) -> nn.LayerNorm:
    """Statistics in float32, result in `dtype`."""
    return nn.LayerNorm(epsilon=EPSILON, use_bias=config.qkv_bias, dtype=dtype, name=name)
