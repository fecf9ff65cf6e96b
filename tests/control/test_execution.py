"""Each way of execution takes the right action of the right chunk, whatever the order and delay of the answers."""

import numpy as np
import pytest

from rtx.control.blending import Blend
from rtx.control.execution import EXECUTIONS, Ensemble, Executor, Prefetch, Receding, make_executor
from rtx.embodiment import CANONICAL_ARM
from rtx.errors import UserError
from rtx.robots import rotations
from rtx.spec import ActionChunk

PERIOD = 100_000_000


def chunk(stamp_ns, *, first=0.0, length=5, valid=10, **columns):
    """Action i of it goes to x = first + i / 1000."""
    actions = np.zeros((length, 8), np.float32)
    actions[:, 0] = first + np.arange(length) / 1000
    for name, value in columns.items():
        actions[:, {"gripper": 6, "yaw": 5, "terminate": 7}[name]] = value
    return ActionChunk(
        actions=actions, names=CANONICAL_ARM.dim_names, control_hz=10.0, stamp_ns=stamp_ns,
        valid_until_ns=stamp_ns + valid * PERIOD,
    )  # fmt: skip


def xs(executor, now_ns, count):
    taken = [executor.take(now_ns + i * PERIOD) for i in range(count)]
    return [None if action is None else round(float(action.values[0]) * 1000, 3) for action in taken]


@pytest.mark.parametrize("name", EXECUTIONS)
class TestEveryWay:
    def test_holds_without_a_chunk_and_asks_for_one(self, name):
        executor = make_executor(name)
        assert isinstance(executor, Executor)
        assert executor.take(0) is None
        assert executor.wants(0)
        assert executor.committed(0).shape == executor.planned(0).shape == (0, 8)

    def test_drops_late_repeated_overtaken_and_future_answers(self, name):
        executor = make_executor(name)
        executor.offer(chunk(10 * PERIOD), 10 * PERIOD)
        executor.offer(chunk(10 * PERIOD, first=0.1), 11 * PERIOD)
        executor.offer(chunk(9 * PERIOD, first=0.2), 11 * PERIOD)
        executor.offer(chunk(11 * PERIOD, first=0.3), 30 * PERIOD)
        executor.offer(chunk(12 * PERIOD, first=0.4), 11 * PERIOD)
        assert executor.counts == {"repeated": 1, "overtaken": 1, "late": 1, "not_yet": 1}
        assert xs(executor, 11 * PERIOD, 1) == [0.0]

    def test_executes_nothing_after_its_time(self, name):
        executor = make_executor(name)
        executor.offer(chunk(0, valid=2), 0)
        assert executor.take(2 * PERIOD) is not None
        assert executor.take(2 * PERIOD + 1) is None
        assert executor.wants(2 * PERIOD + 1)

    def test_forgets(self, name):
        executor = make_executor(name)
        executor.offer(chunk(0), 0)
        executor.reset()
        assert executor.take(0) is None
        executor.offer(chunk(0), 0)
        assert executor.take(0) is not None

    def test_refuses_actions_of_other_dimensions(self, name):
        other = ActionChunk(actions=np.zeros((2, 1), np.float32), names=("x",), control_hz=10.0, stamp_ns=0, valid_until_ns=9)
        with pytest.raises(UserError, match="expected delta_pos"):
            make_executor(name).offer(other, 0)


def test_receding_executes_the_first_actions_whenever_they_come():
    executor = Receding(replan=2)
    executor.offer(chunk(0), 3 * PERIOD)
    assert xs(executor, 3 * PERIOD, 3) == [0.0, 1.0, None]
    assert executor.wants(6 * PERIOD)


