"""One shard, prepared: a plain function from a task to a file of rows, run by a process pool here or on a cluster.

The file (a "part") appears whole or not at all and says what it was made from, so that an interrupted run takes up the
finished parts and redoes the rest. Merging parts into columns: `rtx.data.prepare`.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool

from rtx.data import bucket
from rtx.data.arrayrecord import unpack
from rtx.data.episode import Episode, read_episode
from rtx.data.features import FeatureSpec
from rtx.data.record import DatasetRecord, RecordRef, pixel_columns
from rtx.data.sentences import SentenceVectors
from rtx.data.statistics import RunningStatistics
from rtx.data.storage import Location, Stat, open_file, stat
from rtx.data.tfrecord import RecordReader, file_crc32c
from rtx.errors import WorldError
from rtx.files import atomic

PACKS = "packs"
_MAX_REASONS = 100  # quarantined episodes that are listed; all are counted


@dataclass(frozen=True, kw_only=True)
class FileIdentity:
    """What a shard's bytes are. The quick check is size and version (of objects in a store) or time of change; where that
    differs, the checksum decides."""

    size: int
    mtime_ns: int
    crc32c: int
    version: str = ""  # `Stat.version`

    def unchanged(self, place: Location, now: Stat | None) -> bool:
        """True if `place`, of which `now` is the stat, still holds these bytes. Raises OSError if it cannot be read."""
        if now is None or now.size != self.size:
            return False
        if (now.version, now.version or now.mtime_ns) == (self.version, self.version or self.mtime_ns):
            return True
        return _whole_crc(place) == self.crc32c


@dataclass(frozen=True, kw_only=True)
class ShardTask:
    """Everything one shard needs, picklable. `heldout[i]` sends episode i to validation; `key`: what the part depends on."""

    ref: RecordRef
    features: Mapping[str, FeatureSpec]
    split: str
    path: Location
    first_episode: int  # its number in the split
    heldout: Bool[np.ndarray, " e"]
    part: Path
    key: str
    quarantine: bool
    pack: Path | None = None  # where the records of an ArrayRecord file are unpacked to

    @property
    def place(self) -> Location:
        """The file whose bytes the part points to."""
        return self.pack or self.path

    @property
    def num_episodes(self) -> int:
        return len(self.heldout)


@dataclass(frozen=True, kw_only=True)
class PartMeta:
    """The head of a part file."""

    key: str
    shard: FileIdentity
    languages: tuple[str, ...]
    empty: int  # episodes with no step left after standardize
    filtered: int  # by `record.keep`
    quarantined: int
    reasons: tuple[str, ...]
    retried: int  # requests to a bucket that were sent again
    pack: FileIdentity | None = None  # of `ShardTask.pack`

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> PartMeta:
        texts = {"languages": tuple(data["languages"]), "reasons": tuple(data["reasons"])}
        pack = FileIdentity(**data["pack"]) if data["pack"] else None
        return cls(**{**data, "shard": FileIdentity(**data["shard"]), "pack": pack, **texts})


@dataclass
class _Rows:
    """What has been read of a shard so far."""

    action: list[np.ndarray] = field(default_factory=list)
    proprio: list[np.ndarray] = field(default_factory=list)
    language: list[np.ndarray] = field(default_factory=list)
    target: list[np.ndarray] = field(default_factory=list)
    spans: dict[str, list[np.ndarray]] = field(default_factory=dict)
    heldout: list[bool] = field(default_factory=list)
    languages: dict[str, int] = field(default_factory=dict)
    sentences: SentenceVectors = field(default_factory=SentenceVectors)
    empty: int = 0
    filtered: int = 0
    quarantined: int = 0
    reasons: list[str] = field(default_factory=list)

    def add(self, episode: Episode, *, heldout: bool) -> None:
        if len(episode.action) == 0:
            self.empty += 1
            return
        self.action.append(episode.action)
        self.proprio.append(episode.proprio)
        self.language.append(self._ids(episode.instructions, len(episode.action)))
        self.target.append(self._ids(episode.targets, len(episode.action)))
        if episode.vectors is not None:
            self.sentences.add(episode.instructions[0], episode.vectors)
        for name, table in episode.spans.items():
            self.spans.setdefault(name, []).append(table)
        self.heldout.append(heldout)

    def _ids(self, texts: Sequence[Sequence[str]], num_steps: int) -> np.ndarray:
        """int32 [num_steps, keys]: each different text gets a number."""
        ids = [[self.languages.setdefault(text, len(self.languages)) for text in key] for key in texts]
        return np.array(ids, np.int32).reshape(-1, num_steps).T

    def quarantine(self, error: WorldError, count: int = 1) -> None:
        self.quarantined += count
        if len(self.reasons) < _MAX_REASONS:
            self.reasons.append(str(error))


def prepare_shard(task: ShardTask, on_episode: Callable[[], None] | None = None) -> PartMeta:
    """Reads every episode of the shard and writes the part. Memory: one episode, and the shard's rows without images.

    Strict unless `task.quarantine`: the first damaged episode raises WorldError naming file, byte and episode. With it every
    picture is decoded too, so that what is left out is all that cannot be loaded.
    """
    record = task.ref.load()
    rows = _Rows()
    before, retried = stat(task.path), bucket.num_retried()
    damaged = _unpack(task, rows) if task.pack is not None else {}
    with open_file(task.place) as file:
        reader = RecordReader(file, str(task.place), on_damage=_skipper(rows, on_episode) if task.quarantine else None)
        try:
            _read_all(reader, task, record, rows, damaged, on_episode)
        except WorldError as error:
            if not task.quarantine:
                raise
            rows.quarantine(error, _missing(task, rows))  # the frame broke: the rest of the file is lost
            reader.crc32c = _whole_crc(task.place)
    _check_count(task, rows)
    identity = FileIdentity(**asdict(before), crc32c=reader.crc32c if task.pack is None else _whole_crc(task.path))
    meta = PartMeta(
        key=task.key, shard=identity, languages=tuple(rows.languages), empty=rows.empty, filtered=rows.filtered,
        quarantined=rows.quarantined, reasons=tuple(rows.reasons),
        retried=bucket.num_retried() - retried,
        pack=FileIdentity(**asdict(stat(task.pack)), crc32c=reader.crc32c) if task.pack else None,
    )  # fmt: skip
    with atomic(task.part) as out:
        arrays: Any = _arrays(rows, record)
        np.savez(out, meta=np.frombuffer(json.dumps(asdict(meta)).encode(), np.uint8), **arrays)
    return meta


def pack_path(out: Path, split: str, index: int, count: int) -> Path:
    """Where the records of an ArrayRecord shard go: into the prepared set, which then needs the original no more."""
    return out / PACKS / f"{split}-{index:05d}-of-{count:05d}.tfrecord"


def read_part(path: Path) -> tuple[PartMeta, Mapping[str, np.ndarray]]:
    """Arrays are read when looked up: `action`, `proprio`, `language`, `target`, `episode_length`, `heldout`, `spans_<camera>`,
    `spans_depth_<camera>`, those of `part_sentences`, and the statistics (`part_statistics`)."""
    arrays = np.load(path)
    return PartMeta.from_json(json.loads(arrays["meta"].tobytes())), arrays


def finished(task: ShardTask, now: Stat | None) -> PartMeta | None:
    """The head of the task's part, if an earlier run wrote it with the same record from what `now` is the stat of."""
    try:
        meta, _ = read_part(task.part)
    except (OSError, KeyError, ValueError, TypeError, zipfile.BadZipFile):
        return None  # absent, or not one of ours: it is simply made again
    if task.pack is not None and not (meta.pack and task.pack.is_file() and meta.pack.unchanged(task.pack, stat(task.pack))):
        return None
    return meta if meta.key == task.key and meta.shard.unchanged(task.path, now) else None


