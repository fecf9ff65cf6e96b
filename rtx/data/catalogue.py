"""The data sets rtx knows, and what `rtx data list | info | verify | stats` print about them. Plain functions, text out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from rtx import progress
from rtx.data.oxe import OXE
from rtx.data.prepared import PreparedSet
from rtx.data.record import DatasetRecord, load_records
from rtx.data.shard import FileIdentity
from rtx.data.simulated import SIMULATED
from rtx.data.storage import Location, open_file, stat
from rtx.data.tfrecord import RecordReader, file_crc32c
from rtx.errors import WorldError, unknown_name
from rtx.spec import Field, FieldStatistics, dim_names
from rtx.tables import text_table

RECORDS: Mapping[str, DatasetRecord] = {**OXE, **SIMULATED}
_OWN_RECORD = "For a data set of your own pass a Python file that defines its DatasetRecord (--records FILE.py)"
_PICTURE_STARTS = (b"\xff\xd8", b"\x89P")  # JPEG, PNG
_MAX_PROBLEMS = 20


def find(name: str, file: Path | None = None) -> DatasetRecord:
    """The record called `name`, of the user's `file` first if given. Raises UserError with the nearest names."""
    records = {**RECORDS, **(load_records(file) if file is not None else {})}
    if name not in records:
        raise unknown_name("data set", name, records, hint="" if file else _OWN_RECORD)
    return records[name]


def list_rows(records: Mapping[str, DatasetRecord] = RECORDS) -> list[dict[str, str]]:
    """One row per record, for a table: name, robot, hz, cameras, action, title."""
    return [
        {
            "name": r.name,
            "robot": r.embodiment.name,
            "hz": f"{r.embodiment.control_hz:g}",
            "cameras": ", ".join(r.images),
            "action": ", ".join(f.name for f in r.embodiment.action.fields),
            "title": r.title,
        }
        for r in records.values()
    ]


def list_text(file: Path | None = None) -> str:
    """Our records, and those of the user's `file` after them."""
    rows = list_rows({**RECORDS, **(load_records(file) if file else {})})
    return text_table(list(rows[0]), [list(row.values()) for row in rows])


def info_text(record: DatasetRecord) -> str:
    """One record whole: what is read, what the robot's own numbers mean, what is known about the data."""
    robot = record.embodiment
    lines = [
        f"{record.name}: {record.title or '(no title)'}",
        f"  robot          {robot.name}, {robot.morphology}, {robot.control_hz:g} Hz",
        f"  licence        {record.license or 'not stated'}",
        f"  record from    {_origin(record)}",
        f"  splits         train from {record.train_split!r}; validation from {record.val_split!r}, else 5 % held out",
        f"  instruction    {', '.join(record.instructions) or 'none'}",
        "  cameras",
        *(f"    {role:<12} steps/{key.path} ({key.channel_order})" for role, key in record.images.items()),
        "  keys read",
        *(f"    steps/{path} {list(shape)}" for path, shape in record.keys.items()),
        "  native action",
        *_field_lines(robot.action.fields),
        "  native proprio",
        *_field_lines(robot.proprio),
        "  standardized action, of which it knows",
        "    " + _known(record.layout.action.dim_names, record.layout.action_mask),
        "  standardized proprio, of which it knows",
        "    " + _known(dim_names(record.layout.proprio), record.layout.proprio_mask),
    ]
    for switch in record.switches:
        lines += [f"  unsettled: {switch.question}", *([f"    evidence: {switch.evidence}"] if switch.evidence else [])]
        for option, meaning in switch.options.items():
            mark = " (default)" if option == switch.default else ""
            lines.append(f"    --choose {switch.name}={option}{mark}: {meaning}")
    if record.notes:
        lines += ["  notes", *(f"    - {note}" for note in record.notes)]
    return "\n".join(lines)


