"""The diagnosis for people: a few lines of text, and one HTML page that needs nothing else.

verdict and what to change | agreement per dimension, with curves | suspects | pictures, training beside robot | ranges
"""

from __future__ import annotations

import base64
import math
from collections.abc import Sequence
from html import escape

import numpy as np

from rtx import page, plots
from rtx.doctor.checks import Finding, Range
from rtx.doctor.examine import Diagnosis, Dimension, Replay, Trial
from rtx.doctor.pictures import Gallery
from rtx.images import encode_png
from rtx.tables import Cell, html_table, text_table

_CURVE_FRAMES = 120  # of a dimension's plot: a few episodes, one after another
_HEAD = ("dimension", "mean error", "spread of the log", "error / spread", "correlation")


def text(diagnosis: Diagnosis) -> str:
    """What `rtx doctor` prints."""
    lines = [_asked(diagnosis)]
    if diagnosis.dimensions:
        lines += ["", text_table(_HEAD, [_dimension(d) for d in diagnosis.dimensions])]
    lines += ["", *_verdict(diagnosis), *(f"note: {note}" for note in diagnosis.notes)]
    return "\n".join(lines)


def html(diagnosis: Diagnosis) -> str:
    """The whole page."""
    sections = [
        f"<h1>{escape(diagnosis.robot)}: {'sound' if diagnosis.is_sound else escape(diagnosis.findings[0].aspect)}</h1>",
        f"<p>{escape(_asked(diagnosis))}</p>", _findings(diagnosis.findings), _notes(diagnosis.notes),
    ]  # fmt: skip
    if diagnosis.replay is not None:
        sections += ["<h2>Answers against the log</h2>", html_table(_HEAD, [_dimension(d) for d in diagnosis.dimensions])]
        sections += _curves(diagnosis.replay, diagnosis.dimensions)
    if diagnosis.trials:
        sections += ["<h2>What was suspected</h2>", _trials(diagnosis.trials)]
    if diagnosis.gallery is not None:
        sections += ["<h2>Mean pictures</h2>", _pictures(diagnosis.gallery)]
    sections += [
        "<h2>Ranges against the checkpoint's statistics</h2>",
        *(_ranges(name, r) for name, r in diagnosis.ranges.items()),
    ]
    return page.page(f"rtx doctor: {diagnosis.robot}", sections)


def _asked(diagnosis: Diagnosis) -> str:
    said = [f"{diagnosis.robot} with {diagnosis.policy or 'a policy'}", page.count(diagnosis.num_episodes, "episode")]
    if diagnosis.replay is not None:
        said.append(page.count(len(diagnosis.replay.moments), "frame") + " replayed")
    if diagnosis.round_trip_ms is not None:
        said.append("round trip p50 {:.1f} ms, p95 {:.1f} ms".format(*diagnosis.round_trip_ms))
    return ", ".join(said)


def _verdict(diagnosis: Diagnosis) -> list[str]:
    if diagnosis.is_sound:
        return ["sound: no difference found that matters"]
    first, *rest = diagnosis.findings
    lines = [f"found: {first.aspect}: {first.finding}", f"  because {first.evidence}", f"  change: {first.change}"]
    if rest:
        lines.append("then, once that is mended:")
        lines += [f"  {finding.aspect}: {finding.finding} ({finding.evidence})" for finding in rest]
    return lines


def _dimension(d: Dimension) -> list[str]:
    name = d.name if d.counts else f"{d.name} (not counted)"
    ratio = f"{d.error / d.spread:.2f}" if d.spread > 0 else "-"
    return [name, f"{d.error:.4g} {d.unit}", f"{d.spread:.4g} {d.unit}", ratio, _number(d.correlation)]


def _number(value: float) -> str:
    return f"{value:.2f}" if math.isfinite(value) else "-"


def _findings(findings: Sequence[Finding]) -> str:
    if not findings:
        return "<p>No difference found that matters.</p>"
    return html_table(
        ("", "what", "found", "because", "change"),
        [[str(i + 1), f.aspect, f.finding, f.evidence, f.change] for i, f in enumerate(findings)],
    )


def _notes(notes: Sequence[str]) -> str:
    return "<ul>" + "".join(f"<li>{escape(note)}</li>" for note in notes) + "</ul>" if notes else ""


def _curves(replay: Replay, dimensions: Sequence[Dimension]) -> list[str]:
    shown = slice(0, _CURVE_FRAMES)
    starts = [i for i, m in enumerate(replay.moments[shown]) if i and m.episode != replay.moments[i - 1].episode]
    drawn = []
    for i, dimension in enumerate(dimensions):
        curves = {
            name: [(t, float(value)) for t, value in enumerate(values[shown, i])]
            for name, values in (("logged", replay.logged), ("answered", replay.answers))
        }
        plot = plots.curve_plot(curves, x_label="frame", marks={"next episode": starts}, height=90)
        drawn.append(plots.figure(f"{dimension.name} ({dimension.unit})", plot, tuple(curves)))
    return drawn


def _trials(trials: Sequence[Trial]) -> str:
    ordered = sorted(trials, key=lambda trial: (not trial.believed, -trial.weight))
    head = ("about", "suspected", "error as it is", "undone", "p", "distance of pictures", "undone", "")
    return html_table(head, [_trial(trial) for trial in ordered])


def _trial(trial: Trial) -> list[str]:
    v, pictures = trial.verdict, trial.pictures
    told = "yes" if trial.believed else "dropped after a third" if trial.screened_out else "no"
    return [
        trial.suspect.aspect, trial.suspect.finding,
        *((f"{v.before:.3f}", f"{v.after:.3f}", f"{v.p_value:.2g}") if v else ("-", "-", "-")),
        *((f"{pictures.before:.1f}", f"{pictures.after:.1f}") if pictures else ("-", "-")),
        told,
    ]  # fmt: skip


def _pictures(gallery: Gallery) -> str:
    head = ("camera", "in training", "recorded", "distance", "usual, up to")
    rows = []
    for role in gallery.roles:
        means = gallery.means(role)
        figures = f"{gallery.distance[role]:.2f}", f"{gallery.usual[role]:.2f}"
        rows.append([role, *(_image(mean, role) for mean in means), *figures])
    return html_table(head, rows)


def _image(picture: np.ndarray, role: str) -> Cell:
    data = base64.b64encode(encode_png(np.repeat(np.repeat(picture, 2, 0), 2, 1))).decode()
    return Cell(f"<td><img alt='mean picture of {escape(role)}' src='data:image/png;base64,{data}'></td>")


def _ranges(name: str, ranges: Sequence[Range]) -> str:
    head = (name, "recorded 1 .. 99 %", "trained 1 .. 99 %", "outside")
    spans = [
        (r.name, *(f"{low:.4g} .. {high:.4g}" for low, high in (r.recorded, r.trained)), f"{r.outside:.0%}") for r in ranges
    ]
    return html_table(head, spans)
