"""The report: ONE HTML file that needs nothing else, to be opened from a disk, mailed or kept beside a checkpoint.

    headline | plots | by robot, task, split | episodes | language, questions | training | data | how it was made

Styles, plots (SVG) and videos (base64) are inside, there is no script, and its own content security policy forbids the
network. Whatever comes from outside (names, instructions, paths) is escaped.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rtx import plots
from rtx.eval.report.films import films_section
from rtx.eval.report.rate_tables import NOTE, TITLES, group_section, percent, plots_section, verdict
from rtx.eval.results import Evaluation
from rtx.eval.statistics.rates import Rate
from rtx.files import atomic
from rtx.page import count, page, terms
from rtx.tables import Cell, html_table
from rtx.versions import machine, versions

if TYPE_CHECKING:
    from rtx.data.prepared import PreparedSet
    from rtx.embodiment import ActionField, Embodiment


def write_report(
    out: Path,
    *,
    evaluation: Evaluation,
    training_metrics: Path | None = None,
    sets: Sequence[PreparedSet] = (),
    stage_seconds: Mapping[str, float] | None = None,
    facts: Mapping[str, str] | None = None,
    sections: Sequence[str] = (),
    title: str = "",
) -> Path:
    """Writes the report to the file `out` and returns it.

    `training_metrics`: the run's metrics.jsonl. `sets`: what the policy was trained on. `stage_seconds`: wall time by
    stage. `facts`: further lines of "how it was made". `sections`: further ones, finished HTML, after the episodes.
    """
    body = [
        _headline(evaluation, title or f"Evaluation on suite {evaluation.suite.name}"),
        plots_section(evaluation),
        *(group_section(evaluation, by) for by in TITLES),
        f"<p class='note'>{NOTE}</p>",
        films_section(evaluation),
        *sections,
        _training(training_metrics) if training_metrics else "",
        _data(sets) if sets else "",
        _made(evaluation, stage_seconds or {}, facts or {}),
    ]
    with atomic(out) as file:
        file.write(page(title or evaluation.suite.name, body).encode())
    return out


# headline


def _headline(evaluation: Evaluation, title: str) -> str:
    suite = evaluation.suite
    about = (
        f"{count(len(suite.arms), 'robot')}, {count(len(suite.tasks), 'task')} ({escape(', '.join(suite.tasks))}), "
        f"{count(suite.num_episodes, 'episode')} per policy, the same scenes for all"
    )
    tiles = "".join(_tile(name, evaluation.rate(name), i) for i, name in enumerate(evaluation.policies))
    claims = "".join(f"<p>{_claim(evaluation, other)}</p>" for other in evaluation.others)
    middles = "; ".join(f"{escape(name)} {evaluation.middle(name)}" for name in evaluation.policies)
    middle = f"<p class='dim'>Interquartile mean over cells (a robot's task each): {middles}</p>"
    start = f"<h1>{escape(title)}</h1><p class='dim'>{about}</p><div class='tiles'>{tiles}</div>"
    return f"{start}{claims}{middle}{_stopped(evaluation)}"


def _tile(name: str, rate: Rate, lane: int) -> str:
    interval = f"95 % interval {percent(rate.interval.low)} to {percent(rate.interval.high)} %"
    return (
        f"<div class='tile {plots.series(lane)}'><span class='name'>{escape(name)}</span>"
        f"<div class='number'>{percent(rate.value)} %</div>"
        f"<span class='dim'>{rate.successes} of {rate.trials} episodes solved<br>{interval}</span></div>"
    )


def _claim(evaluation: Evaluation, other: str) -> str:
    """What may be said of the policy in question against `other`, and why."""
    whole = evaluation.compare(other)
    arms = [comparison.verdict for comparison in evaluation.compare_each(other, "arm").values()]
    return (
        f"<b>{escape(evaluation.main)} against {escape(other)}: {verdict(whole)}</b> over all episodes "
        f"<span class='dim'>({escape(whole.reason)})</span>; better on {arms.count('better')} of {len(arms)} robots "
        "taken one by one" + (f", worse on {arms.count('worse')}" if "worse" in arms else "") + "."
    )


def _stopped(evaluation: Evaluation) -> str:
    """That the number of episodes was not fixed in advance, and what of the page that touches."""
    if evaluation.planned is None:
        return ""
    done = evaluation.suite.episodes_per_cell
    how = (
        f"Stopped early, after {done} of {evaluation.planned}"
        if evaluation.stopped_early
        else f"All {done} played: no early stop"
    )
    return (
        f"<p class='note'>{how} episodes of each cell. Verdicts are by a test that holds at whatever moment one stops (an e "
        "value on the pairs that differ, in place of McNemar's). Intervals are those of a number fixed in advance: a rate at "
        "which one stopped tends to flatter the difference.</p>"
    )


# training and data


def _training(path: Path) -> str:
    lines = _metric_lines(path)
    curves = {
        name: [(line["step"], line["loss"]) for line in lines if line.get("kind") == kind and _is_number(line.get("loss"))]
        for name, kind in (("training", "train"), ("held-out episodes", "val"))
    }
    curves = {name: points for name, points in curves.items() if points}
    if not curves:
        return ""
    plot = plots.curve_plot(curves, x_label="training step")
    last = {name: f"{points[-1][1]:.3g} at step {points[-1][0]}" for name, points in curves.items()}
    return (
        f"<h2>Training</h2><div class='plots'><figure><figcaption>Loss</figcaption>{plots.legend(list(curves))}{plot}</figure>"
        f"<div>{terms({f'last loss, {name}': text for name, text in last.items()})}</div></div>"
    )


def _metric_lines(path: Path) -> list[dict[str, Any]]:
    """Whole lines only: a run may be writing at this moment."""
    with open(path, "rb") as file:
        return [json.loads(line) for line in file if line.endswith(b"\n")]


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)


def _data(sets: Sequence[PreparedSet]) -> str:
    rows = []
    for one in sets:
        episodes = {name: split["num_episodes"] for name, split in one.splits.items()}
        steps = sum(split["num_steps"] for split in one.splits.values())
        held_out = sum(number for name, number in episodes.items() if name != "train")
        numbers = [one.name, f"{episodes.get('train', 0)} + {held_out}", f"{steps}", f"{one.embodiment.control_hz:g} Hz"]
        rows.append([*numbers, Cell(f"<td class='prose'>{escape(convention(one.embodiment))}</td>")])
    head = ["data set", "episodes (train + held out)", "steps", "rate", "its own convention of actions"]
    note = "Every set keeps its own convention on disk; the policy is trained on, and answers in, one common form."
    return f"<h2>Data</h2>{html_table(head, rows)}<p class='note'>{note}</p>"


def convention(embodiment: Embodiment) -> str:
    """One robot's action in words: `position change (cm, base frame); ...; gripper closed 1, open 0`."""
    return "; ".join(_field_words(field) for field in embodiment.action.fields)


