"""What came of an experiment with three trainings a seed: rates over all seeds, which differences they show, as text and page.

    eval/<seed>/results.json, questions/<seed>/<run>.json --collect--> Findings --as_text, write_page--> report.txt, report.html

Nothing is called a difference unless `rtx.eval.statistics.seeded` does.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

from rtx.eval.report.plots import success_plot
from rtx.eval.results import load_evaluation
from rtx.eval.statistics.seeded import SeededComparison, SeededRate, Trials, compare_seeded, seeded_rate
from rtx.files import atomic, read_json
from rtx.page import page
from rtx.plots import WIDE, figure
from rtx.reproduce.parts import NOTE, made, rate_cell, verdict_cell
from rtx.reproduce.stages import Stages
from rtx.tables import html_table

LABELS: Mapping[str, str] = {
    "vlm": "vision-language model, before any robot data",
    "scratch": "(a) robot data, from scratch",
    "robot": "(b) robot data, from the vision-language model",
    "both": "(c) robot and web data, from the vision-language model",
}
MEASURES: Mapping[str, str] = {
    "reach_seen": "solved, colours named in the robot data",
    "reach_unseen": "solved, colours named in the web data only",
    "questions": "held-out questions answered",
}
COMPARISONS = (
    ("reach_unseen", "robot", "scratch"), ("reach_unseen", "both", "scratch"), ("reach_unseen", "both", "robot"),
    ("reach_seen", "robot", "scratch"), ("reach_seen", "both", "robot"),
    ("questions", "both", "robot"), ("questions", "vlm", "robot"), ("questions", "vlm", "both"),
)  # fmt: skip
"""(measure, one, other): what the paper's claim is about."""


@dataclass(frozen=True, kw_only=True)
class Findings:
    """`trials[measure][run]`: one mapping of trial to success for each seed. `by_kind[run][kind]` likewise, of questions."""

    trials: Mapping[str, Mapping[str, Sequence[Trials]]]
    by_kind: Mapping[str, Mapping[str, Sequence[Trials]]]
    num_seeds: int

    def rate(self, measure: str, run: str) -> SeededRate | None:
        """None for what a run cannot do."""
        found = self.trials[measure].get(run)
        return None if found is None else seeded_rate(found)

    def compare(self, measure: str, one: str, other: str) -> SeededComparison:
        return compare_seeded(self.trials[measure][one], self.trials[measure][other])


def collect(out: Path, num_seeds: int) -> Findings:
    """From the folder of an experiment whose stages before the report are done."""
    trials: dict[str, dict[str, list[Trials]]] = {measure: {} for measure in MEASURES}
    by_kind: dict[str, dict[str, list[Trials]]] = {}
    for seed in range(num_seeds):
        evaluation = load_evaluation(out / "eval" / str(seed))
        for task in evaluation.suite.tasks:
            for run in evaluation.policies:
                of_seed = {outcome.episode: outcome.success for outcome in evaluation.select(run, task=task)}
                trials[task].setdefault(run, []).append(of_seed)
        for run, path in ((run, out / "questions" / str(seed) / f"{run}.json") for run in LABELS):
            if run == "vlm" and not path.exists():  # this seed carries on from another one's
                continue
            answers = read_json(path)["answers"]
            trials["questions"].setdefault(run, []).append({key: one["right"] for key, one in answers.items()})
            for kind in {one["kind"] for one in answers.values()}:
                of_kind = {key: one["right"] for key, one in answers.items() if one["kind"] == kind}
                by_kind.setdefault(run, {}).setdefault(kind, []).append(of_kind)
    return Findings(trials=trials, by_kind=by_kind, num_seeds=num_seeds)


