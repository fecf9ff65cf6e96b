"""How many episodes show a difference of a given size: `rtx eval --plan`, before any is played.

    rate, delta, differ, power, alpha --> episodes by the paired test | by two lots of other episodes

Paired: the exact McNemar test on the same episodes, as verdicts have it; what matters is the share of them that only one of the
two solves. Not paired: two independent lots.

Sources: Connor 1987 (McNemar's), Fleiss 1981 (two proportions), the former as the start of an exact search.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from rtx.errors import UserError


@dataclass(frozen=True, kw_only=True)
class Question:
    """What is to be shown: that a policy solves `delta` more (a share: 0.05 is five points) than one that solves `rate`.

    `differ`: share of episodes that only one of the two solves, delta at least; by default half of what it would be if the
    two had nothing in common. `family`: comparisons read side by side (robots, tasks), for which alpha is divided.
    """

    delta: float
    rate: float = 0.5
    differ: float | None = None
    power: float = 0.8
    alpha: float = 0.05
    family: int = 1

    def __post_init__(self) -> None:
        problems = [f"{name} {value} must lie between 0 and 1" for name, value in self._shares() if not 0 < value < 1]
        if not problems and self.rate + self.delta > 1:
            problems.append(f"rate {self.rate} and delta {self.delta} make more than 1; lower --rate")
        if self.family < 1:
            problems.append(f"family {self.family} must be at least 1")
        if not problems and self.differ is not None and not self.delta <= self.differ <= self.most_differ:
            problems.append(
                f"differ {self.differ}: with rates of {self.rate:g} and {self.better:g} between {self.delta:g} and "
                f"{self.most_differ:g} of the episodes can be solved by one of the two only"
            )
        if problems:
            raise UserError("plan: " + "; ".join(problems))

    def _shares(self) -> list[tuple[str, float]]:
        return [("delta", self.delta), ("rate", self.rate), ("power", self.power), ("alpha", self.alpha)]

    @property
    def better(self) -> float:
        """The rate of the better policy."""
        return self.rate + self.delta

    @property
    def most_differ(self) -> float:
        return min(self.rate + self.better, 2 - self.rate - self.better)

    @property
    def discordance(self) -> float:
        if self.differ is not None:
            return self.differ
        unrelated = self.rate * (1 - self.better) + self.better * (1 - self.rate)
        return max(self.delta, unrelated / 2)

    @property
    def level(self) -> float:
        return self.alpha / self.family


def paired_power(question: Question, episodes: int) -> float:
    """Chance that the exact McNemar test over so many episodes shows the difference, and the right way round."""
    from scipy.stats import binom

    differ, share = question.discordance, (question.discordance + question.delta) / (2 * question.discordance)
    far = 8 * math.sqrt(episodes * differ * (1 - differ)) + 8  # of 8 standard deviations nothing is left
    pairs = np.arange(max(0, math.floor(episodes * differ - far)), min(episodes, math.ceil(episodes * differ + far)) + 1)
    # p < alpha where so few fall to the second that a fair coin gives no more in less than alpha / 2 of its throws.
    few = binom.ppf(question.level / 2, pairs, 0.5) - 1
    return float(binom.pmf(pairs, episodes, differ) @ binom.cdf(few, pairs, 1 - share))


def paired_episodes(question: Question) -> int:
    """The smallest number from which on the paired test has the power: it does not fall below it again."""
    guess = _mcnemar_guess(question)
    high = guess
    while paired_power(question, high) < question.power:
        high = math.ceil(high * 1.01)
    low = max(1, round(guess * 0.8))
    # Power goes up in a saw: from above, the last number that fell short decides.
    return next((n + 1 for n in range(high + 12, low - 1, -1) if paired_power(question, n) < question.power), low)


def _mcnemar_guess(question: Question) -> int:
    alpha, power = _quantiles(question)
    differ, delta = question.discordance, question.delta
    return max(1, math.ceil((alpha * math.sqrt(differ) + power * math.sqrt(max(differ - delta**2, 0))) ** 2 / delta**2))


def unpaired_episodes(question: Question) -> int:
    """For each of the two policies, on episodes that have nothing to do with each other."""
    alpha, power = _quantiles(question)
    middle = question.rate + question.delta / 2
    own = question.rate * (1 - question.rate) + question.better * (1 - question.better)
    return math.ceil((alpha * math.sqrt(2 * middle * (1 - middle)) + power * math.sqrt(own)) ** 2 / question.delta**2)


def _quantiles(question: Question) -> tuple[float, float]:
    return NormalDist().inv_cdf(1 - question.level / 2), NormalDist().inv_cdf(question.power)


def plan_text(question: Question) -> str:
    """For people: the numbers, and everything that was assumed."""
    paired, unpaired = paired_episodes(question), unpaired_episodes(question)
    family = f", divided by {question.family} comparisons read side by side" if question.family > 1 else ""
    where = "given" if question.differ is not None else "half of what policies with nothing in common would show; --differ"
    return "\n".join(
        [
            f"To show a difference of {100 * question.delta:g} points with {100 * question.power:g} % chance:",
            "",
            f"  {paired:>7,} episodes, the same for both policies (paired: exact McNemar test)",
            f"  {unpaired:>7,} episodes for each, if they share none (not paired: two proportions)",
            "",
            "Assumed:",
            f"  solved: {100 * question.rate:g} % by one, {100 * question.better:g} % by the other (--rate; 50 % takes most)",
            f"  solved by one of the two only: {100 * question.discordance:.3g} % of the episodes ({where})",
            f"  two-sided test at {question.alpha:g}{family}",
        ]
    )
