"""Reads everything again and decodes every picture: `rtx data verify`, on a prepared set or on a TFDS folder before prepare.

    prepared set    column checksums -> every record's sums -> every noted place decodes to a picture of the declared shape
    TFDS folder     every record's sums -> every leaf of every episode decodes -> as many records as dataset_info.json says

Problems are collected, each with file, byte and episode, and the rest is still read. Records are read in order by one
thread, pictures decoded by the others; at most a few records are in memory.
"""

from __future__ import annotations

import contextlib
import os
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from rtx import progress
from rtx.data.arrayrecord import ArrayRecordReader
from rtx.data.example import Example
from rtx.data.features import FeatureSpec, Source, open_source
from rtx.data.leaves import FLAT_VALUES, decode_leaf
from rtx.data.pixels import PICTURE, PixelFormat, pixel_format
from rtx.data.prepared import MANIFEST, SENTENCES, PreparedSet, PreparedSplit
from rtx.data.record import pixel_columns
from rtx.data.shard import FileIdentity
from rtx.data.splits import Shard
from rtx.data.storage import Location, location, open_file, stat
from rtx.data.texts import decode_text
from rtx.data.tfrecord import Record, RecordReader, file_crc32c
from rtx.errors import WorldError

_MAX_PROBLEMS = 20
_AGAIN = "prepare again with resume=False"


@dataclass
class Verification:
    """What was found. `problems` holds the first 20, `num_problems` all."""

    num_shards: int = 0
    num_episodes: int = 0
    num_images: int = 0
    problems: list[str] = field(default_factory=list)
    num_problems: int = 0

    def add(self, problem: str) -> None:
        self.num_problems += 1
        if len(self.problems) < _MAX_PROBLEMS:
            self.problems.append(problem)

    def text(self) -> str:
        head = f"{self.num_shards:,} shards, {self.num_episodes:,} episodes and {self.num_images:,} pictures checked: "
        if not self.num_problems:
            return head + "all good"
        more = f"\n  ... {self.num_problems - len(self.problems)} more" if self.num_problems > len(self.problems) else ""
        return head + f"{self.num_problems} problems\n  " + "\n  ".join(self.problems) + more


def verify_text(path: str | Location, source: str | Location | None = None) -> str:
    """One line if all is well; raises WorldError listing what is not.

    `path`: a prepared set (`source`: where its shards are now, if they moved) or a TFDS folder.
    """
    place = location(path)
    is_prepared = isinstance(place, Path) and ((place / MANIFEST).exists() or (place / "parts").is_dir())
    if is_prepared:
        found = verify(PreparedSet.open(Path(str(place)), source=source))
    else:
        found = verify_source(open_source(place))
    if found.num_problems:
        raise WorldError(found.text())
    return found.text()


def verify(prepared: PreparedSet, *, num_threads: int | None = None) -> Verification:
    """Checks a prepared set and everything of the original shards that it points to. Problems are collected, not raised."""
    found = Verification()
    for split in prepared.splits:
        _verify_columns(prepared, split, found)
    if prepared.sentence_counts is not None:
        _verify_column(prepared.path / SENTENCES, prepared.sentence_counts, found)
    if found.num_problems:  # the places themselves cannot be trusted
        return found
    tables = [_Places(prepared, name) for name in prepared.splits]
    total = sum(shard["num_episodes"] for shard in prepared.shards)
    with progress.bar(f"verify {prepared.name}", total) as advance, _Checks(found, num_threads) as checks:
        for number, shard in enumerate(prepared.shards):
            _verify_shard(
                prepared.place(shard), shard.get("pack", shard), [t.of_shard(number) for t in tables], checks, advance
            )
    return found


def verify_source(source: Source, *, splits: Sequence[str] | None = None, num_threads: int | None = None) -> Verification:
    """Checks a TFDS folder as it was fetched. Problems are collected, not raised."""
    found = Verification()
    chosen = [name for name in source.splits if splits is None or name in splits]
    total = sum(source.num_episodes(name) for name in chosen)
    with progress.bar(f"verify {source.name}", total) as advance, _Checks(found, num_threads) as checks:
        for name in chosen:
            first = 0
            for shard in source.splits[name]:
                _verify_source_shard(source, shard, name, first, checks, advance)
                first += shard.num_episodes
    return found


@dataclass
class _Result:
    """Of one record."""

    num_images: int = 0
    problems: list[str] = field(default_factory=list)


