"""PaliGemma 1 and 2 between Hugging Face's names and big_vision's, which are ours.

Three generations of names are read; the oldest, that of the published files, is written:

    published               vision_tower.vision_model.*        language_model.model.*     (language_model.lm_head.weight)
    newer, in the library   model.vision_tower.vision_model.*  model.language_model.*     (lm_head.weight)
    newest                  vision_tower.*                     language_model.model.*

The head is the embedding, so a stored `lm_head` is left alone. Linear layers are stored [out, in].
"""

from __future__ import annotations

import math
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike
from jaxtyping import Float

from rtx.errors import UserError
from rtx.models.vla.weights import safetensors
from rtx.models.vla.weights.leaves import Params, flat, rebuild
from rtx.models.vla.weights.safetensors import Rule

POSITIONS = "img/pos_embedding"
PADDING_ROWS = 64
"""Rows that published embeddings have beyond the vocabulary: `<image>` and 63 of nothing."""

_VISION, _LANGUAGE = "vision_tower.vision_model.", "language_model.model."
_VECTOR, _DENSE = ((0,),), ((1,), (0,))


def rules(like: Params) -> tuple[Rule, ...]:
    """Of the leaves of `like`: Gemma 2's has norms that Gemma 1's has not, and the same stored name means two of them."""
    table = {rule.ours: rule for rule in (*_vision_rules(), *_language_rules(has_post_norms(like)))}
    if unknown := [name for name in flat(like) if name not in table]:
        raise UserError(f"{unknown[0]} is no parameter of PaliGemma ({len(unknown)} such)")
    return tuple(table[name] for name in flat(like))


def has_post_norms(like: Params) -> bool:
    return "llm/layers/post_ffw_norm/scale" in flat(like)


def _vision_rules() -> list[Rule]:
    block, layer = "img/Transformer/encoderblock", f"{_VISION}encoder.layers.{{i}}"
    attention = f"{block}/MultiHeadDotProductAttention_0"
    found = [
        Rule("img/embedding/kernel", (f"{_VISION}embeddings.patch_embedding.weight",), ((3,), (2,), (0,), (1,))),
        Rule("img/embedding/bias", (f"{_VISION}embeddings.patch_embedding.bias",), _VECTOR),
        Rule(POSITIONS, (f"{_VISION}embeddings.position_embedding.weight",), ((0, 1), (2,))),
        Rule(f"{attention}/out/kernel", (f"{layer}.self_attn.out_proj.weight",), ((2,), (0, 1))),
        Rule(f"{attention}/out/bias", (f"{layer}.self_attn.out_proj.bias",), _VECTOR),
        Rule("img/head/kernel", ("multi_modal_projector.linear.weight",), _DENSE),
        Rule("img/head/bias", ("multi_modal_projector.linear.bias",), _VECTOR),
    ]
    for ours, theirs in (("query", "q"), ("key", "k"), ("value", "v")):
        found.append(Rule(f"{attention}/{ours}/kernel", (f"{layer}.self_attn.{theirs}_proj.weight",), ((1, 2), (0,))))
        found.append(Rule(f"{attention}/{ours}/bias", (f"{layer}.self_attn.{theirs}_proj.bias",), ((0, 1),)))
    for ours, theirs in (("Dense_0", "fc1"), ("Dense_1", "fc2")):
        found.append(Rule(f"{block}/MlpBlock_0/{ours}/kernel", (f"{layer}.mlp.{theirs}.weight",), _DENSE))
        found.append(Rule(f"{block}/MlpBlock_0/{ours}/bias", (f"{layer}.mlp.{theirs}.bias",), _VECTOR))
    norms = {
        f"{block}/LayerNorm_0": f"{layer}.layer_norm1",
        f"{block}/LayerNorm_1": f"{layer}.layer_norm2",
        "img/Transformer/encoder_norm": f"{_VISION}post_layernorm",
    }
    for ours, theirs in norms.items():
        found += [Rule(f"{ours}/scale", (f"{theirs}.weight",), _VECTOR), Rule(f"{ours}/bias", (f"{theirs}.bias",), _VECTOR)]
    return found


