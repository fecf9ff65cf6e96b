"""Frames: rows of the step table -> decoded pictures, read from where they lie inside the original TFRecord files.

    rows --sort by (file, byte)--> neighbours in one positioned read --> decode at the wanted size, into the caller's array

The images of one camera of an episode lie one after the other in a record, so a window of frames is one read. Files are
read with `pread`, which needs no position, so all threads share the few open handles. (A map of the shards would save
one copy of the encoded bytes, 1 % of a decode, and kill the process where a file got shorter.) Of objects in a bucket all
ranges of a call are asked for at once: there it is the delay of a request that counts.
"""

from __future__ import annotations

import functools
import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np
from jaxtyping import Bool, Float32, Int64, UInt8

from rtx.data.prepared import ImageIndex, PreparedSplit
from rtx.data.storage import Location, RangeReader, Url
from rtx.data.windows import episode_of
from rtx.embodiment import Fit
from rtx.errors import WorldError
from rtx.images import Size

_MAX_GAP_BYTES = 4096  # reading over a gap is cheaper than another call; between neighbours lie 2 to 5 bytes
_MAX_READ_BYTES = 4 << 20
Picture = UInt8[np.ndarray, "h w 3"] | Float32[np.ndarray, "h w"]
Pictures = UInt8[np.ndarray, "m h w 3"] | Float32[np.ndarray, "m h w"]
_Data = TypeVar("_Data", bytes, memoryview)


class _Handle:
    """An open file that closes itself when the last thread that uses it lets go."""

    def __init__(self, path: Path) -> None:
        self.fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)

    def __del__(self) -> None:
        if hasattr(self, "fd"):
            os.close(self.fd)


class ShardFiles:
    """Positioned reads from any number of files with at most `max_open` kept open, and of objects in buckets. Safe to share
    between threads."""

    def __init__(self, max_open: int = 256) -> None:
        self._max_open = max_open
        self._open: OrderedDict[Path, _Handle] = OrderedDict()
        self._lock = threading.Lock()
        self._objects = RangeReader()

    def start(self, place: Location, offset: int, num_bytes: int) -> Callable[[], bytes | memoryview]:
        """Call it for exactly these bytes; of an object they are on their way from now on. The call raises as `read` does."""
        if not isinstance(place, Url):
            return functools.partial(self.read, place, offset, num_bytes)
        future = self._objects.start(place, offset, num_bytes)
        return lambda: _whole(future.result(), place, offset, num_bytes)

    def read(self, path: Path, offset: int, num_bytes: int) -> bytes:
        """Exactly `num_bytes` from `offset`. Raises WorldError if the file is gone or ends before them."""
        handle = self._handle(path)
        data = os.pread(handle.fd, num_bytes, offset)
        while len(data) < num_bytes:  # a network file system may give less than asked
            more = os.pread(handle.fd, num_bytes - len(data), offset + len(data))
            if not more:
                break
            data += more
        return _whole(data, path, offset, num_bytes)

    def close(self) -> None:
        self._objects.close()
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


def _whole(data: _Data, place: Location, offset: int, num_bytes: int) -> _Data:
    if len(data) != num_bytes:
        end, wanted = offset + len(data), offset + num_bytes
        raise WorldError(f"{place} ends at byte {end}, {wanted} were there when it was prepared; fetch it again")
    return data


