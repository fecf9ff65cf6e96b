"""One leaf of an Example -> one array stacked over steps, undoing every way in which TFDS stores a tensor.

    one item a step         one flat list over all steps, key `steps/a`; encoded tensors ("zlib", "bytes") as byte strings
    shape with two unknowns `steps/a/value` and `steps/a/shape`
    a list inside a step    `steps/a/ragged_flat_values` and, for each depth k, `steps/a/ragged_row_lengths_k`

Numbers are widened on disk (bool and integers to int64, floats to float32) and get their declared type back. Where lengths
vary, the result is an object array with one array a step. Source: tensorflow_datasets/core/example_serializer.py and
features/tensor_feature.py, 4.9.10.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from rtx.data.example import Example
from rtx.data.features import FeatureSpec
from rtx.errors import WorldError

FLAT_VALUES, _LENGTHS = "ragged_flat_values", "ragged_row_lengths_{}"


def decode_leaf(example: Example, spec: FeatureSpec, where: str) -> np.ndarray:
    """[T, *shape], or an object array [T] where lengths vary; T is 1 for leaves outside the steps.

    Raises WorldError for numbers that do not make whole steps, damaged encodings, and features that rtx cannot read.
    """
    depth = spec.num_sequences + spec.in_steps  # what TFDS calls the sequence rank
    items = _items(example, spec, depth >= 2, where)
    lengths = [_row_lengths(example, spec, k, where) for k in range(depth - 1)]
    nested = _nested(items, lengths, spec, where)
    return nested if depth == 0 or spec.in_steps or None not in spec.shape else _objects([nested])


def _items(example: Example, spec: FeatureSpec, is_ragged: bool, where: str) -> np.ndarray:
    """Every tensor of the leaf, one after the other, whatever sequences they belong to: [n, *tensor_shape]."""
    unknown = spec.tensor_shape.count(None)
    key = _key(example, f"{spec.path}/value" if unknown > 1 else spec.path, is_ragged, spec, where)
    if spec.encoding in ("zlib", "bytes"):
        raw = _decompressed(example.strings(key), spec, where)
        return _from_raw(raw, _shapes(example, spec, is_ragged, len(raw), where), spec, where)
    if unknown > 1 or (unknown and (spec.in_steps or spec.num_sequences)):
        raise WorldError(f"{where}, key {spec.path!r}: {spec} is stored without its shape; TFDS cannot read it either")
    if spec.dtype == "string":
        flat = _objects(example.strings(key))
    elif spec.dtype.startswith(("float", "bfloat")):
        flat = example.floats(key).astype(_numpy_dtype(spec.dtype), copy=False)
    else:
        flat = example.ints(key).astype(_numpy_dtype(spec.dtype))
    size = math.prod(n for n in spec.tensor_shape if n is not None)
    if size == 0 or len(flat) % size:
        raise WorldError(f"{where}, key {spec.path!r}: {len(flat)} numbers are not a whole number of steps of {spec}")
    one = [-1 if n is None else n for n in spec.tensor_shape]
    return flat.reshape([1, *one] if unknown else [-1, *one])


def _decompressed(encoded: Sequence[bytes], spec: FeatureSpec, where: str) -> list[bytes]:
    if spec.encoding == "bytes":
        return list(encoded)
    try:
        return [zlib.decompress(data) for data in encoded]
    except zlib.error as error:
        raise WorldError(f"{where}, key {spec.path!r}: a compressed tensor does not decompress ({error})") from error


def _from_raw(raw: Sequence[bytes], shapes: Sequence[tuple[int, ...]], spec: FeatureSpec, where: str) -> np.ndarray:
    """Little-endian bytes of one tensor each."""
    stored = np.dtype("<u2") if spec.dtype == "bfloat16" else _numpy_dtype(spec.dtype)
    tensors = []
    for data, shape in zip(raw, shapes, strict=True):
        try:
            tensor = np.frombuffer(data, stored).reshape(shape)
        except ValueError as error:
            raise WorldError(f"{where}, key {spec.path!r}: {len(data)} bytes are not one tensor of {spec}") from error
        tensors.append(_widened(tensor) if spec.dtype == "bfloat16" else tensor)
    if None in spec.tensor_shape:
        return _objects(tensors)
    empty = np.zeros((0, *(n or 0 for n in spec.tensor_shape)), _numpy_dtype(spec.dtype))
    return np.stack(tensors) if tensors else empty


def _shapes(example: Example, spec: FeatureSpec, is_ragged: bool, count: int, where: str) -> list[tuple[int, ...]]:
    """Of each encoded tensor; stored beside it where two or more dimensions are unknown."""
    shape = spec.tensor_shape
    if shape.count(None) < 2:
        return [tuple(-1 if n is None else n for n in shape)] * count
    stored = example.ints(_key(example, f"{spec.path}/shape", is_ragged, spec, where))
    if len(stored) != count * len(shape):
        raise WorldError(f"{where}, key {spec.path!r}: {len(stored)} numbers of shapes for {count} tensors of {spec}")
    return [tuple(row) for row in stored.reshape(-1, len(shape)).tolist()]


def _nested(items: np.ndarray, lengths: Sequence[np.ndarray], spec: FeatureSpec, where: str) -> np.ndarray:
    """`items` grouped by the row lengths, innermost last; [T, *shape] where all lengths are fixed."""
    if None not in spec.shape:
        expected = math.prod(n or 0 for n in spec.shape[: spec.num_sequences])
        if expected == 0 or len(items) % expected:
            raise WorldError(f"{where}, key {spec.path!r}: {len(items)} items are not a whole number of steps of {spec}")
        return items.reshape(-1, *(n or 0 for n in spec.shape))
    grouped: Any = items
    for rows in reversed(lengths):
        if int(rows.sum()) != len(grouped):
            raise WorldError(
                f"{where}, key {spec.path!r}: its row lengths add up to {int(rows.sum())}, it has {len(grouped)} rows"
            )
        ends = np.cumsum(rows).tolist()
        grouped = _objects([grouped[end - n : end] for end, n in zip(ends, rows.tolist(), strict=True)])
    return np.asarray(grouped)


def _row_lengths(example: Example, spec: FeatureSpec, depth: int, where: str) -> np.ndarray:
    key = f"{spec.path}/{_LENGTHS.format(depth)}"
    if key not in example:
        raise WorldError(f"{where}: the key {key!r} is missing, though features.json says that {spec.path} holds lists")
    rows = example.ints(key)
    if np.any(rows < 0):
        raise WorldError(f"{where}, key {key!r}: a negative length")
    return rows


def _key(example: Example, path: str, is_ragged: bool, spec: FeatureSpec, where: str) -> str:
    key = f"{path}/{FLAT_VALUES}" if is_ragged else path
    if spec.kind == "other":
        raise WorldError(f"{where}, key {spec.path!r}: features of kind {spec.dtype} cannot be read")
    if key not in example:
        raise WorldError(f"{where}: the key {key!r} is missing, though features.json lists {spec}")
    return key


def _numpy_dtype(name: str) -> np.dtype:
    """bfloat16, which numpy lacks, is handed on as float32."""
    return np.dtype("float32" if name == "bfloat16" else name).newbyteorder("<")


def _widened(bits: np.ndarray) -> np.ndarray:
    """bfloat16 as float32: the same number, its lower half zero."""
    return (bits.astype(np.uint32) << 16).view(np.float32)


def _objects(values: Sequence[Any]) -> np.ndarray:
    """An object array [n] of anything, also of arrays that happen to have one shape."""
    array = np.empty(len(values), object)
    for i, value in enumerate(values):
        array[i] = value
    return array
