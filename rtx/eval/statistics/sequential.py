"""A paired test that may be looked at after every round of episodes, for stopping as soon as the answer is plain.

    rounds of episodes, the same for both --> discordant pairs (k to l) -- e_value --> stop at 1/alpha, or never

Somebody who does not believe in a difference offers fair odds on which policy each discordant pair falls to. We bet against
them with a share of our money drawn from a uniform prior; what a coin of 1 has become is the e value

    e = integral over q of (2 q)^k (2 (1 - q))^l dq = 2^(k + l) / ((k + l + 1) (k + l choose k))

If the policies are equally good, e does not grow on average, so that the chance that it EVER reaches 1/alpha is at most alpha
(Ville 1939), whenever and however often one looks: 1/e is a p value at any time. It holds for policies that are equally good
over a round even if one is better at some of its tasks: with a share of s, the product over a round of (1 + s gap) averages at
most (1 + s mean gap)^n = 1. Hence looks only at the ends of whole rounds.

Sources: Robbins 1970 (mixture), Ramdas et al. 2023 (testing by betting). The price against a test at a number fixed in advance:
a policy that wins every pair needs 8 of them where McNemar's test needs 6.
"""

from __future__ import annotations

import math


def e_value(only_first: int, only_second: int) -> float:
    """Evidence against "equally good" after pairs that only the one, or only the other, solved; 1 for none, inf if huge."""
    log = log_e_value(only_first, only_second)
    return math.exp(log) if log < 700 else math.inf


def log_e_value(only_first: int, only_second: int) -> float:
    """Natural logarithm of `e_value`."""
    k, l = only_first, only_second  # noqa: E741 (as in the formula)
    n = k + l
    log_choose = math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(l + 1)
    return n * math.log(2) - math.log(n + 1) - log_choose


def anytime_p(only_first: int, only_second: int) -> float:
    """A p value that holds at whatever moment one stops: 1/e, at most 1."""
    return min(1.0, math.exp(-log_e_value(only_first, only_second)))
