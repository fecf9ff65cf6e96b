"""What a number of successes allows one to say: a rate with its interval, and whether pairs that differ fall to one side.

    Rate(successes, trials) -- wilson --> interval          successes on the same seeds -- mcnemar_exact --> p value
                       \\                                     /
                        `---- comparison.py: a verdict -------'

Wilson's interval covers as often as it says on average over rates; at a single rate and number of trials no interval of a count
can, and its coverage swings around 95 % (docs/evaluation.md has the figures).

Sources: Wilson 1927; McNemar 1947 in its exact (binomial) form; Brown, Cai, DasGupta 2001 for why not p +- 1.96 sd.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import Literal

from rtx.errors import UserError

Verdict = Literal["better", "worse", "no difference shown"]
CONFIDENCE = 0.95


@dataclass(frozen=True)
class Interval:
    """Closed range: of a success rate within [0, 1], of a difference of two within [-1, 1]."""

    low: float
    high: float

    def overlaps(self, other: Interval) -> bool:
        return self.low <= other.high and other.low <= self.high


def fair_confidence(confidence: float) -> float:
    """The same. Raises UserError if it is no share."""
    if not 0 < confidence < 1:
        raise UserError(f"confidence {confidence} must be between 0 and 1, for example 0.95")
    return confidence


def wilson(successes: int, trials: int, *, confidence: float = CONFIDENCE) -> Interval:
    """Wilson's score interval of a binomial rate; all of [0, 1] for no trials.

    centre = (p + z^2/2n) / (1 + z^2/n),  half = z / (1 + z^2/n) * sqrt(p(1-p)/n + z^2/4n^2)
    """
    if not 0 <= successes <= trials:
        raise UserError(f"{successes} successes out of {trials} trials is impossible")
    fair_confidence(confidence)
    if trials == 0:
        return Interval(0.0, 1.0)
    low, high = score_interval(successes / trials, float(trials), NormalDist().inv_cdf(0.5 + confidence / 2))
    # Exactly 0 and 1 at the ends: rounding would leave 1e-17 there.
    return Interval(0.0 if successes == 0 else low, 1.0 if successes == trials else high)


def score_interval(share: float, trials: float, z: float) -> tuple[float, float]:
    """The same of a share out of any positive number of trials, whole or not, at `z` deviations; within rounding of [0, 1]."""
    z2 = z * z
    shrink = 1 + z2 / trials
    centre = (share + z2 / (2 * trials)) / shrink
    half = math.sqrt(z2 * (share * (1 - share) / trials + z2 / (4 * trials**2))) / shrink
    return centre - half, centre + half


@dataclass(frozen=True)
class Rate:
    """Successes out of trials; prints as `67 % (12/18, 95 % interval 44..84)`."""

    successes: int
    trials: int

    @property
    def value(self) -> float:
        """NaN for no trials."""
        return self.successes / self.trials if self.trials else math.nan

    @property
    def interval(self) -> Interval:
        return wilson(self.successes, self.trials)

    def __str__(self) -> str:
        if not self.trials:
            return "no episodes"
        low, high = round(100 * self.interval.low), round(100 * self.interval.high)
        return f"{100 * self.value:.0f} % ({self.successes}/{self.trials}, 95 % interval {low}..{high})"


def mcnemar_exact(only_first: int, only_second: int) -> float:
    """Two-sided p value that the pairs which differ fall to either side by a fair coin. 1.0 when no pair differs."""
    discordant = only_first + only_second
    if discordant == 0:
        return 1.0
    tail = sum(math.comb(discordant, k) for k in range(min(only_first, only_second) + 1))
    return min(1.0, 2 * tail / 2**discordant)
