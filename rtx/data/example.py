"""The wire format of tf.train.Example, read without TensorFlow and without copying bytes.

    Example  { Features features = 1 }          Features { map<string, Feature> feature = 1 }
    Feature  { oneof: BytesList = 1, FloatList = 2, Int64List = 3 }, each { repeated value = 1 }

One scan over the keys stores where each list lies; a list is decoded only when asked for. Float lists become views of
the payload, integers are decoded as whole arrays, and of byte strings (images) only their places are returned: offset
and length, absolute in the file when the payload's own offset is given. Source: tensorflow/core/example/feature.proto and
the protocol buffers encoding guide (packed and unpacked, split messages merge, last map entry wins).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Float32, Int64, UInt8

from rtx.errors import WorldError

Kind = Literal["bytes", "float", "int64", "empty"]
_KINDS: dict[int, Kind] = {1: "bytes", 2: "float", 3: "int64"}
_VARINT, _FIXED64, _LENGTH, _FIXED32 = 0, 1, 2, 5
_MAX_VARINT_BYTES = 10
_UNPACKED_FLOAT = np.dtype([("tag", "u1"), ("value", "<f4")])
_FLOAT_TAG = 0x0D  # field 1, fixed 32 bits
_BYTES_TAG = 0x0A  # field 1, length delimited


class Malformed(Exception):
    """Bytes that are not an Example; `byte` counts from the start of the payload. Never leaves this module's callers."""

    def __init__(self, byte: int, text: str) -> None:
        super().__init__(text)
        self.byte, self.text = byte, text


class _List(NamedTuple):
    kind: Kind
    pieces: tuple[tuple[int, int], ...]  # (start, end) of each encoded list; more than one only in merged messages


