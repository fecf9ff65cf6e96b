"""What an evaluation found: every outcome, rates with intervals, comparisons, the table, and the JSON they are kept in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rtx.errors import UserError, WorldError
from rtx.eval.comparison import Comparison, compare
from rtx.eval.outcome import Ledger, Outcome
from rtx.eval.play import Settings
from rtx.eval.statistics import Rate
from rtx.eval.suite import Suite
from rtx.files import read_json

if TYPE_CHECKING:
    from rich.table import Table

FORMAT = "rtx-evaluation-1"


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """All outcomes of one suite. `policies` maps names to fingerprints, the policy in question first."""

    suite: Suite
    settings: Settings
    policies: Mapping[str, str]
    outcomes: tuple[Outcome, ...]
    out: Path

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

        return compare(successes(self.main), successes(other))

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
        """For `rich`: one row per arm, one column per policy, and the verdicts."""
        return _table(self)

    def to_json(self) -> dict[str, Any]:
        """Everything but the single outcomes, which are in episodes.jsonl."""
        return {
            "format": FORMAT,
            "suite": asdict(self.suite),
            "settings": asdict(self.settings),
            "policies": dict(self.policies),
            "overall": {policy: _rate_json(self.rate(policy)) for policy in self.policies},
            "arms": {arm: {p: _rate_json(self.rate(p, arm=arm)) for p in self.policies} for arm in self.suite.arms},
            "tasks": {task: {p: _rate_json(self.rate(p, task=task)) for p in self.policies} for task in self.suite.tasks},
            "splits": {split: {p: _rate_json(self.rate(p, split=split)) for p in self.policies} for split in self.suite.splits},
            "comparisons": [
                {"against": other, "arm": arm, **_comparison_json(self.compare(other, arm=arm))}
                for other in self.others
                for arm in (None, *self.suite.arms)
            ],
            "refusals": {policy: self.refusals(policy) for policy in self.policies},
            "episode_wall_s": round(self.episode_wall_s, 1),
            "worker_deaths": self.worker_deaths,
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
    )


def _suite(data: dict[str, Any]) -> Suite:
    fields: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in data.items()}
    return Suite(**fields)


def _rate_json(rate: Rate) -> dict[str, Any]:
    low, high = rate.interval.low, rate.interval.high
    return {"successes": rate.successes, "trials": rate.trials, "rate": rate.value, "low": low, "high": high}


def _comparison_json(comparison: Comparison) -> dict[str, Any]:
    return {
        "verdict": comparison.verdict,
        "only_first": comparison.only_first,
        "only_second": comparison.only_second,
        "p_value": comparison.p_value,
        "intervals_overlap": comparison.first.interval.overlaps(comparison.second.interval),
    }


def _table(evaluation: Evaluation) -> Table:
    from rich.table import Table

    table = Table(title=f"Success on suite {evaluation.suite.name}, with 95 % Wilson intervals")
    table.add_column("arm")
    for policy in evaluation.policies:
        table.add_column(policy, justify="right")
    for other in evaluation.others:
        table.add_column(f"{evaluation.main} against {other}")
    for arm in evaluation.suite.arms:
        table.add_row(*_row(evaluation, arm, arm=arm))
    for number, split in enumerate(evaluation.suite.splits):
        if number == 0:
            table.add_section()
        table.add_row(*_row(evaluation, split.replace("_", " "), split=split))
    table.add_section()
    table.add_row(*_row(evaluation, "all arms"), style="bold")
    return table


def _row(evaluation: Evaluation, name: str, *, arm: str | None = None, split: str | None = None) -> list[str]:
    rates = [short_rate(evaluation.rate(policy, arm=arm, split=split)) for policy in evaluation.policies]
    verdicts = [evaluation.compare(other, arm=arm, split=split).verdict for other in evaluation.others]
    return [name, *rates, *verdicts]


def short_rate(rate: Rate) -> str:
    """`67 % (44..84, n=18)`: what fits a table."""
    interval = rate.interval
    return f"{100 * rate.value:.0f} % ({100 * interval.low:.0f}..{100 * interval.high:.0f}, n={rate.trials})"
