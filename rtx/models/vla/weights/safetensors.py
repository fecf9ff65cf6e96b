"""Safetensors files to parameters and back, leaf by leaf, by a table of rules.

A rule says which stored tensors make up one of our leaves:

    ours    llm/layers/attn/q_einsum/w     [layers, heads, width, head_dim]      layers stacked on axis 0
    theirs  ...layers.{i}.self_attn.q_proj.weight     [heads * head_dim, width]  one tensor a layer
    groups  ((0, 2), (1,))                 axes of one layer of ours that are flattened into each axis of theirs, in their order

Tensors are read in blocks straight into their place in the leaf, so reading needs one block of memory above the parameters,
and writing one tensor. bfloat16, float16 and float32 are converted on the way.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import ml_dtypes
import numpy as np
from jax.typing import DTypeLike

from rtx.errors import UserError, WorldError
from rtx.files import atomic, read_json, write_json
from rtx.models.vla.weights.leaves import Params, check, flat, placed, rebuild

INDEX = "model.safetensors.index.json"
SINGLE = "model.safetensors"
SHARD_BYTES = 5_000_000_000
BLOCK_ROWS = 128
"""Of a stored tensor, moved at once: a 2048 x 16384 matrix is transposed five times as fast as in one go."""

_DTYPES: Mapping[str, np.dtype] = {
    "F32": np.dtype(np.float32),
    "F16": np.dtype(np.float16),
    "BF16": np.dtype(ml_dtypes.bfloat16),
}

Rename = Callable[[str], str | None]
"""A stored name to the one the rules use; None for a tensor that is to be left alone."""


@dataclasses.dataclass(frozen=True)
class Rule:
    ours: str
    theirs: tuple[str, ...]  # "{i}" is the layer's number; several tensors lie on the next axis of ours
    groups: tuple[tuple[int, ...], ...]
    padding_rows: int = 0  # rows that theirs may have beyond ours: dropped when read, zeros when written


@dataclasses.dataclass(frozen=True)
class _Slot:
    """One stored tensor and its place in a leaf."""

    name: str
    place: tuple[int, ...]  # leading indices of the leaf
    shape: tuple[int, ...]  # of that place
    rule: Rule

    @property
    def stored(self) -> tuple[int, ...]:
        return tuple(math.prod(self.shape[axis] for axis in group) for group in self.rule.groups)

    @property
    def padded(self) -> tuple[int, ...]:
        return (self.stored[0] + self.rule.padding_rows, *self.stored[1:])

    @property
    def order(self) -> tuple[int, ...]:
        """Axes of ours in the order in which theirs has them."""
        return tuple(axis for group in self.rule.groups for axis in group)


def slots(rule: Rule, shape: Sequence[int]) -> Iterator[_Slot]:
    """The tensors that make up a leaf of this shape."""
    layered, several = "{i}" in rule.theirs[0], len(rule.theirs) > 1
    rest = tuple(shape[layered + several :])
    for layer in range(shape[0]) if layered else (None,):
        for number, name in enumerate(rule.theirs):
            place = (() if layer is None else (layer,)) + ((number,) if several else ())
            yield _Slot(name.replace("{i}", str(layer)), place, rest, rule)


def load(
    path: Path,
    like: Params,
    rules: Sequence[Rule],
    *,
    dtype: DTypeLike | None = None,
    rename: Rename = lambda name: name,
) -> Params:
    """Parameters of the structure of `like`, in `dtype` or its dtypes; numpy, or on devices where `like` has shardings.

    path: a `.safetensors` file, an index file, or a folder with either. Raises UserError where there is none, WorldError for a
    damaged file and for names and shapes that are not the network's (checked before anything is read).
    """
    stored = Stored(path, rename)
    wanted, by_name = flat(like), {rule.ours: rule for rule in rules}
    stored.check([slot for name, leaf in wanted.items() for slot in slots(by_name[name], leaf.shape)])
    leaves = {}
    for name, leaf in wanted.items():
        array = np.empty(leaf.shape, np.dtype(leaf.dtype if dtype is None else dtype))
        for slot in slots(by_name[name], leaf.shape):
            stored.fill(slot, array[slot.place])
        leaves[name] = placed(array, leaf)
    return rebuild(like, leaves)


class Stored:
    """The tensors of a checkpoint, in one file or in shards, under the names the rules use."""

    def __init__(self, path: Path, rename: Rename = lambda name: name) -> None:
        self.path = path
        self._where: dict[str, tuple[Path, str]] = {}
        self._shapes: dict[str, tuple[int, ...]] = {}
        self._dtypes: dict[str, str] = {}
        for file in files_of(path):
            with _opened(file) as tensors:
                for stored in tensors.offset_keys():
                    if (name := rename(stored)) is None:
                        continue
                    if name in self._where:
                        raise WorldError(f"{path}: {name} is stored twice, the second time as {stored} in {file.name}")
                    part = tensors.get_slice(stored)
                    self._where[name] = (file, stored)
                    self._shapes[name], self._dtypes[name] = tuple(part.get_shape()), part.get_dtype()

    def check(self, wanted: Sequence[_Slot]) -> None:
        expected = {slot.name: slot.stored for slot in wanted}
        found = dict(self._shapes)
        for slot in wanted:
            if found.get(slot.name) == slot.padded:
                found[slot.name] = slot.stored
        check(str(self.path), expected, found)
        if odd := sorted(name for name in expected if self._dtypes[name] not in _DTYPES):
            raise WorldError(
                f"{self.path}: {odd[0]} is stored as {self._dtypes[odd[0]]} ({len(odd)} such tensors); "
                f"expected {', '.join(_DTYPES)}"
            )

    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        return self._shapes

    def read(self, name: str) -> np.ndarray:
        """One tensor whole, in the dtype it is stored in."""
        file, stored = self._where[name]
        with _opened(file) as tensors:
            return tensors.get_tensor(stored)

    def fill(self, slot: _Slot, into: np.ndarray) -> None:
        """Writes a tensor into its place in a leaf. Only a tensor whose first axis is one axis of ours is taken in blocks."""
        file, stored = self._where[slot.name]
        with _opened(file) as tensors:
            part = tensors.get_slice(stored)
            ordered = _bits(into).transpose(slot.order)
            rows = slot.stored[0]
            step = BLOCK_ROWS if len(slot.rule.groups[0]) == 1 else rows
            for start in range(0, rows, step):
                block = part[start : min(start + step, rows)].astype(into.dtype, copy=False)
                to = ordered[start : start + step]
                to[...] = _bits(block).reshape(to.shape)


def _bits(array: np.ndarray) -> np.ndarray:
    """The same memory as integers, which numpy moves faster than bfloat16."""
    return array.view(f"u{array.dtype.itemsize}")


def files_of(path: Path) -> list[Path]:
    """The files of a checkpoint. Raises UserError where there is none, WorldError where a shard is missing."""
    if path.is_dir():
        found = next((path / name for name in (INDEX, SINGLE) if (path / name).is_file()), None)
        if found is None:
            raise UserError(f"{path} holds neither {INDEX} nor {SINGLE}; name the file if it is called otherwise")
        path = found
    if not path.is_file():
        raise UserError(f"no such file or folder: {path}; expected safetensors")
    if path.suffix != ".json":
        return [path]
    index = read_json(path)
    if not isinstance(index, dict) or not isinstance(index.get("weight_map"), dict):
        raise WorldError(f"{path}: expected an object with weight_map; download it again")
    names = sorted({str(name) for name in index["weight_map"].values()})
    if outside := [name for name in names if Path(name).name != name]:
        raise WorldError(f"{path}: {outside[0]} is no file beside it")
    if absent := [name for name in names if not (path.parent / name).is_file()]:
        raise WorldError(f"{path.parent}: {', '.join(absent)} of {len(names)} shards missing; download them")
    return [path.parent / name for name in names]


def _opened(path: Path) -> Any:
    """A memory map, whose pages count as this process's memory until it is closed: so it is opened anew for every tensor."""
    try:
        from safetensors import SafetensorError, safe_open
    except ImportError as error:
        raise UserError("reading safetensors needs a package: pip install rtx-robotics[weights]") from error
    try:
        return safe_open(path, framework="np")
    except SafetensorError as error:
        raise WorldError(f"{path} is no safetensors file, or a damaged one: {error}; download it again") from error


