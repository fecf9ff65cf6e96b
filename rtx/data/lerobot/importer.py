"""`import_lerobot`: a LeRobot data set -> an RLDS data set any RLDS tool reads, and a record file to start from.

    episode --threads: rows checked, frames decoded, JPEG--> OUT/.importing-<name>-<key>/000012.npz   (whole or absent)
                                                               |  one spawned process (imports TensorFlow)
                                                               v
                                        OUT/<name>/1.0.0/   and   OUT/record.py, if there is none yet

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
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from rtx import progress
from rtx.data.lerobot.meta import LeRobotEpisode, LeRobotSet, open_lerobot
from rtx.data.lerobot.names import identifier, rlds_paths
from rtx.data.lerobot.read import Recording, read_recording
from rtx.data.lerobot.starter import write_starter
from rtx.data.pool import end_with_parent
from rtx.data.write import FeatureTree, ImageFeature, RldsEpisode, RldsFeatures, TensorFeature, TextFeature, write_rlds
from rtx.errors import UserError, WorldError
from rtx.files import atomic, disk_errors

VERSION = "1.0.0"
INSTRUCTION = "language_instruction"
_FLAGS = ("is_first", "is_last", "is_terminal")


@dataclass(frozen=True, kw_only=True)
class _WriteRequest:
    """What the writing process is told. `splits`: staged files, in order."""

    out: Path
    name: str
    source: str
    paths: Mapping[str, tuple[str, ...]]
    features: RldsFeatures
    splits: Mapping[str, tuple[Path, ...]]


def import_lerobot(source: Path, out: Path, *, name: str = "", num_threads: int | None = None) -> Path:
    """Writes `out/<name>/1.0.0` and, unless it exists, the set's `record_file`; returns the former. A finished set is kept.

    `name`: of the RLDS set, by default from the source folder's. Pictures embedded in parquet are kept byte for byte; video
    frames become JPEG of quality 95. Depth maps in videos are left out: lossy depth is none.

    Raises UserError for a folder, version or name that cannot be imported, WorldError naming file, episode and frame where
    rows and pictures do not agree.
    """
    found = open_lerobot(source)
    name = name or identifier(found.root.name)
    if name != identifier(name):
        raise UserError(f"data set name {name!r}: expected lower-case letters, digits and underscores, a letter first")
    out = Path(out).expanduser().absolute()
    target = out / name / VERSION
    paths = rlds_paths(found)
    if not target.exists():
        staging = _staging(out, found, name)
        files = {episode.index: staging / f"{episode.index:06d}.npz" for episode in found.episodes}
        left = [episode for episode in found.episodes if not files[episode.index].exists()]
        # Writing counts as one more step of the same bar.
        with progress.bar(f"import {name}", len(files) + 1, done=len(files) - len(left)) as advance:
            for _ in _staged(found, left, files, num_threads or os.cpu_count() or 1):
                advance()
            _write_apart(_request(found, out, name, paths, files))
            advance(note="written")
        shutil.rmtree(staging)
    write_starter(record_file(out, name), found, name=name, paths=paths)
    return target


def record_file(out: Path, name: str) -> Path:
    """Where the record of `name` is or goes: record.py, unless that is another set's."""
    first = out / "record.py"
    is_others = first.exists() and f'name="{name}"' not in first.read_text()
    return out / f"record_{name}.py" if is_others else first


def _staging(out: Path, found: LeRobotSet, name: str) -> Path:
    """Of its own for each state of the source: what an earlier one left is not mixed in."""
    facts = [(found.root / "meta" / "info.json").read_text(), str(found.root), [(e.index, e.length) for e in found.episodes]]
    folder = out / f".importing-{name}-{hashlib.sha256(repr(facts).encode()).hexdigest()[:8]}"
    with disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
    return folder


def _staged(
    found: LeRobotSet, episodes: Sequence[LeRobotEpisode], files: Mapping[int, Path], num_threads: int
) -> Iterator[None]:
    """Threads suffice: decoding and encoding leave the interpreter free."""

    def stage(episode: LeRobotEpisode) -> None:
        _save(read_recording(found, episode), files[episode.index])

    pool = ThreadPoolExecutor(num_threads)
    try:
        yield from pool.map(stage, episodes)
    finally:
        pool.shutdown(cancel_futures=True)


