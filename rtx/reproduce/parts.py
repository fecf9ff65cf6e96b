"""What the pages of the experiments have in common: rates and verdicts over seeds as cells, and how it was made."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rtx.eval.statistics.rates import Verdict
from rtx.eval.statistics.seeded import SeededRate
from rtx.page import terms
from rtx.reproduce.stages import Stages
from rtx.tables import Cell
from rtx.versions import machine, versions

NOTE = (
    "<p class='note'>Intervals: Student's t over the seeds, since the trials of one training have that training in common. A "
    "verdict other than <i>no difference shown</i> needs an interval of the difference, likewise over seeds, without 0 in it, "
    "and an exact McNemar test over all pairs with p below 0.05.</p>"
)


def rate_cell(rate: SeededRate | None) -> Cell:
    """None: nothing to be rated."""
    if rate is None:
        return Cell("<td class='rate'>-</td>")
    low, high = 100 * rate.interval.low, 100 * rate.interval.high
    seeds = ", ".join(f"{100 * of_seed.value:.0f}" for of_seed in rate.seeds)
    return Cell(
        f"<td class='rate'>{100 * rate.value:.0f} %<small>{low:.0f} to {high:.0f} %, {rate.trials} trials; "
        f"seeds {seeds}</small></td>"
    )


def verdict_cell(verdict: Verdict) -> Cell:
    kind = verdict if verdict in ("better", "worse") else "same"
    return Cell(f"<td><span class='{kind}'>{verdict}</span></td>")


def made(plan: Mapping[str, Any], stages: Stages) -> str:
    """Size, seconds, machine and versions as a list."""
    known = {
        "size": ", ".join(f"{name} {value}" for name, value in plan.items()),
        "wall time": _seconds(stages.seconds),
        "CPU time": _seconds(stages.cpu_seconds),
        "machine": machine(),
        "versions": ", ".join(f"{name} {number}" for name, number in versions().items()),
    }
    return terms(known)


def _seconds(of_stages: Mapping[str, float]) -> str:
    return ", ".join(f"{stage} {seconds:.0f} s" for stage, seconds in of_stages.items())
