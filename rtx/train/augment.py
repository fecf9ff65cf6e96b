"""Random changes of training images on the accelerator, inside the jitted step.

    uint8 [b, t, h, w, 3] -> shift, random resized crop (bilinear) -> brightness, contrast, saturation, hue -> uint8

The draw for one image is a pure function of (seed, sample number, camera, operation): independent draws, the same for a
sample whatever batch or host it lands in, and the same again after a resume. All frames of a sample's history move and
change colour together, as if one camera had been nudged.

All colour operations are linear in the colour, so they are one 3 x 3 matrix and one grey offset per frame. Unlike Octo's,
brightness is a factor and not a summand: a camera that is absent is black, and black stays black.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, UInt8, UInt32

from rtx.spec import Batch
from rtx.train.config import AugmentConfig
from rtx.train.state import named

Images = Mapping[str, UInt8[Array, "b t h w 3"]]
Samples = UInt32[Array, "b 2"]
"""The low and high word of each global sample number."""
Change = Callable[[UInt8[Array, "t h w 3"], jax.Array], UInt8[Array, "t h w 3"]]

_RGB_TO_YIQ = np.array([[0.299, 0.587, 0.114], [0.596, -0.274, -0.322], [0.211, -0.523, 0.312]], np.float32)
_YIQ_TO_RGB = np.linalg.inv(_RGB_TO_YIQ).astype(np.float32)
_GREY = _RGB_TO_YIQ[0]


def augment_batch(batch: Batch, key: jax.Array, config: AugmentConfig) -> Batch:
    """`batch`, in device layout (`imitation.place`), with its pictures augmented; goals change as their sample's frames do."""
    if batch.goal is None:
        return dataclasses.replace(batch, images=augment(batch.images, batch.sample, key, config))
    frames = {role: jnp.concatenate([batch.images[role], goal[:, None]], axis=1) for role, goal in batch.goal.items()}
    changed = augment(frames, batch.sample, key, config)
    images, goals = ({role: f[:, part] for role, f in changed.items()} for part in (slice(-1), -1))
    return dataclasses.replace(batch, images=images, goal=goals)


def augment(images: Images, sample: Samples, key: jax.Array, config: AugmentConfig) -> dict[str, UInt8[Array, "b t h w 3"]]:
    """Augmented images of a batch."""
    return recoloured(moved(images, sample, key, config), sample, key, config)


def moved(images: Images, sample: Samples, key: jax.Array, config: AugmentConfig) -> dict[str, UInt8[Array, "b t h w 3"]]:
    """The half of `augment` that moves pictures."""
    keys = _keys(sample, key)
    cropped = config.crop_scale != (1.0, 1.0) or config.crop_ratio != (1.0, 1.0)

    def one(frames: UInt8[Array, "t h w 3"], key: jax.Array, crops: bool) -> UInt8[Array, "t h w 3"]:
        if config.shift_px:
            frames = _shift(frames, named(key, "shift"), (config.shift_px, config.shift_px), mode="edge")
        if any(config.pad_px):
            frames = _shift(frames, named(key, "pad"), config.pad_px, mode="constant")
        return _crop(frames, draws(key, config)) if crops else frames

    return _per_camera(images, keys, lambda role: lambda f, k: one(f, k, cropped and role not in config.uncropped))


def recoloured(images: Images, sample: Samples, key: jax.Array, config: AugmentConfig) -> dict[str, UInt8[Array, "b t h w 3"]]:
    """The half of `augment` that changes colours."""
    if not (config.brightness or config.contrast or config.saturation or config.hue):
        return dict(images)
    return _per_camera(images, _keys(sample, key), lambda role: lambda f, k: _recolour(f, draws(k, config)))


def draws(key: jax.Array, config: AugmentConfig) -> dict[str, Float[Array, ""]]:
    """All numbers drawn for one camera of one sample (`key` is theirs) but the shift, by name: factors, turns of the colour
    circle, and of the crop its area and aspect ratio (width / height) and its place, 0 to 1 of what is free.
    """

    def draw(name: str, low: float, high: float) -> Float[Array, ""]:
        return jax.random.uniform(named(key, name), minval=low, maxval=high)

    return {
        "brightness": 1 + draw("brightness", -config.brightness, config.brightness),
        "contrast": 1 + draw("contrast", -config.contrast, config.contrast),
        "saturation": 1 + draw("saturation", -config.saturation, config.saturation),
        "hue": draw("hue", -config.hue, config.hue),
        "crop_scale": draw("crop_scale", *config.crop_scale),
        "crop_ratio": jnp.exp(draw("crop_ratio", *np.log(config.crop_ratio).tolist())),
        "crop_y": draw("crop_y", 0.0, 1.0),
        "crop_x": draw("crop_x", 0.0, 1.0),
    }


