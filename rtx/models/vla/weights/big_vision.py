"""big_vision's `.npz` checkpoints, whose names and shapes are ours: a zip of arrays called `params/<leaf>`.

Members are read and written as streams, so that a leaf is never held twice. bfloat16 is stored as two raw bytes, since numpy's
format has no name for it.
"""

from __future__ import annotations

import math
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
from jax.typing import DTypeLike

from rtx.errors import UserError, WorldError
from rtx.files import atomic
from rtx.models.vla.weights.leaves import Params, check, flat, placed, rebuild
from rtx.models.vla.weights.paligemma import POSITIONS, fit_positions, with_positions

PREFIX = "params/"
BLOCK_BYTES = 32_000_000

_BFLOAT16 = np.dtype(ml_dtypes.bfloat16)
_DTYPES = tuple(np.dtype(dtype) for dtype in (np.float32, np.float16, ml_dtypes.bfloat16))


def load_npz(path: Path, like: Params, *, dtype: DTypeLike | None = None, resize_positions: bool = False) -> Params:
    """The "params" of `DecoderOnly`, whose shapes (`jax.eval_shape` of its init) are `like`, in `dtype` or its dtypes.

    Numpy, or on devices where `like` has shardings. `resize_positions`: a checkpoint for pictures of another size is taken,
    its grid of positions resized. What lies beside `params/` in the file (an optimizer) is left out. Raises UserError where
    there is no file, WorldError for a damaged one and for names, shapes and kinds of numbers that are not the network's
    (checked before anything is read).
    """
    with _opened(path) as archive:
        headers = {name.removeprefix(PREFIX): _header(path, archive, name) for name in _members(archive)}
        stored = headers.get(POSITIONS)
        file_like = with_positions(like, stored[0][1]) if resize_positions and stored and len(stored[0]) == 3 else like
        wanted = flat(file_like)
        check(str(path), {n: tuple(leaf.shape) for n, leaf in wanted.items()}, {n: shape for n, (shape, _) in headers.items()})
        leaves = {}
        for name, leaf in wanted.items():
            array = np.empty(leaf.shape, np.dtype(leaf.dtype if dtype is None else dtype))
            _read(path, archive, PREFIX + name, headers[name][1], array.reshape(-1))
            leaves[name] = placed(array, leaf)
    return fit_positions(rebuild(file_like, leaves), like)


def save_npz(path: Path, params: Params, *, dtype: DTypeLike | None = None) -> None:
    """The inverse; uncompressed, whole or absent. `dtype`: of the file; the parameters' own by default."""
    with atomic(path) as file, zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        for name, leaf in flat(params).items():
            kind = np.dtype(leaf.dtype if dtype is None else dtype)
            if kind not in _DTYPES:
                raise UserError(f"{name} is {kind}; big_vision files are written as {', '.join(map(str, _DTYPES))}")
            array = np.asarray(leaf).astype(kind, order="C", copy=False)
            with archive.open(f"{PREFIX}{name}.npy", "w", force_zip64=True) as member:
                stored = array.view("V2") if kind == _BFLOAT16 else array
                np.lib.format.write_array(member, stored, version=(1, 0), allow_pickle=False)


@contextmanager
def _opened(path: Path) -> Iterator[zipfile.ZipFile]:
    """Turns what damaged archives raise, while they are open, into WorldError."""
    if not path.is_file():
        raise UserError(f"no such file: {path}; expected a big_vision checkpoint (.npz)")
    try:
        with zipfile.ZipFile(path) as archive:
            yield archive
    except (zipfile.BadZipFile, EOFError) as error:
        raise WorldError(f"{path} is no npz file, or a damaged one: {error}; download it again") from error


def _members(archive: zipfile.ZipFile) -> list[str]:
    """Names without `.npy`, of parameters only."""
    return [name.removesuffix(".npy") for name in archive.namelist() if name.startswith(PREFIX)]


def _header(path: Path, archive: zipfile.ZipFile, name: str) -> tuple[tuple[int, ...], np.dtype]:
    with archive.open(f"{name}.npy") as member:
        return _read_header(path, name, member)


def _read_header(path: Path, name: str, member: Any) -> tuple[tuple[int, ...], np.dtype]:
    """Shape and kind of numbers; leaves the stream at the first of them."""
    try:
        version = np.lib.format.read_magic(member)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, by_columns, dtype = read(member)
    except ValueError as error:
        raise WorldError(f"{path}: {name} is no array: {error}; download the file again") from error
    dtype = _BFLOAT16 if dtype == np.dtype("V2") else dtype
    if dtype not in _DTYPES or (by_columns and len(shape) > 1):
        order = " by columns" if by_columns else ""
        raise WorldError(f"{path}: {name} is stored as {dtype}{order}; expected {', '.join(map(str, _DTYPES))} by rows")
    return shape, dtype


def _read(path: Path, archive: zipfile.ZipFile, name: str, dtype: np.dtype, into: np.ndarray) -> None:
    """Fills a flat array block by block, converting; zipfile checks the sum at the end."""
    with archive.open(f"{name}.npy") as member:
        _read_header(path, name, member)
        step = max(1, BLOCK_BYTES // dtype.itemsize)
        for start in range(0, into.size, step):
            count = min(step, into.size - start)
            raw = member.read(count * dtype.itemsize)
            if len(raw) != count * dtype.itemsize:
                raise WorldError(f"{path}: {name} ends early; download the file again")
            into[start : start + count] = np.frombuffer(raw, dtype)
        if member.read(1):
            raise WorldError(f"{path}: {name} is longer than its shape {math.prod(into.shape)} says; download the file again")
