"""`rtx report RUN`: what came of a run so far, as ONE HTML page that needs nothing else; a run may be going on meanwhile.

    headline | curves | per data set | events | checkpoints | contract | configuration | how it was made

Everything is read from the run folder: metrics.jsonl, starts.jsonl, config.json and the checkpoints, whose files are verified.
"""

from __future__ import annotations

import datetime
import json
import math
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from rtx import plots
from rtx.errors import UserError, WorldError
from rtx.files import atomic, read_json
from rtx.page import count, page, terms
from rtx.plots import Number, Points
from rtx.progress import duration
from rtx.tables import Cell, html_table
from rtx.train import fields
from rtx.train.checkpoint import steps, verify
from rtx.train.checkpoint.side import read_side
from rtx.train.metrics import read_metrics
from rtx.train.run_dir import CHECKPOINTS, CONFIG, METRICS
from rtx.train.starts import read_starts

Lines = Sequence[Mapping[str, Any]]
"""Of `metrics.jsonl`, of one kind."""

_TITLES = {
    "loss": "Loss", "accuracy": "Action tokens right", "accuracy_text": "Answer tokens right",
    "exact_match": "Questions answered right", "accuracy_last": "Action tokens right, last frame",
    "categorical_accuracy": "Gripper and other yes-or-no tokens right", "l1": "Error of actions (model space)",
    "l1_first": "Error of the next action (model space)", "lr": "Learning rate", "grad_norm": "Gradient norm",
    "samples_per_s": "Samples a second", "step_s": "Seconds a step", "data_wait": "Share of time waited for data",
    "mfu": "Model FLOPs utilisation (MFU)", "flops_per_s": "Operations a second",
}  # fmt: skip
_LEARNING = ("loss", "accuracy", "accuracy_text", "exact_match", "l1")
_OPTIMIZER = ("lr", "grad_norm")
_LOG = ("loss", "grad_norm")  # they fall by powers of ten
_SPEED = ("samples_per_s", "step_s", "data_wait", "mfu", "flops_per_s")
_OF_SETS = {"loss": "loss", "accuracy": "actions right", "accuracy_text": "answers right"}
_NO_FIGURES = ("step", "wall_s", "nonfinite", "tokens")


def write_report(run_dir: Path, out: Path | None = None, *, hashes: bool = True) -> Path:
    """Writes the page to `out` (RUN/report.html) and returns it. `hashes=False` checks only the sizes of checkpoints' files,
    where reading all their bytes takes too long. Raises UserError for what is no run folder."""
    if not (run_dir / CONFIG).is_file():
        raise UserError(f"{run_dir} is not a run folder (no {CONFIG}); give the folder of an `rtx train` run")
    config, starts = read_json(run_dir / CONFIG), read_starts(run_dir)
    lines = read_metrics(run_dir / METRICS) if (run_dir / METRICS).exists() else []
    train, val, events = ([line for line in lines if line["kind"] == kind] for kind in ("train", "val", "event"))
    sections = [
        _headline(run_dir, config, starts, train, val),
        _curves(train, val, _marks(starts, events)),
        _sets(starts, train, val),
        _events(starts, events),
        _checkpoints(run_dir / CHECKPOINTS, hashes=hashes),
        _contract(run_dir / CHECKPOINTS),
        _configuration(config),
        _made(starts),
    ]
    out = out or run_dir / "report.html"
    with atomic(out) as file:
        file.write(page(f"Run {run_dir.resolve().name}", sections).encode())
    return out


# headline


def _headline(run_dir: Path, config: Mapping[str, Any], starts: Lines, train: Lines, val: Lines) -> str:
    about = [f"{config['model']['family']}"]
    if starts:
        about.append(count(starts[-1]["parameters"], "parameter"))
        about.append(f"begun {_when(starts[0])}")
    last = train[-1] if train else None
    if last is None:
        return f"<h1>{escape(run_dir.resolve().name)}</h1><p class='dim'>{escape(', '.join(about))}: no step is logged yet</p>"
    since = f", {duration(last['wall_s'] - starts[0]['wall_s'])} later" if starts and "wall_s" in last else ""
    about.append(f"last logged {_when(last)}{since}")
    done, of = last["step"], config["train"]["num_steps"]
    held_out = f"{_number(val[-1]['loss'])} on held-out episodes at step {val[-1]['step']:,}" if val else "no validation yet"
    tiles = [
        ("Steps", f"{100 * done / of:.0f} %", f"{done:,} of {of:,}"),
        ("Training loss", _number(last["loss"]), held_out),
        ("Samples a second", _number(last.get("samples_per_s")), _step_words(last)),
        _speed_tile(last),
    ]
    shown = "".join(
        f"<div class='tile {plots.series(i)}'><span class='name'>{name}</span><div class='number'>{escape(number)}</div>"
        f"<span class='dim'>{escape(words)}</span></div>"
        for i, (name, number, words) in enumerate(tiles)
    )
    title = f"<h1>{escape(run_dir.resolve().name)}</h1><p class='dim'>{escape(', '.join(about))}</p>"
    return f"{title}<div class='tiles'>{shown}</div>"


