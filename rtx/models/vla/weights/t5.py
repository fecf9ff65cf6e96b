"""T5 and UL2 checkpoints to the text half of the encoder-decoder's parameters, and back, one tensor at a time.

    ours (layers stacked)                     T5X                                 Hugging Face (kernels transposed)
    token_embedder/embedding                  token_embedder/embedding            shared.weight (as it is)
    encoder/layers/attention/query/kernel     encoder/layers_3/attention/...      encoder.block.3.layer.0.SelfAttention.q.weight
    decoder/logits_dense/kernel               decoder/logits_dense/kernel         lm_head.weight

`like` and `params` are `{"token_embedder", "encoder", "decoder"}` of `EncoderDecoder`'s parameters; whether there is a head
beside the embedding is seen there. Names and shapes are checked, and every mismatch named, before anything is read.
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
from jax.typing import DTypeLike

from rtx.errors import UserError, WorldError
from rtx.files import atomic
from rtx.models.vla.weights import safetensors, t5x
from rtx.models.vla.weights.leaves import Params, check, flat, placed, rebuild
from rtx.models.vla.weights.safetensors import Rule, slots

TEXT = ("token_embedder", "encoder", "decoder")
"""Parts of the parameters that a text checkpoint holds."""

Naming = Literal["t5x", "hugging_face"]

_AS_IT_IS: Mapping[int, tuple[tuple[int, ...], ...]] = {1: ((0,),), 2: ((0,), (1,))}
_TRANSPOSED = ((1,), (0,))

_ATTENTION = (("query", "q"), ("key", "k"), ("value", "v"), ("out", "o"))
_MLP = ("wi_0", "wi_1", "wo")

_EMBEDDING, _HEAD = "token_embedder/embedding", "decoder/logits_dense/kernel"
_COPIES = ("encoder.embed_tokens.weight", "decoder.embed_tokens.weight")
"""Some files hold the embedding again under these names."""

_UNUSED = "decoder.block.0.layer.1.EncDecAttention.relative_attention_bias.weight"
"""In files of the first T5: a bias that no version of the model has read."""


def load_safetensors(path: Path, like: Params, *, dtype: DTypeLike | None = None) -> Params:
    """A Hugging Face checkpoint of T5 v1.1, Flan-T5 or UL2. See `safetensors.load`.

    Raises WorldError, besides, where a second embedding or a tied head is not the embedding that it should repeat.
    """
    rules = rules_of(like, "hugging_face")
    repeated = (*_COPIES, *(() if _HEAD in flat(like) else ("lm_head.weight",)))
    stored = safetensors.Stored(path)
    for name in repeated:
        if name in stored.shapes() and not np.array_equal(stored.read(name), stored.read("shared.weight")):
            raise WorldError(f"{path}: {name} differs from shared.weight, which it should repeat; does the config say tied?")
    return safetensors.load(path, like, rules, dtype=dtype, rename=lambda name: None if name in (*repeated, _UNUSED) else name)


def save_safetensors(
    folder: Path, params: Params, *, dtype: DTypeLike | None = None, shard_bytes: int = safetensors.SHARD_BYTES
) -> list[Path]:
    """The inverse. See `safetensors.save`. The files of a separate head need a reader that does not tie it to the embedding."""
    return safetensors.save(folder, params, rules_of(params, "hugging_face"), dtype=dtype, shard_bytes=shard_bytes)


def load_t5x(path: Path, like: Params, *, dtype: DTypeLike | None = None) -> Params:
    """A T5X checkpoint's folder, or a tree of its names as `.npz` (see `t5x`), one array at a time.

    Raises UserError where there is no file, WorldError for a damaged one, and for names and shapes that are not the network's.
    """
    return from_t5x(t5x.read_tree(path), like, dtype=dtype, where=str(path))


def from_t5x(arrays: Mapping[str, Any], like: Params, *, dtype: DTypeLike | None = None, where: str = "T5X tree") -> Params:
    """Parameters from arrays (or `t5x.LazyArray`) under T5X's names, in `dtype` or the dtypes of `like`."""
    wanted, rules = flat(like), rules_of(like, "t5x")
    expected = {slot.name: slot.stored for rule in rules for slot in slots(rule, wanted[rule.ours].shape)}
    check(where, expected, {name: tuple(array.shape) for name, array in arrays.items()})
    leaves = {}
    for rule in rules:
        leaf = wanted[rule.ours]
        whole = np.empty(leaf.shape, np.dtype(leaf.dtype if dtype is None else dtype))
        for slot in slots(rule, leaf.shape):
            whole[slot.place] = np.asarray(arrays[slot.name])
        leaves[rule.ours] = placed(whole, leaf)
    return rebuild(like, leaves)