def test_prefetch_skips_what_was_executed_since_the_observation():
    executor = Prefetch(replan=1)
    executor.offer(chunk(0, length=8), 0)
    assert executor.committed(0).shape == (1, 8)
    assert xs(executor, 1, 3) == [0.0, 1.0, 2.0]  # while the next answer is on its way, its observation at 0.5 PERIOD
    executor.offer(chunk(PERIOD // 2, length=8), 3 * PERIOD)  # two were executed since
    assert xs(executor, 3 * PERIOD, 1)[0] == pytest.approx(2.0, abs=1.0)
    assert len(executor.committed(4 * PERIOD)) == 2  # the longest delay so far is expected next time
    left = np.concatenate([executor.committed(4 * PERIOD), executor.planned(4 * PERIOD)])
    np.testing.assert_allclose(xs(executor, 4 * PERIOD, 5), 1e3 * left[:, 0], atol=1e-3)


def test_prefetch_changes_over_softly_and_exactly_as_real_time_chunking_says():
    executor = Prefetch(replan=1)
    executor.offer(chunk(0, length=4), 0)
    executor.offer(chunk(1, first=1.0, length=6), 2)  # nothing executed meanwhile: overlap of 4
    share = np.array([4, 3, 2, 1]) / 5
    weight = share * np.expm1(share) / np.expm1(1)
    old, new = np.arange(4), 1000 + np.arange(6)
    expected = [*(weight * old + (1 - weight) * new[:4]), *new[4:]]
    np.testing.assert_allclose(xs(executor, 3, 6), expected, atol=1e-2)


def test_prefetch_asks_in_time_for_the_longest_delay_so_far():
    executor = Prefetch(replan=100)  # only the delay decides
    executor.offer(chunk(0, length=6, valid=100), 0)
    xs(executor, 1, 5)
    executor.offer(chunk(2, length=20, valid=100), 6 * PERIOD)  # 4 executed since 2 ns: at moments 1 + PERIOD and later
    assert len(executor.committed(6 * PERIOD)) == 4
    asked = [executor.wants(7 * PERIOD + i * PERIOD) for i in range(14) if executor.take(7 * PERIOD + i * PERIOD)]
    assert asked.index(True) == 20 - 4 - 4 - 1


def test_an_answer_that_took_longer_than_its_chunk_is_dropped():
    executor = Prefetch()
    executor.offer(chunk(0, length=8, valid=100), 0)
    xs(executor, 1, 5)
    executor.offer(chunk(1, length=3, valid=100), 6 * PERIOD)
    assert executor.counts == {"too_slow": 1}
    assert xs(executor, 7 * PERIOD, 1) == [5.0]


def test_ensemble_weighs_the_oldest_most():
    executor = Ensemble(decay=1.0)
    executor.offer(chunk(0), 0)
    executor.offer(chunk(1, first=1.0), 2)
    old, new = 1.0, np.exp(-1.0)
    assert xs(executor, 3, 1)[0] == pytest.approx(1000 * new / (old + new), abs=1e-2)


def test_ensemble_matches_actions_of_the_same_moment():
    executor = Ensemble()
    executor.offer(chunk(0), 0)
    assert xs(executor, 1, 2) == [0.0, 1.0]
    executor.offer(chunk(2 * PERIOD, first=0.002), 2 * PERIOD)  # seen after both: its first is the old one's third
    assert xs(executor, 2 * PERIOD, 3) == [2.0, 3.0, 4.0]


def test_rotations_are_averaged_as_rotations():
    blend, actions = Blend(CANONICAL_ARM), np.zeros((2, 8))
    actions[:, 3:6] = [[0.0, 0.0, np.pi - 0.1], [0.0, 0.0, -np.pi + 0.1]]  # 0.2 rad apart, across the wrap
    mean = blend(actions, np.ones(2))
    assert rotations.angle(rotations.to_matrix(mean[3:6], "rpy")) == pytest.approx(np.pi, abs=1e-6)


def test_grippers_that_choose_are_voted_and_others_averaged():
    blend, actions = Blend(CANONICAL_ARM), np.zeros((3, 8))
    actions[:, 6] = [1.0, 0.0, 0.98]
    actions[:, 7] = [0.0, 1.0, 0.0]
    assert list(blend(actions, np.ones(3))[6:]) == [1.0, 0.0]
    actions[:, 6] = [0.5, 0.6, 0.7]
    assert blend(actions, np.ones(3))[6] == pytest.approx(0.6)


def test_unknown_names_and_settings_are_refused():
    with pytest.raises(UserError, match="did you mean 'prefetch'"):
        make_executor("prefech")
    with pytest.raises(UserError, match="at least 1"):
        make_executor("receding", replan=0)
    with pytest.raises(UserError, match="at least 0"):
        Ensemble(decay=-1.0)
