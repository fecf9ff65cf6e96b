"""Every interval covers the truth as often as it says, within one point of 95 %, over 10,000 draws: truths are drawn too.

At ONE rate and number of trials no interval of a count can do that: counts are whole, coverage jumps with them. What is
claimed, and tested here, is coverage averaged over rates, robots' or tasks' as they may be.
"""

import math

import numpy as np
import pytest
from scipy.stats import binom

from rtx.eval.statistics.across import interquartile_mean
from rtx.eval.statistics.differences import bootstrap_difference, paired_difference, unpaired_difference
from rtx.eval.statistics.rates import Rate, wilson
from rtx.eval.statistics.seeded import SeededRate, compare_seeded

DRAWS = 10_000
POINT = 0.01


def covered(intervals, truths) -> float:
    return float(np.mean([low <= truth <= high for (low, high), truth in zip(intervals, truths, strict=True)]))


def ends(interval) -> tuple[float, float]:
    return interval.low, interval.high


@pytest.mark.parametrize("trials", [8, 24, 50, 144])
def test_wilson(trials):
    rng = np.random.default_rng(trials)
    rates = rng.random(DRAWS)
    table = [ends(wilson(s, trials)) for s in range(trials + 1)]
    assert abs(covered([table[s] for s in rng.binomial(trials, rates)], rates) - 0.95) < POINT


def test_wilson_at_single_rates_swings_as_published():
    """Brown, Cai and DasGupta 2001: at worst, near 0 and 1, some 10 points too little; docs/evaluation.md has these figures."""
    rates = np.linspace(0.02, 0.98, 193)
    lows, highs = np.array([ends(wilson(s, 50)) for s in range(51)]).T
    inside = (lows[:, None] <= rates) & (rates <= highs[:, None])
    coverage = (binom.pmf(np.arange(51)[:, None], 50, rates) * inside).sum(0)
    assert 0.85 < coverage.min() < 0.93
    assert abs(coverage.mean() - 0.95) < POINT


@pytest.mark.parametrize("pairs", [10, 24, 50, 144])
def test_paired_difference(pairs):
    """Any shares of (both, only the first, only the second, neither), equally likely."""
    rng = np.random.default_rng(pairs)
    shares = rng.dirichlet([1.0] * 4, DRAWS)
    counts = [rng.multinomial(pairs, one) for one in shares]
    intervals = [ends(paired_difference(int(n[1]), int(n[2]), pairs)) for n in counts]
    assert abs(covered(intervals, shares[:, 1] - shares[:, 2]) - 0.95) < POINT


@pytest.mark.parametrize("trials", [(10, 10), (24, 50), (144, 144)])
def test_unpaired_difference(trials):
    rng = np.random.default_rng(sum(trials))
    rates = rng.random((DRAWS, 2))
    solved = rng.binomial(trials, rates)
    intervals = [ends(unpaired_difference(Rate(int(a), trials[0]), Rate(int(b), trials[1]))) for a, b in solved]
    assert abs(covered(intervals, rates[:, 0] - rates[:, 1]) - 0.95) < POINT


def trained(rng: np.random.Generator, rates: np.ndarray, seeds: int, likeness: float) -> np.ndarray:
    """What each of so many trainings is worth, `[draws, seeds]`: mean `rates`, intraclass correlation `likeness`."""
    if not likeness:
        return np.repeat(rates[:, None], seeds, 1)
    strength = np.full((1, seeds), 1 / likeness - 1)
    return rng.beta(rates[:, None] * strength, (1 - rates)[:, None] * strength)


@pytest.mark.parametrize("likeness", [0, 0.02, 0.05])
@pytest.mark.parametrize(("seeds", "trials"), [(3, 120), (3, 180), (5, 60)])
def test_rates_over_training_seeds(seeds, trials, likeness):
    rng = np.random.default_rng([seeds, trials])
    rates = rng.random(DRAWS)
    solved = rng.binomial(trials, trained(rng, rates, seeds, likeness))
    intervals = [ends(SeededRate(tuple(Rate(int(one), trials) for one in lot)).interval) for lot in solved]
    assert abs(covered(intervals, rates) - 0.95) < POINT


