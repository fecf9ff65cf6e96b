"""What every importer shares: episodes of another form are staged one by one, then written as RLDS by a process of its own.

    episode --threads: `Foreign.read`, pictures encoded--> OUT/.importing-<name>-<key>/000012.npz   (whole or absent)
                                                               |  one spawned process (imports TensorFlow)
                                                               v
                                                          OUT/<name>/1.0.0/

Killed anywhere, the same command carries on with the episodes that are not staged. Disk: the finished set up to three times
while it is written (staged, in tensorflow-datasets' own sorting files, finished). Memory: one episode per thread; 2 GB in the
writer, however large the set (measured with 1.7 and 2.6 GB).
"""

from __future__ import annotations

import functools
import hashlib
import multiprocessing
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from rtx import progress
from rtx.data.features import STEPS, FeatureSpec
from rtx.data.pool import end_with_parent
from rtx.data.write import FeatureTree, ImageFeature, RldsEpisode, RldsFeatures, TensorFeature, TextFeature, write_rlds
from rtx.errors import UserError, WorldError
from rtx.files import atomic, disk_errors, read_json

VERSION = "1.0.0"
INSTRUCTION = "language_instruction"
JPEG_QUALITY = 95
_FLAGS = ("is_first", "is_last", "is_terminal")


@dataclass(frozen=True, kw_only=True)
class Recording:
    """One episode. `columns[key]` is [T, ...]; `pictures[key]` encoded, one per row; `texts[key]` one per row.

    `ended`: it ended itself rather than being cut off, as far as its recorder tells.
    """

    columns: Mapping[str, np.ndarray]
    pictures: Mapping[str, tuple[bytes, ...]]
    texts: Mapping[str, tuple[str, ...]]
    instructions: tuple[str, ...]
    ended: bool = False


@dataclass(frozen=True, kw_only=True)
class Foreign:
    """A data set of another form, as its importer understands it. Several threads call `read(episode)`.

    `paths`: key of a recording -> where it lies under `steps/`. `identity`: other text whenever the source is another one;
    `root`: where it lies. `features`: of the first recording, without flags and instruction; before one is read (None) all
    but the encoding of pictures is right.
    """

    name: str
    root: Path
    source: str  # one line for people
    identity: str
    paths: Mapping[str, tuple[str, ...]]
    splits: Mapping[str, tuple[int, ...]]
    read: Callable[[int], Recording] = field(repr=False)
    features: Callable[[Recording | None], Mapping[str, Any]] = field(repr=False)

    @property
    def episodes(self) -> tuple[int, ...]:
        return tuple(sorted(number for numbers in self.splits.values() for number in numbers))


@dataclass(frozen=True, kw_only=True)
class _WriteRequest:
    """What the writing process is told. `splits`: staged files, in order."""

    out: Path
    name: str
    source: str
    identity: str
    paths: Mapping[str, tuple[str, ...]]
    features: RldsFeatures
    splits: Mapping[str, tuple[Path, ...]]


def write_foreign(foreign: Foreign, out: Path, *, num_threads: int | None = None) -> Path:
    """Writes `out/<name>/1.0.0` and returns it. A finished set is kept.

    Raises UserError if the finished set is of another state of the source.
    """
    target = out / foreign.name / VERSION
    if target.exists():
        _check_same(foreign, target)
        return target
    staging = _staging(out, foreign)
    files = {number: staging / f"{number:06d}.npz" for number in foreign.episodes}
    left = [number for number in files if not files[number].exists()]
    # Writing counts as one more step of the same bar.
    with progress.bar(f"import {foreign.name}", len(files) + 1, done=len(files) - len(left)) as advance:
        for _ in _staged(foreign, left, files, num_threads or os.cpu_count() or 1):
            advance()
        _write_apart(_request(foreign, out, files))
        advance(note="written")
    shutil.rmtree(staging)
    return target


def specs_of(foreign: Foreign) -> dict[str, FeatureSpec]:
    """What `features.json` of the set will say, before it is written."""
    return {spec.path: spec for spec in _specs(_steps(foreign, None), (STEPS,))}


def is_current(foreign: Foreign, target: Path) -> bool:
    """Whether the finished set at `target` was made from the source as it is now. One that does not tell counts as such."""
    told = read_json(target / "metadata.json") if (target / "metadata.json").is_file() else {}
    return told.get("identity", foreign.identity) == foreign.identity


def put(tree: dict[str, Any], path: Sequence[str], value: Any) -> None:
    """Sets the leaf at `path` of nested dictionaries."""
    for name in path[:-1]:
        tree = tree.setdefault(name, {})
    tree[path[-1]] = value


def stored_dtype(dtype: str) -> str:
    """Floats of any width are stored as float32, as every loader reads them."""
    return "float32" if dtype.startswith("float") else dtype


def _check_same(foreign: Foreign, target: Path) -> None:
    if not is_current(foreign, target):
        raise UserError(
            f"{target} was imported from {foreign.name!r} as it was before: {foreign.root} has changed since; delete {target} "
            "to import it again, or choose another folder"
        )


def _staging(out: Path, foreign: Foreign) -> Path:
    """Of its own for each state of the source: what an earlier one left is not mixed in."""
    key = hashlib.sha256(f"{foreign.root} {foreign.identity}".encode()).hexdigest()[:8]
    folder = out / f".importing-{foreign.name}-{key}"
    with disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
    return folder