def to_t5x(params: Params) -> Iterator[tuple[str, np.ndarray]]:
    """T5X's name and the array of every tensor, in the parameters' own dtypes."""
    leaves = flat(params)
    for rule in rules_of(params, "t5x"):
        for slot in slots(rule, leaves[rule.ours].shape):
            yield slot.name, np.asarray(leaves[rule.ours][slot.place])


def save_t5x(path: Path, params: Params) -> None:
    """Writes an `.npz` of `to_t5x` below "target", array by array."""
    with atomic(path) as file, zipfile.ZipFile(file, "w", allowZip64=True) as archive:
        for name, array in to_t5x(params):
            with archive.open(f"target/{name}.npy", "w", force_zip64=True) as member:
                np.lib.format.write_array(member, np.ascontiguousarray(array), allow_pickle=False)


def rules_of(like: Params, naming: Naming) -> tuple[Rule, ...]:
    """How every leaf of `like` is stored. Raises UserError for a leaf that is no parameter of T5."""
    table = {rule.ours: rule for rule in (*_single_rules(naming), *_layer_rules(naming))}
    if unknown := [name for name in flat(like) if name not in table]:
        parts = ", ".join(TEXT)
        raise UserError(f"{unknown[0]} is no parameter of T5 ({len(unknown)} such); give the parts {parts} alone")
    return tuple(table[name] for name in flat(like))


def _single_rules(naming: Naming) -> list[Rule]:
    bias = "{}.block.0.layer.0.SelfAttention.relative_attention_bias.weight"
    found = [_rule(_EMBEDDING, _EMBEDDING, "shared.weight", 2, naming, transposed=False)]
    for stack in ("encoder", "decoder"):
        table, norm = f"{stack}/relpos_bias/rel_embedding", f"{stack}/{stack}_norm/scale"
        found.append(_rule(table, table, bias.format(stack), 2, naming))
        found.append(_rule(norm, norm, f"{stack}.final_layer_norm.weight", 1, naming))
    return [*found, _rule(_HEAD, _HEAD, "lm_head.weight", 2, naming)]


def _layer_rules(naming: Naming) -> list[Rule]:
    """Of both stacks: what stands below `layers`, and the number of the sublayer that Hugging Face keeps it in."""
    found = []
    for stack, attentions, norms in (
        ("encoder", (("attention", "SelfAttention"),), ("attention", "mlp")),
        (
            "decoder",
            (("self_attention", "SelfAttention"), ("encoder_decoder_attention", "EncDecAttention")),
            ("self_attention", "cross_attention", "mlp"),
        ),
    ):
        names: list[tuple[str, str, int]] = []
        for number, (ours, theirs) in enumerate(attentions):
            names += [(f"{ours}/{name}/kernel", f"{number}.{theirs}.{short}", 2) for name, short in _ATTENTION]
        names += [(f"mlp/{name}/kernel", f"{len(attentions)}.DenseReluDense.{name}", 2) for name in _MLP]
        names += [(f"pre_{name}_layer_norm/scale", f"{number}.layer_norm", 1) for number, name in enumerate(norms)]
        for ours, theirs, axes in names:
            stored = f"{stack}.block.{{i}}.layer.{theirs}.weight"
            found.append(_rule(f"{stack}/layers/{ours}", f"{stack}/layers_{{i}}/{ours}", stored, axes, naming))
    return found


def _rule(ours: str, t5x: str, hugging_face: str, axes: int, naming: Naming, *, transposed: bool = True) -> Rule:
    """`axes`: of one layer of it. `transposed`: in Hugging Face's files, if it is a matrix."""
    if naming == "t5x":
        return Rule(ours, (t5x,), _AS_IT_IS[axes])
    return Rule(ours, (hugging_face,), _TRANSPOSED if transposed and axes == 2 else _AS_IT_IS[axes])
