"""EfficientNet with FiLM after every block (arXiv 1905.11946, 1709.07871; RT-1 section 5.1), names as in the released tree.

    stem 3x3/2 -> blocks of: 1x1 expand -> depthwise k x k -> squeeze and excite -> 1x1 project (+ skip)    then FiLM
         -> head 1x1            each convolution but squeeze's: no bias, batch norm, swish (none after project)

The two ways to pad a strided layer give different grids, so weights belong to one of them. "same" pads so that a side of s
becomes ceil(s / 2): 300 -> 150 -> 75 -> 38 -> 19 -> 10. "tf" always pads k/2-1 before and k/2 after, as a network built for
pictures of unknown size: 300 -> 150 -> 75 -> 37 -> 18 -> 9.

Batch statistics are means over the whole global batch: where a batch is split over devices, XLA sums over them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from rtx.models.remat import Remat, rematerialized
from rtx.models.rt1.layers import FilmConditioning
from rtx.models.rt1x.depthwise import Padding, depthwise

Grid = Literal["same", "tf"]
_DIVISOR = 8  # channel numbers are multiples of it
_SQUEEZE = 0.25  # of a block's input channels
_FAN_OUT = nn.initializers.variance_scaling(2.0, "fan_out", "normal")


@dataclass(frozen=True)
class Stage:
    """Blocks of one resolution in EfficientNet-B0, before the coefficients."""

    kernel: int
    repeats: int
    channels: int
    expand: int
    stride: int


STEM_CHANNELS, HEAD_CHANNELS = 32, 1280
STAGES = (
    Stage(3, 1, 16, 1, 1), Stage(3, 2, 24, 6, 2), Stage(5, 2, 40, 6, 2), Stage(3, 3, 80, 6, 2),
    Stage(5, 3, 112, 6, 1), Stage(5, 4, 192, 6, 2), Stage(3, 1, 320, 6, 1),
)  # fmt: skip


def scaled_channels(channels: int, coefficient: float) -> int:
    """The multiple of 8 nearest to the scaled number, but never more than 10 % below it."""
    wanted = channels * coefficient
    rounded = max(_DIVISOR, int(wanted + _DIVISOR / 2) // _DIVISOR * _DIVISOR)
    return rounded + _DIVISOR if rounded < 0.9 * wanted else rounded


def scaled_stages(width: float, depth: float) -> list[Stage]:
    """One entry per block, with the channels and strides it has at these coefficients."""
    blocks = []
    for stage in STAGES:
        for i in range(math.ceil(depth * stage.repeats)):
            channels, stride = scaled_channels(stage.channels, width), stage.stride if i == 0 else 1
            blocks.append(Stage(stage.kernel, 1, channels, stage.expand, stride))
    return blocks


def padding_of(side: int, kernel: int, stride: int, grid: Grid) -> tuple[int, int]:
    """Zeros before and after one side."""
    if grid == "tf" and stride > 1:
        return kernel // 2 - 1, kernel // 2
    total = max((-(-side // stride) - 1) * stride + kernel - side, 0)
    return total // 2, total - total // 2


def _paddings(x: jax.Array, kernel: int, stride: int, grid: Grid) -> Padding:
    return padding_of(x.shape[1], kernel, stride, grid), padding_of(x.shape[2], kernel, stride, grid)


class PointwiseConv(nn.Module):
    """A 1x1 convolution, as the matrix product it is."""

    features: int
    use_bias: bool = False
    kernel_init: nn.initializers.Initializer = _FAN_OUT
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "n h w c"]) -> Float[Array, "n h w d"]:
        kernel = self.param("kernel", self.kernel_init, (1, 1, x.shape[-1], self.features), jnp.float32)
        rows = x.astype(self.dtype).reshape(-1, x.shape[-1]) @ kernel[0, 0].astype(self.dtype)
        if self.use_bias:
            rows += self.param("bias", nn.initializers.zeros, (self.features,), jnp.float32).astype(self.dtype)
        return rows.reshape(*x.shape[:-1], self.features)


class DepthwiseConv(nn.Module):
    """The kernel keeps TensorFlow's layout `[k, k, channels, 1]` under TensorFlow's name."""

    kernel_size: int
    stride: int
    grid: Grid
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "n h w c"]) -> Float[Array, "n i j c"]:
        k = self.kernel_size
        kernel = self.param("depthwise_kernel", _FAN_OUT, (k, k, x.shape[-1], 1), jnp.float32)
        padding = _paddings(x, k, self.stride, self.grid)
        return depthwise(x.astype(self.dtype), kernel.astype(self.dtype), stride=self.stride, padding=padding)


def _batch_norm(name: str, *, train: bool, dtype: DTypeLike) -> nn.BatchNorm:
    return nn.BatchNorm(use_running_average=not train, momentum=0.99, epsilon=1e-3, dtype=dtype, name=name)


class SqueezeExcite(nn.Module):
    """Scales each channel by what the picture's mean says (arXiv 1709.01507)."""

    reduced: int
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "n h w c"]) -> Float[Array, "n h w c"]:
        mean = jnp.mean(x, (1, 2), keepdims=True, dtype=jnp.float32)
        small = nn.swish(PointwiseConv(self.reduced, use_bias=True, dtype=self.dtype, name="reduce_conv2d_0")(mean))
        scale = nn.sigmoid(PointwiseConv(x.shape[-1], use_bias=True, dtype=self.dtype, name="expand_conv2d_0")(small))
        return x * scale