def summary_text(prepared: PreparedSet) -> str:
    """What `rtx data prepare` prints at its end."""
    lines = [f"{prepared.name} {prepared.version}, prepared at {prepared.path}", f"  images stay in {prepared.source}"]
    for name, split in prepared.splits.items():
        lines.append(f"  {name:<8} {split['num_episodes']:,} episodes, {split['num_steps']:,} steps")
    for name, counts in prepared.counts.items():
        left_out = {k: counts[k] for k in ("empty", "filtered", "quarantined") if counts[k]}
        told = ", ".join(f"{n:,} {k}" for k, n in left_out.items()) or "nothing"
        held = f"; {counts['held_out']:,} held out for validation" if counts["held_out"] else ""
        lines.append(f"  source split {name!r}: {counts['episodes']:,} episodes read, left out: {told}{held}")
        lines += [f"    - {reason}" for reason in counts["reasons"][:5]]
    return "\n".join([*lines, f"  cameras  {', '.join(prepared.roles)}; {len(prepared.languages):,} different instructions"])


def stats_text(path: Path) -> str:
    """Table of the train split's statistics, canonical action and proprio, of the prepared set at `path`."""
    prepared = PreparedSet.open(path)
    statistics = prepared.statistics
    head = f"{prepared.name}: {statistics.num_episodes:,} training episodes, {statistics.action.count:,} steps"
    layout = prepared.layout
    mask = (*layout.action_mask, *layout.proprio_mask)
    names = [*layout.action.dim_names, *(f"proprio {n}" for n in dim_names(layout.proprio))]
    rows = [*_statistics_rows(statistics.action), *_statistics_rows(statistics.proprio)]
    body = [[n if known else f"{n} (masked)", *row] for n, row, known in zip(names, rows, mask, strict=True)]
    return head + "\n" + text_table(["dimension", "mean", "std", "min", "q01", "q99", "max"], body)


@dataclass
class Verification:
    """Result of `verify`. `problems` holds the first 20, `num_problems` all."""

    num_shards: int = 0
    num_images: int = 0
    problems: list[str] = field(default_factory=list)
    num_problems: int = 0

    def add(self, problem: str) -> None:
        self.num_problems += 1
        if len(self.problems) < _MAX_PROBLEMS:
            self.problems.append(problem)

    def text(self) -> str:
        head = f"{self.num_shards:,} shards and {self.num_images:,} image places checked: "
        if not self.num_problems:
            return head + "all good"
        more = f"\n  ... {self.num_problems - len(self.problems)} more" if self.num_problems > len(self.problems) else ""
        return head + f"{self.num_problems} problems\n  " + "\n  ".join(self.problems) + more


def verify_text(path: Path, source: str | Location | None = None) -> str:
    """One line if the prepared set at `path` and the shards it points into are whole; raises WorldError listing what is not."""
    found = verify(PreparedSet.open(path, source=source))
    if found.num_problems:
        raise WorldError(found.text())
    return found.text()


def verify(prepared: PreparedSet) -> Verification:
    """Reads everything again: column checksums, row counts, every record's sums in every shard, every image's first bytes.

    Problems are collected, not raised; `PreparedSet.open` has raised already if there is no manifest.
    """
    found = Verification()
    for split in prepared.splits:
        _verify_columns(prepared, split, found)
    places = {} if found.num_problems else _image_places(prepared)
    total = sum(shard["num_episodes"] for shard in prepared.shards)
    with progress.bar(f"verify {prepared.name}", total) as advance:
        for number, shard in enumerate(prepared.shards):
            _verify_shard(prepared.source / shard["file"], shard, places.get(number, []), found, advance)
            found.num_shards += 1
    return found


def _verify_columns(prepared: PreparedSet, split: str, found: Verification) -> None:
    for name, expected in prepared.splits[split]["columns"].items():
        path = prepared.path / split / f"{name}.npy"
        try:
            with open(path, "rb") as file:
                version = np.lib.format.read_magic(file)
                shape, _, _ = np.lib.format.read_array_header_1_0(file) if version == (1, 0) else ((-1,), None, None)
                same = shape[0] == expected["rows"] and file_crc32c(file) == expected["crc32c"]
        except (OSError, ValueError) as error:
            found.add(f"{path}: {error}; prepare again with resume=False")
            continue
        if not same:
            found.add(f"{path}: its bytes are not those prepare wrote; prepare again with resume=False")


