"""A verdict on two policies: by a test on the episodes that both played, or on two lots of episodes that neither shares.

    successes on the same seeds --.-- exact McNemar (an e value, if stopped early) --> p ---.
                                  `-- interval of the difference (differences.py) ----------+--> verdict

A difference is called only if BOTH the test and the interval of the difference say so. Where many rows are read side by side,
p is corrected for their number first (`across.py`). Whether the intervals of the two rates overlap does not enter: they
know nothing of the pairs, and would ask for two or three times the episodes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from rtx.errors import UserError
from rtx.eval.statistics.differences import paired_difference, unpaired_difference
from rtx.eval.statistics.rates import CONFIDENCE, Interval, Rate, Verdict, mcnemar_exact
from rtx.eval.statistics.sequential import anytime_p


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """`first` against `second`, on the same episodes if `paired`."""

    first: Rate
    second: Rate
    only_first: int = 0  # episodes that only the first solved, of pairs
    only_second: int = 0
    p_value: float  # two-sided; corrected for `family` of them
    family: int = 1
    alpha: float = 1 - CONFIDENCE
    paired: bool = True

    @property
    def gap(self) -> float:
        """Rate of the first less that of the second; NaN if one has no episodes."""
        return self.first.value - self.second.value

    @property
    def difference(self) -> Interval:
        """95 % interval of the gap."""
        if self.paired:
            return paired_difference(self.only_first, self.only_second, self.first.trials)
        return unpaired_difference(self.first, self.second)

    @property
    def verdict(self) -> Verdict:
        """Of the first: "better" means better than the second."""
        if self.p_value >= self.alpha or self.difference.low <= 0 <= self.difference.high:
            return "no difference shown"
        return "better" if self.gap > 0 else "worse"

    @property
    def reason(self) -> str:
        """One line that justifies the verdict."""
        pairs = f"{self.only_first} to {self.only_second} on the episodes where they differ, " if self.paired else ""
        family = f" after correction for {self.family} comparisons" if self.family > 1 else ""
        return f"{self.gap_text}; {pairs}p = {self.p_value:.2g}{family}"

    @property
    def gap_text(self) -> str:
        """`+12 points (95 % interval +3..+20)`."""
        if not self.first.trials or not self.second.trials:
            return "no episodes"
        low, high = 100 * self.difference.low, 100 * self.difference.high
        return f"{100 * self.gap:+.0f} points (95 % interval {low:+.0f}..{high:+.0f})"


def compare(
    first: Mapping[str, bool], second: Mapping[str, bool], *, alpha: float = 1 - CONFIDENCE, sequential: bool = False
) -> Comparison:
    """Paired comparison of two policies' successes, each keyed by episode.

    `sequential`: the number of episodes was not fixed in advance, so that only a test for any time will do. Raises UserError if
    the two did not play the same episodes: pairs are what makes few episodes enough.
    """
    if first.keys() != second.keys():
        lone = sorted(first.keys() ^ second.keys())
        raise UserError(
            f"the two policies did not play the same episodes ({len(lone)} differ, for example {lone[0]}); finish both runs"
        )
    only_first = sum(first[key] and not second[key] for key in first)
    only_second = sum(second[key] and not first[key] for key in first)
    return Comparison(
        first=Rate(sum(first.values()), len(first)), second=Rate(sum(second.values()), len(second)),
        only_first=only_first, only_second=only_second, alpha=alpha,
        p_value=(anytime_p if sequential else mcnemar_exact)(only_first, only_second),
    )  # fmt: skip


def compare_unpaired(first: Rate, second: Rate, *, alpha: float = 1 - CONFIDENCE) -> Comparison:
    """Of policies tried on episodes that have nothing to do with each other: Fisher's exact test."""
    from scipy.stats import fisher_exact

    table = [[rate.successes, rate.trials - rate.successes] for rate in (first, second)]
    return Comparison(first=first, second=second, p_value=float(fisher_exact(table)[1]), alpha=alpha, paired=False)
