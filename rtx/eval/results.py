"""What an evaluation found: every outcome, rates with intervals, comparisons, the table, and the JSON they are kept in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

from rtx.errors import UserError, WorldError
from rtx.eval.outcome import Ledger, Outcome
from rtx.eval.play import Settings
from rtx.eval.statistics.across import MiddleMean, corrected, interquartile_mean
from rtx.eval.statistics.comparison import Comparison, compare
from rtx.eval.statistics.rates import Rate
from rtx.eval.suite import Suite
from rtx.files import read_json

if TYPE_CHECKING:
    from rich.table import Table

FORMAT = "rtx-evaluation-1"
Group = Literal["arm", "task", "split"]


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """All outcomes of one suite. `policies` maps names to fingerprints, the policy in question first.

    `planned`: episodes of each cell that there would have been, had it not been allowed to stop early; None where it was not.
    """

    suite: Suite
    settings: Settings
    policies: Mapping[str, str]
    outcomes: tuple[Outcome, ...]
    out: Path
    planned: int | None = None

    @property
    def main(self) -> str:
        return next(iter(self.policies))

    @property
    def others(self) -> tuple[str, ...]:
        return tuple(self.policies)[1:]

    @property
    def videos(self) -> Path:
        return self.out / "videos"

    def select(
        self, policy: str, *, arm: str | None = None, task: str | None = None, split: str | None = None
    ) -> list[Outcome]:
        return [
            outcome
            for outcome in self.outcomes
            if outcome.policy == policy
            and arm in (None, outcome.arm)
            and task in (None, outcome.task)
            and split in (None, outcome.split)
        ]

    def rate(self, policy: str, *, arm: str | None = None, task: str | None = None, split: str | None = None) -> Rate:
        chosen = self.select(policy, arm=arm, task=task, split=split)
        return Rate(sum(outcome.success for outcome in chosen), len(chosen))

    def compare(self, other: str, *, arm: str | None = None, task: str | None = None, split: str | None = None) -> Comparison:
        """The policy in question against `other`, on the episodes of one arm, one task, one split or all."""

        def successes(policy: str) -> dict[str, bool]:
            return {outcome.episode: outcome.success for outcome in self.select(policy, arm=arm, task=task, split=split)}

        return compare(successes(self.main), successes(other), sequential=self.planned is not None)

    def groups(self, by: Group) -> tuple[str, ...]:
        return {"arm": self.suite.arms, "task": self.suite.tasks, "split": self.suite.splits}[by]

    def compare_each(self, other: str, by: Group) -> dict[str, Comparison]:
        """The policy in question against `other` arm by arm, task by task or split by split, corrected for their number."""
        return corrected({name: self.compare(other, **{by: name}) for name in self.groups(by)})

    def middle(self, policy: str) -> MiddleMean:
        """Interquartile mean of the rates of all cells."""
        return interquartile_mean(
            [
                self.rate(policy, arm=arm, task=task, split=split)
                for arm in self.suite.arms
                for task in self.suite.tasks
                for split in self.suite.splits or (None,)
            ]
        )

    @property
    def stopped_early(self) -> bool:
        return self.planned is not None and self.suite.episodes_per_cell < self.planned

    def refusals(self, policy: str) -> dict[str, int]:
        """How often the safety filter changed an action of this policy, by reason."""
        total: dict[str, int] = {}
        for outcome in self.select(policy):
            for reason, count in outcome.refusals.items():
                total[reason] = total.get(reason, 0) + count
        return total

    @property
    def episode_wall_s(self) -> float:
        """Seconds by the clock that the episodes took, one after the other."""
        return sum(outcome.wall_s for outcome in self.outcomes)

    @property
    def worker_deaths(self) -> int:
        """Simulator processes that died and were replaced."""
        return sum(outcome.deaths for outcome in self.outcomes)

    def table(self) -> Table:
        """For `rich`: one row per arm, task and split, one column per policy, and the verdicts."""
        return _table(self)

    def to_json(self) -> dict[str, Any]:
        """Everything but the single outcomes, which are in episodes.jsonl; nothing that a clock or a kill could change."""
        return {
            "format": FORMAT,
            "suite": asdict(self.suite),
            "settings": asdict(self.settings),
            "planned_episodes_per_cell": self.planned,
            "policies": dict(self.policies),
            "overall": {policy: _rate_json(self.rate(policy)) for policy in self.policies},
            "arms": {arm: {p: _rate_json(self.rate(p, arm=arm)) for p in self.policies} for arm in self.suite.arms},
            "tasks": {task: {p: _rate_json(self.rate(p, task=task)) for p in self.policies} for task in self.suite.tasks},
            "splits": {split: {p: _rate_json(self.rate(p, split=split)) for p in self.policies} for split in self.suite.splits},
            "interquartile_mean": {policy: _middle_json(self.middle(policy)) for policy in self.policies},
            "comparisons": [row for other in self.others for row in _comparisons_json(self, other)],
            "refusals": {policy: self.refusals(policy) for policy in self.policies},
            "episodes": {p: [outcome.key for outcome in self.select(p)] for p in self.policies},
        }


def load_evaluation(out: Path) -> Evaluation:
    """What `evaluate` wrote to `out`. Raises UserError if it has not finished there."""
    data = read_json(out / "results.json")
    if data.get("format") != FORMAT:
        raise UserError(f"{out / 'results.json'}: format {data.get('format')!r}, expected {FORMAT!r}")
    with Ledger(out / "episodes.jsonl") as ledger:
        played = [(policy, ledger.outcomes.get(key)) for policy, keys in data["episodes"].items() for key in keys]
    if missing := sum(outcome is None for _, outcome in played):
        raise WorldError(
            f"{out}: {missing} of {len(played)} episodes are missing from episodes.jsonl; run the evaluation again"
        )
    return Evaluation(
        suite=_suite(data["suite"]),
        settings=Settings(**data["settings"]),
        policies=data["policies"],
        outcomes=tuple(replace(outcome, policy=policy) for policy, outcome in played if outcome),
        out=out,
        planned=data.get("planned_episodes_per_cell"),
    )


def _suite(data: dict[str, Any]) -> Suite:
    fields: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in data.items()}
    return Suite(**fields)


def _rate_json(rate: Rate) -> dict[str, Any]:
    low, high = rate.interval.low, rate.interval.high
    return {"successes": rate.successes, "trials": rate.trials, "rate": rate.value, "low": low, "high": high}


def _middle_json(middle: MiddleMean) -> dict[str, Any]:
    return {"value": middle.value, "low": middle.interval.low, "high": middle.interval.high, "cells": middle.cells}


def _comparisons_json(evaluation: Evaluation, other: str) -> list[dict[str, Any]]:
    """Over all, then one row of each arm, task and split."""
    nothing: dict[str, str | None] = {"arm": None, "task": None, "split": None}
    rows = [{"against": other, **nothing, **_comparison_json(evaluation.compare(other))}]
    for by in get_args(Group):
        for name, comparison in evaluation.compare_each(other, by).items():
            rows.append({"against": other, **nothing, by: name, **_comparison_json(comparison)})
    return rows


def _comparison_json(comparison: Comparison) -> dict[str, Any]:
    return {
        "verdict": comparison.verdict,
        "difference": comparison.gap,
        "low": comparison.difference.low,
        "high": comparison.difference.high,
        "only_first": comparison.only_first,
        "only_second": comparison.only_second,
        "p_value": comparison.p_value,
        "corrected_for": comparison.family,
        "intervals_overlap": comparison.first.interval.overlaps(comparison.second.interval),
    }


def _table(evaluation: Evaluation) -> Table:
    from rich.table import Table

    table = Table(title=f"Success on suite {evaluation.suite.name}, with 95 % Wilson intervals")
    table.add_column("")
    for policy in evaluation.policies:
        table.add_column(policy, justify="right")
    for other in evaluation.others:
        table.add_column(f"{evaluation.main} against {other}")
    for by in get_args(Group):
        if by != "task" or len(evaluation.suite.tasks) > 1:
            for row in _rows(evaluation, by):
                table.add_row(*row)
            table.add_section()
    verdicts = [evaluation.compare(other).verdict for other in evaluation.others]
    table.add_row("all", *(short_rate(evaluation.rate(policy)) for policy in evaluation.policies), *verdicts, style="bold")
    return table


def _rows(evaluation: Evaluation, by: Group) -> list[list[str]]:
    comparisons = [evaluation.compare_each(other, by) for other in evaluation.others]
    return [
        [
            name.replace("_", " ") if by == "split" else name,
            *(short_rate(evaluation.rate(policy, **{by: name})) for policy in evaluation.policies),
            *(of_other[name].verdict for of_other in comparisons),
        ]
        for name in evaluation.groups(by)
    ]


def short_rate(rate: Rate) -> str:
    """`67 % (44..84, n=18)`: what fits a table."""
    interval = rate.interval
    return f"{100 * rate.value:.0f} % ({100 * interval.low:.0f}..{100 * interval.high:.0f}, n={rate.trials})"
