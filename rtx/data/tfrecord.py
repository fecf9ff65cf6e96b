"""TFRecord files: a sequence of framed payloads, each frame checked by two masked CRC32C sums.

    uint64 length | uint32 masked crc of the length | length bytes of payload | uint32 masked crc of the payload

All numbers are little endian. Files are read front to back, one record in memory at a time, so any object with `read` will
do. Format: tensorflow/core/lib/io/record_writer.h.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from typing import NamedTuple, Protocol, runtime_checkable

import google_crc32c

from rtx.errors import WorldError

HEADER_BYTES = 12
FOOTER_BYTES = 4
_MASK_DELTA = 0xA282EAD8
LFS_POINTER = b"version https://git-lfs"
_CHUNK_BYTES = 1 << 24


@runtime_checkable
class File(Protocol):
    """What is asked of an open binary file, local or remote."""

    def read(self, size: int, /) -> bytes: ...

    def seek(self, offset: int, whence: int = 0, /) -> int: ...


class Record(NamedTuple):
    """One payload, the byte it starts at in its file, and its place in the order of the file."""

    offset: int
    payload: memoryview
    number: int


def masked_crc(data: bytes) -> int:
    """The rotated and shifted CRC32C that TFRecord stores (so that a CRC of data holding CRCs stays meaningful)."""
    crc = google_crc32c.value(data)
    return ((crc >> 15 | crc << 17) + _MASK_DELTA) & 0xFFFFFFFF


def frame(payload: bytes | memoryview) -> tuple[bytes, bytes | memoryview, bytes]:
    """What stands in a file for one record."""
    length = struct.pack("<Q", len(payload))
    return length + struct.pack("<I", masked_crc(length)), payload, struct.pack("<I", masked_crc(bytes(payload)))


class RecordReader:
    """Iterates the records of one open file and keeps the CRC32C of every byte read, the checksum of the whole at the end.

    `on_damage` is called with the error, and the record left out, when a payload fails its sum while its frame is whole;
    without it, and for a broken frame always (nothing after it can be found), WorldError names file and byte.
    """

    def __init__(self, file: File, name: str, *, on_damage: Callable[[int, WorldError], None] | None = None) -> None:
        self._file, self._name, self._on_damage = file, name, on_damage
        self._size = file.seek(0, 2)
        file.seek(0)
        self.crc32c = 0

    def __iter__(self) -> Iterator[Record]:
        position = index = 0
        while position < self._size:
            length = self._length(position, index)
            payload = self._read(length)
            (stored,) = struct.unpack("<I", self._read(FOOTER_BYTES))
            start = position + HEADER_BYTES
            if masked_crc(payload) == stored:
                yield Record(start, memoryview(payload), index)
            else:
                self._damaged(index, start, length)
            position, index = start + length + FOOTER_BYTES, index + 1

    def _length(self, position: int, index: int) -> int:
        """The payload's length, checked against its sum and against the end of the file."""
        left = self._size - position
        if left < HEADER_BYTES:
            raise self._error(position, index, f"the file ends inside a record header ({left} of {HEADER_BYTES} bytes)")
        header = self._read(HEADER_BYTES)
        length, stored = struct.unpack("<QI", header)
        if masked_crc(header[:8]) != stored:
            raise self._not_a_record(header, position, index)
        if HEADER_BYTES + length + FOOTER_BYTES > left:
            text = f"the file is truncated: the record needs {HEADER_BYTES + length + FOOTER_BYTES} bytes, {left} are left"
            raise self._error(position, index, text)
        return int(length)

    def _not_a_record(self, header: bytes, position: int, index: int) -> WorldError:
        if position == 0 and LFS_POINTER.startswith(header):
            text = "a Git LFS pointer lies here instead of the data; run `git lfs pull` there"
            return WorldError(f"{self._name}: {text}")
        return self._error(position, index, "the checksum of the record's length is wrong: damaged, or not a TFRecord file")

    def _damaged(self, index: int, start: int, length: int) -> None:
        error = self._error(start, index, f"the checksum of the record's {length} bytes of data is wrong")
        if self._on_damage is None:
            raise error
        self._on_damage(index, error)

    def _read(self, num_bytes: int) -> bytes:
        data = self._file.read(num_bytes)
        if len(data) != num_bytes:
            raise WorldError(f"{self._name}: the file became shorter while it was read; is it still being written?")
        self.crc32c = google_crc32c.extend(self.crc32c, data)
        return data

    def _error(self, byte: int, index: int, text: str) -> WorldError:
        return WorldError(f"{self._name}, byte {byte} (record {index}): {text}; fetch this file again")


def count_records(file: File) -> int:
    """How many records a file holds, by going from header to header. What is left behind the last whole one counts as one:
    whoever reads it finds out what is wrong there."""
    size = file.seek(0, 2)
    position = count = 0
    while position < size:
        file.seek(position)
        header = file.read(HEADER_BYTES)
        count += 1
        if len(header) < HEADER_BYTES or masked_crc(header[:8]) != struct.unpack("<I", header[8:])[0]:
            break
        position += HEADER_BYTES + int(struct.unpack("<Q", header[:8])[0]) + FOOTER_BYTES
    return count


def file_crc32c(file: File) -> int:
    """CRC32C of everything from here to the end of the file."""
    crc = 0
    while data := file.read(_CHUNK_BYTES):
        crc = google_crc32c.extend(crc, data)
    return crc
