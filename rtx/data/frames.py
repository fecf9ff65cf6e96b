"""Frames: rows of the step table -> decoded pictures, read from where they lie inside the original TFRecord files.

    rows --sort by (file, byte)--> neighbours in one positioned read --> decode at the wanted size --> the caller's array

The images of one camera of an episode lie one after the other in a record, so a window of frames is one read. Files are
read with `pread`, which needs no position, so all threads share the few open handles.
"""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Int64, UInt8

from rtx.data.prepared import ImageIndex, PreparedSplit
from rtx.data.windows import episode_of
from rtx.errors import WorldError
from rtx.images import Size, decode

_MAX_GAP_BYTES = 4096  # reading over a gap is cheaper than another call; between neighbours lie 2 to 5 bytes
_MAX_READ_BYTES = 4 << 20


class _Handle:
    """An open file that closes itself when the last thread that uses it lets go."""

    def __init__(self, path: Path) -> None:
        self.fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)

    def __del__(self) -> None:
        if hasattr(self, "fd"):
            os.close(self.fd)


class ShardFiles:
    """Positioned reads from any number of files with at most `max_open` kept open. Safe to share between threads."""

    def __init__(self, max_open: int = 256) -> None:
        self._max_open = max_open
        self._open: OrderedDict[Path, _Handle] = OrderedDict()
        self._lock = threading.Lock()

    def read(self, path: Path, offset: int, num_bytes: int) -> bytes:
        """Exactly `num_bytes` from `offset`. Raises WorldError if the file is gone or ends before them."""
        handle = self._handle(path)
        data = os.pread(handle.fd, num_bytes, offset)
        while len(data) < num_bytes:  # a network file system may give less than asked
            more = os.pread(handle.fd, num_bytes - len(data), offset + len(data))
            if not more:
                end, wanted = offset + len(data), offset + num_bytes
                raise WorldError(f"{path} ends at byte {end}, {wanted} were there when it was prepared; fetch it again")
            data += more
        return data

    def close(self) -> None:
        with self._lock:
            self._open.clear()

    def _handle(self, path: Path) -> _Handle:
        with self._lock:
            handle = self._open.pop(path, None)
            if handle is None:
                try:
                    handle = _Handle(path)
                except OSError as error:
                    raise WorldError(f"cannot read {path}: {error.strerror}; it was there when it was prepared") from error
            self._open[path] = handle
            if len(self._open) > self._max_open:
                self._open.popitem(last=False)
            return handle


class Frames:
    """One camera of one split of a prepared set, decoded at `size` (height, width; None: each in its own).

    With `keep=True` every decoded picture stays in memory: the first epoch decodes, later ones copy. Safe to share between
    threads.
    """

    def __init__(
        self, split: PreparedSplit, role: str, *, size: Size | None, files: ShardFiles, label: str, keep: bool = False
    ) -> None:
        index: ImageIndex = split.image(role)
        self._shards, self._channel_order = split.shards, index.channel_order
        self._shard, self._offset, self._length = (np.asarray(a) for a in (index.shard, index.offset, index.length))
        self._episode_start = np.asarray(split.episode_start)
        self._size, self._files, self._label = size, files, f"{label}, camera {role!r}"
        self._kept: tuple[np.ndarray, np.ndarray] | None = None
        if keep:
            assert size is not None
            # np.zeros maps pages only as they are written, so memory grows with what was really seen.
            self._kept = np.zeros((len(self._length), *size, 3), np.uint8), np.zeros(len(self._length), bool)

    def present(self, rows: Int64[np.ndarray, "*n"]) -> Bool[np.ndarray, "*n"]:
        """Which rows have a picture of this camera."""
        return self._length[rows] > 0

    def encoded(self, rows: Int64[np.ndarray, " n"]) -> Iterator[tuple[int, bytes]]:
        """(position in `rows`, encoded bytes) for each row, in the order they lie on disk; b"" for an absent picture."""
        for group in self._groups(rows):
            first, last = rows[group[0]], rows[group[-1]]
            start, end = int(self._offset[first]), int(self._offset[last]) + int(self._length[last])
            data = self._read(int(first), start, end - start)
            for i in group:
                at = int(self._offset[rows[i]]) - start
                yield int(i), data[at : at + int(self._length[rows[i]])]

    def decoded(self, rows: Int64[np.ndarray, " n"]) -> Iterator[tuple[int, UInt8[np.ndarray, "h w 3"]]]:
        """(position in `rows`, picture) for each row, in no particular order; black where it is absent.

        The pictures are for reading only. Raises WorldError with data set, episode, step, camera, file and bytes.
        """
        missing = np.arange(len(rows))
        if self._kept is not None:
            pictures, known = self._kept
            has = known[rows]
            yield from ((int(i), pictures[rows[i]]) for i in np.flatnonzero(has))
            missing = np.flatnonzero(~has)
        for j, data in self.encoded(rows[missing]):
            i = int(missing[j])
            try:
                picture = decode(data, self._size, self._channel_order)
            except WorldError as error:
                raise WorldError(f"{self.place(int(rows[i]))}: {error}; `rtx data verify` checks the whole set") from error
            if self._kept is not None:
                pictures[rows[i]] = picture
                known[rows[i]] = True  # after the picture: another thread may look at any time
            yield i, picture

    def place(self, row: int) -> str:
        """Where the picture of a row comes from, for people."""
        episode = int(episode_of(self._episode_start, np.array([row]))[0])
        start, path = int(self._offset[row]), self._shards[int(self._shard[row])]
        return (
            f"{self._label}, episode {episode}, step {row - int(self._episode_start[episode])},"
            f" bytes {start} to {start + int(self._length[row])} of {path}"
        )

    def _read(self, row: int, start: int, num_bytes: int) -> bytes:
        if not num_bytes:
            return b""
        try:
            return self._files.read(self._shards[int(self._shard[row])], start, num_bytes)
        except WorldError as error:
            raise WorldError(f"{self.place(row)}: {error}") from error

    def _groups(self, rows: np.ndarray) -> Iterator[np.ndarray]:
        """Positions in `rows`, grouped so that each group is one read: same file, ascending, small gaps."""
        if not len(rows):
            return
        shard, offset, length = self._shard[rows], self._offset[rows], self._length[rows].astype(np.int64)
        absent = np.flatnonzero(length == 0)
        by_place = np.lexsort((offset, shard))
        by_place = by_place[length[by_place] > 0]
        end = (offset + length)[by_place]
        apart = (np.diff(shard[by_place]) != 0) | (offset[by_place][1:] - end[:-1] > _MAX_GAP_BYTES)
        for group in np.split(by_place, np.flatnonzero(apart) + 1):
            yield from _bounded(group, offset, length)
        if len(absent):
            yield from absent[:, None]


def _bounded(group: np.ndarray, offset: np.ndarray, length: np.ndarray) -> Iterator[np.ndarray]:
    """Cuts a group into reads of at most `_MAX_READ_BYTES` (or one picture)."""
    first = 0
    for i in range(1, len(group) + 1):
        if i == len(group) or offset[group[i]] + length[group[i]] - offset[group[first]] > _MAX_READ_BYTES:
            if i > first:
                yield group[first:i]
            first = i
