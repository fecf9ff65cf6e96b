"""Parts into columns: one pass over the parts in shard order, each column a .npy file written front to back.

    <out>/<split>/action.npy float32 [S, a]   proprio.npy float32 [S, p]   language_id.npy int32 [S, l]   shard.npy int32 [S]
                  episode_start.npy int64 [E + 1]    <role>_offset.npy int64 [S]    <role>_length.npy int32 [S]
                  target_id.npy int32 [S, m], of sets with answers    depth_<role>_offset.npy, depth_<role>_length.npy
    <out>/sentences.npy float32 [texts, d], of sets with sentence vectors: one row per text of languages.json, NaN = none

Memory: one part. The manifest comes last; without it the columns do not exist for anybody.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import google_crc32c
import numpy as np

from rtx.data.features import Source
from rtx.data.pixels import pixel_format
from rtx.data.prepared import FORMAT, LANGUAGES, MANIFEST, SENTENCES
from rtx.data.record import DatasetRecord, pixel_columns
from rtx.data.sentences import SentenceVectors
from rtx.data.shard import PACKS, PartMeta, ShardTask, part_sentences, part_statistics, read_part
from rtx.data.statistics import RunningStatistics
from rtx.data.storage import relative
from rtx.errors import WorldError
from rtx.files import atomic, write_json
from rtx.spec import Statistics, to_json

log = logging.getLogger(__name__)
_CHUNK_ROWS = 1 << 18  # of a column that is read once more
_MAX_CLASHES = 20  # texts with several sentence vectors that are listed; all are counted


@dataclass
class _Column:
    """A .npy file growing row by row under its checksum."""

    write: Callable[[np.ndarray], None]
    crc32c: int = 0
    rows: int = 0


@dataclass
class _Merged:
    """What one pass over the parts collects besides the columns."""

    action: RunningStatistics
    proprio: RunningStatistics
    languages: dict[str, int] = field(default_factory=dict)
    num_training: int = 0


def merge(
    record: DatasetRecord, source: Source, tasks: Sequence[ShardTask], metas: Sequence[PartMeta], out: Path, *, request: Any
) -> None:
    """Writes everything under `out` and, at the very end, the manifest."""
    layout = record.layout
    merged = _Merged(RunningStatistics(layout.action.width), RunningStatistics(layout.proprio_width))
    splits = {}
    for split in dict.fromkeys(task.split for task in tasks):
        pairs = [(i, task) for i, task in enumerate(tasks) if task.split == split]
        is_train = split == record.train_split
        splits[split] = _write_split(record, pairs, out / split, merged, heldout=False, is_train=is_train)
        if any(task.heldout.any() for _, task in pairs):
            splits[record.val_split] = _write_split(record, pairs, out / record.val_split, merged, heldout=True, is_train=False)
    shards = [
        {
            "file": relative(task.path, source.directory),
            "split": task.split,
            "num_episodes": task.num_episodes,
            "identity": asdict(meta.shard),
            **({"pack": {"file": relative(task.pack, out), "identity": asdict(meta.pack)}} if task.pack and meta.pack else {}),
        }
        for task, meta in zip(tasks, metas, strict=True)
    ]
    statistics = Statistics(
        action=merged.action.result(_rows(out / record.train_split / "action.npy")),
        proprio=merged.proprio.result(_rows(out / record.train_split / "proprio.npy")),
        num_episodes=merged.num_training,
        source=_content_key(record, shards),
    )
    write_json(out / LANGUAGES, list(merged.languages))
    manifest = {
        "format": FORMAT,
        "name": record.name,
        "request": request,
        "source": str(source.directory),
        "version": source.version,
        "embodiment": to_json(record.embodiment),
        "layout": to_json(record.layout),
        "targets": list(record.targets),
        "choices": dict(record.choices),
        "unsettled": {switch.name: f"{switch.question} {switch.default}" for switch in record.unsettled()},
        "images": {
            role: {"path": key.path, "channel_order": key.channel_order, **_pixels(record, source, key.path)}
            for role, key in record.images.items()
        },
        "depths": {
            role: {"path": key.path, "metres_per_unit": key.metres_per_unit, **_pixels(record, source, key.path)}
            for role, key in record.depth.items()
        },
        "sentence_counts": _write_sentences(record, source, tasks, metas, out, list(merged.languages)),
        "splits": splits,
        "shards": shards,
        "counts": _counts(tasks, metas),
        "statistics": to_json(statistics),
    }
    write_json(out / MANIFEST, manifest)
    for path in {*(out / PACKS).glob("*")} - {task.pack for task in tasks}:  # of shards that the source has no more
        path.unlink()


def _rows(column: Path) -> Callable[[], Iterator[np.ndarray]]:
    """A column in chunks, from its start at each call."""

    def chunks() -> Iterator[np.ndarray]:
        values = np.load(column, mmap_mode="r")
        yield from (values[i : i + _CHUNK_ROWS] for i in range(0, len(values), _CHUNK_ROWS))

    return chunks


def _pixels(record: DatasetRecord, source: Source, path: str) -> dict[str, Any]:
    found = pixel_format(source.features[record.full_path(path)])
    assert found is not None  # `validate` has made sure
    return found.to_json()


def _write_sentences(
    record: DatasetRecord,
    source: Source,
    tasks: Sequence[ShardTask],
    metas: Sequence[PartMeta],
    out: Path,
    texts: Sequence[str],
) -> dict[str, Any] | None:
    """The table of sentence vectors, and what the manifest says of it: how many texts have none or several."""
    spec = record.vector_spec(source.features)
    if spec is None:
        if record.sentence_vector:
            log.warning("%s: this copy has no key %r, so no sentence vectors", record.name, record.sentence_vector)
        return None
    width = spec.shape[0]
    assert width is not None  # `validate` has made sure
    found = SentenceVectors()
    for task, meta in zip(tasks, metas, strict=True):
        part = part_sentences(read_part(task.part)[1], meta.languages)
        found.update(part.vectors, part.clashes)
    if found.clashes:
        log.warning(
            "%s: %d of %d texts came with clearly different sentence vectors, the first of each is kept: %s",
            record.name, len(found.clashes), len(texts), ", ".join(map(repr, list(found.clashes)[:3])),
        )  # fmt: skip
    with _column(out / SENTENCES, np.float32, (len(texts), width)) as column:
        column.write(found.table(texts, width))
    return {
        "path": record.sentence_vector,
        "width": width,
        "rows": len(texts),
        "missing": sum(text not in found.vectors for text in texts),
        "clashes": len(found.clashes),
        "examples": list(found.clashes)[:_MAX_CLASHES],
        "crc32c": column.crc32c,
    }


def _write_split(
    record: DatasetRecord,
    pairs: Sequence[tuple[int, ShardTask]],
    folder: Path,
    merged: _Merged,
    *,
    heldout: bool,
    is_train: bool,
) -> dict[str, Any]:
    """The rows of the parts' episodes with this `heldout`, and the split's entry in the manifest."""
    lengths = [_episode_lengths(task.part, heldout) for _, task in pairs]
    starts = np.concatenate([[0], np.cumsum(np.concatenate([np.zeros(0, np.int64), *lengths]))]).astype(np.int64)
    with contextlib.ExitStack() as stack:
        columns = {
            name: stack.enter_context(_column(folder / f"{name}.npy", dtype, (int(starts[-1]), *shape)))
            for name, (dtype, shape) in _layout(record).items()
        }
        columns["episode_start"] = stack.enter_context(_column(folder / "episode_start.npy", np.int64, starts.shape))
        columns["episode_start"].write(starts)
        for number, task in pairs:
            _append(columns, number, task, record, merged, heldout=heldout, is_train=is_train)
    entry = {"num_episodes": len(starts) - 1, "num_steps": int(starts[-1])}
    return entry | {"columns": {name: {"rows": c.rows, "crc32c": c.crc32c} for name, c in columns.items()}}


def _layout(record: DatasetRecord) -> dict[str, tuple[Any, tuple[int, ...]]]:
    columns: dict[str, tuple[Any, tuple[int, ...]]] = {
        "action": (np.float32, (record.layout.action.width,)),
        "proprio": (np.float32, (record.layout.proprio_width,)),
        "language_id": (np.int32, (len(record.instructions),)),
        "shard": (np.int32, ()),
    }
    if record.targets:
        columns["target_id"] = (np.int32, (len(record.targets),))
    for name in pixel_columns(record.images, record.depth):
        columns |= {f"{name}_offset": (np.int64, ()), f"{name}_length": (np.int32, ())}
    return columns


def _episode_lengths(part: Path, heldout: bool) -> np.ndarray:
    _, arrays = read_part(part)
    return arrays["episode_length"][arrays["heldout"] == heldout]


def _append(
    columns: Mapping[str, _Column], number: int, task: ShardTask, record: DatasetRecord, merged: _Merged,
    *, heldout: bool, is_train: bool,
) -> None:  # fmt: skip
    meta, arrays = read_part(task.part)
    rows = np.repeat(arrays["heldout"] == heldout, arrays["episode_length"])
    # numbered in the order in which the parts name them: the same for any number of workers
    ids = np.array([merged.languages.setdefault(text, len(merged.languages)) for text in meta.languages], np.int32)
    columns["action"].write(arrays["action"][rows])
    columns["proprio"].write(arrays["proprio"][rows])
    for column, name in (("language_id", "language"), ("target_id", "target")):
        if column in columns:
            local = arrays[name][rows]
            columns[column].write(ids[local] if len(ids) else local)
    columns["shard"].write(np.full(int(rows.sum()), number, np.int32))
    for name in pixel_columns(record.images, record.depth):
        spans = arrays[f"spans_{name}"][rows]
        if len(spans) and spans[:, 1].max() > np.iinfo(np.int32).max:
            raise WorldError(f"{task.path}: an image of camera {name!r} is larger than 2 GiB")
        columns[f"{name}_offset"].write(spans[:, 0])
        columns[f"{name}_length"].write(spans[:, 1])
    if is_train:
        merged.action.merge(part_statistics(arrays, "action"))
        merged.proprio.merge(part_statistics(arrays, "proprio"))
        merged.num_training += int((~arrays["heldout"]).sum())


@contextlib.contextmanager
def _column(path: Path, dtype: Any, shape: tuple[int, ...]) -> Iterator[_Column]:
    """The header promises `shape`; the rows follow as they come. No memory map: an empty one cannot be made."""
    with atomic(path) as file:
        header = {"descr": np.lib.format.dtype_to_descr(np.dtype(dtype)), "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(file, header)

        def write(rows: np.ndarray) -> None:
            data = np.ascontiguousarray(rows, dtype).tobytes()
            file.write(data)
            column.crc32c = google_crc32c.extend(column.crc32c, data)
            column.rows += len(rows)

        column = _Column(write)
        yield column
        assert column.rows == shape[0], f"{path.name}: {column.rows} rows for a header of {shape[0]}"


def _counts(tasks: Sequence[ShardTask], metas: Sequence[PartMeta]) -> dict[str, Any]:
    """What happened to the source's episodes, per split of the source."""
    counts: dict[str, Any] = {}
    for task, meta in zip(tasks, metas, strict=True):
        entry = counts.setdefault(
            task.split, {"episodes": 0, "empty": 0, "filtered": 0, "quarantined": 0, "retried": 0, "held_out": 0, "reasons": []}
        )
        entry["episodes"] += task.num_episodes
        entry["held_out"] += int(task.heldout.sum())
        for name in ("empty", "filtered", "quarantined", "retried"):
            entry[name] += getattr(meta, name)
        entry["reasons"] = [*entry["reasons"], *meta.reasons][:100]
    return counts


def _content_key(record: DatasetRecord, shards: Sequence[Mapping[str, Any]]) -> str:
    content = [[s["file"], s["identity"]["size"], s["identity"]["crc32c"]] for s in shards if s["split"] == record.train_split]
    return hashlib.sha256(json.dumps([record.fingerprint(), content]).encode()).hexdigest()[:16]
