"""What came of `rtx-transfer`: each row of its table holds two policies against each other, over all seeds.

    eval/<seed>/<arm>/results.json, runs/<seed>/<run>/metrics.jsonl --collect--> Findings --as_text, write_page--> report.*

Nothing is called a difference unless `rtx.eval.statistics.seeded` does.
"""

from __future__ import annotations

import functools
import json
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

from rtx.eval.report.plots import success_plot
from rtx.eval.results import Evaluation, load_evaluation
from rtx.eval.statistics.rates import Verdict
from rtx.eval.statistics.seeded import SeededComparison, SeededRate, Trials, compare_seeded
from rtx.files import atomic
from rtx.page import count, page
from rtx.plots import WIDE, figure
from rtx.reproduce.parts import NOTE, made, rate_cell, verdict_cell
from rtx.reproduce.stages import Stages
from rtx.tables import html_table, text_table

ALL = "all tasks"


@dataclass(frozen=True, kw_only=True)
class Pair:
    """One row: the trials of both policies, one mapping for each seed."""

    arms: str
    task: str
    first: Sequence[Trials]
    second: Sequence[Trials]

    @functools.cached_property
    def found(self) -> SeededComparison:
        return compare_seeded(self.first, self.second)


@dataclass(frozen=True, kw_only=True)
class Errors:
    """Held-out open-loop errors of the actions of one arm, mean over seeds, of the model's range of [-1, 1]."""

    arm: str
    mixture: float
    alone: float  # after the last step
    least: float  # the least along the way
    least_at: float  # share of the steps after which it was found


@dataclass(frozen=True, kw_only=True)
class Findings:
    """`mixture`: the mixture's policy against each arm's own, the two groups of arms first. `new`: fine-tuned from the mixture
    against from scratch."""

    few: Pair
    many: Pair
    mixture: Sequence[Pair]
    new: Sequence[Pair]
    errors: Sequence[Errors]
    num_seeds: int


def collect(
    out: Path, num_seeds: int, *, few: Sequence[str], many: Sequence[str], new: str, new_counts: Sequence[int]
) -> Findings:
    """From the folder of an experiment with so many seeds evaluated. Raises as `load_evaluation` where one is not."""
    played = {arm: [load_evaluation(out / "eval" / str(seed) / arm) for seed in range(num_seeds)] for arm in (*few, *many, new)}
    tasks = (ALL, *played[new][0].suite.tasks)

    def pair(title: str, arms: Sequence[str], task: str, first: str, second: str) -> Pair:
        trials = [_trials([played[arm] for arm in arms], policy, task) for policy in (first, second)]
        return Pair(arms=title, task=task, first=trials[0], second=trials[1])

    groups = {"few demonstrations": few, "many demonstrations": many}
    of_groups = [pair(title, arms, task, "mixture", "alone") for title, arms in groups.items() for task in tasks]
    return Findings(
        few=of_groups[0],
        many=of_groups[len(tasks)],
        mixture=[*of_groups, *(pair(arm, [arm], ALL, "mixture", "alone") for arm in (*few, *many))],
        new=[
            pair(f"{new}, {n} demonstrations", [new], task, f"tuned-{n}", f"scratch-{n}") for n in new_counts for task in tasks
        ],
        errors=[_errors(out, num_seeds, arm) for arm in (*few, *many)],
        num_seeds=num_seeds,
    )


def _trials(of_arms: Iterable[Sequence[Evaluation]], policy: str, task: str) -> list[Trials]:
    """One mapping for each seed."""
    return [
        {
            outcome.episode: outcome.success
            for evaluation in of_seed
            for outcome in evaluation.select(policy, task=None if task == ALL else task)
        }
        for of_seed in zip(*of_arms, strict=True)
    ]


def _errors(out: Path, num_seeds: int, arm: str) -> Errors:
    runs = [out / "runs" / str(seed) for seed in range(num_seeds)]
    alone = [_held_out(run / arm / "metrics.jsonl", arm) for run in runs]
    least = [min(of_seed, key=lambda step: of_seed[step]) for of_seed in alone]
    return Errors(
        arm=arm,
        mixture=statistics.mean(_last(_held_out(run / "mixture" / "metrics.jsonl", arm)) for run in runs),
        alone=statistics.mean(_last(of_seed) for of_seed in alone),
        least=statistics.mean(min(of_seed.values()) for of_seed in alone),
        least_at=statistics.mean(step / max(of_seed) for step, of_seed in zip(least, alone, strict=True)),
    )


def _held_out(metrics: Path, arm: str) -> dict[int, float]:
    """Mean absolute error by step."""
    rows = [json.loads(line) for line in metrics.read_text().splitlines()]
    return {row["step"]: row["sets"][arm]["l1"] for row in rows if row["kind"] == "val"}


def _last(by_step: Mapping[int, float]) -> float:
    return by_step[max(by_step)]


