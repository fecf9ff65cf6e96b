"""A network small enough to compile in a second or two, and random batches for it."""

from __future__ import annotations

import numpy as np

from rtx.models.rt1.config import RT1Config
from rtx.spec import Batch

CONFIG = RT1Config(
    history=2, chunk=2, text_length=4, text_vocabulary=12, text_width=8, text_heads=2, sentence_width=8, max_embodiments=3,
    stem_width=8, conv_width=8, num_conv_blocks=1, tokens_per_image=2, token_hidden=8,
    width=16, num_layers=1, num_heads=2, head_width=8, mlp_width=16, dropout=0.0, num_bins=32, head_waves=16,
    label_sigma_bins=1.0, expectation_radius_bins=3,
)  # fmt: skip


def random_batch(config: RT1Config, size: int = 4, *, seed: int = 0, side: int = 16) -> Batch:
    """Everything valid, everything different."""
    rng = np.random.default_rng(seed)
    b, t = size, config.history
    action = rng.uniform(-0.9, 0.9, (b, config.chunk, config.action_dims)).astype(np.float32)
    action[..., list(config.categorical_dims)] = np.sign(action[..., list(config.categorical_dims)])
    return Batch(
        images={role: rng.integers(0, 256, (b, t, side, side, 3), dtype=np.uint8) for role in config.roles},
        image_mask={role: np.ones((b, t), bool) for role in config.roles},
        history_mask=np.ones((b, t), bool),
        proprio=rng.uniform(-1, 1, (b, t, config.proprio_dims)).astype(np.float32),
        text=rng.integers(1, config.text_vocabulary, (b, config.text_length)).astype(np.int32),
        action=action,
        action_mask=np.ones((b, config.chunk, config.action_dims), bool),
        embodiment=rng.integers(0, config.max_embodiments, b).astype(np.int32),
        sample=np.arange(b, dtype=np.int32),
    )