def part_statistics(arrays: Mapping[str, np.ndarray], name: str) -> RunningStatistics:
    prefix = f"{name}_statistics_"
    return RunningStatistics.from_arrays({k.removeprefix(prefix): arrays[k] for k in arrays if k.startswith(prefix)})


def part_sentences(arrays: Mapping[str, np.ndarray], languages: Sequence[str]) -> SentenceVectors:
    """`languages` are those of the part's head."""
    vectors = {languages[i]: row for i, row in zip(arrays["sentence_id"].tolist(), arrays["sentence_vector"], strict=True)}
    return SentenceVectors(vectors, dict.fromkeys(languages[i] for i in arrays["sentence_clash"].tolist()))


def _sentence_arrays(rows: _Rows) -> dict[str, np.ndarray]:
    found = rows.sentences
    return {
        "sentence_id": np.array([rows.languages[text] for text in found.vectors], np.int32),
        "sentence_vector": np.array(list(found.vectors.values()), np.float32),
        "sentence_clash": np.array([rows.languages[text] for text in found.clashes], np.int32),
    }


def _read_all(
    reader: RecordReader,
    task: ShardTask,
    record: DatasetRecord,
    rows: _Rows,
    damaged: Mapping[int, WorldError],
    on_episode: Callable[[], None] | None,
) -> None:
    for found in reader:
        if found.number >= task.num_episodes:
            raise WorldError(f"{task.path}: more records than the {task.num_episodes} that dataset_info.json lists")
        index = task.first_episode + found.number
        where = f"{task.place}, episode {index} of {task.split!r}"
        try:
            if found.number in damaged:
                raise damaged[found.number]
            episode = read_episode(
                found.payload, offset=found.offset, record=record, features=task.features, index=index, where=where,
                decode=task.quarantine,
            )  # fmt: skip
        except WorldError as error:
            if not task.quarantine:
                raise
            rows.quarantine(error)
        else:
            if episode is None:
                rows.filtered += 1
            else:
                rows.add(episode, heldout=bool(task.heldout[found.number]))
        if on_episode:
            on_episode()