class Example:
    """The keys of one payload and their lists. `offset`: the payload's first byte in its file; `where` names it in errors.

    The arrays returned by `floats` are read-only views that keep the payload alive. Raises WorldError naming the byte for
    anything that is not a well-formed Example.
    """

    def __init__(self, payload: memoryview, *, offset: int = 0, where: str = "example") -> None:
        self._data, self._offset, self._where = payload, offset, where
        self._lists: dict[str, _List] = {}
        try:
            self._index()
        except Malformed as error:
            raise self._damaged(error, "") from error

    def keys(self) -> tuple[str, ...]:
        return tuple(self._lists)

    def __contains__(self, key: str) -> bool:
        return key in self._lists

    def kind(self, key: str) -> Kind:
        """Which list `key` holds; "empty" for a key that is absent or has no list."""
        return self._lists[key].kind if key in self._lists else "empty"

    def floats(self, key: str) -> Float32[np.ndarray, " n"]:
        return self._decode(key, "float", np.dtype(np.float32))

    def ints(self, key: str) -> Int64[np.ndarray, " n"]:
        return self._decode(key, "int64", np.dtype(np.int64))

    def spans(self, key: str) -> tuple[Int64[np.ndarray, " n"], Int64[np.ndarray, " n"]]:
        """Offset in the file and length of each byte string."""
        found: list[tuple[int, int]] = []
        try:
            for start, end in self._pieces(key, "bytes"):
                found.extend(_byte_strings(self._data, start, end))
        except Malformed as error:
            raise self._damaged(error, key) from error
        table = np.array(found, np.int64).reshape(-1, 2)
        return table[:, 0] + self._offset, table[:, 1].copy()

    def number_spans(self, key: str, per_step: int) -> tuple[Int64[np.ndarray, " n"], Int64[np.ndarray, " n"]]:
        """Offset in the file and length in bytes of each run of `per_step` numbers: 4 bytes each of a float list, the
        variable-length numbers of an integer list. Only of packed lists, which is how TensorFlow writes them."""
        try:
            start, end = self._packed(key)
            if self.kind(key) == "float":
                stops = np.arange(start, end + 1, 4 * per_step)
                whole = stops[-1] == end
            else:
                last_bytes = np.flatnonzero(np.frombuffer(self._data[start:end], np.uint8) < 0x80)
                whole = len(last_bytes) % per_step == 0 and end - start == (last_bytes[-1] + 1 if len(last_bytes) else 0)
                stops = np.concatenate([[0], last_bytes[per_step - 1 :: per_step] + 1]) + start
        except Malformed as error:
            raise self._damaged(error, key) from error
        if not whole:
            at = self._offset + start
            raise WorldError(
                f"{self._where}, key {key!r}, byte {at}: its numbers are not a whole number of steps of {per_step}"
            )
        return stops[:-1] + self._offset, np.diff(stops)

    def _packed(self, key: str) -> tuple[int, int]:
        """Start and end of the numbers of a list that lies in one packed run; (0, 0) for an empty one."""
        pieces = self._lists[key].pieces if key in self._lists else ()
        runs = [field for start, end in pieces for field in _fields(self._data, start, end)]
        if len(runs) > 1 or any(wire != _LENGTH for _, wire, _, _ in runs):
            raise Malformed(runs[0][2], "its numbers are not packed in one run, so they have no place that can be noted")
        return runs[0][2:] if runs else (0, 0)

    def strings(self, key: str) -> list[bytes]:
        offsets, lengths = self.spans(key)
        starts = offsets - self._offset
        return [bytes(self._data[s : s + n]) for s, n in zip(starts.tolist(), lengths.tolist(), strict=True)]

    def _index(self) -> None:
        data = self._data
        for number, start, end in _messages(data, 0, len(data)):
            if number != 1:
                continue
            for entry_number, entry_start, entry_end in _messages(data, start, end):
                if entry_number == 1:
                    self._index_entry(entry_start, entry_end)

    def _index_entry(self, start: int, end: int) -> None:
        key, found = "", _List("empty", ())
        for number, s, e in _messages(self._data, start, end):
            if number == 1:
                try:
                    key = str(self._data[s:e], "utf-8")
                except UnicodeDecodeError as error:
                    raise Malformed(s, "a key is not UTF-8") from error
            elif number == 2:
                found = _merge(self._data, s, e, found)
        self._lists[key] = found

    def _pieces(self, key: str, kind: Kind) -> tuple[tuple[int, int], ...]:
        found = self._lists.get(key, _List("empty", ()))
        if found.kind not in (kind, "empty"):
            at = self._offset + found.pieces[0][0]
            raise WorldError(f"{self._where}, key {key!r}, byte {at}: holds a {found.kind} list, expected {kind}")
        return found.pieces

    def _decode(self, key: str, kind: Literal["float", "int64"], dtype: np.dtype) -> np.ndarray:
        read = _floats if kind == "float" else _ints
        try:
            arrays = [read(self._data, start, end) for start, end in self._pieces(key, kind)]
        except Malformed as error:
            raise self._damaged(error, key) from error
        if len(arrays) == 1:
            return arrays[0]
        return np.concatenate(arrays) if arrays else np.zeros(0, dtype)

    def _damaged(self, error: Malformed, key: str) -> WorldError:
        inside = f", key {key!r}" if key else ""
        return WorldError(
            f"{self._where}{inside}, byte {self._offset + error.byte}: {error.text}; not a valid tf.train.Example"
        )


def _merge(data: memoryview, start: int, end: int, before: _List) -> _List:
    """A Feature message on top of what the same entry held before: equal kinds append, another kind replaces."""
    found = before
    for number, s, e in _messages(data, start, end):
        kind = _KINDS.get(number)
        if kind is not None:
            found = _List(kind, (*found.pieces, (s, e)) if kind == found.kind else ((s, e),))
    return found


def _varint(data: memoryview, pos: int, end: int) -> tuple[int, int]:
    """Value and the position after it."""
    if pos < end and data[pos] < 0x80:  # tags and short lengths: most of them
        return data[pos], pos + 1
    value = 0
    for count in range(min(_MAX_VARINT_BYTES, end - pos)):
        byte = data[pos + count]
        value |= (byte & 0x7F) << (7 * count)
        if byte < 0x80:
            return value, pos + count + 1
    raise Malformed(pos, "a variable-length number does not end")


