"""Random changes of training images on the accelerator, inside the jitted step.

The draw for one image is a pure function of (seed, sample number, camera, operation): independent draws, the same for a
sample whatever batch or host it lands in, and the same again after a resume. All frames of a sample's history move and
change colour together, as if one camera had been nudged.

    uint8 [b, t, h, w, 3] -> pad by repeating the edge, crop at a random place -> one 3 x 3 colour matrix -> uint8
"""

from __future__ import annotations

from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, UInt8, UInt32

from rtx.train.config import AugmentConfig
from rtx.train.state import named

_RGB_TO_YIQ = np.array([[0.299, 0.587, 0.114], [0.596, -0.274, -0.322], [0.211, -0.523, 0.312]], np.float32)
_YIQ_TO_RGB = np.linalg.inv(_RGB_TO_YIQ).astype(np.float32)
_GREY = _RGB_TO_YIQ[0]


def augment(
    images: Mapping[str, UInt8[Array, "b t h w 3"]], sample: UInt32[Array, "b 2"], key: jax.Array, config: AugmentConfig
) -> dict[str, UInt8[Array, "b t h w 3"]]:
    """Augmented images of a batch. `sample` holds the low and high word of each global sample number."""
    if config == AugmentConfig(shift_px=0, brightness=0.0, contrast=0.0, hue=0.0):
        return dict(images)
    keys = jax.vmap(lambda words: jax.random.fold_in(jax.random.fold_in(key, words[0]), words[1]))(sample)
    return {
        role: jax.vmap(lambda frames, k, role=role: _augment_one(frames, named(k, role), config))(frames, keys)
        for role, frames in images.items()
    }


def _augment_one(frames: UInt8[Array, "t h w 3"], key: jax.Array, config: AugmentConfig) -> UInt8[Array, "t h w 3"]:
    if config.shift_px:
        frames = _shift(frames, named(key, "shift"), config.shift_px)
    if config.brightness or config.contrast or config.hue:
        frames = _colour(frames, key, config)
    return frames


def _shift(frames: UInt8[Array, "t h w 3"], key: jax.Array, largest: int) -> UInt8[Array, "t h w 3"]:
    padded = jnp.pad(frames, ((0, 0), (largest, largest), (largest, largest), (0, 0)), mode="edge")
    y, x = jax.random.randint(key, (2,), 0, 2 * largest + 1)
    return jax.lax.dynamic_slice(padded, (0, y, x, 0), frames.shape)


def _colour(frames: UInt8[Array, "t h w 3"], key: jax.Array, config: AugmentConfig) -> UInt8[Array, "t h w 3"]:
    """Brightness, contrast and hue are linear in the colour, so one matrix does all three."""

    def draw(name: str, range_: float) -> Float[Array, ""]:
        return jax.random.uniform(named(key, name), minval=-range_, maxval=range_)

    brightness, contrast = 1 + draw("brightness", config.brightness), 1 + draw("contrast", config.contrast)
    turned = frames.astype(jnp.float32) @ _hue_matrix(draw("hue", config.hue)).T
    mean = jnp.mean(turned @ _GREY)
    changed = ((turned - mean) * contrast + mean) * brightness
    return jnp.clip(jnp.round(changed), 0, 255).astype(jnp.uint8)


def _hue_matrix(turn: Float[Array, ""]) -> Float[Array, "3 3"]:
    """Rotation of the colour plane (I, Q) by `turn` of a full circle; brightness Y and greys stay."""
    cos, sin = jnp.cos(2 * jnp.pi * turn), jnp.sin(2 * jnp.pi * turn)
    one, zero = jnp.ones_like(turn), jnp.zeros_like(turn)
    rotation = jnp.array([[one, zero, zero], [zero, cos, -sin], [zero, sin, cos]])
    return jnp.asarray(_YIQ_TO_RGB) @ rotation @ _RGB_TO_YIQ
