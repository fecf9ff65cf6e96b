"""The test for any time: the integral it stands for, and how often it errs where one looks after every round."""

import math

import numpy as np
import pytest
from scipy.integrate import quad

from rtx.eval.statistics.sequential import anytime_p, e_value


@pytest.mark.parametrize(("k", "l"), [(0, 0), (1, 0), (5, 1), (3, 3), (12, 2)])
def test_it_is_the_mixture_that_it_says(k, l):  # noqa: E741
    expected, _ = quad(lambda q: (2 * q) ** k * (2 * (1 - q)) ** l, 0, 1)
    assert math.isclose(e_value(k, l), expected, rel_tol=1e-9)
    assert anytime_p(k, l) == min(1.0, 1 / e_value(k, l))


def test_what_it_takes():
    assert anytime_p(7, 0) > 0.05 > anytime_p(8, 0)
    assert e_value(3000, 0) == math.inf
    assert anytime_p(3000, 0) == 0.0


def ever_rejected(gaps: np.ndarray, alpha: float, p_value=anytime_p) -> float:
    """Share of runs that reject at the end of some round; `gaps` [runs, rounds, pairs of a round] of 1, 0, -1."""
    first, second = ((gaps == sign).sum(2).cumsum(1) for sign in (1, -1))
    seen = {pair: p_value(*pair) for pair in set(zip(first.ravel().tolist(), second.ravel().tolist(), strict=True))}
    p = np.array([seen[pair] for pair in zip(first.ravel().tolist(), second.ravel().tolist(), strict=True)])
    return float((p.reshape(first.shape).min(1) < alpha).mean())


def drawn(chances: list[tuple[float, float]], runs: int, rounds: int) -> np.ndarray:
    """`chances[i]`: of pair i of every round to fall to the first, to the second."""
    rng = np.random.default_rng(1)
    parts = [rng.choice([1, -1, 0], (runs, rounds), p=[first, second, 1 - first - second]) for first, second in chances]
    return np.stack(parts, 2)


@pytest.mark.parametrize(
    "chances",
    [
        [(0.5, 0.5)] * 4,  # as many pairs that differ as there can be
        [(0.1, 0.1)] * 6,
        [(0.6, 0.0), (0.0, 0.6), (0.3, 0.1), (0.1, 0.3)],  # equal in all, but not task by task
    ],
)
def test_equal_policies_are_told_apart_in_no_more_than_5_of_100_runs_however_often_one_looks(chances):
    wrong = ever_rejected(drawn(chances, 3000, 60), 0.05)
    assert wrong < 0.05 + 3 * math.sqrt(0.05 * 0.95 / 3000)


def test_mcnemar_looked_at_after_every_round_would_err_far_more_often():
    """The reason for all this: the test for a fixed number, repeated."""
    from rtx.eval.statistics.rates import mcnemar_exact

    gaps = drawn([(0.5, 0.5)] * 4, 200, 40)
    assert ever_rejected(gaps, 0.05, mcnemar_exact) > 0.12


def test_a_better_policy_is_found_early():
    better = drawn([(0.3, 0.05)] * 4, 500, 60)
    assert ever_rejected(better, 0.05) > 0.99
    assert ever_rejected(better[:, :15], 0.05) > 0.6  # in a quarter of the rounds
