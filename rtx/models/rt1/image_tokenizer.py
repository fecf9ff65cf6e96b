"""One camera's frame to a few tokens: a small FiLM-conditioned convolutional network and TokenLearner.

    uint8 [h, w, 3] -> patches of 4x4 -> dense, FiLM, GELU        grid h/4   (colour words bind here, per patch)
                    -> 2x2 patches joined -> residual blocks       grid h/8   LN, conv 3x3, FiLM, GELU, 1x1
                    -> (fine_grid) spread back over the stem's     grid h/4
                    -> FiLM, + where-am-I features -> TokenLearner -> tokens, each with its map's mean position (x, y)

Only plain 3x3 convolutions, and those on the coarse grid: on XLA's CPU backend a depthwise convolution's backward pass and
the weight gradient of a convolution on the fine grid cost several times their arithmetic. The expected position of each
map is appended because a policy has to know where the named object is to a fraction of a cell, not what it looks like.
"""

from __future__ import annotations

import math

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike
from jaxtyping import Array, Float, UInt8

from rtx.models.rt1.config import RT1Config
from rtx.models.rt1.layers import Dense, FilmConditioning, TokenLearnerModuleV11

IMAGE_MEAN = (0.485, 0.456, 0.406)  # ImageNet's, as RT-1
IMAGE_STD = (0.229, 0.224, 0.225)


def normalize_image(image: UInt8[Array, "*n h w 3"], dtype: DTypeLike) -> Float[Array, "*n h w 3"]:
    """uint8 to zero mean and unit variance per channel."""
    scaled = image.astype(jnp.float32) / 255.0
    return ((scaled - jnp.asarray(IMAGE_MEAN)) / jnp.asarray(IMAGE_STD)).astype(dtype)


def join_patches(x: Float[Array, "n h w c"], size: int) -> Float[Array, "n i j d"]:
    """Each `size` x `size` patch becomes one position: `[n, h / size, w / size, size * size * c]`."""
    n, h, w, c = x.shape
    x = x.reshape(n, h // size, size, w // size, size, c).transpose(0, 1, 3, 2, 4, 5)
    return x.reshape(n, h // size, w // size, size * size * c)


def spread_patches(x: Float[Array, "n i j d"], size: int) -> Float[Array, "n h w c"]:
    """Inverse of `join_patches`."""
    n, i, j, d = x.shape
    x = x.reshape(n, i, j, size, size, d // (size * size)).transpose(0, 1, 3, 2, 4, 5)
    return x.reshape(n, i * size, j * size, -1)


def grid_positions(height: int, width: int) -> np.ndarray:
    """Cell centres (x to the right, y down) in [-1, 1], row by row: float32 [height * width, 2]."""
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    return np.stack([(2 * x + 1) / width - 1, (2 * y + 1) / height - 1], -1).reshape(-1, 2)


def position_features(positions: Float[Array, "*n 2"], num_octaves: int = 4) -> Float[Array, "*n f"]:
    """x, y and their sines and cosines at pi, 2 pi, 4 pi, ...: `[..., 2 + 4 num_octaves]`.

    Seen directly, a few pixels' difference in x is a small number among many features; the waves make it a large one.
    """
    angles = positions[..., None, :] * (math.pi * 2.0 ** jnp.arange(num_octaves))[:, None]
    waves = jnp.concatenate([jnp.sin(angles), jnp.cos(angles)], -1)
    return jnp.concatenate([positions, waves.reshape(*positions.shape[:-1], -1)], -1)


class ConvBlock(nn.Module):
    """x + 1x1(GELU(FiLM(conv3x3(LN(x)))))."""

    dtype: DTypeLike

    @nn.compact
    def __call__(self, x: Float[Array, "n h w c"], condition: Float[Array, "n s"]) -> Float[Array, "n h w c"]:
        width = x.shape[-1]
        y = nn.LayerNorm(dtype=self.dtype)(x)
        y = nn.Conv(width, (3, 3), dtype=self.dtype)(y)
        y = nn.gelu(FilmConditioning(dtype=self.dtype)(y, condition))
        return x + Dense(width, dtype=self.dtype)(y)


class ConvImageTokenizer(nn.Module):
    """See the module's diagram."""

    config: RT1Config

    @nn.compact
    def __call__(self, image: UInt8[Array, "n h w 3"], condition: Float[Array, "n s"]) -> Float[Array, "n m d"]:
        cfg, dtype = self.config, jnp.dtype(self.config.compute_dtype)
        patches = join_patches(normalize_image(image, dtype), cfg.patch)
        stem = Dense(cfg.stem_width, dtype=dtype, name="stem")(patches)
        stem = nn.gelu(FilmConditioning(dtype=dtype, name="stem_film")(stem, condition))
        x = Dense(cfg.conv_width, dtype=dtype, name="coarse")(join_patches(stem, 2))
        for i in range(cfg.num_conv_blocks):
            x = ConvBlock(dtype=dtype, name=f"block_{i}")(x, condition)
        if cfg.fine_grid:
            x = stem + spread_patches(Dense(4 * cfg.stem_width, dtype=dtype, name="fine")(x), 2)
        x = FilmConditioning(dtype=dtype, name="film")(x, condition)
        return self._tokens(x)

    def _tokens(self, x: Float[Array, "n h w c"]) -> Float[Array, "n m d"]:
        cfg, dtype = self.config, x.dtype
        n, h, w, c = x.shape
        where = jnp.asarray(grid_positions(h, w))
        embedded = Dense(c, dtype=dtype, name="position")(position_features(where).astype(dtype))
        x = x.reshape(n, h * w, c) + embedded
        learner = TokenLearnerModuleV11(
            cfg.tokens_per_image, cfg.token_hidden, cfg.token_gain, dtype=dtype, name="token_learner"
        )
        tokens, maps = learner(x)
        centres = position_features(maps @ where).astype(dtype)
        return Dense(cfg.width, dtype=dtype, name="tokens")(jnp.concatenate([tokens, centres], -1))
