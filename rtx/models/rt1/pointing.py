"""One camera's frame to a few tokens that say where things are: every token points at what the sentence makes it look for.

    patches 4x4 -> 2-layer MLP -> keys, unit length   (colour and texture of each patch, whatever the sentence)
    sentence    -> queries, unit length                (one per token: "what to look for")
    map = softmax(temperature * query . key)           token = [centre x, y, spread, amount]

A patch counts by its direction only, so "red" is one direction whatever the light; the temperature starts sharp; and a token
carries where, how wide and how much, but not what: nothing of a scene can be learnt by heart. On 5,400 frames of six arms the
named cube is found after 30,000 samples (`film_conv`, still far from it after 60,000, also lacked the smooth logits).
Centroids of soft maps over the fine grid place a cube to a fraction of a patch.
"""

from __future__ import annotations

import flax.linen as nn
import jax.numpy as jnp
from jax import nn as jnn
from jaxtyping import Array, Float, UInt8

from rtx.models.rt1.config import RT1Config
from rtx.models.rt1.image_tokenizer import grid_positions, join_patches, normalize_image
from rtx.models.rt1.layers import Dense

POINT_WIDTH = 4  # x, y, spread, amount


def unit(x: Float[Array, "*n d"]) -> Float[Array, "*n d"]:
    """Unit length; finite gradient at zero."""
    return x / jnp.sqrt(1e-4 + jnp.sum(jnp.square(x), -1, keepdims=True))


def read_maps(logits: Float[Array, "n m p"], where: Float[Array, "p 2"], highest: Float[Array, " m"]) -> Float[Array, "n m 4"]:
    """Centre (x right, y down, in [-2, 2]), variance about it, and share of the picture that matches (10 = all of it)."""
    maps = jnn.softmax(logits, -1)
    centre = maps @ where
    variance = jnp.sum(maps @ jnp.square(where) - jnp.square(centre), -1, keepdims=True)
    amount = jnp.mean(jnp.exp(logits - highest[:, None]), -1, keepdims=True)
    return jnp.concatenate([2 * centre, variance, 10 * amount], -1)


class PointingTokenizer(nn.Module):
    """Points `[n, m, 4]` float32, see the module's diagram; m is `tokens_per_image`."""

    config: RT1Config

    @nn.compact
    def __call__(self, image: UInt8[Array, "n h w 3"], sentence: Float[Array, "n s"]) -> Float[Array, "n m 4"]:
        cfg, dtype = self.config, jnp.dtype(self.config.compute_dtype)
        patches = join_patches(normalize_image(image, dtype), cfg.patch)
        n, h, w, _ = patches.shape
        x = patches.reshape(n, h * w, -1)
        for name in ("patch_0", "patch_1"):
            x = nn.gelu(Dense(cfg.stem_width, dtype=dtype, name=name)(x))
        keys = unit(Dense(cfg.key_width, dtype=dtype, name="key")(x).astype(jnp.float32))
        queries = Dense(cfg.tokens_per_image * cfg.key_width, dtype=dtype, name="query")(sentence).astype(jnp.float32)
        queries = unit(queries.reshape(n, cfg.tokens_per_image, cfg.key_width))
        temperature = self.param("temperature", nn.initializers.constant(8.0), (cfg.tokens_per_image,), jnp.float32)
        logits = jnp.einsum("nmd,npd->nmp", queries, keys) * temperature[:, None]
        return read_maps(logits, jnp.asarray(grid_positions(h, w)), temperature)