def _field_words(field: ActionField) -> str:
    if field.kind == "gripper":
        return f"gripper closed {field.closed:g}, open {field.opened:g}"
    quantity = "rotation" if field.rotation else "position" if field.kind.endswith("pos") else field.name
    kind = {"delta": "change of ", "abs": "absolute "}.get(field.kind.split("_")[0], "")
    details = [
        field.rotation or "",
        "" if field.unit == "1" else field.unit,
        f"{field.frame} frame" if field.frame != "none" else "",
    ]
    inside = ", ".join(detail for detail in details if detail)
    return f"{kind}{quantity}" + (f" ({inside})" if inside else "")


# how it was made


def _made(evaluation: Evaluation, stage_seconds: Mapping[str, float], facts: Mapping[str, str]) -> str:
    suite, settings = evaluation.suite, evaluation.settings
    known = {
        "policies": "; ".join(f"{name} {fingerprint}" for name, fingerprint in evaluation.policies.items()),
        "suite": f"{suite.name}, fingerprint {suite.fingerprint()}",
        "seeds": "a hash of (suite, robot, task, episode number); in episodes.jsonl beside every outcome",
        "control": f"{settings.replan} actions of each predicted chunk are executed before the policy is asked again",
        "safety filter": "on" if settings.safety else "OFF",
        "simulator": f"episodes took {_duration(evaluation.episode_wall_s)} in all, one after the other; "
        f"{evaluation.worker_deaths} processes died and were replaced",
        "machine": machine(),
        "versions": ", ".join(f"{name} {number}" for name, number in versions().items()),
        "wall time": ", ".join(f"{stage} {_duration(seconds)}" for stage, seconds in stage_seconds.items()),
        **facts,
    }
    return (
        f"<h2>How it was made</h2>{terms({name: text for name, text in known.items() if text})}"
        f"<h3>What the safety filter changed</h3>{_refusals(evaluation)}"
    )


def _refusals(evaluation: Evaluation) -> str:
    if not evaluation.settings.safety:
        return "<p>Nothing: it was switched off.</p>"
    counts = {name: evaluation.refusals(name) for name in evaluation.policies}
    reasons = sorted({reason for of_policy in counts.values() for reason in of_policy})
    rows = [
        [
            name,
            f"{sum(outcome.steps for outcome in evaluation.select(name))}",
            *(f"{counts[name].get(r, 0)}" for r in reasons),
        ]
        for name in evaluation.policies
    ]
    return html_table(["policy", "actions", *reasons], rows)


# pieces


def _duration(seconds: int | float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.1f} min"