def save(
    folder: Path, params: Params, rules: Sequence[Rule], *, dtype: DTypeLike | None = None, shard_bytes: int = SHARD_BYTES
) -> list[Path]:
    """Writes `model.safetensors`, or shards of at most `shard_bytes` and their index; the inverse of `load`.

    `dtype`: of the files; the parameters' own by default. Returns the files' paths.
    """
    leaves, by_name = flat(params), {rule.ours: rule for rule in rules}
    tensors = [(slot, leaf) for name, leaf in leaves.items() for slot in slots(by_name[name], leaf.shape)]
    entries = [Entry(slot.name, slot.padded, np.dtype(leaf.dtype if dtype is None else dtype)) for slot, leaf in tensors]
    return write(folder, entries, (_tensor(slot, leaf) for slot, leaf in tensors), shard_bytes=shard_bytes)


def _tensor(slot: _Slot, leaf: Any) -> np.ndarray:
    ours = np.asarray(leaf[slot.place] if slot.place else leaf)
    tensor = ours.transpose(slot.order).reshape(slot.stored)
    return np.pad(tensor, ((0, slot.rule.padding_rows), *((0, 0),) * (tensor.ndim - 1))) if slot.rule.padding_rows else tensor


class Entry(NamedTuple):
    """What a file's header says of one tensor."""

    name: str
    shape: tuple[int, ...]
    dtype: np.dtype

    @property
    def num_bytes(self) -> int:
        return math.prod(self.shape) * self.dtype.itemsize