def _language_rules(post_norms: bool) -> list[Rule]:
    layer, heads = f"{_LANGUAGE}layers.{{i}}", ((0, 2), (1,))
    if post_norms:
        norms = {
            "pre_attention_norm": "input_layernorm",
            "post_attention_norm": "post_attention_layernorm",
            "pre_ffw_norm": "pre_feedforward_layernorm",
            "post_ffw_norm": "post_feedforward_layernorm",
        }
    else:  # here the stored name says where it stands, there what it follows
        norms = {"pre_attention_norm": "input_layernorm", "pre_ffw_norm": "post_attention_layernorm"}
    attention, mlp = f"{layer}.self_attn", f"{layer}.mlp"
    return [
        Rule("llm/embedder/input_embedding", (f"{_LANGUAGE}embed_tokens.weight",), ((0,), (1,)), PADDING_ROWS),
        Rule("llm/layers/attn/q_einsum/w", (f"{attention}.q_proj.weight",), heads),
        Rule("llm/layers/attn/kv_einsum/w", (f"{attention}.k_proj.weight", f"{attention}.v_proj.weight"), heads),
        Rule("llm/layers/attn/attn_vec_einsum/w", (f"{attention}.o_proj.weight",), ((2,), (0, 1))),
        Rule("llm/layers/mlp/gating_einsum", (f"{mlp}.gate_proj.weight", f"{mlp}.up_proj.weight"), _DENSE),
        Rule("llm/layers/mlp/linear", (f"{mlp}.down_proj.weight",), _DENSE),
        *(Rule(f"llm/layers/{ours}/scale", (f"{layer}.{theirs}.weight",), _VECTOR) for ours, theirs in norms.items()),
        Rule("llm/final_norm/scale", (f"{_LANGUAGE}norm.weight",), _VECTOR),
    ]


def published_name(name: str) -> str | None:
    """Of a name of any generation; None for the tied head."""
    name = name.removeprefix("model.")
    if name in ("lm_head.weight", "language_model.lm_head.weight"):
        return None
    for kind, prefix in (("vision_tower.", _VISION), ("language_model.", _LANGUAGE)):
        if name.startswith(kind):
            return prefix + name.removeprefix(prefix).removeprefix(kind)
    return name


def load_safetensors(path: Path, like: Params, *, dtype: DTypeLike | None = None, resize_positions: bool = False) -> Params:
    """Hugging Face PaliGemma 1 or 2 as the "params" of `DecoderOnly`, whose shapes (`jax.eval_shape` of its init) are `like`.

    See `safetensors.load`. `resize_positions`: a checkpoint for pictures of another size is taken, its grid of positions
    resized.
    """
    stored = safetensors.Stored(path, published_name).shapes().get(f"{_VISION}embeddings.position_embedding.weight")
    file_like = with_positions(like, stored[0]) if resize_positions and stored else like
    found = safetensors.load(path, file_like, rules(like), dtype=dtype, rename=published_name)
    return fit_positions(found, like)


def save_safetensors(
    folder: Path, params: Params, *, dtype: DTypeLike | None = None, shard_bytes: int = safetensors.SHARD_BYTES
) -> list[Path]:
    """The inverse, under the published names, with zeros for the 64 padding rows. See `safetensors.save`."""
    return safetensors.save(folder, params, rules(params), dtype=dtype, shard_bytes=shard_bytes)


def with_positions(like: Params, num_tokens: int) -> Params:
    """`like` as it would be for pictures of `num_tokens` tokens."""
    leaves = flat(like)
    width = leaves[POSITIONS].shape[-1]
    leaves[POSITIONS] = jax.ShapeDtypeStruct((1, num_tokens, width), leaves[POSITIONS].dtype)
    return rebuild(like, leaves)


def fit_positions(params: Params, like: Params) -> Params:
    """`params` with their positions on the grid of `like`."""
    leaves, wanted = flat(params), flat(like)[POSITIONS]
    if leaves[POSITIONS].shape == wanted.shape:
        return params
    resized = resize_grid(np.asarray(leaves[POSITIONS]), wanted.shape[1])
    sharding = getattr(wanted, "sharding", None)
    leaves[POSITIONS] = resized if sharding is None else jax.device_put(resized, sharding)
    return rebuild(params, leaves)


def resize_grid(positions: Float[np.ndarray, "1 n d"], num_tokens: int) -> Float[np.ndarray, "1 m d"]:
    """Bilinear, between square grids. Raises UserError where one is not square."""
    old, new = math.isqrt(positions.shape[1]), math.isqrt(num_tokens)
    if old**2 != positions.shape[1] or new**2 != num_tokens:
        raise UserError(f"positions are resized between square grids only; got {positions.shape[1]} tokens for {num_tokens}")
    grid = jnp.asarray(positions, jnp.float32).reshape(old, old, -1)
    resized = jax.image.resize(grid, (new, new, grid.shape[-1]), "bilinear", antialias=False)
    return np.asarray(resized.reshape(1, num_tokens, -1)).astype(positions.dtype)