def _staged(foreign: Foreign, left: Sequence[int], files: Mapping[int, Path], num_threads: int) -> Iterator[None]:
    """Threads suffice: decoding and encoding leave the interpreter free."""

    def stage(number: int) -> None:
        _save(foreign.read(number), files[number])

    pool = ThreadPoolExecutor(num_threads)
    try:
        yield from pool.map(stage, left)
    finally:
        pool.shutdown(cancel_futures=True)


def _save(recording: Recording, path: Path) -> None:
    arrays: dict[str, Any] = {f"column/{key}": values for key, values in recording.columns.items()}
    arrays |= {f"text/{key}": np.array(values) for key, values in recording.texts.items()}
    for key, encoded in recording.pictures.items():
        arrays[f"bytes/{key}"] = np.frombuffer(b"".join(encoded), np.uint8)
        arrays[f"lengths/{key}"] = np.array([len(data) for data in encoded], np.int64)
    with atomic(path) as file:
        np.savez(file, instructions=np.array(recording.instructions), ended=np.array(recording.ended), **arrays)


def _load(path: Path) -> Recording:
    with np.load(path, allow_pickle=False) as file:
        arrays = {key: file[key] for key in file.files}
    parts: dict[str, dict[str, Any]] = {"column": {}, "text": {}, "bytes": {}, "lengths": {}}
    for key, values in arrays.items():
        part, _, rest = key.partition("/")
        if rest:
            parts[part][rest] = values
    return Recording(
        columns=parts["column"],
        pictures={key: _cut(data.tobytes(), parts["lengths"][key]) for key, data in parts["bytes"].items()},
        texts={key: tuple(map(str, values)) for key, values in parts["text"].items()},
        instructions=tuple(map(str, arrays["instructions"])),
        ended=bool(arrays["ended"]),
    )


def _cut(data: bytes, lengths: np.ndarray) -> tuple[bytes, ...]:
    ends = np.cumsum(lengths)
    return tuple(data[end - length : end] for end, length in zip(ends, lengths, strict=True))


def _steps(foreign: Foreign, first: Recording | None) -> dict[str, Any]:
    steps: dict[str, Any] = {"observation": {}, INSTRUCTION: TextFeature(), **foreign.features(first)}
    return steps | {flag: TensorFeature(dtype="bool") for flag in _FLAGS}


def _specs(tree: Mapping[str, Any], names: tuple[str, ...]) -> Iterator[FeatureSpec]:
    for name, node in tree.items():
        here = (*names, name)
        if isinstance(node, TensorFeature):
            yield FeatureSpec(names=here, kind="tensor", dtype=node.dtype, shape=node.shape, encoding="none")
        elif isinstance(node, TextFeature):
            yield FeatureSpec(names=here, kind="text", dtype="string", shape=(), encoding="none")
        elif isinstance(node, ImageFeature):
            size = (node.height, node.width, 3)
            yield FeatureSpec(names=here, kind="image", dtype="uint8", shape=size, encoding=node.encoding)
        else:
            yield from _specs(node, here)


def _request(foreign: Foreign, out: Path, files: Mapping[int, Path]) -> _WriteRequest:
    steps = _steps(foreign, _load(files[foreign.episodes[0]]))
    if "action" not in steps:
        raise UserError(f"{foreign.root}: none of its features becomes 'action'; it has {', '.join(foreign.paths)}")
    return _WriteRequest(
        out=out,
        name=foreign.name,
        source=foreign.source,
        identity=foreign.identity,
        paths=foreign.paths,
        features=RldsFeatures(steps=steps, episode={"episode_index": TensorFeature(dtype="int32"), "source": TextFeature()}),
        splits={split: tuple(files[i] for i in numbers) for split, numbers in foreign.splits.items()},
    )


def _episodes(request: _WriteRequest, files: Sequence[Path]) -> Iterator[RldsEpisode]:
    for path in files:
        recording, number = _load(path), int(path.stem)
        steps = tuple(_step(recording, t, request) for t in range(len(recording.instructions)))
        yield RldsEpisode(key=f"{number:06d}", steps=steps, metadata={"episode_index": number, "source": request.source})


def _step(recording: Recording, t: int, request: _WriteRequest) -> FeatureTree | dict[str, Any]:
    last = len(recording.instructions) - 1
    step: dict[str, Any] = {
        "observation": {},
        INSTRUCTION: recording.instructions[t],
        "is_first": t == 0,
        "is_last": t == last,
        "is_terminal": t == last and recording.ended,
    }
    for key, path in request.paths.items():
        values = next(part[key] for part in (recording.columns, recording.texts, recording.pictures) if key in part)
        put(step, path, values[t])
    return step


def _write_apart(request: _WriteRequest) -> None:
    """In a process of its own: TensorFlow must not be where somebody renders, and its memory goes back."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context, initializer=end_with_parent) as pool:
        try:
            pool.submit(_write, request).result()
        except BrokenProcessPool as error:
            raise WorldError(
                "the writing process died, most often for lack of memory (2 GB); what is decoded is kept: run the same "
                "command again"
            ) from error


def _write(request: _WriteRequest) -> None:
    write_rlds(
        request.out,
        name=request.name,
        version=VERSION,
        features=request.features,
        splits={split: functools.partial(_episodes, request, files) for split, files in request.splits.items()},
        description=f"Imported from {request.source}; pictures that were not JPEG or PNG are JPEG of quality {JPEG_QUALITY}.",
        metadata={"source": request.source, "identity": request.identity},
    )