def _unpack(task: ShardTask, rows: _Rows) -> dict[int, WorldError]:
    """Writes the pack. Numbers of damaged records and what is wrong, in quarantine; strict raises."""
    assert isinstance(task.path, Path)
    assert task.pack is not None
    damaged: dict[int, WorldError] = {}
    task.part.parent.mkdir(parents=True, exist_ok=True)  # by which prepare knows the folder again
    try:
        unpack(task.path, task.pack, on_damage=damaged.__setitem__ if task.quarantine else None)
    except WorldError as error:
        if not task.quarantine:
            raise
        rows.quarantine(error, task.num_episodes)
        with atomic(task.pack):  # nothing of it can be read
            pass
    return damaged


def _skipper(rows: _Rows, on_episode: Callable[[], None] | None) -> Callable[[int, WorldError], None]:
    def skip(index: int, error: WorldError) -> None:
        rows.quarantine(error)
        if on_episode:
            on_episode()

    return skip


def _missing(task: ShardTask, rows: _Rows) -> int:
    return task.num_episodes - len(rows.action) - rows.empty - rows.filtered - rows.quarantined


def _check_count(task: ShardTask, rows: _Rows) -> None:
    missing = _missing(task, rows)
    if missing:
        error = WorldError(f"{task.path}: {task.num_episodes - missing} records, dataset_info.json lists {task.num_episodes}")
        if not task.quarantine:
            raise error
        rows.quarantine(error, missing)


def _whole_crc(place: Location) -> int:
    with open_file(place) as file:
        return file_crc32c(file)


def _arrays(rows: _Rows, record: DatasetRecord) -> dict[str, np.ndarray]:
    """The part's arrays; statistics are over the training episodes only."""
    action = np.concatenate([np.zeros((0, record.layout.action.width), np.float32), *rows.action])
    proprio = np.concatenate([np.zeros((0, record.layout.proprio_width), np.float32), *rows.proprio])
    length = np.array([len(a) for a in rows.action], np.int64)
    heldout = np.array(rows.heldout, bool)
    is_training = ~np.repeat(heldout, length)
    arrays = {
        "action": action,
        "proprio": proprio,
        "language": np.concatenate([np.zeros((0, len(record.instructions)), np.int32), *rows.language]),
        "target": np.concatenate([np.zeros((0, len(record.targets)), np.int32), *rows.target]),
        "episode_length": length,
        "heldout": heldout,
        **_sentence_arrays(rows),
    }
    for name in pixel_columns(record.images, record.depth):
        arrays[f"spans_{name}"] = np.concatenate([np.zeros((0, 2), np.int64), *rows.spans.get(name, [])])
    for name, values in (("action", action), ("proprio", proprio)):
        statistics = RunningStatistics(values.shape[1])
        statistics.update(values[is_training])
        arrays |= {f"{name}_statistics_{k}": v for k, v in statistics.to_arrays().items()}
    return arrays