def as_text(findings: Findings) -> str:
    """Rates, then one line for each comparison."""
    lines = [f"{findings.num_seeds} seeds, 95 % intervals", ""]
    for measure, title in MEASURES.items():
        lines.append(f"{title}:")
        lines += [f"  {LABELS[run]:<55} {rate}" for run in LABELS if (rate := findings.rate(measure, run)) is not None]
    lines.append("")
    for measure, one, other, found in _comparisons(findings):
        lines.append(f"{MEASURES[measure]}: {_short(one)} against {_short(other)}: {found.verdict} ({found.reason})")
    return "\n".join([*lines, "", claim(findings), ""])


def claim(findings: Findings) -> str:
    """How the paper's order fares: on words that the robot data never name c >= b > a, and questions kept by c only."""
    found = {(m, one, other): comparison.verdict for m, one, other, comparison in _comparisons(findings)}
    unseen = [
        found["reach_unseen", one, other] for one, other in (("robot", "scratch"), ("both", "scratch"), ("both", "robot"))
    ]
    kept = found["questions", "both", "robot"]
    as_in_the_paper = unseen[:2] == ["better", "better"] and unseen[2] != "worse" and kept == "better"
    return (
        f"{'As' if as_in_the_paper else 'NOT as'} in the paper. On words that the robot data never name, (b) against (a): "
        f"{unseen[0]}; (c) against (a): {unseen[1]}; (c) against (b): {unseen[2]}. "
        f"In answering questions, (c) against (b): {kept}."
    )


def write_page(out: Path, findings: Findings, *, plan: Mapping[str, Any], stages: Stages) -> Path:
    """One HTML file that needs nothing else."""
    sections = [
        "<h1>Co-fine-tuning with web data, small</h1>",
        f"<p class='dim'>RT-2 (arXiv 2307.15818), table 6, with {findings.num_seeds} seeds</p>",
        f"<p><b>{escape(claim(findings))}</b></p>",
        f"<h2>Rates</h2>{_rates(findings)}{NOTE}",
        f"<h2>Differences</h2>{_differences(findings)}",
        f"<h2>Questions by kind</h2>{_kinds(findings)}",
        f"<h2>How it was made</h2>{made(plan, stages)}",
    ]
    with atomic(out) as file:
        file.write(page("Co-fine-tuning with web data, small", sections).encode())
    return out


def _comparisons(findings: Findings) -> Iterator[tuple[str, str, str, SeededComparison]]:
    """Where fewer vision-language models were trained than seeds, they are compared with nothing."""
    for measure, one, other in COMPARISONS:
        of_measure = findings.trials[measure]
        if len(of_measure[one]) == len(of_measure[other]):
            yield measure, one, other, findings.compare(measure, one, other)


def _short(run: str) -> str:
    return LABELS[run].split(" ")[0] if LABELS[run].startswith("(") else "the vision-language model"


def _rates(findings: Findings) -> str:
    rows = [[LABELS[run], *(rate_cell(findings.rate(measure, run)) for measure in MEASURES)] for run in LABELS]
    runs = [run for run in LABELS if all(findings.rate(measure, run) for measure in MEASURES)]
    rates = {
        title: [rate for run in runs if (rate := findings.rate(measure, run)) is not None]
        for measure, title in MEASURES.items()
    }
    drawn = success_plot(rates, width=WIDE)
    plot = figure("95 % intervals over seeds", drawn, [LABELS[run] for run in runs])
    return plot + html_table(["", *MEASURES.values()], rows)


def _differences(findings: Findings) -> str:
    rows = []
    for measure, one, other, found in _comparisons(findings):
        pair = f"{_short(one)} against {_short(other)}"
        rows.append([MEASURES[measure], pair, verdict_cell(found.verdict), found.reason])
    return html_table(["", "", "", "why"], rows)


def _kinds(findings: Findings) -> str:
    kinds = sorted(next(iter(findings.by_kind.values())))
    rows = [
        [LABELS[run], *(f"{100 * seeded_rate(findings.by_kind[run][kind]).value:.0f} %" for kind in kinds)] for run in LABELS
    ]
    return html_table(["", *kinds], rows)
