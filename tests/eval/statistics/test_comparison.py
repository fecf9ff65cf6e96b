"""Verdicts: what it takes to be called better, and how seldom equals are told apart."""

import math

import numpy as np
import pytest
from scipy.stats import fisher_exact

from rtx.errors import UserError
from rtx.eval.statistics.across import corrected
from rtx.eval.statistics.comparison import compare, compare_unpaired
from rtx.eval.statistics.differences import paired_difference, unpaired_difference
from rtx.eval.statistics.rates import Rate, mcnemar_exact


def episodes(successes: int, trials: int) -> dict[str, bool]:
    return {str(i): i < successes for i in range(trials)}


def test_a_clear_difference_is_called_both_ways():
    good, bad = episodes(17, 20), episodes(2, 20)
    assert compare(good, bad).verdict == "better"
    assert compare(bad, good).verdict == "worse"
    assert compare(good, good).verdict == "no difference shown"


def test_pairs_say_more_than_two_rates_whose_intervals_overlap():
    result = compare(episodes(13, 20), episodes(7, 20))  # 6 to 0 where they differ
    assert result.first.interval.overlaps(result.second.interval)
    assert result.verdict == "better"
    assert result.reason == "+30 points (95 % interval +7..+48); 6 to 0 on the episodes where they differ, p = 0.031"
    assert compare(episodes(12, 20), episodes(7, 20)).verdict == "no difference shown"  # 5 to 0: p = 0.063


def test_stopped_early_it_takes_more():
    assert compare(episodes(13, 20), episodes(7, 20), sequential=True).verdict == "no difference shown"
    assert compare(episodes(15, 20), episodes(7, 20), sequential=True).verdict == "better"  # 8 to 0: e = 28


@pytest.mark.parametrize("pairs", [6, 30, 144])
def test_test_and_interval_of_the_difference_never_contradict_each_other(pairs):
    for only_first in range(min(pairs, 40) + 1):
        for only_second in range(min(pairs - only_first, 40) + 1):
            if mcnemar_exact(only_first, only_second) < 0.05:
                interval = paired_difference(only_first, only_second, pairs)
                assert interval.low > 0 if only_first > only_second else interval.high < 0


def test_too_few_episodes_are_never_enough():
    for trials in range(1, 4):
        assert compare(episodes(trials, trials), episodes(0, trials)).verdict == "no difference shown"


def test_pairs_must_be_the_same_episodes():
    with pytest.raises(UserError, match="did not play the same episodes"):
        compare(episodes(3, 8), episodes(3, 9))


def test_policies_without_a_shared_episode_are_compared_all_the_same():
    apart = compare_unpaired(Rate(40, 50), Rate(20, 50))
    assert apart.p_value == fisher_exact([[40, 10], [20, 30]])[1]
    assert apart.verdict == "better"
    assert apart.reason.startswith("+40 points (95 % interval +21..+55); p = ")
    assert compare_unpaired(Rate(3, 4), Rate(1, 4)).verdict == "no difference shown"
    assert compare_unpaired(Rate(3, 4), Rate(0, 0)).verdict == "no difference shown"
    assert compare_unpaired(Rate(3, 4), Rate(0, 0)).gap_text == "no episodes"


@pytest.mark.parametrize("sequential", [False, True])
def test_equal_policies_are_called_different_in_no_more_than_5_of_100_evaluations(sequential):
    """Eight tasks of 12 episodes each: any row of the table, and all episodes together."""
    rng, alarms = np.random.default_rng(0), {"rows": 0, "all": 0}
    for _ in range(400):
        played = rng.random((2, 8, 12)) < 0.6
        tasks = [{f"{t}/{i}": played[p, t, i].item() for t in range(8) for i in range(12)} for p in (0, 1)]
        alarms["all"] += compare(*tasks, sequential=sequential).verdict != "no difference shown"
        rows = {
            str(t): compare(*({k: v for k, v in one.items() if k[0] == str(t)} for one in tasks), sequential=sequential)
            for t in range(8)
        }
        alarms["rows"] += any(row.verdict != "no difference shown" for row in corrected(rows).values())
    assert max(alarms.values()) < 400 * 0.05 + 3 * math.sqrt(400 * 0.05 * 0.95)


def test_the_difference_of_two_lots_is_newcombes():
    """Newcombe 1998, Statistics in Medicine 17, 873, table II, method 10: 56/70 against 48/80, and 9/10 against 3/10."""
    for first, second, low, high in ((Rate(56, 70), Rate(48, 80), 0.0524, 0.3339), (Rate(9, 10), Rate(3, 10), 0.1705, 0.8090)):
        interval = unpaired_difference(first, second)
        assert (round(interval.low, 4), round(interval.high, 4)) == (low, high)