class _Checks:
    """Runs checks of records on threads and adds what they find, in order; a bounded number is under way."""

    def __init__(self, found: Verification, num_threads: int | None) -> None:
        threads = num_threads or os.cpu_count() or 1
        self.found = found
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="rtx-verify")
        self._under_way: deque[Future[_Result]] = deque()
        self._limit = 2 * threads

    def submit(self, check: Callable[[], _Result]) -> None:
        self._under_way.append(self._pool.submit(check))
        if len(self._under_way) > self._limit:
            self._take()

    def __enter__(self) -> _Checks:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        while self._under_way and kind is None:
            self._take()
        self._pool.shutdown(cancel_futures=True)

    def _take(self) -> None:
        result = self._under_way.popleft().result()
        self.found.num_images += result.num_images
        self.found.num_episodes += 1
        for problem in result.problems:
            self.found.add(problem)


def _verify_columns(prepared: PreparedSet, split: str, found: Verification) -> None:
    for name, expected in prepared.splits[split]["columns"].items():
        _verify_column(prepared.path / split / f"{name}.npy", expected, found)


def _verify_column(path: Path, expected: Mapping[str, int], found: Verification) -> None:
    """`expected`: "rows" and "crc32c" as the manifest has them."""
    try:
        with open(path, "rb") as file:
            version = np.lib.format.read_magic(file)
            shape, _, _ = np.lib.format.read_array_header_1_0(file) if version == (1, 0) else ((-1,), None, None)
            same = shape[0] == expected["rows"] and file_crc32c(file) == expected["crc32c"]
    except (OSError, ValueError) as error:
        found.add(f"{path}: {error}; {_AGAIN}")
        return
    if not same:
        found.add(f"{path}: its bytes are not those prepare wrote; {_AGAIN}")


@dataclass(frozen=True)
class _Place:
    """One picture: where it lies, how it is stored, and what it is, for people."""

    offset: int
    length: int
    pixels: PixelFormat
    label: str


class _Places:
    """Where the pictures of one split lie. Shards come one after the other in the columns, so each is a range of rows."""

    def __init__(self, prepared: PreparedSet, name: str) -> None:
        self._name = name
        entry = prepared.splits[name]
        part = PreparedSplit(
            name=name, folder=prepared.path / name, shards=(), images=prepared.images, depths=prepared.depths,
            num_episodes=entry["num_episodes"], num_steps=entry["num_steps"],
        )  # fmt: skip
        indices = {role: part.image(role) for role in prepared.images}
        self._indices = pixel_columns(indices, {role: part.depth(role) for role in prepared.depths})
        self._episode_start = np.asarray(part.episode_start)

    def of_shard(self, number: int) -> list[_Place]:
        return [place for column in self._indices for place in self._of_column(column, number)]

    def _of_column(self, column: str, number: int) -> Iterator[_Place]:
        index = self._indices[column]
        first, end = np.searchsorted(index.shard, [number, number + 1]).tolist()
        episodes = np.searchsorted(self._episode_start, np.arange(first, end), side="right") - 1
        lengths, offsets = index.length[first:end].tolist(), index.offset[first:end].tolist()
        for row, offset, length, episode in zip(range(first, end), offsets, lengths, episodes.tolist(), strict=True):
            if length:
                step = row - int(self._episode_start[episode])
                label = f"camera {column!r} of split {self._name!r}, episode {episode}, step {step}"
                yield _Place(offset, length, index.pixels, label)


def _verify_shard(
    path: Location,
    shard: Mapping[str, Any],
    places: Sequence[Sequence[_Place]],
    checks: _Checks,
    advance: progress.Advance,
) -> None:
    """Each record's sums, and that each place lies inside one record and decodes.

    Damage that was there when the set was prepared is no news: quarantine left it out, and nothing points there.
    """
    damage: list[str] = []
    found, identity = checks.found, FileIdentity(**shard["identity"])
    todo = deque(sorted((place for part in places for place in part), key=lambda place: place.offset))
    found.num_shards += 1
    try:
        if (now := stat(path)).size != identity.size:
            found.add(f"{path}: {now.size} bytes, {identity.size} when it was prepared; prepare again")
            return
        with open_file(path) as file:
            reader = RecordReader(file, str(path), on_damage=lambda _, error: damage.append(str(error)))
            for record in reader:
                end = record.offset + len(record.payload)
                inside = []
                while todo and todo[0].offset < end:
                    inside.append(todo.popleft())
                checks.submit(partial(_check_places, record, inside, path))
                advance(1)
        crc = reader.crc32c
    except OSError as error:
        found.add(f"{path}: {error.strerror}; if the data set moved, run `rtx data prepare` with its new folder")
        return
    except WorldError as error:  # the frame broke
        damage.append(str(error))
        with open_file(path) as file:
            crc = file_crc32c(file)
    if crc != identity.crc32c:
        for problem in [*damage, f"{path}: its bytes are not those that were prepared; prepare again"]:
            found.add(problem)
    for place in todo:
        found.add(f"{path}, byte {place.offset}: {place.label}: lies in no readable record; prepare again")


