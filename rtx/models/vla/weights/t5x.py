"""Trees of arrays as T5X writes them, read array by array.

    checkpoint_1000000/                       the folder, or the file called `checkpoint` in it
      checkpoint                              MessagePack: {"version", "optimizer": {"state": ..., "target": {tree}}}
      target.encoder.layers_0.attention...    zarr arrays; the tree has a TensorStore spec in the place of each
    tree.npz                                  names joined by "/"

Small arrays lie in the MessagePack file itself. Source: t5x/checkpoints.py, version 3.
"""

from __future__ import annotations

import dataclasses
import zipfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np

from rtx.errors import UserError, WorldError
from rtx.models.flax_file import read_msgpack

_ROOTS = ("optimizer/target/", "target/", "params/")
"""What the parameters may lie below."""


@dataclasses.dataclass(frozen=True)
class LazyArray:
    """An array in a file: its shape is known, `numpy.asarray` reads it."""

    shape: tuple[int, ...]
    read: Callable[[], np.ndarray]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.asarray(self.read(), dtype)


def read_tree(path: Path) -> dict[str, Any]:
    """Name joined by "/" -> array or `LazyArray`, of the parameters alone: without their root, and what lies outside of it.

    Raises UserError where there is no such file, WorldError for a damaged one.
    """
    file = path / "checkpoint" if path.is_dir() else path
    if not file.is_file():
        raise UserError(f"no such file: {file}; expected a T5X checkpoint's folder, its `checkpoint`, or a tree as .npz")
    return parameters_of(_npz(file) if file.suffix == ".npz" else dict(_leaves(read_msgpack(file), "", file.parent)))


def parameters_of(arrays: Mapping[str, Any]) -> dict[str, Any]:
    """What lies below the first root that is there, without it; where there is none, everything."""
    for root in _ROOTS:
        if below := {name.removeprefix(root): leaf for name, leaf in arrays.items() if name.startswith(root)}:
            return below
    return dict(arrays)


def _npz(path: Path) -> dict[str, Any]:
    try:
        with zipfile.ZipFile(path) as archive:
            shapes = {name: _shape(archive, name) for name in archive.namelist()}
    except (ValueError, OSError, zipfile.BadZipFile) as error:
        raise WorldError(f"{path} is no .npz file, or a damaged one: {error}") from error
    return {name.removesuffix(".npy"): LazyArray(shape, _Member(path, name)) for name, shape in shapes.items()}


def _shape(archive: zipfile.ZipFile, name: str) -> tuple[int, ...]:
    with archive.open(name) as member:
        version = np.lib.format.read_magic(member)
        header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape: tuple[int, ...] = header(member)[0]
        return shape


@dataclasses.dataclass(frozen=True)
class _Member:
    path: Path
    name: str

    def __call__(self) -> np.ndarray:
        try:
            with zipfile.ZipFile(self.path) as archive, archive.open(self.name) as member:
                return np.lib.format.read_array(member, allow_pickle=False)
        except (ValueError, OSError, zipfile.BadZipFile) as error:
            raise WorldError(f"{self.path}: {self.name} is damaged: {error}") from error


def _leaves(tree: Mapping[str, Any], prefix: str, folder: Path) -> Iterator[tuple[str, Any]]:
    for key, value in tree.items():
        name = f"{prefix}{key}"
        if isinstance(value, np.ndarray):
            yield name, value
        elif isinstance(value, Mapping) and {"driver", "kvstore"} <= value.keys():
            yield name, _zarr(value, name, folder)
        elif isinstance(value, Mapping):
            yield from _leaves(value, f"{name}/", folder)


def _zarr(spec: Mapping[str, Any], name: str, folder: Path) -> LazyArray:
    """Of a spec only the shape and the folder's name are used: a file does not say where else to read."""
    stored = Path(str(spec["kvstore"].get("path", spec.get("path", "")))).name
    if not stored or stored == ".." or not (folder / stored).is_dir():
        raise WorldError(f"{folder}: the array {stored or name} is missing; is the checkpoint whole?")
    try:
        shape = tuple(int(size) for size in spec["metadata"]["shape"])
    except (KeyError, TypeError, ValueError) as error:
        raise WorldError(f"{folder}: {name} has a spec without a shape ({error})") from error
    return LazyArray(shape, _Zarr(folder / stored))


@dataclasses.dataclass(frozen=True)
class _Zarr:
    folder: Path

    def __call__(self) -> np.ndarray:
        import tensorstore

        spec = {"driver": "zarr", "kvstore": {"driver": "file", "path": str(self.folder.absolute())}}
        try:
            array: np.ndarray = tensorstore.open(spec, open=True).result().read().result()
        except ValueError as error:
            raise WorldError(f"{self.folder} is no zarr array, or a damaged one: {error}") from error
        # T5X stored bfloat16 as the same bits of uint16, which zarr knows.
        return array.view(ml_dtypes.bfloat16) if array.dtype == np.uint16 else array
