"""The minute encoder-decoders of t5_tiny.py as our network, with the parameters that the reference had."""

from __future__ import annotations

import functools
import tempfile
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from rtx.models.remat import Remat
from rtx.models.vla.encoder_decoder import EncoderDecoder
from rtx.models.vla.t5 import T5Config
from rtx.models.vla.weights import safetensors
from rtx.models.vla.weights.leaves import flat
from rtx.models.vla.weights.t5 import TEXT, load_safetensors, rules_of
from tests.models.vla import t5_tiny as tiny


def inputs() -> tuple[jax.Array, ...]:
    """pictures, picture_mask, prompt, answer."""
    return tuple(jnp.asarray(array) for array in (tiny.pictures(), tiny.PICTURE_MASK, tiny.PROMPT, tiny.ANSWER))


def network(config: T5Config, *, remat: Remat = "none") -> EncoderDecoder:
    return EncoderDecoder(tiny.VISION, config, remat=remat)


def shapes(config: T5Config) -> dict[str, Any]:
    return jax.eval_shape(network(config).init, jax.random.key(0), *inputs())["params"]


def text_shapes(config: T5Config) -> dict[str, Any]:
    tree = shapes(config)
    return {part: tree[part] for part in TEXT}


def write_checkpoint(folder: Path, config: T5Config, *, more: dict[str, np.ndarray] | None = None) -> dict[str, np.ndarray]:
    """Hugging Face's tensors of the config with the weights of `tiny`, and `more`, as a file; returns them."""
    like = text_shapes(config)
    leaves = flat(like)
    slots = [slot for rule in rules_of(like, "hugging_face") for slot in safetensors.slots(rule, leaves[rule.ours].shape)]
    tensors = {slot.name: tiny.weight(slot.name, slot.stored) for slot in slots} | (more or {})
    entries = [safetensors.Entry(name, value.shape, value.dtype) for name, value in tensors.items()]
    safetensors.write(folder, entries, tensors.values())
    return tensors


@functools.lru_cache
def variables(config: T5Config) -> dict[str, Any]:
    """Vision and projection by `vision_weight`, the rest from a file with Hugging Face's names."""
    tree = shapes(config)
    fresh = jax.tree_util.tree_map_with_path(
        lambda path, leaf: tiny.vision_weight(jax.tree_util.keystr(path, simple=True, separator="/"), leaf.shape),
        {name: tree[name] for name in ("img", "projection")},
    )
    with tempfile.TemporaryDirectory() as folder:
        write_checkpoint(Path(folder), config)
        text = load_safetensors(Path(folder), text_shapes(config))
    return {"params": jax.tree.map(jnp.asarray, {**fresh, **text})}


def picture_tokens() -> np.ndarray:
    """Projected tokens of all pictures, float32 [2, 3 * 16, d]."""
    config = tiny.CONFIGS["gelu"]
    pictures = inputs()[0]

    def project(module: EncoderDecoder) -> jax.Array:
        return module.projection(module.img(pictures.reshape(-1, *pictures.shape[2:])))

    tokens = network(config).apply(variables(config), method=project)
    return np.asarray(tokens).reshape(len(pictures), -1, config.width)
