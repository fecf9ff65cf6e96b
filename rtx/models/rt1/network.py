"""The whole network: a batch in, a distribution over bins for every action entry out.

Per frame: image tokens of each camera, then proprioception, robot and sentence as one token each. The sentence vector
also chooses what the image tokens attend to: as queries over patch keys (pointing), or through FiLM in every layer, together
with the robot's (film_conv, as RT-1).
"""

from __future__ import annotations

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from rtx.models.rt1.config import RT1Config
from rtx.models.rt1.image_tokenizer import ConvImageTokenizer
from rtx.models.rt1.language import SentenceEncoder
from rtx.models.rt1.layers import Dense
from rtx.models.rt1.pointing import PointingTokenizer
from rtx.models.rt1.transformer import Transformer
from rtx.spec import Batch


def num_state_tokens(config: RT1Config) -> int:
    """Proprioception, robot, sentence, and what joins them with the points."""
    return 3 if config.image_tokenizer == "film_conv" else 4


class Mixer(nn.Module):
    """One token that joins all points with proprioception and sentence; the robot scales what it makes of them."""

    config: RT1Config

    @nn.compact
    def __call__(self, x: Float[Array, "b t f"], robot: Float[Array, "b t d"]) -> Float[Array, "b t d"]:
        width, dtype = self.config.mixer_width, x.dtype
        h = nn.gelu(Dense(width, dtype=dtype, name="Dense_0")(jnp.concatenate([x, robot.astype(dtype)], -1)))
        h = h + nn.gelu(Dense(width, dtype=dtype, name="Dense_1")(nn.LayerNorm(dtype=dtype, name="LayerNorm_0")(h)))
        h = h * (1 + Dense(width, dtype=dtype, name="robot")(robot))
        h = nn.gelu(Dense(width, dtype=dtype, name="Dense_2")(nn.LayerNorm(dtype=dtype, name="LayerNorm_1")(h)))
        return Dense(self.config.width, dtype=dtype, name="Dense_3")(h)


class RT1Network(nn.Module):
    """Logits float32 `[b, k, a, num_bins]`."""

    config: RT1Config

    @nn.compact
    def __call__(self, batch: Batch, *, train: bool) -> Float[Array, "b k a v"]:
        cfg, dtype = self.config, jnp.dtype(self.config.compute_dtype)
        sentence = SentenceEncoder(cfg, name="language")(batch.text)
        robot = jnp.clip(batch.embodiment, 0, cfg.max_embodiments - 1)
        table = nn.initializers.normal(0.1)
        robot_film = nn.Embed(cfg.max_embodiments, cfg.sentence_width, embedding_init=table, dtype=dtype, name="robot_film")(
            robot
        )
        robot_token = nn.Embed(cfg.max_embodiments, cfg.width, embedding_init=table, dtype=dtype, name="robot")(robot)
        t = batch.history_mask.shape[1]
        told = jnp.repeat(sentence[:, None], t, 1)
        robots = jnp.repeat(robot_token[:, None], t, 1)
        proprio = batch.proprio.astype(dtype)
        state = [
            Dense(cfg.width, dtype=dtype, name="proprio")(proprio),
            robots,
            Dense(cfg.width, dtype=dtype, name="sentence")(told),
        ]
        if cfg.image_tokenizer == "film_conv":
            images = self._image_tokens(batch, sentence + robot_film)
        else:
            points = self._points(batch, sentence)
            images = [
                Dense(cfg.width, dtype=dtype, name=f"points_{role}")(x) for role, x in zip(cfg.roles, points, strict=True)
            ]
            flat = [x.reshape(*x.shape[:2], -1) for x in points]
            state.append(Mixer(cfg, name="mixer")(jnp.concatenate([*flat, proprio, told], -1), robots))
        context = jnp.concatenate([*images, jnp.stack(state, 2)], 2)
        return Transformer(cfg, name="Transformer_0")(context, context_valid(batch, cfg), train=train)

    def _points(self, batch: Batch, sentence: Float[Array, "b s"]) -> list[Float[Array, "b t m 4"]]:
        """What the sentence points at in each camera; zero where there is no frame."""
        cfg = self.config
        b, t = batch.history_mask.shape
        told = jnp.repeat(sentence, t, 0)
        points = []
        for role in cfg.roles:
            image = batch.images[role]
            found = PointingTokenizer(cfg, name=f"image_tokenizer_{role}")(image.reshape(b * t, *image.shape[2:]), told)
            points.append(found.reshape(b, t, *found.shape[1:]) * jnp.asarray(batch.image_mask[role])[..., None, None])
        return points

    def _image_tokens(self, batch: Batch, condition: Float[Array, "b s"]) -> list[Float[Array, "b t m d"]]:
        """Tokens of each camera, in the order of `roles`."""
        cfg = self.config
        b, t = batch.history_mask.shape
        condition = jnp.repeat(condition, t, 0)
        frames = {role: batch.images[role].reshape(b * t, *batch.images[role].shape[2:]) for role in cfg.roles}
        if not cfg.share_cameras:
            tokens = [ConvImageTokenizer(cfg, name=f"image_tokenizer_{role}")(frames[role], condition) for role in cfg.roles]
        else:
            cameras = self.param("cameras", nn.initializers.normal(0.5), (len(cfg.roles), condition.shape[1]), jnp.float32)
            told_apart = jnp.concatenate([condition + camera.astype(condition.dtype) for camera in cameras])
            together = ConvImageTokenizer(cfg, name="image_tokenizer")(jnp.concatenate([*frames.values()]), told_apart)
            tokens = jnp.split(together, len(cfg.roles))
        return [x.reshape(b, t, *x.shape[1:]) for x in tokens]


def context_valid(batch: Batch, config: RT1Config) -> Bool[Array, "b t n"]:
    """Which context tokens hold something real: image tokens of real frames, state tokens of real steps."""
    history = jnp.asarray(batch.history_mask)
    images = [jnp.repeat((history & batch.image_mask[role])[..., None], config.tokens_per_image, -1) for role in config.roles]
    return jnp.concatenate([*images, jnp.repeat(history[..., None], num_state_tokens(config), -1)], -1)
