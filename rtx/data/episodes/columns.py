"""What an array of an episode is, by its header: numbers, raw pictures, encoded pictures, texts, or nothing we take."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from PIL import Image

ColumnKind = Literal["numbers", "raw", "encoded", "texts"]
MAGIC = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n")
_MOST_NUMBERS = 4096  # a step: more is no state but a map
_LEAST_BYTES = 100  # of an encoded picture


@dataclass(frozen=True, kw_only=True)
class Column:
    """One key of every episode. `shape`: of one step; of pictures (height, width, 3). `dtype`: of encoded ones jpeg or png."""

    kind: ColumnKind
    shape: tuple[int, ...]
    dtype: str

    def __str__(self) -> str:
        return f"{'' if self.kind == 'numbers' else f'{self.kind} '}{self.dtype}[{', '.join(map(str, ('t', *self.shape)))}]"


def column_of(array: Any) -> Column | str:
    """The column, or why it is none."""
    shape, dtype = tuple(int(n) for n in array.shape), np.dtype(array.dtype)
    if dtype.kind in "OSUTV":
        return _of_objects(array, shape)
    if dtype.kind not in "fiub":
        return f"its type {dtype} is neither number nor text"
    if len(shape) == 4 and 3 in (shape[1], shape[3]):
        height, width = shape[1:3] if shape[3] == 3 else shape[2:4]
        return Column(kind="raw", shape=(height, width, 3), dtype=dtype.name)
    if len(shape) == 2 and dtype == np.uint8 and shape[1] >= _LEAST_BYTES and _is_encoded(array):
        return _of_pictures(as_bytes(array[0]))
    if len(shape) > 3 or int(np.prod(shape[1:])) > _MOST_NUMBERS:
        return f"{dtype}{list(shape)} is neither a vector nor a colour picture (a depth map?)"
    return Column(kind="numbers", shape=shape[1:], dtype=dtype.name)


def _of_objects(array: Any, shape: tuple[int, ...]) -> Column | str:
    """Texts, or bytes of a length of their own."""
    if len(shape) != 1:
        return f"{array.dtype}{list(shape)}: expected one text or one picture a step"
    if _is_encoded(array):
        return _of_pictures(as_bytes(array[0]))
    first = np.asarray(array[:1], object)[0] if shape[0] else ""
    if isinstance(first, str | bytes):
        return Column(kind="texts", shape=(), dtype="string")
    return f"{array.dtype}: neither texts nor pictures"


def _of_pictures(data: bytes) -> Column | str:
    size = picture_size(data)
    encoding = "png" if data[:2] == MAGIC[1][:2] else "jpeg"
    return f"damaged {encoding.upper()} pictures" if size is None else Column(kind="encoded", shape=(*size, 3), dtype=encoding)


def picture_size(encoded: bytes) -> tuple[int, int] | None:
    """(height, width) of a JPEG or PNG, by its header; None for what is neither."""
    try:
        with Image.open(io.BytesIO(encoded), formats=("JPEG", "PNG")) as picture:
            return picture.height, picture.width
    except (OSError, SyntaxError, ValueError):
        return None


def _is_encoded(array: Any) -> bool:
    return bool(array.shape[0]) and as_bytes(array[0])[:8].startswith(MAGIC)


def as_bytes(row: Any) -> bytes:
    """One row of encoded pictures; b"" where it holds no bytes."""
    row = row.item() if isinstance(row, np.ndarray) and row.ndim == 0 else row
    if isinstance(row, np.ndarray):
        return row.tobytes()
    return row.tobytes() if isinstance(row, np.void) else row if isinstance(row, bytes) else b""
