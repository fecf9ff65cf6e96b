"""Order: bijections, exact weights, each window once per epoch, the same for any split of the stream."""

from __future__ import annotations

import itertools
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chi2

from rtx.data.order import Order, block_counts, permute
from rtx.errors import UserError

SIZES = (7, 1000, 3)
SHARES = (1.0, 5.0, 2.0)


def small_order(seed: int = 0) -> Order:
    return Order(seed=seed, names=("a", "b", "c"), shares=SHARES, num_windows=SIZES)


def keys(n: int, value: int) -> np.ndarray:
    return np.full(n, value, np.uint64)


@settings(max_examples=60)
@given(size=st.integers(1, 3000), key=st.integers(0, 2**64 - 1))
def test_permute_is_a_bijection(size: int, key: int):
    moved = permute(np.arange(size), size, keys(size, key))
    np.testing.assert_array_equal(np.sort(moved), np.arange(size))


def test_permute_works_far_beyond_memory():
    """10^12 places: no table could hold them, and neighbours scatter over the whole range."""
    size, n = 10**12, 20_000
    moved = permute(np.arange(n), size, keys(n, 5))
    assert len(np.unique(moved)) == n
    assert moved.min() >= 0
    assert moved.max() < size
    assert abs(moved.mean() / size - 0.5) < 0.01
    assert abs(np.corrcoef(moved[1:], moved[:-1])[0, 1]) < 0.03


@pytest.mark.parametrize("size", [3, 4, 5])
def test_permutations_of_few_elements_are_equally_likely(size: int):
    """Chi-square over all size! permutations and 24,000 keys; fails 0.1 % of orders by chance, never this one."""
    n = 24_000
    keys_n = np.random.default_rng(size).integers(0, 2**64, n, dtype=np.uint64)
    moved = np.stack([permute(np.full(n, place), size, keys_n) for place in range(size)], axis=1)
    seen = Counter(map(tuple, moved.tolist()))
    expected = n / len(list(itertools.permutations(range(size))))
    statistic = sum((seen[p] - expected) ** 2 / expected for p in itertools.permutations(range(size)))
    assert chi2.sf(statistic, np.prod(range(1, size + 1)) - 1) > 0.001


def test_every_block_holds_the_exact_counts():
    order = small_order()
    entry = order.lookup(np.arange(4 * order.block_size)).entry.reshape(4, -1)
    for block in entry:
        np.testing.assert_array_equal(np.bincount(block), order.counts)
    assert (entry[0] != entry[1]).any(), "each block has an order of its own"
    np.testing.assert_allclose(order.counts / order.block_size, np.array(SHARES) / 8, rtol=0.01)


def test_each_window_once_per_epoch():
    order = small_order()
    draws = order.lookup(np.arange(5 * order.block_size))
    for e, size in enumerate(SIZES):
        window, epoch = draws.window[draws.entry == e], draws.epoch[draws.entry == e]
        for k in range(epoch.max()):  # all but the last, which is not finished
            np.testing.assert_array_equal(np.sort(window[epoch == k]), np.arange(size))
    orders = [tuple(draws.window[(draws.entry == 0) & (draws.epoch == k)]) for k in range(20)]
    assert len(set(orders)) > 15, "each epoch has an order of its own"


@given(st.lists(st.integers(0, 10**9), min_size=1, max_size=50))
def test_a_sample_does_not_depend_on_its_company(numbers: list[int]):
    order = small_order()
    together = order.lookup(np.array(numbers))
    for i, number in enumerate(numbers):
        alone = order.lookup(np.array([number]))
        assert (alone.entry[0], alone.epoch[0], alone.window[0]) == (together.entry[i], together.epoch[i], together.window[i])


def test_the_seed_decides():
    numbers = np.arange(1000)
    first, again, other = (small_order(seed).lookup(numbers) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first.window, again.window)
    assert (first.entry != other.entry).mean() > 0.3
    assert (first.window != other.window).mean() > 0.5


def test_the_order_of_today_is_the_order_of_tomorrow():
    """Frozen: a change here would silently break every resumed run."""
    draws = small_order(seed=3).lookup(np.array([0, 1, 2, 1023, 1024, 10**12]))
    assert draws.entry.tolist() == FROZEN_ENTRY
    assert draws.window.tolist() == FROZEN_WINDOW


FROZEN_ENTRY = [1, 0, 1, 1, 2, 2]
FROZEN_WINDOW = [346, 0, 749, 342, 1, 0]


def test_draws_before_counts_what_lookup_gives():
    order = small_order()
    for number in (0, 1, 17, order.block_size, 2 * order.block_size + 5):
        counted = np.bincount(order.lookup(np.arange(number)).entry, minlength=3)
        np.testing.assert_array_equal(order.draws_before(number), counted)
        np.testing.assert_allclose(order.epochs(number), counted / SIZES)


@settings(max_examples=40)
@given(st.lists(st.floats(0.1, 1000.0), min_size=1, max_size=30))
def test_block_counts_keep_shares(shares: list[float]):
    counts = block_counts([str(i) for i in range(len(shares))], shares)
    size = counts.sum()
    assert size & (size - 1) == 0
    assert (counts >= 1).all()
    exact = np.array(shares) / sum(shares) * size
    assert (np.abs(counts - exact) < 1).all()
    assert size == 1 << 20 or (np.abs(counts / exact - 1) <= 0.01).all()


def test_wrong_weights_and_empty_sets_are_named():
    with pytest.raises(UserError, match=r"'b': weight 0\.0 must be positive"):
        Order(seed=0, names=("a", "b"), shares=(1.0, 0.0), num_windows=(1, 1))
    with pytest.raises(UserError, match="'b' has no windows"):
        Order(seed=0, names=("a", "b"), shares=(1.0, 1.0), num_windows=(1, 0))
    with pytest.raises(UserError, match=r"'b': a share of 1\.0e-09"):
        Order(seed=0, names=("a", "b"), shares=(1.0, 1e-9), num_windows=(1, 1))
