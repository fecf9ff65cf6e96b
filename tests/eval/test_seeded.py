"""Seeds that agree leave Wilson's interval as it is, seeds that differ widen it; one seed alone never decides."""

import numpy as np
import pytest

from rtx.errors import UserError
from rtx.eval.seeded import SeededRate, compare_seeded, seeded_rate
from rtx.eval.statistics import Rate, wilson


def trials(*outcomes: int) -> list[dict[str, bool]]:
    """One seed for each number: so many of 50 trials went well, the first ones."""
    return [{f"scene {i}": i < good for i in range(50)} for good in outcomes]


def test_seeds_that_agree_are_as_good_as_one_long_run():
    rate = seeded_rate(trials(30, 31, 29))
    assert rate.design_effect == 1.0
    expected = wilson(90, 150)
    assert (rate.interval.low, rate.interval.high) == pytest.approx((expected.low, expected.high))


def test_seeds_that_differ_are_worth_fewer_trials():
    rate = seeded_rate(trials(10, 30, 50))
    # variance of 0.2, 0.6, 1.0 is 0.16; by chance 0.6 * 0.4 / 50 = 0.0048
    assert rate.design_effect == pytest.approx(0.16 / 0.0048)
    assert rate.interval.high - rate.interval.low > 2 * (wilson(90, 150).high - wilson(90, 150).low)


def test_the_interval_covers_a_training_that_varies_where_wilsons_does_not():
    rng = np.random.default_rng(0)
    covered = {"wilson": 0, "seeded": 0}
    for _ in range(400):
        of_seeds = np.clip(rng.normal(0.5, 0.15, 3), 0, 1)  # what each training is worth
        rate = SeededRate(tuple(Rate(int(rng.binomial(50, p)), 50) for p in of_seeds))
        covered["wilson"] += rate.whole.interval.low <= 0.5 <= rate.whole.interval.high
        covered["seeded"] += rate.interval.low <= 0.5 <= rate.interval.high
    assert covered["wilson"] < 0.70 * 400
    assert covered["seeded"] > 0.75 * 400  # three seeds say little about how much seeds vary


def test_extremes():
    assert seeded_rate(trials(0, 0)).interval.low == 0.0
    assert seeded_rate(trials(50, 50)).interval.high == 1.0
    assert seeded_rate(trials(50, 50)).design_effect == 1.0
    assert str(seeded_rate(trials(50, 40, 45))).endswith("seeds 100, 80, 90)")


def test_a_difference_that_every_seed_shows():
    comparison = compare_seeded(trials(45, 44, 46), trials(20, 22, 18))
    assert comparison.verdict == "better"
    assert (comparison.only_first, comparison.only_second) == (75, 0)
    assert compare_seeded(trials(20, 22, 18), trials(45, 44, 46)).verdict == "worse"
    assert "do not overlap" in comparison.reason
    assert "+50, +44, +56 points" in comparison.reason


def test_a_difference_that_one_seed_makes_is_none():
    """One training failed: the paired test alone would be convinced."""
    comparison = compare_seeded(trials(30, 30, 30), trials(31, 31, 0))
    assert comparison.p_value < 1e-3
    assert comparison.verdict == "no difference shown"


def test_a_small_difference_is_none():
    assert compare_seeded(trials(30, 31, 30), trials(28, 29, 28)).verdict == "no difference shown"


def test_only_the_same_seeds_on_the_same_trials():
    with pytest.raises(UserError, match="2 seeds against 1"):
        compare_seeded(trials(1, 2), trials(1))
    with pytest.raises(UserError, match="did not play the same episodes"):
        compare_seeded(trials(1), [{"elsewhere": True}])
    with pytest.raises(UserError, match="equally many"):
        SeededRate((Rate(1, 2), Rate(1, 3)))
