"""Across many tasks: what may still be called real when many are looked at, and one figure that no single task decides.

    p values of a table's rows -- holm --> adjusted p values
    rates of all cells -- interquartile_mean --> mean of the middle half of them, with its interval

Sources: Holm 1979; Agarwal et al. 2021 (rliable) for the interquartile mean; Rubin 1981 for the Bayesian bootstrap.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from rtx.eval.statistics.comparison import Comparison
from rtx.eval.statistics.rates import CONFIDENCE, Interval, Rate

_DRAWS = 2000


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjusted so that each may be held against alpha: a false alarm in all of them together has chance alpha at most.

    The smallest counts as often as there are, the next once less, and none is below a smaller one's.
    """
    order = sorted(range(len(p_values)), key=lambda i: p_values[i])
    adjusted, floor = [0.0] * len(p_values), 0.0
    for rank, i in enumerate(order):
        floor = max(floor, min(1.0, (len(p_values) - rank) * p_values[i]))
        adjusted[i] = floor
    return adjusted


def corrected(comparisons: Mapping[str, Comparison]) -> dict[str, Comparison]:
    """The same comparisons as rows of one table: p values and verdicts by Holm's correction over those with episodes."""
    asked = {name: comparison for name, comparison in comparisons.items() if comparison.first.trials}
    adjusted = holm([comparison.p_value for comparison in asked.values()])
    done = {
        name: replace(comparison, p_value=p, family=len(asked))
        for (name, comparison), p in zip(asked.items(), adjusted, strict=True)
    }
    return {name: done.get(name, comparison) for name, comparison in comparisons.items()}


@dataclass(frozen=True)
class MiddleMean:
    """Interquartile mean of the rates of `cells` cells: the lowest and the highest quarter are left out."""

    value: float
    interval: Interval
    cells: int

    def __str__(self) -> str:
        low, high = round(100 * self.interval.low), round(100 * self.interval.high)
        return f"{100 * self.value:.0f} % (95 % interval {low}..{high}, {self.cells} cells)"


def interquartile_mean(cells: Sequence[Rate], *, confidence: float = CONFIDENCE, seed: int = 0) -> MiddleMean:
    """Of the rates of tasks (or of each robot's tasks). Cells without episodes are left out; NaN if there are no others.

    rliable's: sorted, a quarter (rounded down) dropped at either end, the rest averaged. Its interval too comes from drawing
    within each cell and never across them, but by the Bayesian bootstrap with half a success and half a failure added to each
    cell: Beta(s + 1/2, n - s + 1/2). Drawing the episodes themselves takes a cell that was solved every time for one that
    always is, and with 8 episodes a cell its 95 % intervals cover as little as 80.
    """
    kept = [cell for cell in cells if cell.trials]
    if not kept:
        return MiddleMean(math.nan, Interval(0.0, 1.0), 0)
    solved = np.array([cell.successes for cell in kept], float)
    failed = np.array([cell.trials for cell in kept]) - solved
    rng = np.random.default_rng(seed)
    drawn = _middle(rng.beta(solved + 0.5, failed + 0.5, (_DRAWS, len(kept))))
    tail = (1 - confidence) / 2
    value = float(_middle(solved / (solved + failed)))
    low, high = (float(edge) for edge in np.quantile(drawn, [tail, 1 - tail]))
    # All solved, or none: the figure lies at the end of what can be, where the draws never reach.
    return MiddleMean(value, Interval(min(low, value), max(high, value)), len(kept))


def _middle(rates: np.ndarray) -> np.ndarray:
    """Along the last axis."""
    cut = rates.shape[-1] // 4
    return np.asarray(np.sort(rates, -1)[..., cut : rates.shape[-1] - cut].mean(-1))
