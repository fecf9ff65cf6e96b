"""The same training with several seeds: rates with intervals that know it, and verdicts that no single seed decides.

Trials of one trained policy have something in common, its training. Where rates differ between seeds by more than chance, n
trials are worth fewer: n / d of them, with the design effect (Kish 1965)

    d = max(1, variance between the seeds' rates / binomial variance of one seed's rate)

and the interval is Wilson's for that number. A difference is called only if the intervals part, the exact McNemar test over all
pairs (seed, trial) agrees, and no seed points the other way.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rtx.errors import UserError
from rtx.eval.comparison import compare
from rtx.eval.statistics import CONFIDENCE, Interval, Rate, Verdict, wilson_share

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
    def value(self) -> float:
        return self.whole.value

    @property
    def design_effect(self) -> float:
        """1 where seeds differ no more than chance would have it, or there is one only."""
        share, trials = self.value, self.seeds[0].trials
        by_chance = share * (1 - share) / trials
        if len(self.seeds) < 2 or by_chance == 0:
            return 1.0
        return max(1.0, statistics.variance(rate.value for rate in self.seeds) / by_chance)

    @property
    def interval(self) -> Interval:
        low, high = wilson_share(self.value, self.whole.trials / self.design_effect)
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
    only_first: int  # trials, over all seeds, that only the first did well
    only_second: int
    p_value: float  # exact McNemar, two-sided
    verdict: Verdict

    @property
    def reason(self) -> str:
        """One line that justifies the verdict."""
        touch = "overlap" if self.first.interval.overlaps(self.second.interval) else "do not overlap"
        gaps = [100 * (one.value - other.value) for one, other in zip(self.first.seeds, self.second.seeds, strict=True)]
        seeds = ", ".join(f"{gap:+.0f}" for gap in gaps)
        return (
            f"intervals {touch}; {self.only_first} to {self.only_second} where they differ, p = {self.p_value:.2g}; "
            f"by seed {seeds} points"
        )


def seeded_rate(trials: Sequence[Trials]) -> SeededRate:
    """Of the trials of each seed."""
    return SeededRate(tuple(Rate(sum(of_seed.values()), len(of_seed)) for of_seed in trials))


def compare_seeded(first: Sequence[Trials], second: Sequence[Trials], *, alpha: float = 1 - CONFIDENCE) -> SeededComparison:
    """Both with the same seeds in the same order. Raises UserError if a seed's two policies were not tried on the same."""
    if len(first) != len(second):
        raise UserError(f"{len(first)} seeds against {len(second)}: a comparison needs the same ones")
    for one, other in zip(first, second, strict=True):
        compare(one, other)  # refuses trials that are not the same
    paired = compare(_keyed(first), _keyed(second))
    rates = seeded_rate(first), seeded_rate(second)
    gaps = [one.value - other.value for one, other in zip(rates[0].seeds, rates[1].seeds, strict=True)]
    shown = paired.p_value < alpha and not rates[0].interval.overlaps(rates[1].interval)
    verdict: Verdict = "no difference shown"
    if shown and min(gaps) >= 0:
        verdict = "better"
    elif shown and max(gaps) <= 0:
        verdict = "worse"
    return SeededComparison(
        first=rates[0], second=rates[1], only_first=paired.only_first, only_second=paired.only_second,
        p_value=paired.p_value, verdict=verdict,
    )  # fmt: skip


def _keyed(trials: Sequence[Trials]) -> dict[str, bool]:
    return {f"{seed}/{key}": went_well for seed, of_seed in enumerate(trials) for key, went_well in of_seed.items()}
