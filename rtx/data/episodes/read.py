"""One episode of an HDF5 file or Zarr store, in memory as it will be written: pictures encoded, a few frames raw at a time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from rtx.data.episodes.columns import MAGIC, Column, as_bytes, picture_size
from rtx.data.episodes.find import EpisodeAt
from rtx.data.episodes.tree import block, opened, text
from rtx.data.foreign import JPEG_QUALITY, Recording
from rtx.errors import UserError, WorldError
from rtx.images import encode_jpeg

_ROWS = 16  # read at a time where the file is not cut into chunks
ENDS = ("done", "dones", "terminal", "terminals", "is_terminal", "next.done")


def read_episode_at(at: EpisodeAt, columns: Mapping[str, Column], *, instruction: str, spoken: str) -> Recording:
    """The `columns` of one episode. `spoken`: the key that holds the instruction of each step, if `instruction` is "".

    Raises UserError for values that are no pictures or texts, WorldError for damage; both name file, key and row.
    """
    with opened(at.file) as root:
        group = root[at.group] if at.group else root
        arrays = {key: group[key] for key in dict.fromkeys([*columns, *([spoken] if spoken else [])])}
        numbers = {key: _numbers(arrays[key], at, key) for key, c in columns.items() if c.kind == "numbers"}
        pictures = {
            key: tuple(_pictures(arrays[key], c, at, key)) for key, c in columns.items() if c.kind in ("raw", "encoded")
        }
        texts = {key: _texts(arrays[key], at, key) for key, c in columns.items() if c.kind == "texts"}
        told = (instruction,) * at.length if instruction else _texts(arrays[spoken], at, spoken)
    silent = next((row for row, one in enumerate(told) if not one), None)
    if silent is not None:
        raise UserError(f"{at.where}, {spoken}: no instruction in row {silent}; name one for all with --instruction TEXT")
    ends = [values[-1] for key, values in numbers.items() if key.split("/")[-1] in ENDS]
    return Recording(
        columns=numbers, pictures=pictures, texts=texts, instructions=told, ended=any(bool(np.any(value)) for value in ends)
    )


def _numbers(array: Any, at: EpisodeAt, key: str) -> np.ndarray:
    values = block(array, at.start, at.stop, where=f"{at.where}, {key}")
    if values.dtype.kind == "f" and not np.all(np.isfinite(values)):
        row = int(np.flatnonzero(~np.isfinite(values).reshape(len(values), -1).all(-1))[0])
        raise WorldError(f"{at.where}, {key}: not finite in row {row}: {values[row]}; mend the recording or take it out")
    return values


def _texts(array: Any, at: EpisodeAt, key: str) -> tuple[str, ...]:
    values = np.asarray(block(array, at.start, at.stop, where=f"{at.where}, {key}"), object)
    return tuple(text(np.asarray(value, object)) for value in values)


def _pictures(array: Any, column: Column, at: EpisodeAt, key: str) -> Iterator[bytes]:
    for row, value in _rows(array, at, key):
        where = f"{at.where}, {key}, row {row}"
        yield (
            encode_jpeg(_as_uint8(value, column, where), JPEG_QUALITY) if column.kind == "raw" else _whole(value, column, where)
        )


def _whole(value: Any, column: Column, where: str) -> bytes:
    """Encoded bytes without what pads them to the longest: neither format ends with a zero."""
    data = as_bytes(value).rstrip(b"\0")
    size = picture_size(data) if data.startswith(MAGIC[column.dtype == "png"]) else None
    if size != column.shape[:2]:
        got = (
            f"a picture of {size[0]} x {size[1]}" if size else f"no such picture, it starts with {data[:8].hex() or 'nothing'}"
        )
        raise WorldError(f"{where}: got {got}, expected {column.dtype.upper()} of {column.shape[0]} x {column.shape[1]}")
    return data


def _rows(array: Any, at: EpisodeAt, key: str) -> Iterator[tuple[int, np.ndarray]]:
    """Row by row, each chunk of the file read once."""
    step = int((getattr(array, "chunks", None) or (_ROWS,))[0])
    start = at.start
    while start < at.stop:
        stop = min((start // step + 1) * step, at.stop)
        yield from enumerate(block(array, start, stop, where=f"{at.where}, {key}"), start - at.start)
        start = stop


def _as_uint8(value: np.ndarray, column: Column, where: str) -> np.ndarray:
    """[h, w, 3]; numbers of other types are taken if they are whole and 0 to 255."""
    picture = value if value.shape == column.shape else np.moveaxis(value, 0, -1)
    if picture.dtype != np.uint8:
        low, high = float(picture.min()), float(picture.max())
        if not (low >= 0 and high <= 255 and np.all(picture == np.rint(picture))):  # NaN compares as False
            raise UserError(
                f"{where}: {picture.dtype} from {low:g} to {high:g}, expected uint8 or whole numbers from 0 to 255; store the "
                "pictures as uint8"
            )
        picture = picture.astype(np.uint8)
    return np.ascontiguousarray(picture)