def _image_places(prepared: PreparedSet) -> dict[int, list[tuple[str, np.ndarray]]]:
    """Per shard number: (camera, [n, 2] offsets and lengths) of every image any split points to."""
    places: dict[int, list[tuple[str, np.ndarray]]] = {}
    for name in prepared.splits:
        for role in prepared.roles:
            columns = [np.load(prepared.path / name / f"{c}.npy") for c in ("shard", f"{role}_offset", f"{role}_length")]
            shard, offset, length = columns
            for number in np.unique(shard).tolist():
                here = (shard == number) & (length > 0)
                places.setdefault(number, []).append((role, np.stack([offset[here], length[here]], -1)))
    return places


def _verify_shard(
    path: Location,
    shard: Mapping[str, Any],
    places: Sequence[tuple[str, np.ndarray]],
    found: Verification,
    advance: progress.Advance,
) -> None:
    """Each record's sums, and that each image place lies inside one record and starts as a picture does."""
    identity = FileIdentity(**shard["identity"])
    table = np.concatenate([np.zeros((0, 2), np.int64), *(p for _, p in places)])
    table = table[np.argsort(table[:, 0], kind="stable")]
    seen = 0
    try:
        if (now := stat(path)).size != identity.size:
            found.add(f"{path}: {now.size} bytes, {identity.size} when it was prepared; prepare again")
            return
        with open_file(path) as file:
            reader = RecordReader(file, str(path), on_damage=lambda _, error: found.add(str(error)))
            for record in reader:
                end = record.offset + len(record.payload)
                low, high = np.searchsorted(table[:, 0], [record.offset, end])
                seen += _check_pictures(record.payload, record.offset, table[low:high], path, found)
                advance(1)
    except OSError as error:
        found.add(f"{path}: {error.strerror}; if the data set moved, run `rtx data prepare` with its new folder")
        return
    except WorldError as error:
        found.add(str(error))
        return
    found.num_images += len(table)
    if reader.crc32c != identity.crc32c:
        found.add(f"{path}: its bytes are not those that were prepared; prepare again")
    if seen < len(table):
        found.add(f"{path}: {len(table) - seen} image places lie in no readable record; prepare again")


def _check_pictures(payload: memoryview, offset: int, table: np.ndarray, path: Location, found: Verification) -> int:
    for start, length in table.tolist():
        inside = start - offset
        if inside + length > len(payload) or bytes(payload[inside : inside + 2]) not in _PICTURE_STARTS:
            found.add(f"{path}, byte {start}: no JPEG or PNG of {length} bytes lies there; prepare again")
    return len(table)


def _field_lines(fields: Sequence[Field]) -> list[str]:
    lines = []
    for f in fields:
        polarity = f", closed {f.closed:g}, open {f.opened:g}" if "gripper" in f.name else ""
        form = f", {f.rotation}" if f.rotation else ""
        lines.append(f"    {f.name:<12} [{f.width}] {f.unit}, frame {f.frame}{form}{polarity}")
    return lines


def _origin(record: DatasetRecord) -> str:
    function = record.standardize
    if function is None:
        return f"{record.file or 'the program'}, without actions"
    return f"{record.file or function.__module__}, {function.__name__}"


def _known(names: Sequence[str], mask: Sequence[bool]) -> str:
    return ", ".join(name for name, known in zip(names, mask, strict=True) if known) or "nothing"


def _statistics_rows(s: FieldStatistics) -> list[list[str]]:
    columns = (s.mean, s.std, s.min, s.q01, s.q99, s.max)
    return [[f"{value:.5g}" for value in row] for row in zip(*columns, strict=True)]
