"""Files of a data set, on a disk or in a bucket, behind one handful of functions.

    location("gs://bucket/set/1.0.0") -> Url      location("~/set") -> Path
    stat, stats     size and version; of many at once with requests side by side
    open_file       front to back: a disk's file as it is, an object in blocks fetched ahead (constant memory)
    RangeReader     ranges of objects, many at once

A disk's files take the plain way (open, pread) and never meet the rest. Requests: `rtx.data.bucket`.
"""

from __future__ import annotations

import os
import re
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rtx.data import bucket
from rtx.errors import UserError, WorldError

_URL = re.compile(rf"({'|'.join(bucket.SCHEMES)}):/+(.+)")
_BLOCK_BYTES = 8 << 20  # of a front to back read: long enough that a request's delay does not count
_BLOCKS_AHEAD = 4
_MANY = 32  # requests side by side for what is small


@dataclass(frozen=True, order=True)
class Url:
    """An object or a folder of them, used as a Path is. `text` has no slash at its end."""

    text: str

    def __str__(self) -> str:
        return self.text

    def __truediv__(self, name: str) -> Url:
        return Url(f"{self.text}/{name}")

    @property
    def name(self) -> str:
        return self.text.rpartition("/")[2]

    @property
    def parent(self) -> Url:
        return Url(self.text.rpartition("/")[0])

    def is_file(self) -> bool:
        try:
            bucket.stat(self.text)
        except FileNotFoundError:
            return False
        return True

    def exists(self) -> bool:
        return self.is_file() or bool(bucket.children(self.text))

    def read_bytes(self) -> bytes:
        return bucket.read(self.text)


Location = Path | Url


@dataclass(frozen=True, kw_only=True)
class Stat:
    """`version`: what the store says changes with the bytes; "" on a disk, where the time of change must do."""

    size: int
    mtime_ns: int
    version: str = ""


def location(place: str | Path | Url) -> Location:
    """Where that is: an absolute Path, or a Url for gs://, s3://, http(s)://. A Path that folded the slashes of one is read so.

    Raises UserError for another scheme.
    """
    if isinstance(place, Url):
        return place
    if match := _URL.fullmatch(os.fspath(place)):
        return Url(f"{match[1]}://{match[2].rstrip('/')}")
    if re.match(r"[a-z0-9+]+://", os.fspath(place)):
        raise UserError(f"{place}: no way to read that; rtx reads folders, gs://, s3:// and http(s)://")
    return Path(place).expanduser().absolute()


def stat(place: Location) -> Stat:
    """Raises FileNotFoundError if it is not there."""
    if isinstance(place, Url):
        found = bucket.stat(place.text)
        return Stat(size=found.size, mtime_ns=found.mtime_ns, version=found.version)
    result = place.stat()
    return Stat(size=result.st_size, mtime_ns=result.st_mtime_ns)


def stats(places: Sequence[Location]) -> list[Stat | None]:
    """`stat` of each, in order; None for those that are not there. Thousands of objects take seconds."""
    if not any(isinstance(place, Url) for place in places):
        return [_stat_or_none(place) for place in places]
    with ThreadPoolExecutor(min(_MANY, len(places))) as pool:
        return list(pool.map(_stat_or_none, places))


def children(place: Location) -> list[Location]:
    """What lies directly in a folder, sorted; nothing if it is no folder. A web server does not tell: nothing."""
    if isinstance(place, Url):
        return [place / name for name in bucket.children(place.text)]
    return sorted(place.iterdir()) if place.is_dir() else []


def relative(place: Location, folder: Location) -> str:
    """The way from `folder` to `place`, which lies below it."""
    return str(place).removeprefix(f"{folder}/")


def open_file(place: Location) -> AbstractContextManager[Any]:
    """A `rtx.data.tfrecord.File` for reading front to back. Raises FileNotFoundError if it is not there."""
    return _ObjectStream(place) if isinstance(place, Url) else open(place, "rb")


class _ObjectStream:
    """An object front to back: a few blocks are always under way, each a request of its own that may be sent again.

    Seeking anywhere costs nothing until the next read, which starts fetching from there.
    """

    def __init__(self, url: Url) -> None:
        self._url, self._size = url, bucket.stat(url.text).size
        self._pool = ThreadPoolExecutor(_BLOCKS_AHEAD)
        self._position = self._fetch_from = 0
        self._block = memoryview(b"")
        self._ahead: deque[tuple[int, Future[memoryview]]] = deque()

    def __enter__(self) -> _ObjectStream:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(cancel_futures=True)

    def seek(self, offset: int, whence: int = 0, /) -> int:
        base = (0, self._position, self._size)[whence]
        if base + offset != self._position:
            self._position = base + offset
            self._restart()
        return self._position

    def tell(self) -> int:
        return self._position

    def read(self, size: int = -1, /) -> bytes:
        """Fewer bytes only at the end of the object."""
        wanted = max(0, self._size - self._position) if size < 0 else size
        pieces: list[memoryview] = []
        while wanted > 0 and (len(self._block) or self._next_block()):
            piece, self._block = self._block[:wanted], self._block[wanted:]
            pieces.append(piece)
            wanted -= len(piece)
            self._position += len(piece)
        return b"".join(pieces)

    def _restart(self) -> None:
        self._block, self._fetch_from = memoryview(b""), self._position
        self._ahead.clear()

    def _next_block(self) -> bool:
        while len(self._ahead) < _BLOCKS_AHEAD and self._fetch_from < self._size:
            length = min(_BLOCK_BYTES, self._size - self._fetch_from)
            self._ahead.append((length, self._pool.submit(bucket.read_range, self._url.text, self._fetch_from, length)))
            self._fetch_from += length
        if not self._ahead:
            return False
        length, future = self._ahead.popleft()
        self._block = future.result()
        if len(self._block) != length:
            raise WorldError(f"{self._url} became shorter while it was read; is it still being written?")
        return True


class RangeReader:
    """Ranges of objects, at most `num_parallel` requests under way. Safe to share between threads; close it after use."""

    def __init__(self, num_parallel: int = _MANY) -> None:
        self._pool = ThreadPoolExecutor(num_parallel, thread_name_prefix="range")

    def start(self, url: Url, offset: int, num_bytes: int) -> Future[memoryview]:
        """Begins to read; fewer bytes come where the object ends before. Errors as of `rtx.data.bucket.stat`."""
        return self._pool.submit(bucket.read_range, url.text, offset, num_bytes)

    def close(self) -> None:
        self._pool.shutdown(cancel_futures=True)


def _stat_or_none(place: Location) -> Stat | None:
    try:
        return stat(place)
    except (FileNotFoundError, NotADirectoryError):
        return None