def _check_places(record: Record, places: Sequence[_Place], path: Location) -> _Result:
    result = _Result(num_images=len(places))
    for place in places:
        start = place.offset - record.offset
        if start < 0 or start + place.length > len(record.payload):
            result.problems.append(f"{path}, byte {place.offset}: {place.label}: lies in no readable record; prepare again")
            continue
        try:
            place.pixels.check(record.payload[start : start + place.length])
        except WorldError as error:
            result.problems.append(f"{path}, byte {place.offset} (record {record.number}): {place.label}: {error}")
    return result


def _verify_source_shard(
    source: Source, shard: Shard, split: str, first: int, checks: _Checks, advance: progress.Advance
) -> None:
    found = checks.found
    found.num_shards += 1
    seen = 0
    try:
        with _records(source, shard, found) as reader:
            for record in reader:
                where = f"{shard.path}, episode {first + record.number} of {split!r}"
                checks.submit(partial(_check_episode, record, source.features, where))
                seen = record.number + 1
                advance(1)
    except OSError as error:
        found.add(f"{shard.path}: {error.strerror or error}; dataset_info.json lists it, fetch it again")
        return
    except WorldError as error:
        found.add(str(error))
        return
    if seen != shard.num_episodes:
        found.add(f"{shard.path}: {seen} records, dataset_info.json lists {shard.num_episodes}")


@contextlib.contextmanager
def _records(source: Source, shard: Shard, found: Verification) -> Iterator[RecordReader | ArrayRecordReader]:
    """The records whose sums are right."""

    def on_damage(_: int, error: WorldError) -> None:
        found.add(str(error))

    if source.file_format == "array_record" and isinstance(shard.path, Path):
        packed = ArrayRecordReader(shard.path, on_damage=on_damage)
        yield packed
        packed.close()
    else:
        with open_file(shard.path) as file:
            yield RecordReader(file, str(shard.path), on_damage=on_damage)


def _check_episode(record: Record, features: Mapping[str, FeatureSpec], where: str) -> _Result:
    """Everything in one record that is damaged or not as features.json says."""
    result = _Result()
    try:
        example = Example(record.payload, offset=record.offset, where=where)
    except WorldError as error:
        return _Result(problems=[str(error)])
    counts: dict[str, int] = {}
    for spec in features.values():
        if spec.kind == "other":  # audio and the like: nothing of ours reads it
            continue
        try:
            count = (
                _check_images(example, spec, record, where, result)
                if spec.kind == "image"
                else _check_leaf(example, spec, where)
            )
        except WorldError as error:
            result.problems.append(str(error))
        else:
            if spec.in_steps and not (spec.kind == "image" and spec.num_sequences):
                counts[spec.path] = count
    if len(set(counts.values())) > 1:
        result.problems.append(f"{where}: its keys have different numbers of steps: {counts}")
    return result


def _check_leaf(example: Example, spec: FeatureSpec, where: str) -> int:
    """Decodes; the number of steps."""
    value = decode_leaf(example, spec, where)
    if spec.kind == "text" and not spec.num_sequences:
        for text in set(value.tolist()):
            decode_text(text, spec.path, where)
    return len(value)


def _check_images(example: Example, spec: FeatureSpec, record: Record, where: str, result: _Result) -> int:
    """Decodes every picture of a camera, also those of lists inside a step; how many there are."""
    pixels = pixel_format(spec) or PICTURE
    key = f"{spec.path}/{FLAT_VALUES}" if spec.num_sequences + spec.in_steps > 1 else spec.path
    if key not in example:
        raise WorldError(f"{where}: the key {key!r} is missing, though features.json lists {spec}")
    offsets, lengths = example.spans(key)
    for i, (offset, length) in enumerate(zip(offsets.tolist(), lengths.tolist(), strict=True)):
        if length:
            try:
                pixels.check(record.payload[offset - record.offset :][:length])
            except WorldError as error:
                result.problems.append(f"{where}, key {spec.path!r}, step {i}, byte {offset}: {error}")
    result.num_images += len(offsets)
    return len(offsets)