def as_trials(outcomes: np.ndarray) -> dict[str, bool]:
    return {f"scene {i}": bool(one) for i, one in enumerate(outcomes)}


@pytest.mark.parametrize("draws", [1000, pytest.param(DRAWS, marks=pytest.mark.slow)])
@pytest.mark.parametrize("likeness", [0, 0.02, 0.1])
def test_differences_over_training_seeds(likeness, draws):
    """On the same scenes, some of them hard; of policies that are worth the same, at most 1 in 20 is called better."""
    rng = np.random.default_rng(round(100 * likeness))
    seeds, trials = 3, 40
    gaps = np.where(np.arange(draws) % 2, rng.uniform(-0.3, 0.3, draws), 0.0)
    middle = rng.uniform(0.25, 0.75, draws)
    worth = [trained(rng, middle + side * gaps / 2, seeds, likeness)[..., None] for side in (1, -1)]
    luck = rng.random((draws, seeds, trials))  # of the scene
    solved = [
        np.where(rng.random((draws, seeds, trials)) < 0.5, luck, rng.random((draws, seeds, trials))) < one for one in worth
    ]
    found = [compare_seeded(*([as_trials(of_seed) for of_seed in policy[i]] for policy in solved)) for i in range(draws)]
    assert abs(covered([ends(one.difference) for one in found], gaps) - 0.95) < near(draws)
    assert np.mean([one.verdict != "no difference shown" for one in found[::2]]) < 0.04 + near(draws)


def bootstrap_coverage(pairs: int, draws: int) -> float:
    """Gaps of times: a sum of a normal and a skewed part, of a size that varies."""
    rng = np.random.default_rng(pairs)
    lots = rng.normal(0.3, 1, (draws, pairs)) + rng.uniform(0, 1.5, (draws, 1)) * (rng.exponential(1, (draws, pairs)) - 1)
    return covered([ends(bootstrap_difference(lot, [0.0] * pairs)) for lot in lots.tolist()], np.full(draws, 0.3))


def middle_coverage(episodes: int, draws: int) -> float:
    """14 cells with rates of a shape that varies: spread out, easy ones, hard ones, all or nothing."""
    rng = np.random.default_rng(episodes)
    intervals, truths = [], []
    for i in range(draws):
        rates = rng.beta(*[(1, 1), (4, 1), (1, 3), (0.5, 0.5)][i % 4], 14)
        truths.append(np.sort(rates)[3:11].mean())
        found = interquartile_mean([Rate(int(s), episodes) for s in rng.binomial(episodes, rates)])
        intervals.append(ends(found.interval))
    return covered(intervals, truths)


def near(draws: int) -> float:
    """One point, and what so few draws are uncertain by."""
    return POINT + 3 * math.sqrt(0.05 * 0.95 / draws) * (draws < DRAWS)


@pytest.mark.parametrize("pairs", [12, 40])
def test_bootstrap_difference(pairs):
    assert abs(bootstrap_coverage(pairs, 300) - 0.95) < near(300)


@pytest.mark.parametrize("episodes", [8, 50])
def test_interquartile_mean(episodes):
    assert abs(middle_coverage(episodes, 300) - 0.95) < near(300)


@pytest.mark.slow
@pytest.mark.parametrize("pairs", [12, 24, 40])
def test_bootstrap_difference_over_10000_draws(pairs):
    assert abs(bootstrap_coverage(pairs, DRAWS) - 0.95) < POINT


@pytest.mark.slow
@pytest.mark.parametrize("episodes", [8, 24, 50])
def test_interquartile_mean_over_10000_draws(episodes):
    assert abs(middle_coverage(episodes, DRAWS) - 0.95) < POINT
