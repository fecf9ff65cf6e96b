"""The data sets rtx knows, and what `rtx data list | info | stats` print about them. Plain functions, text out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rtx.data.oxe import OXE
from rtx.data.oxe.droid import DROID_JOINTS
from rtx.data.oxe.mixtures import MIXTURES, find_mixture
from rtx.data.prepared import PreparedSet
from rtx.data.public import PUBLIC
from rtx.data.record import DatasetRecord, load_records
from rtx.data.simulated import SIMULATED
from rtx.embodiment import Field, dim_names
from rtx.errors import unknown_name
from rtx.spec import FieldStatistics
from rtx.tables import text_table

RECORDS: Mapping[str, DatasetRecord] = {**OXE, DROID_JOINTS.name: DROID_JOINTS, **SIMULATED, **PUBLIC}
_OWN_RECORD = "For a data set of your own pass a Python file that defines its DatasetRecord (--records FILE.py)"


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


def mixtures_text() -> str:
    """Every published mixture: its sets and what its weights mean."""
    convention = {True: "times steps", False: "per sample"}
    rows = [[m.name, str(len(m.weights)), convention[m.balance], m.title] for m in MIXTURES.values()]
    return text_table(["mixture", "sets", "weights", "title"], rows)


def mixture_text(name: str) -> str:
    """The data sets of a published mixture with their weights."""
    mixture = find_mixture(name)
    rows = [
        [one, f"{weight:g}", RECORDS[one].embodiment.name, ", ".join(RECORDS[one].images)]
        for one, weight in mixture.weights.items()
    ]
    head = f"{mixture.title}; weights {'times steps' if mixture.balance else 'per sample'}"
    return head + "\n" + text_table(["name", "weight", "robot", "cameras"], rows)


def mixture_names(name: str, without: Sequence[str] = ()) -> list[str]:
    """The data sets of a published mixture. Raises UserError for an unknown mixture, or a set to leave out that it lacks."""
    weights = find_mixture(name).weights
    for one in without:
        if one not in weights:
            raise unknown_name(f"data set of the mixture {name}", one, weights)
    return [one for one in weights if one not in without]


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
        *(f"    {role:<12} {record.full_path(key.path)} ({key.channel_order})" for role, key in record.images.items()),
        "  keys read",
        *(f"    {record.full_path(path)} {list(shape)}" for path, shape in record.keys.items()),
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
    lines.append(f"  cameras  {', '.join(prepared.roles)}; {len(prepared.languages):,} different instructions")
    return "\n".join([*lines, *_sentence_lines(prepared.sentence_counts)])


def _sentence_lines(counts: Mapping[str, Any] | None) -> list[str]:
    if counts is None:
        return []
    told = (
        f"  sentence vectors of {counts['width']} numbers: {counts['rows'] - counts['missing']:,} of {counts['rows']:,} texts"
    )
    if not counts["clashes"]:
        return [told]
    first = ", ".join(map(repr, counts["examples"][:3]))
    return [f"{told}; {counts['clashes']:,} came with clearly different ones, the first was kept: {first}"]


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
    function = getattr(function, "func", function)  # of a partial one
    return f"{record.file or function.__module__}, {function.__name__}"


def _known(names: Sequence[str], mask: Sequence[bool]) -> str:
    return ", ".join(name for name, known in zip(names, mask, strict=True) if known) or "nothing"


def _statistics_rows(s: FieldStatistics) -> list[list[str]]:
    columns = (s.mean, s.std, s.min, s.q01, s.q99, s.max)
    return [[f"{value:.5g}" for value in row] for row in zip(*columns, strict=True)]
