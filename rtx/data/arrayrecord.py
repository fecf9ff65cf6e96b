"""ArrayRecord files, TFDS's other format: read by its own library, and unpacked into TFRecord files beside the prepared set.

TFDS writes them compressed (`group_size:1,zstd:3`), so a picture has no place of its own in the file that could be noted, and
a window of frames could not be read without decompressing its whole episode. Prepare therefore writes what is inside once,
record for record, as a TFRecord file; everything after that is as for any other set, and the originals are needed no more.

Damage is found by the library's own checksums, record by record. Format: github.com/google/array_record and google/riegeli.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from rtx.data.tfrecord import LFS_POINTER, Record, frame
from rtx.errors import UserError, WorldError
from rtx.files import atomic

_EXTRA = "reading ArrayRecord files needs a package that is not installed; install: pip install 'rtx-robotics[arrayrecord]'"
_AGAIN = "fetch this file again"
OnDamage = Callable[[int, WorldError], None]


class ArrayRecordReader:
    """Iterates the records of one file. Their bytes are compressed there, so `Record.offset` is 0: it counts in the record.

    Damaged records go to `on_damage` (number, error) and are left out; without it WorldError names file and byte. A file that
    cannot be opened raises WorldError always.
    """

    def __init__(self, path: Path, *, on_damage: OnDamage | None = None) -> None:
        self._path, self._on_damage = path, on_damage
        self._reader = _open(path)
        self.num_records = int(self._reader.num_records())

    def __iter__(self) -> Iterator[Record]:
        for number in range(self.num_records):
            try:
                (payload,) = self._reader.read([number])
            except RuntimeError as error:
                self._damaged(number, error)
            else:
                yield Record(0, memoryview(payload), number)

    def close(self) -> None:
        self._reader.close()

    def _damaged(self, number: int, error: RuntimeError) -> None:
        found = re.search(r"at byte (\d+)", str(error))
        place = f"byte {found[1]} (record {number})" if found else f"record {number}"
        problem = WorldError(f"{self._path}, {place}: damaged ({error}); {_AGAIN}")
        if self._on_damage is None:
            raise problem from error
        self._on_damage(number, problem)


def count_array_records(path: Path) -> int:
    """Raises WorldError for a file that is none."""
    reader = ArrayRecordReader(path)
    reader.close()
    return reader.num_records


def unpack(path: Path, out: Path, *, on_damage: OnDamage | None = None) -> None:
    """Writes the records of `path` to the TFRecord file `out`, which appears whole or not at all; one is in memory at a time.

    A record that goes to `on_damage` leaves an empty one in its place, so that numbers stay.
    """
    reader = ArrayRecordReader(path, on_damage=on_damage)
    written = 0
    with atomic(out) as file:
        for record in reader:
            for _ in range(written, record.number):
                file.writelines(frame(b""))
            file.writelines(frame(record.payload))
            written = record.number + 1
        for _ in range(written, reader.num_records):
            file.writelines(frame(b""))
    reader.close()


def _open(path: Path) -> Any:
    try:
        from array_record.python import array_record_module
    except ImportError as error:
        raise UserError(f"{_EXTRA} ({error})") from error
    with open(path, "rb") as file:
        start = file.read(len(LFS_POINTER))
    if start == LFS_POINTER:
        raise WorldError(f"{path}: a Git LFS pointer lies here instead of the data; run `git lfs pull` there")
    reader = array_record_module.ArrayRecordReader(str(path), "readahead_buffer_size:0,max_parallelism:1")
    if not reader.ok():
        raise WorldError(f"{path}: {'empty' if not start else 'no whole ArrayRecord file: cut short or damaged'}; {_AGAIN}")
    return reader
