"""Holm's correction against its definition, the interquartile mean against scipy's."""

import math

import numpy as np
import pytest
from scipy.stats import trim_mean

from rtx.eval.statistics.across import corrected, holm, interquartile_mean
from rtx.eval.statistics.comparison import Comparison
from rtx.eval.statistics.rates import Rate


def test_holm_is_as_published():
    """Smallest times 4, next times 3, and so on, never falling."""
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.5, 0.9]) == pytest.approx([1.0, 1.0])
    assert holm([]) == []


def test_holm_keeps_false_alarms_of_all_rows_together_below_alpha():
    p = np.random.default_rng(0).random((4000, 8))
    alarms = np.mean([min(holm(row)) < 0.05 for row in p.tolist()])
    assert abs(alarms - 0.05) < 0.015
    assert np.mean(p.min(1) < 0.05) > 0.3  # what it is for


def row(only_first: int, only_second: int, trials: int = 40) -> Comparison:
    from rtx.eval.statistics.rates import mcnemar_exact

    return Comparison(
        first=Rate(only_first, trials), second=Rate(only_second, trials), only_first=only_first, only_second=only_second,
        p_value=mcnemar_exact(only_first, only_second),
    )  # fmt: skip


def test_what_is_called_alone_need_not_be_called_among_many():
    assert row(7, 0).verdict == "better"
    rows = corrected({"a": row(7, 0), "b": row(3, 2), "c": row(0, 0), "d": row(1, 1), "none": row(0, 0, 0)})
    assert rows["a"].verdict == "no difference shown"  # 4 * 0.0156
    assert "after correction for 4 comparisons" in rows["a"].reason
    assert rows["none"].family == 1
    assert corrected({"a": row(9, 0), "b": row(3, 2)})["a"].verdict == "better"


@pytest.mark.parametrize("solved", [[3, 5, 8, 0, 1, 8, 7, 2], [8, 8, 1], [4]])
def test_the_middle_mean_is_the_trimmed_mean(solved):
    found = interquartile_mean([Rate(s, 8) for s in solved] + [Rate(0, 0)])
    assert math.isclose(found.value, trim_mean(np.array(solved) / 8, 0.25))
    assert found.cells == len(solved)
    assert found.interval.low < found.value < found.interval.high
    assert found == interquartile_mean([Rate(s, 8) for s in solved])


def test_ends_and_nothing():
    assert interquartile_mean([Rate(8, 8)] * 4).interval.high == 1.0
    assert math.isnan(interquartile_mean([]).value)