def _step_words(line: Mapping[str, Any]) -> str:
    return f"{_number(line['step_s'])} s a step" if "step_s" in line else ""


def _speed_tile(line: Mapping[str, Any]) -> tuple[str, str, str]:
    waited = f"{100 * line['data_wait']:.1f} % of the time waited for data" if "data_wait" in line else ""
    if "mfu" in line:
        return "MFU", f"{100 * line['mfu']:.0f} %", waited
    return "Operations a second", plots.short(float(f"{line.get('flops_per_s', math.nan):.3g}")), waited


# curves


def _marks(starts: Lines, events: Lines) -> dict[str, list[Number]]:
    marks: dict[str, list[Number]] = {"resumed": [start["step"] for start in starts if start["step"]]}
    for event in events:
        marks.setdefault(event["event"], []).append(event["step"])
    return marks


def _curves(train: Lines, val: Lines, marks: Mapping[str, Sequence[Number]]) -> str:
    known = dict.fromkeys(name for line in [*train, *val] for name, value in line.items() if _is_figure(name, value))
    rest = [name for name in known if name not in (*_LEARNING, *_OPTIMIZER, *_SPEED)]
    learning = "".join(_figure(name, train, val, marks) for name in (*_LEARNING, *rest, *_OPTIMIZER) if name in known)
    speed = "".join(_figure(name, train, [], marks) for name in _SPEED if name in known)
    marked = any(marks.values())
    note = "<p class='note'>Dashed lines: resumes and events; point at one to read it.</p>" if marked else ""
    return (
        f"<h2>Learning</h2>{note}<div class='plots'>{learning}</div><h2>Speed</h2><div class='plots'>{speed}</div>"
        if learning
        else ""
    )


def _is_figure(name: str, value: Any) -> bool:
    return name not in _NO_FIGURES and isinstance(value, int | float)


def _figure(name: str, train: Lines, val: Lines, marks: Mapping[str, Sequence[Number]]) -> str:
    curves = {"training": _points(train, name), "held-out episodes": _points(val, name)}
    curves = {of: points for of, points in curves.items() if points}
    drawn = plots.curve_plot(curves, x_label="step", marks=marks, log=name in _LOG)
    return plots.figure(_TITLES.get(name, name), drawn, list(curves) if len(curves) > 1 else ())


def _points(lines: Lines, name: str, of_set: str | None = None) -> Points:
    """(step, value) where there is one; JSON's null is none."""
    values = [(line["step"], line if of_set is None else line.get("sets", {}).get(of_set, {})) for line in lines]
    return [(step, found[name]) for step, found in values if isinstance(found.get(name), int | float)]


# data sets


def _sets(starts: Lines, train: Lines, val: Lines) -> str:
    names = list(dict.fromkeys(name for line in [*val, *train] for name in line.get("sets", {})))
    if not names:
        return ""
    told = {row["name"]: row for row in starts[-1]["sets"]} if starts else {}
    shown = [metric for metric in _OF_SETS if any(_points([*train, *val], metric, name) for name in names)]
    head = ["data set", "share", "episodes", "steps"]
    head += [f"{_OF_SETS[metric]}, {of}" for metric in shown for of in ("training", "held out")]
    rows = []
    for name in names:
        row = told.get(name)
        about = ["", "", ""] if row is None else [f"{100 * row['share']:.3g} %", f"{row['episodes']:,}", f"{row['steps']:,}"]
        last = [_last(_points(lines, metric, name), n) for metric in shown for lines, n in ((train, 10), (val, 1))]
        rows.append([name, *about, *last])
    small = "".join(_set_figure(name, metric, train, val) for name in names for metric in shown)
    note = "<p class='note'>Training: the mean of the last ten log lines in which the set came up. Held out: the last.</p>"
    colours = plots.legend(("training", "held-out episodes"))
    return f"<h2>Data sets</h2>{html_table(head, rows)}{note}{colours}<div class='plots small'>{small}</div>"


def _last(points: Points, most: int) -> str:
    recent = [y for _, y in points[-most:]]
    return _number(sum(recent) / len(recent)) if recent else "-"


def _set_figure(name: str, metric: str, train: Lines, val: Lines) -> str:
    curves = {"training": _points(train, metric, name), "held out": _points(val, metric, name)}
    drawn = plots.curve_plot(curves, x_label="step", width=300, height=110, log=metric in _LOG)
    return plots.figure(f"{name}: {_OF_SETS[metric]}", drawn)


