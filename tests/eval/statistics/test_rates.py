"""Intervals against published values and the exact test against scipy."""

import math

import pytest
from scipy.stats import binomtest

from rtx.errors import UserError
from rtx.eval.statistics.rates import Interval, Rate, mcnemar_exact, wilson

# Newcombe 1998, Statistics in Medicine 17, table I, method 3.
PUBLISHED = [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)]


@pytest.mark.parametrize(("successes", "trials", "low", "high"), PUBLISHED)
def test_wilson_gives_the_published_intervals(successes, trials, low, high):
    interval = wilson(successes, trials)
    assert (round(interval.low, 4), round(interval.high, 4)) == (low, high)


def test_wilson_is_symmetric_and_ends_are_exact():
    for trials in (1, 7, 30):
        assert wilson(0, trials).low == 0.0
        assert wilson(trials, trials).high == 1.0
        for successes in range(trials + 1):
            here, there = wilson(successes, trials), wilson(trials - successes, trials)
            assert math.isclose(here.low, 1 - there.high, abs_tol=1e-12)
            assert 0 <= here.low <= successes / trials <= here.high <= 1


def test_no_trials_say_nothing():
    assert wilson(0, 0) == Interval(0.0, 1.0)
    assert math.isnan(Rate(0, 0).value)
    assert str(Rate(0, 0)) == "no episodes"


def test_impossible_counts_are_refused():
    with pytest.raises(UserError, match="5 successes out of 4"):
        wilson(5, 4)
    with pytest.raises(UserError, match="confidence 95"):
        wilson(1, 4, confidence=95.0)


@pytest.mark.parametrize(("b", "c"), [(0, 0), (1, 0), (5, 1), (8, 8), (0, 12), (30, 14)])
def test_mcnemar_is_the_exact_binomial_test(b, c):
    expected = binomtest(b, b + c, 0.5).pvalue if b + c else 1.0
    assert math.isclose(mcnemar_exact(b, c), expected, rel_tol=1e-9)
    assert mcnemar_exact(b, c) == mcnemar_exact(c, b)
