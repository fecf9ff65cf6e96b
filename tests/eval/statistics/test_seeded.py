"""Seeds that differ widen an interval, seeds that agree leave that of the trials; one seed alone never decides."""

import pytest

from rtx.errors import UserError
from rtx.eval.statistics.rates import Rate, wilson
from rtx.eval.statistics.seeded import SeededRate, compare_seeded, seeded_rate


def trials(*outcomes: int) -> list[dict[str, bool]]:
    """One seed for each number: so many of 50 trials went well, the first ones."""
    return [{f"scene {i}": i < good for i in range(50)} for good in outcomes]


def test_trainings_count_and_not_trials():
    rate = seeded_rate(trials(25, 30, 35))
    # 0.5, 0.6, 0.7: sd 0.1, as of 24 trials each; 4.303 is Student's t of 2 degrees of freedom
    n, t2 = 3 * 24, 4.303**2
    half = (t2 * (0.24 / n + t2 / (4 * n**2))) ** 0.5 / (1 + t2 / n)
    assert rate.interval.high - rate.interval.low == pytest.approx(2 * half, abs=1e-4)
    assert (rate.interval.high + rate.interval.low) / 2 == pytest.approx((0.6 + t2 / (2 * n)) / (1 + t2 / n), abs=1e-4)
    wide = seeded_rate(trials(10, 30, 50)).interval
    assert (wide.low, wide.high) == (pytest.approx(0.05, abs=0.05), pytest.approx(0.95, abs=0.05))


def test_seeds_that_agree_say_nothing_of_how_much_they_differ():
    expected = wilson(90, 150)
    assert seeded_rate(trials(30, 30, 30)).interval == expected
    assert seeded_rate(trials(30)).interval == wilson(30, 50)


def test_extremes():
    assert seeded_rate(trials(0, 0)).interval.low == 0.0
    assert seeded_rate(trials(50, 50)).interval.high == 1.0
    assert str(seeded_rate(trials(50, 40, 45))).endswith("seeds 100, 80, 90)")


def test_a_difference_that_every_seed_shows():
    comparison = compare_seeded(trials(45, 44, 46), trials(20, 22, 18))
    assert comparison.verdict == "better"
    assert (comparison.pairs.only_first, comparison.pairs.only_second) == (75, 0)
    assert compare_seeded(trials(20, 22, 18), trials(45, 44, 46)).verdict == "worse"
    # gaps of 50, 44, 56 points: sd 6
    assert comparison.reason.startswith("+50 points (95 % interval +35..+65; by seed +50, +44, +56); 75 to 0 where they differ")


def test_gaps_that_agree_have_the_interval_of_their_pairs():
    comparison = compare_seeded(trials(45, 44, 46), trials(20, 19, 21))
    assert comparison.difference == comparison.pairs.difference
    assert comparison.verdict == "better"


def test_one_training_decides_nothing():
    assert compare_seeded(trials(45), trials(20)).verdict == "no difference shown"


def test_a_difference_that_one_seed_makes_is_none():
    """One training failed: the paired test alone would be convinced."""
    comparison = compare_seeded(trials(30, 30, 30), trials(31, 31, 0))
    assert comparison.pairs.p_value < 1e-3
    assert comparison.verdict == "no difference shown"


def test_a_small_difference_is_none():
    assert compare_seeded(trials(30, 31, 30), trials(28, 31, 29)).verdict == "no difference shown"


def test_only_the_same_seeds_on_the_same_trials():
    with pytest.raises(UserError, match="2 seeds against 1"):
        compare_seeded(trials(1, 2), trials(1))
    with pytest.raises(UserError, match="did not play the same episodes"):
        compare_seeded(trials(1), [{"elsewhere": True}])
    with pytest.raises(UserError, match="equally many"):
        SeededRate((Rate(1, 2), Rate(1, 3)))
