"""The same training with several seeds: rates with intervals that know it, and verdicts that no single seed decides.

    one rate for each seed                  --Wilson's score with Student's t--> interval of the rate
    one gap for each seed, same trials      --Student's t--> interval of the difference --.
    all pairs (seed, trial)                 --exact McNemar--> p -------------------------+--> verdict

Trials of one trained policy have something in common, its training, so that trainings count and not trials: a difference is
mean +- t sd / sqrt(k) over k seeds, t of k - 1 degrees of freedom (4.3 for three seeds, 2.8 for five). Rates are bounded:
theirs is Wilson's interval with t for z, and for as many trials, k p (1 - p) / sd^2, as would spread seeds like that. With one
seed, or seeds that agree to the trial, both are those of the trials. docs/evaluation.md has how often they hold the truth.

A difference is called only if its interval is without 0, McNemar's p is below 0.05, and there are at least two seeds.
"""

from __future__ import annotations

import functools
import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rtx.errors import UserError
from rtx.eval.statistics.comparison import Comparison, compare
from rtx.eval.statistics.rates import CONFIDENCE, Interval, Rate, Verdict, score_interval

Trials = Mapping[str, bool]
"""Of one seed: what was tried, and whether it went well."""


@dataclass(frozen=True)
class SeededRate:
    """One rate for each training seed, over equally many trials each."""

    seeds: tuple[Rate, ...]

    def __post_init__(self) -> None:
        if not self.seeds or len({rate.trials for rate in self.seeds}) > 1 or not self.seeds[0].trials:
            raise UserError(f"rates of seeds need equally many trials each, got {[rate.trials for rate in self.seeds]}")

    @property
    def whole(self) -> Rate:
        return Rate(sum(rate.successes for rate in self.seeds), sum(rate.trials for rate in self.seeds))

    @property
    def trials(self) -> int:
        return self.whole.trials

    @property
    def value(self) -> float:
        return self.whole.value

    @property
    def interval(self) -> Interval:
        spread, share = _variance([rate.value for rate in self.seeds]), self.value
        if not spread:
            return self.whole.interval
        low, high = score_interval(share, len(self.seeds) * share * (1 - share) / spread, _t(len(self.seeds) - 1))
        return Interval(max(0.0, low), min(1.0, high))

    def __str__(self) -> str:
        """`67 % (95 % interval 44..84; seeds 60, 70, 71)`."""
        low, high = round(100 * self.interval.low), round(100 * self.interval.high)
        seeds = ", ".join(f"{100 * rate.value:.0f}" for rate in self.seeds)
        return f"{100 * self.value:.0f} % (95 % interval {low}..{high}; seeds {seeds})"


@dataclass(frozen=True, kw_only=True)
class SeededComparison:
    """`first` against `second`, seed by seed on the same trials."""

    first: SeededRate
    second: SeededRate
    pairs: Comparison  # of all pairs (seed, trial)

    @property
    def gaps(self) -> tuple[float, ...]:
        """Rate of the first less that of the second, of each seed."""
        return tuple(one.value - other.value for one, other in zip(self.first.seeds, self.second.seeds, strict=True))

    @property
    def difference(self) -> Interval:
        """95 % interval of the gap."""
        spread = _variance(self.gaps)
        if not spread:
            return self.pairs.difference
        half = _t(len(self.gaps) - 1) * math.sqrt(spread / len(self.gaps))
        return Interval(max(-1.0, self.pairs.gap - half), min(1.0, self.pairs.gap + half))

    @property
    def verdict(self) -> Verdict:
        """Of the first: "better" means better than the second."""
        if len(self.gaps) < 2 or self.difference.low <= 0 <= self.difference.high:
            return "no difference shown"
        return self.pairs.verdict

    @property
    def reason(self) -> str:
        """One line that justifies the verdict."""
        low, high = 100 * self.difference.low, 100 * self.difference.high
        seeds = ", ".join(f"{100 * gap:+.0f}" for gap in self.gaps)
        return (
            f"{100 * self.pairs.gap:+.0f} points (95 % interval {low:+.0f}..{high:+.0f}; by seed {seeds}); "
            f"{self.pairs.only_first} to {self.pairs.only_second} where they differ, p = {self.pairs.p_value:.2g}"
        )


def seeded_rate(trials: Sequence[Trials]) -> SeededRate:
    """Of the trials of each seed."""
    return SeededRate(tuple(Rate(sum(of_seed.values()), len(of_seed)) for of_seed in trials))


def compare_seeded(first: Sequence[Trials], second: Sequence[Trials]) -> SeededComparison:
    """Both with the same seeds in the same order. Raises UserError if a seed's two policies were not tried on the same."""
    if len(first) != len(second):
        raise UserError(f"{len(first)} seeds against {len(second)}: a comparison needs the same ones")
    for one, other in zip(first, second, strict=True):
        compare(one, other)  # refuses trials that are not the same
    return SeededComparison(first=seeded_rate(first), second=seeded_rate(second), pairs=compare(_keyed(first), _keyed(second)))


def _variance(values: Sequence[float]) -> float:
    """Between seeds; 0 where they say nothing of how much seeds differ."""
    return statistics.variance(values) if len(values) > 1 and max(values) - min(values) > 1e-12 else 0.0


@functools.cache
def _t(freedom: int) -> float:
    from scipy.stats import t

    return float(t.ppf(0.5 + CONFIDENCE / 2, freedom))


def _keyed(trials: Sequence[Trials]) -> dict[str, bool]:
    return {f"{seed}/{key}": went_well for seed, of_seed in enumerate(trials) for key, went_well in of_seed.items()}
