"""One picture and the instruction's vector to the image tokens of one frame, names as in the released tree.

    uint8 [h, w, 3] -> resize to 300 x 300 -> ImageNet's mean and variance -> EfficientNet with FiLM   10 x 10 x 1536
                    -> 1x1, FiLM   10 x 10 x 512 -> TokenLearner   81 x 512

The tokens of a frame depend on that frame and the instruction only, so a controller keeps those of earlier frames.
"""

from __future__ import annotations

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, UInt8

from rtx.models.rt1.image_tokenizer import IMAGE_MEAN, IMAGE_STD
from rtx.models.rt1.layers import FilmConditioning, TokenLearnerModuleV11
from rtx.models.rt1x.config import RT1XConfig
from rtx.models.rt1x.efficientnet import EfficientNetWithFilm, PointwiseConv


def network_picture(image: UInt8[Array, "n h w 3"], size: int) -> Float[Array, "n s s 3"]:
    """uint8 to what EfficientNet sees, float32. Bilinear without antialiasing, as in the release (256x320 -> 300x300)."""
    scaled = image.astype(jnp.float32) / 255.0
    square = jax.image.resize(scaled, (len(image), size, size, 3), "bilinear", antialias=False)
    return (square - jnp.asarray(IMAGE_MEAN)) / jnp.asarray(IMAGE_STD)


class ImageTokenizer(nn.Module):
    """See the module's diagram."""

    config: RT1XConfig

    @nn.compact
    def __call__(self, image: UInt8[Array, "n h w 3"], sentence: Float[Array, "n s"], *, train: bool) -> Float[Array, "n m d"]:
        cfg, dtype = self.config, jnp.dtype(self.config.compute_dtype)
        x = network_picture(image, cfg.network_size).astype(dtype)
        x = EfficientNetWithFilm(
            cfg.width_coefficient, cfg.depth_coefficient, cfg.grid, cfg.drop_connect, cfg.remat, dtype=dtype,
            name="EfficientNetWithFilm_0",
        )(x, sentence, train=train)  # fmt: skip
        init = nn.initializers.variance_scaling(1.0, "fan_in", "truncated_normal")
        x = PointwiseConv(cfg.image_features, kernel_init=init, dtype=dtype, name="Conv_0")(x)
        x = FilmConditioning(dtype=dtype, name="FilmConditioning_0")(x, sentence)
        learner = TokenLearnerModuleV11(cfg.tokens_per_image, cfg.token_hidden, dtype=dtype, name="TokenLearnerModuleV11_0")
        tokens, _ = learner(x.reshape(len(x), -1, cfg.image_features))
        return tokens
