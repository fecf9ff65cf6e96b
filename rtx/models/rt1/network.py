"""The whole network: a batch in, a distribution over bins for every action entry out.

Per frame: image tokens of each camera, then proprioception, robot and sentence as one token each. The sentence vector
(plus the robot's) also conditions every FiLM layer of the image tokenizer: words choose what the image tokens attend to.
"""

from __future__ import annotations

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from rtx.models.rt1.config import RT1Config
from rtx.models.rt1.image_tokenizer import ConvImageTokenizer
from rtx.models.rt1.language import SentenceEncoder
from rtx.models.rt1.layers import Dense
from rtx.models.rt1.transformer import Transformer
from rtx.spec import Batch

NUM_STATE_TOKENS = 3  # proprioception, robot, sentence


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
        images = self._image_tokens(batch, sentence + robot_film)
        t = batch.history_mask.shape[1]
        state = [
            Dense(cfg.width, dtype=dtype, name="proprio")(batch.proprio.astype(dtype)),
            jnp.repeat(robot_token[:, None], t, 1),
            jnp.repeat(Dense(cfg.width, dtype=dtype, name="sentence")(sentence)[:, None], t, 1),
        ]
        context = jnp.concatenate([*images, jnp.stack(state, 2)], 2)
        return Transformer(cfg, name="Transformer_0")(context, context_valid(batch, cfg), train=train)

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
    return jnp.concatenate([*images, jnp.repeat(history[..., None], NUM_STATE_TOKENS, -1)], -1)
