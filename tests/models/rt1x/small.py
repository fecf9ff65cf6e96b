"""A network of every published part, small enough to compile in seconds; random batches and random variables for it."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from rtx.models.rt1x.config import RT1XConfig
from rtx.spec import Batch

CONFIG = RT1XConfig(
    history=4, image_size=(16, 20), sentence_width=6, network_size=40, width_coefficient=0.2, depth_coefficient=0.1,
    image_features=12, tokens_per_image=3, token_hidden=5, width=16, num_layers=2, num_heads=2, head_width=8, mlp_width=20,
    dropout=0.0, drop_connect=0.0, num_bins=32,
)  # fmt: skip


def random_batch(config: RT1XConfig, size: int = 2, *, steps: int = 1, seed: int = 0) -> Batch:
    """Everything valid, everything different; the actions of the last `steps` frames."""
    rng = np.random.default_rng(seed)
    b, t, role = size, config.history, config.roles[0]
    action = rng.uniform(-0.9, 0.9, (b, steps, config.action_dims)).astype(np.float32)
    return Batch(
        images={role: rng.integers(0, 256, (b, t, *config.image_size, 3), dtype=np.uint8)},
        image_mask={role: np.ones((b, t), bool)},
        history_mask=np.ones((b, t), bool),
        proprio=np.zeros((b, t, 10), np.float32),
        text=rng.normal(0, 0.3, (b, config.sentence_width)).astype(np.float32),
        action=action,
        action_mask=np.ones(action.shape, bool),
        embodiment=np.zeros(b, np.int32),
        sample=np.arange(b, dtype=np.int32),
    )


def random_like(variables: Any, *, seed: int = 0, scale: float = 0.3) -> Any:
    """The same tree with nothing left at a special value: FiLM not zero, norms not one, batch statistics not standard."""
    rng = np.random.default_rng(seed)

    def drawn(path: Any, leaf: Any) -> np.ndarray:
        name, shape = path[-1].key, leaf.shape
        if name == "var":
            return rng.uniform(0.12, 0.75, shape).astype(np.float32)  # near what comes in: else the picture fades away
        if name == "scale":
            return rng.uniform(0.7, 1.3, shape).astype(np.float32)
        if name.endswith("kernel"):
            fan_in = np.prod(shape[:2] if name == "depthwise_kernel" else shape[:-1])
            return rng.normal(0, fan_in**-0.5, shape).astype(np.float32)
        return rng.normal(0, scale, shape).astype(np.float32)

    return jax.tree.map(jnp.asarray, jax.tree_util.tree_map_with_path(drawn, variables))
