"""Bytes on the wire: msgpack maps with numpy arrays in them, the same for robot and server. No pickle, no code, no surprises.

    array   ->  {b"__ndarray__": true, b"dtype": "<f4", b"shape": [3, 8], b"data": bytes}     C order, little endian
    scalar  ->  a number; read also as {b"__npgeneric__": true, b"dtype": "<f4", b"data": number}

Arrays are written as openpi's clients write them (openpi-client, msgpack_numpy.py). What is read comes from a stranger: only
the dtypes below, only shapes that match their bytes exactly, only messages under a size limit and of few parts, since a byte
can name a list that takes a hundred; everything else is a WireError. `docs/protocol.md` shows the bytes.
"""

from __future__ import annotations

import math
from typing import Any

import msgpack
import numpy as np

DTYPES = frozenset({"|b1", "|u1", "|i1", "<u2", "<i2", "<i4", "<i8", "<f2", "<f4", "<f8"})
MAX_MESSAGE_BYTES = 32 * 1024 * 1024  # ten uncompressed 1280 x 720 pictures
_MAX_NDIM = 8
_MAX_ITEMS = 4096  # of one list or map; memory for them is taken before the first is read
_MAX_VALUES = 100_000  # of all lists and maps of a message together


class WireError(ValueError):
    """Bytes that are no message of ours, or a value that cannot be sent."""


def pack(message: Any) -> bytes:
    """Maps, lists, strings, numbers, bytes, None and arrays to bytes. Raises WireError for anything else."""
    try:
        data = msgpack.packb(message, default=_encode, use_bin_type=True)
    except (TypeError, ValueError, OverflowError) as error:
        raise WireError(f"cannot be sent: {error}") from error
    assert isinstance(data, bytes)
    return data


def unpack(data: bytes, *, max_bytes: int = MAX_MESSAGE_BYTES) -> Any:
    """Inverse of `pack`; arrays come read-only, over the bytes of the message. Raises WireError."""
    if len(data) > max_bytes:
        raise WireError(f"message of {len(data)} bytes, at most {max_bytes} are taken")
    values = _Values()
    try:
        return msgpack.unpackb(
            data, object_hook=values.of_map, list_hook=values.of_list, raw=False, strict_map_key=True,
            max_array_len=_MAX_ITEMS, max_map_len=_MAX_ITEMS, max_ext_len=0,
        )  # fmt: skip
    except WireError:
        raise
    except (ValueError, TypeError, RecursionError, OverflowError, msgpack.UnpackException) as error:
        raise WireError(f"not a msgpack message: {type(error).__name__}: {str(error)[:200]}") from error


class _Values:
    """Counts what a message holds as it is read, and stops reading where it is too much."""

    def __init__(self) -> None:
        self._left = _MAX_VALUES

    def of_map(self, value: dict[Any, Any]) -> Any:
        self._count(2 * len(value))
        return _decode(value)

    def of_list(self, value: list[Any]) -> list[Any]:
        self._count(len(value))
        return value

    def _count(self, values: int) -> None:
        self._left -= 1 + values
        if self._left < 0:
            raise WireError(f"message of more than {_MAX_VALUES} values; send numbers as arrays")


def _encode(value: Any) -> Any:
    if isinstance(value, np.generic):
        return value.item()
    if not isinstance(value, np.ndarray):
        raise TypeError(f"{type(value).__name__} is not a type of the wire")
    array = np.ascontiguousarray(value, value.dtype.newbyteorder("<"))
    if array.dtype.str not in DTYPES:
        raise TypeError(f"array of dtype {value.dtype} (the wire takes {', '.join(sorted(DTYPES))})")
    return {b"__ndarray__": True, b"dtype": array.dtype.str, b"shape": list(value.shape), b"data": array.tobytes()}


def _decode(value: dict[Any, Any]) -> Any:
    if b"__ndarray__" in value:
        return array_of(value.get(b"dtype"), value.get(b"shape"), value.get(b"data"))
    if b"__npgeneric__" in value:
        number = value.get(b"data")
        if not isinstance(number, (bool, int, float)) or _dtype(value.get(b"dtype")) is None:
            raise WireError(f"scalar {str(number)[:40]!r} of dtype {str(value.get(b'dtype'))[:40]!r}")
        return number
    return value


def array_of(dtype: Any, shape: Any, data: Any) -> np.ndarray:
    """The array that three values from a stranger describe, read-only, over `data`. Raises WireError where they do not."""
    if _dtype(dtype) is None:
        raise WireError(f"array of dtype {str(dtype)[:40]!r}; allowed are {', '.join(sorted(DTYPES))}")
    if not isinstance(shape, list) or len(shape) > _MAX_NDIM or not all(type(n) is int and n >= 0 for n in shape):
        raise WireError(f"array of shape {str(shape)[:80]}; expected at most {_MAX_NDIM} sizes")
    if not isinstance(data, bytes) or math.prod(shape) * np.dtype(dtype).itemsize != len(data):
        size = len(data) if isinstance(data, bytes) else "no"
        raise WireError(f"array {dtype}{str(shape)[:80]} with {size} bytes of data")
    if dtype == "|b1" and data.strip(b"\x00\x01"):
        raise WireError("array of booleans holds a byte that is neither 0 nor 1")
    try:
        return np.frombuffer(data, dtype).reshape(shape)
    except ValueError as error:  # empty, with a side too long for numpy
        raise WireError(f"array {dtype}{str(shape)[:80]}: {error}") from error


def _dtype(value: Any) -> str | None:
    return value if isinstance(value, str) and value in DTYPES else None