# events, checkpoints, contract


def _events(starts: Lines, events: Lines) -> str:
    found = [
        (start, "resumed" if start["step"] else "started", f"on {start['host']}, {_devices(start)}") for start in starts
    ] + [(event, event["event"], str(event.get("reason", ""))) for event in events]
    found.sort(key=lambda one: one[0].get("wall_s", 0.0))
    rows = [
        [_when(line), f"{line['step']:,}", what, Cell(f"<td class='prose'>{escape(why)}</td>")] for line, what, why in found
    ]
    return f"<h2>Events</h2>{html_table(['when', 'step', 'what', ''], rows)}" if rows else ""


def _checkpoints(root: Path, *, hashes: bool) -> str:
    rows = []
    for step in steps(root):
        found = verify(root / str(step), hashes=hashes)
        size = sum(file.stat().st_size for file in (root / str(step)).rglob("*") if file.is_file())
        written = {"wall_s": (root / str(step)).stat().st_mtime}
        words = "<span class='worse'>damaged</span>" if found else "<span class='better'>sound</span>"
        rows.append([f"{step:,}", f"{size / 1e6:,.1f} MB", _when(written), Cell(f"<td>{words}</td>"), "; ".join(found[:3])])
    aside = sorted(entry.name for entry in root.glob("*.damaged-*"))
    how = "every file against its size and sha256" if hashes else "every file against its size only"
    note = f"<p class='note'>Verified when this page was written: {how}.</p>"
    if aside:
        note += f"<p class='note'>Set aside as damaged: {escape(', '.join(aside))}.</p>"
    table = html_table(["step", "size", "written", "state", ""], rows) if rows else "<p>None yet.</p>"
    return f"<h2>Checkpoints</h2>{table}{note if rows or aside else ''}"


def _contract(root: Path) -> str:
    """Of the newest checkpoint that can be read."""
    for step in steps(root):
        try:
            contract = read_side(root / str(step)).contract
        except (UserError, WorldError):
            continue
        height, width = contract.image_size
        cameras = f"{', '.join(contract.roles)} at {height} x {width} ({contract.fit})"
        facts = {
            "cameras": f"{cameras}, {count(contract.history, 'frame')}",
            "actions": f"{contract.chunk} at once: {', '.join(contract.action.dim_names)}",
            "state": ", ".join(field.name for field in contract.proprio) or "none",
            "fingerprint": contract.fingerprint(),
        }
        rows = [
            [name, f"{robot.control_hz:g} Hz", f"{known.num_episodes:,}", f"{known.action.count:,}", str(known.source)]
            for name, robot in contract.embodiments.items()
            if (known := contract.statistics[name])
        ]
        head = ["robot", "rate", "episodes of its statistics", "steps", "data"]
        return f"<h2>Contract</h2>{terms(facts)}<h3>Robots</h3>{html_table(head, rows)}"
    return ""


# configuration, origin


def _configuration(config: Mapping[str, Any]) -> str:
    rows = [
        [f"{group}.{path}", Cell(f"<td class='prose'>{escape(json.dumps(value))}</td>")]
        for group in config
        for path, value in fields.leaves(config[group]).items()
    ]
    listed = html_table(["setting", "value"], rows)
    return f"<h2>Configuration</h2><details><summary>{count(len(rows), 'setting')}</summary>{listed}</details>"


def _made(starts: Lines) -> str:
    if not starts:
        return ""
    last = starts[-1]
    facts = {
        "configuration": f"fingerprint {last['fingerprint']}",
        "devices": _devices(last),
        "mesh": ", ".join(f"{name} {size}" for name, size in last["mesh"].items()),
        "machine": last["machine"],
        "versions": ", ".join(f"{name} {number}" for name, number in last["versions"].items()),
    }
    changed = [start for start in starts if start["versions"] != last["versions"]]
    if changed:
        facts["earlier versions"] = "; ".join(
            f"from step {start['step']:,}: " + ", ".join(f"{n} {v}" for n, v in start["versions"].items()) for start in changed
        )
    return f"<h2>How it was made</h2>{terms(facts)}"


# pieces


def _devices(start: Mapping[str, Any]) -> str:
    device, hosts = start["devices"], start["hosts"]
    return f"{device['count']} x {device['kind']} ({device['platform']})" + (f" on {hosts} hosts" if hosts > 1 else "")


def _when(line: Mapping[str, Any]) -> str:
    if "wall_s" not in line:
        return "-"
    return datetime.datetime.fromtimestamp(line["wall_s"], datetime.UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def _number(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, int | float) and math.isfinite(value) else "-"
