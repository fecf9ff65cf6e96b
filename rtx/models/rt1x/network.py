"""The whole network: frames and an instruction in, a distribution over bins for every action token out."""

from __future__ import annotations

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float, UInt8

from rtx.models.rt1x.config import RT1XConfig
from rtx.models.rt1x.image_tokenizer import ImageTokenizer
from rtx.models.rt1x.transformer import Transformer


class RT1XNetwork(nn.Module):
    """Two parts that can be called one without the other: `encode` a frame once, `attend` in every later step."""

    config: RT1XConfig

    def setup(self) -> None:
        self.image_tokenizer = ImageTokenizer(self.config)
        self.Transformer_0 = Transformer(self.config)

    def __call__(
        self,
        frames: UInt8[Array, "b t h w 3"],
        sentence: Float[Array, "b s"],
        *,
        num_steps: int,
        train: bool,
    ) -> Float[Array, "b k 11 v"]:
        """Logits, float32, of the last `num_steps` frames."""
        return self.attend(self.encode(frames, sentence, train=train), num_steps=num_steps, train=train)

    def encode(
        self, frames: UInt8[Array, "b t h w 3"], sentence: Float[Array, "b s"], *, train: bool
    ) -> Float[Array, "b t m f"]:
        """Image tokens. All frames of the batch share the batch statistics in training."""
        b, t = frames.shape[:2]
        told = jnp.repeat(sentence, t, axis=0)
        tokens = self.image_tokenizer(frames.reshape(b * t, *frames.shape[2:]), told, train=train)
        return tokens.reshape(b, t, *tokens.shape[1:])

    def attend(self, images: Float[Array, "b t m f"], *, num_steps: int, train: bool) -> Float[Array, "b k 11 v"]:
        return self.Transformer_0(images, num_steps=num_steps, train=train)
