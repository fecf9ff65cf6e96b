"""RT-1-X written down as published, nothing saved: the reference for speed (`benchmarks/rt1x.py`) and for numbers.

    every frame encoded in every call · grouped convolutions · one-hot positions · every row of the sequence · full masks

Flax's own layers throughout, so it shares no arithmetic with `rtx.models.rt1x`, only the names of the parameters.
"""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from rtx.models.rt1x.config import RT1XConfig

ACTION_TOKENS = 11


def channels_of(number: int, coefficient: float) -> int:
    scaled = number * coefficient
    nearest = max(8, 8 * int((scaled + 4) // 8))
    return nearest if nearest >= 0.9 * scaled else nearest + 8


class DepthwiseKernel(nn.Module):
    """A grouped convolution whose kernel is stored as TensorFlow stores it."""

    size: int
    stride: int
    padding: Any

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        shape = (self.size, self.size, x.shape[-1], 1)
        kernel = self.param("depthwise_kernel", nn.initializers.variance_scaling(2.0, "fan_out", "normal"), shape)
        kernel = jnp.transpose(kernel, (0, 1, 3, 2))
        layout = jax.lax.conv_dimension_numbers(x.shape, kernel.shape, ("NHWC", "HWIO", "NHWC"))
        steps = (self.stride, self.stride)
        return jax.lax.conv_general_dilated(
            x, kernel, steps, self.padding, dimension_numbers=layout, feature_group_count=x.shape[-1]
        )


class Squeeze(nn.Module):
    reduced: int

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        mean = nn.avg_pool(x, x.shape[1:3])
        y = nn.swish(nn.Conv(self.reduced, (1, 1), name="reduce_conv2d_0")(mean))
        return x * nn.sigmoid(nn.Conv(x.shape[-1], (1, 1), name="expand_conv2d_0")(y))


class Film(nn.Module):
    @nn.compact
    def __call__(self, x: jax.Array, condition: jax.Array) -> jax.Array:
        add = nn.Dense(x.shape[-1], kernel_init=nn.initializers.zeros, name="Dense_0")(condition)
        mul = nn.Dense(x.shape[-1], kernel_init=nn.initializers.zeros, name="Dense_1")(condition)
        return (1 + mul[:, None, None]) * x + add[:, None, None]


class Bottleneck(nn.Module):
    channels: int
    kernel: int
    stride: int
    expand: int
    rate: float
    tf_padding: bool

    @nn.compact
    def __call__(self, inputs: jax.Array, train: bool) -> jax.Array:
        x, width, number = inputs, inputs.shape[-1], iter(range(3))
        conv = partial(nn.Conv, kernel_size=(1, 1), use_bias=False)

        def norm(x: jax.Array) -> jax.Array:
            name = f"batch_normalization_{next(number)}"
            return nn.BatchNorm(not train, momentum=0.99, epsilon=1e-3, name=name)(x)

        if self.expand > 1:
            x = nn.swish(norm(conv(width * self.expand, name="expand_conv2d_0")(x)))
        fixed = (self.kernel // 2 - 1, self.kernel // 2)
        padding = (fixed, fixed) if self.tf_padding and self.stride == 2 else "SAME"
        x = nn.swish(norm(DepthwiseKernel(self.kernel, self.stride, padding, name="depthwise_conv2d")(x)))
        x = Squeeze(max(1, width // 4), name="SqueezeExcite_0")(x)
        x = norm(conv(self.channels, name="project_conv2d_0")(x))
        if self.stride > 1 or self.channels != width:
            return x
        if train and self.rate > 0:
            kept = jax.random.bernoulli(self.make_rng("dropout"), 1 - self.rate, (x.shape[0], 1, 1, 1))
            x = jax.lax.select(jnp.broadcast_to(kept, x.shape), x / (1 - self.rate), jnp.zeros_like(x))
        return x + inputs


class Ends(nn.Module):
    """Stem or head: convolution, batch norm, swish."""

    channels: int
    size: int
    stride: int
    padding: Any = "SAME"

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        steps = (self.stride, self.stride)
        x = nn.Conv(self.channels, (self.size, self.size), steps, self.padding, use_bias=False, name="conv2d")(x)
        return nn.swish(nn.BatchNorm(not train, momentum=0.99, epsilon=1e-3, name="batch_normalization")(x))


class PlainEfficientNet(nn.Module):
    width: float
    depth: float
    drop: float
    tf_padding: bool

    @nn.compact
    def __call__(self, x: jax.Array, condition: jax.Array, train: bool) -> jax.Array:
        table = [(16, 1, 3, 1, 1), (24, 2, 3, 2, 6), (40, 2, 5, 2, 6), (80, 3, 3, 2, 6), (112, 3, 5, 1, 6)]
        table += [(192, 4, 5, 2, 6), (320, 1, 3, 1, 6)]
        x = Ends(channels_of(32, self.width), 3, 2, ((0, 1), (0, 1)) if self.tf_padding else "SAME", name="Stem_0")(x, train)
        total, number = sum(math.ceil(row[1] * self.depth) for row in table), 0
        for channels, repeats, kernel, stride, expand in table:
            for repeat in range(math.ceil(repeats * self.depth)):
                step, rate = stride if repeat == 0 else 1, self.drop * number / total
                block = Bottleneck(channels_of(channels, self.width), kernel, step, expand, rate, self.tf_padding,
                                   name=f"MBConvBlock_{number}")  # fmt: skip
                x = Film(name=f"FilmConditioning_{number}")(block(x, train), condition)
                number += 1
        return Ends(channels_of(1280, self.width), 1, 1, name="Head_0")(x, train)


class PlainMasking(nn.Module):
    hidden: int
    tokens: int

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        return nn.Dense(self.tokens, name="Dense_1")(nn.gelu(nn.Dense(self.hidden, name="Dense_0")(x)))


class PlainTokenLearner(nn.Module):
    hidden: int
    tokens: int

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        x = x.reshape(x.shape[0], -1, x.shape[-1])
        scores = PlainMasking(self.hidden, self.tokens, name="token_masking")(nn.LayerNorm(name="LayerNorm_0")(x))
        return jnp.einsum("nsm,nsc->nmc", nn.softmax(scores, axis=1), x)


class PlainTokenizer(nn.Module):
    config: RT1XConfig

    @nn.compact
    def __call__(self, image: jax.Array, condition: jax.Array, train: bool) -> jax.Array:
        cfg = self.config
        image = (image - jnp.array([0.485, 0.456, 0.406])) / jnp.array([0.229, 0.224, 0.225])
        net = PlainEfficientNet(
            cfg.width_coefficient, cfg.depth_coefficient, cfg.drop_connect, cfg.grid == "tf", name="EfficientNetWithFilm_0"
        )
        x = net(image, condition, train)
        x = Film(name="FilmConditioning_0")(nn.Conv(cfg.image_features, (1, 1), use_bias=False, name="Conv_0")(x), condition)
        return PlainTokenLearner(cfg.token_hidden, cfg.tokens_per_image, name="TokenLearnerModuleV11_0")(x)


class PlainBlock(nn.Module):
    config: RT1XConfig

    @nn.compact
    def __call__(self, x: jax.Array, mask: jax.Array, train: bool) -> jax.Array:
        cfg = self.config
        y = nn.LayerNorm(name="LayerNorm_0")(x)
        attention = nn.MultiHeadDotProductAttention(
            cfg.num_heads, qkv_features=cfg.num_heads * cfg.head_width, dropout_rate=cfg.dropout,
            name="MultiHeadDotProductAttention_0",
        )  # fmt: skip
        x = x + attention(y, y, mask=mask, deterministic=not train)
        y = nn.LayerNorm(name="LayerNorm_1")(x)
        dense = partial(nn.Dense, use_bias=False)
        if cfg.ffn == "linear":
            y = dense(cfg.width, name="Dense_0")(y)
        else:
            y = nn.swish(dense(cfg.mlp_width, name="Dense_0")(y)) * dense(cfg.mlp_width, name="Dense_1")(y)
            y = dense(cfg.width, name="Dense_2")(y)
        return x + nn.Dropout(cfg.dropout)(y, deterministic=not train)


class PlainTransformer(nn.Module):
    config: RT1XConfig

    @nn.compact
    def __call__(self, tokens: jax.Array, mask: jax.Array, train: bool) -> jax.Array:
        cfg, n = self.config, tokens.shape[1]
        places = jax.nn.one_hot(jnp.tile(jnp.arange(n)[None], (tokens.shape[0], 1)), n)
        x = nn.Dense(cfg.width, name="Dense_0")(tokens) + nn.Dense(cfg.width, name="Dense_1")(places)
        for i in range(cfg.num_layers):
            x = PlainBlock(cfg, name=f"TransformerBlock_{i}")(x, mask, train)
        return nn.Dense(cfg.num_bins, name="Dense_2")(x)


class PlainRT1X(nn.Module):
    """Pictures float32 `[b, t, s, s, 3]` in [0, 1] and sentences `[b, 512]` to logits `[b, t, 11, v]`."""

    config: RT1XConfig

    @nn.compact
    def __call__(self, images: jax.Array, sentence: jax.Array, train: bool = False) -> jax.Array:
        cfg = self.config
        b, t, *picture = images.shape
        condition = jnp.repeat(sentence, t, axis=0)
        tokens = PlainTokenizer(cfg, name="image_tokenizer")(images.reshape(b * t, *picture), condition, train)
        tokens = tokens.reshape(b, t, cfg.tokens_per_image, -1)
        empty = jnp.zeros((b, t, ACTION_TOKENS, tokens.shape[-1]))
        per_frame = cfg.tokens_per_image + ACTION_TOKENS
        sequence = jnp.concatenate([tokens, empty], axis=2).reshape(b, t * per_frame, -1)
        mask = jnp.asarray(plain_mask(t, cfg.tokens_per_image))[None, None]
        out = PlainTransformer(cfg, name="Transformer_0")(sequence, mask, train)
        return out.reshape(b, t, per_frame, -1)[:, :, cfg.tokens_per_image - 1 : -1]


def plain_mask(frames: int, image_tokens: int) -> np.ndarray:
    """Causal, less every action token: bool [n, n]."""
    n = frames * (image_tokens + ACTION_TOKENS)
    is_action = np.arange(n) % (image_tokens + ACTION_TOKENS) >= image_tokens
    return np.tril(np.ones((n, n), bool)) & ~is_action