class MBConvBlock(nn.Module):
    """Inverted bottleneck. Where it keeps the shape, its sum with the input is dropped for some pictures in training."""

    stage: Stage
    drop_rate: float
    grid: Grid
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "n h w c"], train: bool) -> Float[Array, "n i j d"]:
        stage, channels, norms = self.stage, x.shape[-1], 0
        y = x

        def norm(y: jax.Array) -> jax.Array:
            nonlocal norms
            norms += 1
            return _batch_norm(f"batch_normalization_{norms - 1}", train=train, dtype=self.dtype)(y)

        if stage.expand != 1:
            y = nn.swish(norm(PointwiseConv(channels * stage.expand, dtype=self.dtype, name="expand_conv2d_0")(y)))
        y = DepthwiseConv(stage.kernel, stage.stride, self.grid, dtype=self.dtype, name="depthwise_conv2d")(y)
        y = nn.swish(norm(y))
        y = SqueezeExcite(max(1, int(channels * _SQUEEZE)), dtype=self.dtype, name="SqueezeExcite_0")(y)
        y = norm(PointwiseConv(stage.channels, dtype=self.dtype, name="project_conv2d_0")(y))
        if stage.stride != 1 or stage.channels != channels:
            return y
        if train and self.drop_rate:
            kept = jax.random.bernoulli(self.make_rng("dropout"), 1 - self.drop_rate, (len(y), 1, 1, 1))
            y = jnp.where(kept, y / (1 - self.drop_rate), 0)
        return x + y


class Stem(nn.Module):
    features: int
    grid: Grid
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "n h w 3"], *, train: bool) -> Float[Array, "n i j d"]:
        padding = _paddings(x, 3, 2, self.grid)
        conv = nn.Conv(
            self.features, (3, 3), (2, 2), padding, use_bias=False, kernel_init=_FAN_OUT, dtype=self.dtype, name="conv2d"
        )
        return nn.swish(_batch_norm("batch_normalization", train=train, dtype=self.dtype)(conv(x)))


class Head(nn.Module):
    features: int
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "n h w c"], *, train: bool) -> Float[Array, "n h w d"]:
        x = PointwiseConv(self.features, dtype=self.dtype, name="conv2d")(x)
        return nn.swish(_batch_norm("batch_normalization", train=train, dtype=self.dtype)(x))


class EfficientNetWithFilm(nn.Module):
    """Pictures (ImageNet-normalised) and conditions to a grid of features; see the module's diagram."""

    width: float
    depth: float
    grid: Grid
    drop_connect: float
    remat: Remat = "none"  # what of a block the backward pass keeps
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "n h w 3"], condition: Float[Array, "n s"], *, train: bool) -> Float[Array, "n i j d"]:
        grid, dtype = self.grid, self.dtype
        x = Stem(scaled_channels(STEM_CHANNELS, self.width), grid, dtype=dtype, name="Stem_0")(x, train=train)
        stages = scaled_stages(self.width, self.depth)
        block = rematerialized(MBConvBlock, self.remat, static_argnums=(2,))
        for i, stage in enumerate(stages):
            rate = self.drop_connect * i / len(stages)
            x = block(stage, rate, grid, dtype=dtype, name=f"MBConvBlock_{i}")(x, train)
            x = FilmConditioning(dtype=dtype, name=f"FilmConditioning_{i}")(x, condition)
        return Head(scaled_channels(HEAD_CHANNELS, self.width), dtype=dtype, name="Head_0")(x, train=train)
