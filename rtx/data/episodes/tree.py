"""HDF5 files and Zarr stores as one thing: groups of arrays and attributes, opened for reading.

Zarr: version 2 and 3 of the format, as a folder or zipped (.zarr.zip).
"""

from __future__ import annotations

import contextlib
import hashlib
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from rtx.errors import UserError, WorldError

Form = Literal["hdf5", "zarr"]
HDF5_SUFFIXES = (".h5", ".hdf5", ".hdf")
_STORE_FILES = (".zgroup", ".zattrs", "zarr.json")
_INSTALL = "install: pip install 'rtx-robotics[episodes]'"


def files_of(root: Path, form: Form) -> list[Path]:
    """The files, or stores, at or below `root`, episode_2 before episode_10. Empty if there are none of this form."""
    is_one = _is_hdf5 if form == "hdf5" else is_store
    if is_one(root):
        return [root]
    return sorted(_below(root, form), key=lambda path: natural(path.relative_to(root).as_posix()))


def is_store(path: Path) -> bool:
    """Whether a Zarr store begins here, of either version."""
    return path.name.endswith(".zarr.zip") if path.is_file() else any((path / name).is_file() for name in _STORE_FILES)


def natural(text: str) -> list[tuple[int, str]]:
    """A key that sorts numbers inside names by their value."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", text) if part]


def identity_of(root: Path, files: Sequence[Path]) -> str:
    """Of the files as they are now: names, sizes and times of everything in them; nothing is read."""
    digest = hashlib.sha256()
    for file in files:
        for path in [file] if file.is_file() else sorted(p for p in file.rglob("*") if p.is_file()):
            stat = path.stat()
            name = path.name if path == root else path.relative_to(root).as_posix()
            digest.update(f"{name} {stat.st_size} {stat.st_mtime_ns}\n".encode())
    return digest.hexdigest()[:16]


@contextlib.contextmanager
def opened(path: Path) -> Iterator[Any]:
    """The root group. Raises WorldError for a file that cannot be read as what its name says, UserError without the library."""
    open_it = _open_zarr if path.is_dir() or path.name.endswith(".zip") else _open_hdf5
    with open_it(path) as group:
        yield group


def groups_in(group: Any) -> dict[str, Any]:
    """Its subgroups by name, in natural order."""
    return {name: child for name, child in _children(group) if not is_array(child)}


def arrays_in(group: Any, prefix: str = "") -> dict[str, Any]:
    """Every array below, by its path from the group, in natural order."""
    found: dict[str, Any] = {}
    for name, child in _children(group):
        found |= {prefix + name: child} if is_array(child) else arrays_in(child, f"{prefix}{name}/")
    return found


def is_array(node: Any) -> bool:
    return hasattr(node, "shape")


def block(array: Any, start: int, stop: int, *, where: str) -> np.ndarray:
    """Rows of an array. Raises WorldError naming it if the file is damaged there."""
    try:
        return np.asarray(array[start:stop])
    except Exception as error:  # each codec raises errors of its own
        raise WorldError(
            f"{where}: cannot be read ({type(error).__name__}: {error}); the file is damaged or its codec is not installed"
        ) from error


def text(value: Any) -> str:
    """A text as attributes and scalars hold it; "" for what is none."""
    if isinstance(value, np.ndarray) and value.size == 1:
        value = value.reshape(-1)[0]
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace").strip("\0 ")
    return value.strip() if isinstance(value, str) else ""


def _is_hdf5(path: Path) -> bool:
    return path.is_file() and path.suffix.lower() in HDF5_SUFFIXES


def _below(folder: Path, form: Form) -> Iterator[Path]:
    """Depth first; not into stores, nor into hidden folders."""
    for path in sorted(folder.iterdir()) if folder.is_dir() else []:
        if path.name.startswith("."):
            continue
        if (_is_hdf5 if form == "hdf5" else is_store)(path):
            yield path
        elif path.is_dir() and not is_store(path):
            yield from _below(path, form)


def _children(group: Any) -> Iterator[tuple[str, Any]]:
    for name in sorted(group.keys(), key=natural):
        if not _leads_away(group, name):
            yield name, group[name]


def _leads_away(group: Any, name: str) -> bool:
    """An HDF5 link into another file, or to nothing: the set may be a stranger's."""
    if not hasattr(group, "id"):  # of Zarr, which has no links
        return False
    import h5py

    return isinstance(group.get(name, getlink=True), h5py.ExternalLink) or group.get(name) is None


@contextlib.contextmanager
def _open_hdf5(path: Path) -> Iterator[Any]:
    try:
        import h5py
    except ImportError as error:
        raise UserError(f"{path} is an HDF5 file, which needs h5py ({error}); {_INSTALL}") from error
    try:
        file = h5py.File(path, "r", locking="best-effort")
    except OSError as error:
        raise WorldError(f"{path} cannot be read as HDF5 ({error}); it is damaged, or still being written") from error
    with file:
        yield file


@contextlib.contextmanager
def _open_zarr(path: Path) -> Iterator[Any]:
    try:
        import zarr
    except ImportError as error:
        raise UserError(f"{path} is a Zarr store, which needs zarr 3 ({error}); {_INSTALL}") from error
    store = None
    try:
        if path.is_file():
            store = zarr.storage.ZipStore(path, mode="r")
        root = zarr.open_group(store or path, mode="r")
    except Exception as error:  # each store raises errors of its own
        if store is not None:
            store.close()
        raise WorldError(f"{path} cannot be read as a Zarr group ({type(error).__name__}: {error})") from error
    try:
        yield root
    finally:
        if store is not None:
            store.close()
