"""Running statistics against numpy over everything at once."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from rtx.data.prepare import prepare
from rtx.data.simulated import SIMULATED
from rtx.data.statistics import RunningStatistics
from rtx.errors import WorldError
from tests.fakes import WIDOWX_FEATURES, widowx_episode, write_rlds

VALUES = st.one_of(
    st.floats(-1e3, 1e3, width=32),
    st.floats(width=32, allow_nan=False, allow_infinity=False, allow_subnormal=False),
    st.sampled_from([0.0, 1.0, -1.0, 1e-30]),
)
ROWS = st.integers(1, 60).flatmap(lambda n: arrays(np.float64, (n, 2), elements=VALUES))


def of(*parts: np.ndarray) -> RunningStatistics:
    """Merged from one object per part."""
    total = RunningStatistics(parts[0].shape[1])
    for part in parts:
        one = RunningStatistics(part.shape[1])
        one.update(part)
        total.merge(one)
    return total


@settings(max_examples=100)
@given(rows=ROWS, cuts=st.lists(st.integers(0, 60), max_size=4))
def test_merged_parts_equal_numpy_over_all(rows, cuts):
    result = of(*np.split(rows, sorted(cuts))).result()
    largest = np.abs(rows).max(0)
    np.testing.assert_allclose(result.mean, rows.mean(0), rtol=1e-12, atol=1e-12 * largest.max())
    np.testing.assert_allclose(result.std, rows.std(0), rtol=1e-9, atol=1e-9 * largest.max())
    np.testing.assert_array_equal(result.min, rows.min(0))
    np.testing.assert_array_equal(result.max, rows.max(0))
    assert result.count == len(rows)
    for q, found in ((0.01, result.q01), (0.99, result.q99)):
        assert np.all(np.abs(np.array(found) - np.quantile(rows, q, axis=0)) <= np.ptp(rows, axis=0) / 2**15 + 1e-14 * largest)


@given(rows=ROWS, cuts=st.lists(st.integers(0, 60), max_size=4), seed=st.integers(0, 99))
def test_order_and_grouping_of_parts_leave_quantiles_alone(rows, cuts, seed):
    shuffled = np.random.default_rng(seed).permutation(rows)
    a, b = of(*np.split(rows, sorted(cuts))), of(shuffled)
    for q in (0.01, 0.5, 0.99):
        np.testing.assert_array_equal(a.quantile(q), b.quantile(q))


@pytest.mark.parametrize("draw", ["standard_normal", "standard_cauchy", "standard_exponential"])
def test_quantiles_of_many_values_within_the_bound(draw):
    rows = getattr(np.random.default_rng(0), draw)((50_000, 3)) * [1e-3, 1.0, 1e4]
    result = of(*np.array_split(rows, 7)).result()
    for q, found in ((0.01, result.q01), (0.99, result.q99)):
        assert np.all(np.abs(np.array(found) - np.quantile(rows, q, axis=0)) <= np.ptp(rows, axis=0) / 2**15)


def hostile(name):
    """[n, 2] values whose range says nothing about where most of them are."""
    rng = np.random.default_rng(1)
    rows = rng.normal(0, 0.02, (20_000, 2))
    if name == "one glitch":
        rows[7] = (1e6, -3e7)
    elif name == "glitches of many sizes":
        rows[:60] *= 10.0 ** rng.integers(2, 12, (60, 2))
    elif name == "far from zero":
        rows += 100.0
        rows[3] = -1e6
    elif name == "heavy tails":
        rows = rng.standard_cauchy((20_000, 2)) ** 3
    elif name == "mostly one value":
        rows[rng.uniform(size=rows.shape) < 0.97] = 0.5
        rows[5] = 1e9
    elif name == "two far clusters":
        rows[::2] += 1e7
    return rows


@pytest.mark.parametrize(
    "name",
    ["one glitch", "glitches of many sizes", "far from zero", "heavy tails", "mostly one value", "two far clusters"],
)
def test_outliers_do_not_make_quantiles_coarse(name):
    rows = hostile(name)
    parts = np.array_split(rows, 5)
    result = of(*parts).result(lambda: iter(parts))
    again = of(*parts[::-1]).result(lambda: [rows])
    q01, q99 = np.quantile(rows, 0.01, axis=0), np.quantile(rows, 0.99, axis=0)
    for exact, found in ((q01, result.q01), (q99, result.q99)):
        assert np.all(np.abs(np.array(found) - exact) <= 1e-3 * (q99 - q01))
    assert (result.q01, result.q99) == (again.q01, again.q99)  # order and grouping leave them alone


def test_ordinary_values_are_not_read_again():
    rows = np.random.default_rng(0).normal(size=(50_000, 3))

    def again():
        raise AssertionError("one pass is enough")

    of(rows).result(again)


def test_prepared_sets_have_exact_quantiles_though_a_sensor_glitched(tmp_path):
    rng = np.random.default_rng(0)
    episodes = [widowx_episode(rng, 120) for _ in range(3)]
    episodes[1]["steps/action"][60, 1] = 5e6
    source = write_rlds(tmp_path, "sim_vx300s", WIDOWX_FEATURES, {"train": [episodes[:2], episodes[2:]], "val": [[]]})
    prepared = prepare(SIMULATED["sim_vx300s"], source, tmp_path / "out", num_workers=1)
    action = np.asarray(prepared.split("train").action, np.float64)
    assert np.ptp(action[:, 1]) > 1e5
    q01, q99 = np.quantile(action, 0.01, axis=0), np.quantile(action, 0.99, axis=0)
    found = prepared.statistics.action
    np.testing.assert_array_less(np.abs(np.array(found.q01) - q01), 0.005 * (q99 - q01) + 1e-12)
    np.testing.assert_array_less(np.abs(np.array(found.q99) - q99), 0.005 * (q99 - q01) + 1e-12)


def test_memory_does_not_grow_with_the_number_of_values():
    rng = np.random.default_rng(0)
    statistics = RunningStatistics(1)
    sizes = []
    for _ in range(20):
        statistics.update(rng.uniform(-1, 1, (20_000, 1)))
        sizes.append(sum(a.nbytes for a in statistics.to_arrays().values()))
    assert sizes[-1] < 65536 * 4 * 8 + 1000
    assert sizes[-1] < 1.01 * sizes[-5]


def test_a_dimension_that_is_nearly_always_zero_has_quantiles_of_exactly_zero():
    """Otherwise a normalizer would blow up the few other values."""
    rows = np.zeros((1000, 1))
    rows[:5] = 7.3
    result = of(rows[500:], rows[:500]).result()
    assert result.q01 == result.q99 == (0.0,)


@settings(max_examples=30)
@given(rows=ROWS)
def test_survives_a_file_to_the_bit(rows):
    a = of(rows)
    b = RunningStatistics.from_arrays(a.to_arrays())
    assert a.result() == b.result()
    a.merge(of(rows + 1))
    b.merge(of(rows + 1))
    assert a.result() == b.result()


def test_what_cannot_be_counted_is_refused():
    statistics = RunningStatistics(2)
    with pytest.raises(WorldError, match="dimension 1 holds a non-finite"):
        statistics.update(np.array([[0.0, np.nan]]))
    with pytest.raises(WorldError, match="not a single training step"):
        statistics.result()


def test_vectors_of_no_number_have_statistics_too():
    """Of a robot whose data set holds no state."""
    seen = RunningStatistics(0)
    seen.update(np.zeros((5, 0), np.float32))
    again = RunningStatistics.from_arrays(seen.to_arrays())
    again.merge(seen)
    assert again.result().count == 10
    assert again.result().q99 == ()
