"""Both families at the size of a test, weights that mean nothing but depend on everything, and a batch of every kind of row."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from rtx.models.vla.config import PaLIConfig, PaliGemmaConfig
from rtx.models.vla.gemma import GemmaConfig
from rtx.models.vla.planning import build_vla
from rtx.models.vla.t5 import T5Config
from rtx.models.vla.vit import ViTConfig
from rtx.spec import Batch

VOCAB, BINS = 64, 8
SHAPE = {
    "roles": ("primary", "wrist"), "history": 2, "chunk": 2, "image_size": (16, 16), "action_dims": 8, "text_length": 6,
    "answer_length": 5, "num_bins": BINS,
}  # fmt: skip


def paligemma(**changes):
    language = GemmaConfig(
        vocab=VOCAB, width=16, depth=2, mlp=32, heads=2, kv_heads=1, head_dim=8, query_scale=8**-0.5, attn_softcap=50.0,
        final_softcap=30.0, post_norms=True,
    )  # fmt: skip
    vision = ViTConfig(patch=8, width=16, depth=1, mlp=32, heads=2)
    return PaliGemmaConfig(**{**SHAPE, "vision": vision, "language": language, **changes})


def pali(**changes):
    language = T5Config(
        vocab=VOCAB, width=16, mlp=32, heads=2, head_dim=8, encoder_depth=1, decoder_depth=2, buckets=8, max_distance=32
    )
    vision = ViTConfig(patch=8, width=16, depth=1, mlp=32, heads=2, parallel=True, qk_norm=True, qkv_bias=False)
    return PaLIConfig(**{**SHAPE, "vision": vision, "language": language, **changes})


FAMILIES = {"paligemma": paligemma, "pali": pali}


def batch(config, *, seed=0, size=3):
    """Row 0 a robot, row 1 a question, row 2 a robot of which little is known and whose first frame and wrist are missing."""
    rng, c = np.random.default_rng(seed), config
    text = rng.integers(3, VOCAB - BINS, (size, c.text_length))
    text[np.arange(c.text_length) >= rng.integers(2, c.text_length + 1, (size, 1))] = 0
    target = np.zeros((size, c.answer_length), np.int64)
    target[1::3, :3] = [[5, 6, 1]]
    mask = np.ones((size, c.chunk, c.action_dims), bool)
    mask[1::3] = False
    mask[2::3, :, 3:] = False
    history = np.ones((size, c.history), bool)
    history[2::3, 0] = False
    image_mask = {role: np.ones((size, c.history), bool) for role in c.roles}
    image_mask[c.roles[-1]][2::3] = False
    if c.plan:
        target[0::3, : 2 + len(c.plan_end)] = [[9, 8, *c.plan_end]]
    return Batch(
        images={role: rng.integers(0, 256, (size, c.history, *c.image_size, 3), np.uint8) for role in c.roles},
        image_mask=image_mask,
        history_mask=history,
        proprio=rng.uniform(-1, 1, (size, c.history, max(c.proprio_dims, 3))).astype(np.float32),
        text=text.astype(np.int32),
        action=rng.uniform(-1, 1, (size, c.chunk, c.action_dims)).astype(np.float32),
        action_mask=mask,
        embodiment=np.zeros(size, np.int32),
        sample=np.arange(size),
        target=target.astype(np.int32),
    )


def rows(batch_, pick):
    """Some rows of a batch."""
    return jax.tree.map(lambda leaf: leaf[pick], batch_)


def acting(batch_):
    """As a policy makes it."""
    return dataclasses.replace(batch_, action=None, action_mask=None, target=None)


def model_and_variables(config, *, seed=0):
    """Weights without structure: a fresh network's answers hardly depend on what it is shown."""
    model = build_vla(config)
    shapes = jax.eval_shape(model.init, jax.random.key(0), batch(config))
    rng = np.random.default_rng(seed)

    def drawn(path, leaf):
        name = jax.tree_util.keystr(path)
        small = 0.1 if "embedding" in name and "input" in name else 0.6
        return jnp.asarray(rng.normal(0, small, leaf.shape), leaf.dtype)

    return model, jax.tree_util.tree_map_with_path(drawn, shapes)