class Frames:
    """One camera of one split of a prepared set, decoded at `size` (height, width; None: each in its own), to which `fit`
    brings it: RGB, or its depth maps (float32 [h, w], metres) with `depth=True`.

    With `keep=True` every decoded picture stays in memory: the first epoch decodes, later ones copy. Safe to share between
    threads.
    """

    def __init__(
        self,
        split: PreparedSplit,
        role: str,
        *,
        size: Size | None,
        files: ShardFiles,
        label: str,
        fit: Fit = "stretch",
        keep: bool = False,
        depth: bool = False,
    ) -> None:
        index: ImageIndex = split.depth(role) if depth else split.image(role)
        self._shards, self._pixels, self._channel_order = split.shards, index.pixels, index.channel_order
        self._metres_per_unit = index.metres_per_unit if depth else None
        self._shard, self._offset, self._length = (np.asarray(a) for a in (index.shard, index.offset, index.length))
        self._episode_start = np.asarray(split.episode_start)
        self._fit: Fit = fit
        self._size, self._files, self._label = size, files, f"{label}, {'depth of ' if depth else ''}camera {role!r}"
        self._kept: tuple[np.ndarray, np.ndarray] | None = None
        if keep:
            assert size is not None
            # np.zeros maps pages only as they are written, so memory grows with what was really seen.
            self._kept = np.zeros((len(self._length), *size, 3), np.uint8), np.zeros(len(self._length), bool)

    @property
    def index(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The columns shard, offset and length."""
        return self._shard, self._offset, self._length

    def present(self, rows: Int64[np.ndarray, "*n"]) -> Bool[np.ndarray, "*n"]:
        """Which rows have a picture of this camera."""
        return self._length[rows] > 0

    def encoded(self, rows: Int64[np.ndarray, " n"]) -> Iterator[tuple[int, bytes | memoryview]]:
        """(position in `rows`, encoded bytes) for each row, in the order they lie on disk; b"" for an absent picture."""
        shard, offset, length = self._shard[rows].tolist(), self._offset[rows].tolist(), self._length[rows].tolist()
        yield from ((i, b"") for i in range(len(rows)) if not length[i])
        groups = list(_reads(shard, offset, length))
        reads = [self._start(shard[g[0]], offset[g[0]], offset[g[-1]] + length[g[-1]]) for g in groups]
        for group, read in zip(groups, reads, strict=True):
            start, data = offset[group[0]], self._bytes(int(rows[group[0]]), read)
            yield from ((i, data[offset[i] - start : offset[i] - start + length[i]]) for i in group)

    def decoded(self, rows: Int64[np.ndarray, " n"]) -> Iterator[tuple[int, Picture]]:
        """(position in `rows`, picture) for each row, in no particular order; black where it is absent.

        Raises WorldError with data set, episode, step, camera, file and bytes.
        """
        for i, data in self.encoded(rows):
            yield i, self._decode(int(rows[i]), data, None)

    def fill(self, rows: Int64[np.ndarray, " n"], images: Pictures, places: Sequence[Sequence[int]]) -> None:
        """Writes the picture of `rows[i]` to `images[j]` for each j of `places[i]` (at least one); black where it is absent.

        Each is decoded once, where it belongs. Raises WorldError as `decoded` does.
        """
        missing = self._fill_kept(rows, images, places)
        for k, data in self.encoded(rows[missing]):
            i = int(missing[k])
            first, *others = places[i]
            picture = self._decode(int(rows[i]), data, images[first])
            for place in others:
                images[place] = picture
            if self._kept is not None:
                pictures, known = self._kept
                pictures[rows[i]] = picture
                known[rows[i]] = True  # after the picture: another thread may look at any time

    def _fill_kept(self, rows: np.ndarray, images: np.ndarray, places: Sequence[Sequence[int]]) -> np.ndarray:
        """Copies what is in memory already; positions in `rows` of the rest."""
        if self._kept is None:
            return np.arange(len(rows))
        pictures, known = self._kept
        has = known[rows]
        for i in np.flatnonzero(has).tolist():
            for place in places[i]:
                images[place] = pictures[rows[i]]
        return np.flatnonzero(~has)

    def _decode(self, row: int, data: bytes | memoryview, out: np.ndarray | None) -> np.ndarray:
        # The one place where the kind of a column decides how its bytes become an array.
        try:
            if self._metres_per_unit is None:
                return self._pixels.colour(data, self._size, self._channel_order, out, fit=self._fit)
            metres = self._pixels.depth(data, self._size, self._metres_per_unit, fit=self._fit)
        except WorldError as error:
            raise WorldError(f"{self.place(row)}: {error}; `rtx data verify` checks the whole set") from error
        if out is None:
            return metres
        out[...] = metres
        return out

    def place(self, row: int) -> str:
        """Where the picture of a row comes from, for people."""
        episode = int(episode_of(self._episode_start, np.array([row]))[0])
        start, path = int(self._offset[row]), self._shards[int(self._shard[row])]
        return (
            f"{self._label}, episode {episode}, step {row - int(self._episode_start[episode])},"
            f" bytes {start} to {start + int(self._length[row])} of {path}"
        )

    def _start(self, shard: int, start: int, end: int) -> Callable[[], bytes | memoryview]:
        return self._files.start(self._shards[shard], start, end - start)

    def _bytes(self, row: int, read: Callable[[], bytes | memoryview]) -> memoryview:
        try:
            return memoryview(read())
        except (WorldError, FileNotFoundError) as error:
            raise WorldError(f"{self.place(row)}: {error}") from error


def _reads(shard: Sequence[int], offset: Sequence[int], length: Sequence[int]) -> Iterator[list[int]]:
    """Positions of the pictures that are there, grouped so that each group is one read: same file, ascending, small gaps,
    at most `_MAX_READ_BYTES` (or one picture). Plain lists: for the few rows of a slice they beat arrays.
    """
    group: list[int] = []
    for i in sorted((i for i, n in enumerate(length) if n), key=lambda i: (shard[i], offset[i])):
        if group:
            last = group[-1]
            gap, total = offset[i] - offset[last] - length[last], offset[i] + length[i] - offset[group[0]]
            if shard[i] != shard[last] or gap > _MAX_GAP_BYTES or total > _MAX_READ_BYTES:
                yield group
                group = []
        group.append(i)
    if group:
        yield group