def _fields(data: memoryview, pos: int, end: int) -> Iterator[tuple[int, int, int, int]]:
    """Field number, wire type, and the start and end of the value (of a varint: its own bytes)."""
    while pos < end:
        at = pos
        tag, pos = _varint(data, pos, end)
        number, wire = tag >> 3, tag & 7
        start = pos
        if wire == _LENGTH:
            length, start = _varint(data, pos, end)
            pos = start + length
        elif wire == _VARINT:
            _, pos = _varint(data, pos, end)
        elif wire in (_FIXED64, _FIXED32):
            pos += 8 if wire == _FIXED64 else 4
        else:
            raise Malformed(at, f"unknown wire type {wire}")
        if pos > end or number == 0:
            raise Malformed(at, "a field reaches past the end of its message" if number else "field number 0")
        yield number, wire, start, pos


def _messages(data: memoryview, pos: int, end: int) -> Iterator[tuple[int, int, int]]:
    """The length-delimited fields only; others are unknown to these messages and passed over, as the format demands."""
    return ((number, start, stop) for number, wire, start, stop in _fields(data, pos, end) if wire == _LENGTH)


def _byte_strings(data: memoryview, pos: int, end: int) -> list[tuple[int, int]]:
    """(start, length) of each string. Written out: one turn per image of the data set."""
    found: list[tuple[int, int]] = []
    while pos < end:
        if data[pos] != _BYTES_TAG:  # a field this message does not know: the careful way for the rest
            rest = _messages(data, pos, end)
            return found + [(start, stop - start) for number, start, stop in rest if number == 1]
        length, start = _varint(data, pos + 1, end)
        pos = start + length
        if pos > end:
            raise Malformed(start, f"a byte string of {length} bytes reaches past the end of its list")
        found.append((start, length))
    return found


def _floats(data: memoryview, start: int, end: int) -> np.ndarray:
    size = end - start
    if size and size % 5 == 0 and data[start] == _FLOAT_TAG:
        table = np.frombuffer(data[start:end], _UNPACKED_FLOAT)
        if np.all(table["tag"] == _FLOAT_TAG):
            return table["value"].astype(np.float32)
    parts = []
    for number, wire, s, e in _fields(data, start, end):
        if number != 1:
            continue
        if (e - s) % 4 or wire not in (_LENGTH, _FIXED32):
            raise Malformed(s, f"a float list of {e - s} bytes with wire type {wire}")
        parts.append(np.frombuffer(data[s:e], "<f4"))
    if len(parts) == 1:
        return parts[0]
    return np.concatenate(parts) if parts else np.zeros(0, np.float32)


def _ints(data: memoryview, start: int, end: int) -> np.ndarray:
    parts = []
    for number, wire, s, e in _fields(data, start, end):
        if number != 1:
            continue
        if wire not in (_LENGTH, _VARINT):
            raise Malformed(s, f"an integer list with wire type {wire}")
        parts.append(varints(np.frombuffer(data[s:e], np.uint8), s))
    if len(parts) == 1:
        return parts[0]
    return np.concatenate(parts) if parts else np.zeros(0, np.int64)


def varints(raw: UInt8[np.ndarray, " n"], at: int = 0) -> Int64[np.ndarray, " m"]:
    """All variable-length numbers of `raw`: a turn per byte of the longest one, not per number. Raises Malformed."""
    is_last = raw < 0x80
    if is_last.all():  # flags and small counts: most integer lists
        return raw.astype(np.int64)
    ends = np.flatnonzero(is_last)
    if not is_last[-1]:
        raise Malformed(at + len(raw), "an integer list ends inside a number")
    starts = np.concatenate([[0], ends[:-1] + 1])
    lengths = ends - starts + 1
    if lengths.max() > _MAX_VARINT_BYTES:
        raise Malformed(at, "a variable-length number does not end")
    values = np.zeros(len(ends), np.uint64)
    for k in range(int(lengths.max())):
        here = lengths > k
        values[here] |= (raw[starts[here] + k] & np.uint8(0x7F)).astype(np.uint64) << np.uint64(7 * k)
    return values.view(np.int64)