def write(
    folder: Path, entries: Sequence[Entry], arrays: Iterable[np.ndarray], *, shard_bytes: int = SHARD_BYTES
) -> list[Path]:
    """Any tensors, made one at a time: `arrays` follow `entries`, and are converted to their dtypes.

    The index comes last; files of an older checkpoint in the folder are replaced as the new ones are finished.
    """
    shards, arrays = _split(entries, shard_bytes), iter(arrays)
    paths = [folder / f"model-{i + 1:05d}-of-{len(shards):05d}.safetensors" for i in range(len(shards))]
    if len(shards) == 1:
        paths = [folder / SINGLE]
    for path, shard in zip(paths, shards, strict=True):
        _write_file(path, shard, arrays)
    if len(shards) == 1:
        (folder / INDEX).unlink(missing_ok=True)  # of an older, larger one: it would be read first
        return paths
    places = {entry.name: path.name for path, shard in zip(paths, shards, strict=True) for entry in shard}
    total = sum(entry.num_bytes for entry in entries)
    write_json(folder / INDEX, {"metadata": {"total_size": total}, "weight_map": dict(sorted(places.items()))})
    return [*paths, folder / INDEX]


def _split(entries: Sequence[Entry], shard_bytes: int) -> list[list[Entry]]:
    shards: list[list[Entry]] = [[]]
    size = 0
    for entry in entries:
        if shards[-1] and size + entry.num_bytes > shard_bytes:
            shards.append([])
            size = 0
        shards[-1].append(entry)
        size += entry.num_bytes
    return shards


def _write_file(path: Path, entries: list[Entry], arrays: Iterator[np.ndarray]) -> None:
    """The format: length of the header (uint64), the header (JSON, padded to 8 bytes), the tensors' bytes.

    Written here because the package takes all tensors of a file at once.
    """
    names = {dtype: name for name, dtype in _DTYPES.items()}
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}  # transformers asks for it
    end = 0
    for entry in entries:
        if entry.dtype not in names:
            raise UserError(f"{entry.name} is {entry.dtype}; safetensors are written as {', '.join(map(str, names))}")
        start, end = end, end + entry.num_bytes
        header[entry.name] = {"dtype": names[entry.dtype], "shape": entry.shape, "data_offsets": (start, end)}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with atomic(path) as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for entry in entries:
            array = next(arrays)
            assert array.shape == entry.shape, entry.name
            contiguous = np.ascontiguousarray(array, entry.dtype)
            file.write(contiguous.reshape(-1).view(np.uint8).data)
