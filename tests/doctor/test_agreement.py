"""The paired test: sure of what is there, silent about what is not, in groups of frames that belong together."""

from __future__ import annotations

import numpy as np
import pytest

from rtx.doctor.agreement import compare, errors, groups, spread


def frames(gain: float, *, seed: int = 0, num_groups: int = 20, size: int = 10):
    """Errors before and after, with a part that all frames of a group share."""
    rng = np.random.default_rng(seed)
    group = np.repeat(np.arange(num_groups), size)
    before = 0.5 + rng.normal(0, 0.1, num_groups)[group] + rng.normal(0, 0.05, len(group))
    after = before - gain + rng.normal(0, 0.05, num_groups)[group]
    return before, after, group


def test_a_clear_gain_is_as_sure_as_the_draws_allow():
    before, after, group = frames(0.2)
    verdict = compare(before, after, group)
    assert verdict.p_value < 1e-4
    assert verdict.gain == pytest.approx(1 - after.mean() / before.mean())


def test_chance_is_called_chance():
    """Over many recordings without a gain, p is uniform: it falls below 0.05 about one time in twenty."""
    values = [compare(*frames(0.0, seed=seed, num_groups=12, size=3)).p_value for seed in range(200)]
    assert 2 <= sum(p < 0.05 for p in values) <= 20
    assert min(values) > 0.01 / 40


def test_frames_of_one_episode_do_not_count_as_many_witnesses():
    """Ten times the frames of the same few episodes prove no more."""
    few = compare(*frames(0.03, num_groups=6, size=5))
    many = compare(*frames(0.03, num_groups=6, size=50))
    assert few.p_value > 0.01
    assert many.p_value > 0.01


def test_few_episodes_are_cut_into_blocks():
    long = np.repeat(np.arange(3), 100)
    cut = groups(long)
    assert len(np.unique(cut)) >= 16
    assert all(len(np.unique(long[cut == name])) == 1 for name in np.unique(cut))
    enough = np.repeat(np.arange(20), 5)
    np.testing.assert_array_equal(groups(enough), enough)


def test_a_dimension_that_hardly_moved_does_not_outweigh_the_others():
    logged = np.stack([np.linspace(-1, 1, 50), np.full(50, 0.5)], 1)
    scale = spread(logged, np.array([1.0, 0.4]))
    np.testing.assert_allclose(scale, [logged[:, 0].std(), 0.1])
    wild = errors(np.full((50, 2), 100.0), logged, scale)
    np.testing.assert_array_equal(wild, 3.0)