def as_text(findings: Findings, *, planned: int) -> str:
    """The rows, then what they say. `planned`: seeds that there will be."""
    some = "" if findings.num_seeds == planned else f" of {planned}, the others are still to come"
    lines = [f"{count(findings.num_seeds, 'seed')}{some}, 95 % intervals"]
    for first, second, pairs in _tables(findings):
        rows = [[pair.arms, pair.task, *_told(pair.found)] for pair in pairs]
        lines += ["", text_table(["arms", "task", first, second, "the first is", "why"], rows)]
    return "\n".join([*lines, "", *claims(findings), ""])


def _told(found: SeededComparison) -> list[str]:
    return [_rate(found.first), _rate(found.second), found.verdict, found.reason]


def _rate(rate: SeededRate) -> str:
    """`67 % (44..84; seeds 60, 70, 71)`."""
    low, high = 100 * rate.interval.low, 100 * rate.interval.high
    seeds = ", ".join(f"{100 * of_seed.value:.0f}" for of_seed in rate.seeds)
    return f"{100 * rate.value:.0f} % ({low:.0f}..{high:.0f}; seeds {seeds})"


def _tables(findings: Findings) -> list[tuple[str, str, Sequence[Pair]]]:
    return [
        ("mixture of all arms", "policy of one arm", findings.mixture),
        ("fine-tuned from the mixture", "from scratch", findings.new),
    ]


def claims(findings: Findings) -> list[str]:
    """A sentence for each part of the paper's claim, and for each size of the new arm's data. Single arms decide nothing."""
    few: Mapping[Verdict, str] = {
        "better": "as in the paper, the mixture is better",
        "worse": "AGAINST the paper, the mixture is worse",
        "no difference shown": "NOT as in the paper, no difference shown",
    }
    many: Mapping[Verdict, str] = {
        "better": "unlike the paper's small model (RT-1-X), the mixture is better",
        "worse": "as with the paper's small model (RT-1-X), the mixture is worse",
        "no difference shown": "no difference shown (the paper's small model, RT-1-X, is worse)",
    }
    return [
        f"Arms with few demonstrations, mixture against policies of one arm: {few[findings.few.found.verdict]}.",
        f"Arms with many, likewise: {many[findings.many.found.verdict]}.",
        *(
            f"{pair.arms}, fine-tuned from the mixture against from scratch: {pair.found.verdict}."
            for pair in findings.new
            if pair.task == ALL
        ),
    ]


def write_page(out: Path, findings: Findings, *, plan: Mapping[str, Any], stages: Stages) -> Path:
    """One HTML file that needs nothing else."""
    title = "What an arm gains from other arms' data, small"
    sections = [
        f"<h1>{title}</h1>",
        f"<p class='dim'>Open X-Embodiment (arXiv 2310.08864), figure 4 and table I, with {findings.num_seeds} of "
        f"{plan['seeds']} seeds</p>",
        *(f"<p><b>{escape(line)}</b></p>" for line in claims(findings)),
        *(_section(first, second, pairs) for first, second, pairs in _tables(findings)),
        NOTE,
        "<p class='note'>What is said at the top rests on the rows of all tasks of the two groups and of the new arm. The "
        "other rows show where it comes from; they are too many for each to be right.</p>",
        f"<h2>Held-out errors</h2>{_error_table(findings.errors)}",
        f"<h2>How it was made</h2>{made(plan, stages)}",
    ]
    with atomic(out) as file:
        file.write(page(title, sections).encode())
    return out


def _section(first: str, second: str, pairs: Sequence[Pair]) -> str:
    rows = []
    for pair in pairs:
        found = pair.found
        cells = rate_cell(found.first), rate_cell(found.second), verdict_cell(found.verdict)
        rows.append([pair.arms, pair.task, *cells, found.reason])
    head = ["arms", "task", first, second, "the first is", "why"]
    drawn = success_plot({f"{pair.arms}, {pair.task}": [pair.found.first, pair.found.second] for pair in pairs}, width=WIDE)
    plot = figure("solved, 95 % intervals over seeds", drawn, [first, second])
    return f"<h2>{escape(first.capitalize())} against {escape(second)}</h2>{plot}{html_table(head, rows)}"


def _error_table(errors: Sequence[Errors]) -> str:
    rows = [
        [one.arm, f"{one.mixture:.3f}", f"{one.alone:.3f}", f"{one.least:.3f}", f"{100 * one.least_at:.0f} %"] for one in errors
    ]
    head = ["arm", "mixture", "policy of one arm", "its least along the way", "after so much of its steps"]
    return html_table(head, rows) + (
        "<p class='note'>Mean absolute error of held-out demonstrations' actions in the model's units, seeds averaged. They "
        "show whether a policy of one arm was trained too little or too long; no checkpoint was chosen by them.</p>"
    )