def _save(recording: Recording, path: Path) -> None:
    arrays: dict[str, Any] = {f"column/{key}": values for key, values in recording.columns.items()}
    arrays |= {f"text/{key}": np.array(values) for key, values in recording.texts.items()}
    for key, encoded in recording.pictures.items():
        arrays[f"bytes/{key}"] = np.frombuffer(b"".join(encoded), np.uint8)
        arrays[f"lengths/{key}"] = np.array([len(data) for data in encoded], np.int64)
    with atomic(path) as file:
        np.savez(file, instructions=np.array(recording.instructions), **arrays)


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
    )


def _cut(data: bytes, lengths: np.ndarray) -> tuple[bytes, ...]:
    ends = np.cumsum(lengths)
    return tuple(data[end - length : end] for end, length in zip(ends, lengths, strict=True))


def _request(
    found: LeRobotSet, out: Path, name: str, paths: Mapping[str, tuple[str, ...]], files: Mapping[int, Path]
) -> _WriteRequest:
    return _WriteRequest(
        out=out,
        name=name,
        source=f"{found.root.name}, LeRobot {found.version}, {found.robot}, {found.fps:g} Hz",
        paths=paths,
        features=_features(found, paths, _load(files[0])),
        splits={split: tuple(files[i] for i in episodes if i in files) for split, episodes in found.splits.items()},
    )


def _features(found: LeRobotSet, paths: Mapping[str, tuple[str, ...]], first: Recording) -> RldsFeatures:
    steps: dict[str, Any] = {"observation": {}, "timestamp": TensorFeature(), INSTRUCTION: TextFeature()}
    steps |= {flag: TensorFeature(dtype="bool") for flag in _FLAGS}
    for f in found.numbers:
        kind = TextFeature() if f.dtype == "string" else TensorFeature(shape=f.shape, dtype=_stored(f.dtype))
        _put(steps, paths[f.key], kind)
    for f in found.pictures:
        is_png = first.pictures[f.key][0][:2] == b"\x89P"
        picture = ImageFeature(height=f.shape[0], width=f.shape[1], encoding="png" if is_png else "jpeg")
        _put(steps, paths[f.key], picture)
    if "action" not in steps:
        raise UserError(f"{found.root}: none of its features becomes 'action'; it has {', '.join(paths)}")
    return RldsFeatures(steps=steps, episode={"episode_index": TensorFeature(dtype="int32"), "source": TextFeature()})


def _stored(dtype: str) -> str:
    return "float32" if dtype.startswith("float") else dtype


def _put(tree: dict[str, Any], path: Sequence[str], value: Any) -> None:
    for name in path[:-1]:
        tree = tree.setdefault(name, {})
    tree[path[-1]] = value


def _episodes(request: _WriteRequest, files: Sequence[Path]) -> Iterator[RldsEpisode]:
    for path in files:
        recording, number = _load(path), int(path.stem)
        steps = tuple(_step(recording, t, request) for t in range(len(recording.instructions)))
        yield RldsEpisode(key=f"{number:06d}", steps=steps, metadata={"episode_index": number, "source": request.source})


def _step(recording: Recording, t: int, request: _WriteRequest) -> FeatureTree | dict[str, Any]:
    """LeRobot says of no episode whether it ended itself, unless it has next.done."""
    last = len(recording.instructions) - 1
    done = recording.columns.get("next.done")
    step: dict[str, Any] = {
        "observation": {},
        "timestamp": recording.columns["timestamp"][t],
        INSTRUCTION: recording.instructions[t],
        "is_first": t == 0,
        "is_last": t == last,
        "is_terminal": t == last and done is not None and bool(np.any(done[t])),
    }
    for key, path in request.paths.items():
        values = next(part[key] for part in (recording.columns, recording.texts, recording.pictures) if key in part)
        _put(step, path, values[t])
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
        description=f"Imported from {request.source}; frames of videos are JPEG of quality 95.",
        metadata={"source": request.source},
    )