def _keys(sample: Samples, key: jax.Array) -> jax.Array:
    return jax.vmap(lambda words: jax.random.fold_in(jax.random.fold_in(key, words[0]), words[1]))(sample)


def _per_camera(images: Images, keys: jax.Array, change: Callable[[str], Change]) -> dict[str, UInt8[Array, "b t h w 3"]]:
    """`change(role)` of each sample's frames, with the key of that sample and camera."""
    return {
        role: jax.vmap(lambda f, k, role=role: change(role)(f, named(k, role)))(frames, keys) for role, frames in images.items()
    }


def _shift(frames: UInt8[Array, "t h w 3"], key: jax.Array, largest: tuple[int, int], *, mode: str) -> UInt8[Array, "t h w 3"]:
    """Moved by up to so many rows and columns; `mode`: the edge repeated, or constant black."""
    rows, columns = largest
    padded = jnp.pad(frames, ((0, 0), (rows, rows), (columns, columns), (0, 0)), mode=mode)
    y, x = jax.random.randint(key, (2,), 0, 2 * jnp.array(largest) + 1)
    return jax.lax.dynamic_slice(padded, (0, y, x, 0), frames.shape)


def _crop(frames: UInt8[Array, "t h w 3"], drawn: Mapping[str, Float[Array, ""]]) -> UInt8[Array, "t h w 3"]:
    """A box of the drawn area, ratio and place, bilinear to the whole size. Boxes are no larger than the picture."""
    num_rows, num_columns = frames.shape[1:3]
    height = jnp.minimum(jnp.sqrt(drawn["crop_scale"] / drawn["crop_ratio"]), 1.0)
    width = jnp.minimum(jnp.sqrt(drawn["crop_scale"] * drawn["crop_ratio"]), 1.0)
    y, y_next, y_weight = _taps(drawn["crop_y"] * (1 - height), height, num_rows)
    x, x_next, x_weight = _taps(drawn["crop_x"] * (1 - width), width, num_columns)
    upper, lower = frames[:, y].astype(jnp.float32), frames[:, y_next].astype(jnp.float32)
    rows = upper * (1 - y_weight)[:, None, None] + lower * y_weight[:, None, None]
    return _to_uint8(rows[:, :, x] * (1 - x_weight)[:, None] + rows[:, :, x_next] * x_weight[:, None])


def _taps(start: Float[Array, ""], extent: Float[Array, ""], n: int) -> tuple[jax.Array, jax.Array, jax.Array]:
    """For each of `n` target pixels the two source pixels around its centre and the weight of the second.

    `start` and `extent` of the box are in units of the whole side.
    """
    centre = jnp.clip((start + (jnp.arange(n) + 0.5) * extent / n) * n - 0.5, 0, n - 1)
    first = jnp.floor(centre)
    index = first.astype(jnp.int32)
    return index, jnp.minimum(index + 1, n - 1), centre - first


def _recolour(frames: UInt8[Array, "t h w 3"], drawn: Mapping[str, Float[Array, ""]]) -> UInt8[Array, "t h w 3"]:
    """Contrast is about each frame's mean grey, which hue and saturation keep; that of a black frame is black."""
    saturation, contrast, brightness = drawn["saturation"], drawn["contrast"], drawn["brightness"]
    saturate = saturation * jnp.eye(3) + (1 - saturation) * _GREY
    matrix = brightness * contrast * _hue_matrix(drawn["hue"]) @ saturate
    colour = frames.astype(jnp.float32)
    grey = jnp.mean(colour[:, ::4], axis=(1, 2)) @ _GREY  # every fourth row tells as much, and adding up is what costs
    offset = brightness * (1 - contrast) * grey
    # Channel by channel: on a CPU a matrix product with a side of 3 takes ten times as long.
    return _to_uint8(sum(colour[..., i : i + 1] * matrix[:, i] for i in range(3)) + offset[:, None, None, None])


def _to_uint8(colour: Float[Array, "*any"]) -> UInt8[Array, "*any"]:
    return jnp.clip(jnp.round(colour), 0, 255).astype(jnp.uint8)


def _hue_matrix(turn: Float[Array, ""]) -> Float[Array, "3 3"]:
    """Rotation of the colour plane (I, Q) by `turn` of a full circle; brightness Y and greys stay."""
    cos, sin = jnp.cos(2 * jnp.pi * turn), jnp.sin(2 * jnp.pi * turn)
    one, zero = jnp.ones_like(turn), jnp.zeros_like(turn)
    rotation = jnp.array([[one, zero, zero], [zero, cos, -sin], [zero, sin, cos]])
    return jnp.asarray(_YIQ_TO_RGB) @ rotation @ _RGB_TO_YIQ
