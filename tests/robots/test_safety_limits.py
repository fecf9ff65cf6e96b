"""Limits are what robot file and training data have in common, for arms and for joints; joints and two arms are bounded too."""

import dataclasses

import numpy as np
import pytest

from rtx.embodiment import CANONICAL, CANONICAL_ARM, ActionSpace, Layout
from rtx.errors import UserError
from rtx.robots import fields
from rtx.robots.limits import limits_of
from rtx.robots.safety import SafetyFilter
from rtx.robots.sim_arms import SIM_ARMS
from rtx.spec import FieldStatistics, Statistics

PANDA = SIM_ARMS["sim_panda"]  # box x 0.25 .. 0.75, y -0.28 .. 0.28, z 0.005 .. 0.42; step 0.08 m, 0.4 rad


def of(low, high):
    low, high = [float(x) for x in low], [float(x) for x in high]
    middle = tuple((a + b) / 2 for a, b in zip(low, high, strict=True))
    return FieldStatistics(mean=middle, std=middle, min=tuple(low), max=tuple(high), q01=tuple(low), q99=tuple(high), count=100)


def statistics(*, x=(0.4, 0.6), y=(-0.1, 0.1), z=(0.05, 0.2), step=0.03, turn=0.1):
    low, high = zip(x, y, z, strict=True)
    turns = [-turn] * 3
    return Statistics(
        action=of([-step] * 3 + turns + [0, 0], [step] * 3 + [turn] * 3 + [1, 1]),
        proprio=of([*low, *[-1] * 6, 0], [*high, *[1] * 6, 1]), num_episodes=7, source="a test",
    )  # fmt: skip


def test_the_box_is_where_the_data_was_and_a_margin_more():
    limits = limits_of(PANDA, statistics())
    np.testing.assert_allclose(limits.workspace_low_m, [0.38, -0.12, 0.03], atol=1e-9)
    np.testing.assert_allclose(limits.workspace_high_m, [0.62, 0.12, 0.22], atol=1e-9)
    assert limits.max_step_m == pytest.approx(1.1 * 0.03 * 3**0.5)
    assert limits.max_velocity_m_s == pytest.approx(5 * 1.1 * 0.03 * 3**0.5)
    assert limits.max_step_rad == pytest.approx(1.1 * 0.1 * 3**0.5)
    assert "7 training episodes" in limits.source


def test_data_never_widens_what_the_robot_file_allows():
    limits = limits_of(PANDA, statistics(x=(-5, 5), y=(-5, 5), z=(-5, 5), step=2.0, turn=3.0))
    own = PANDA.limits
    assert dataclasses.replace(limits, source=own.source) == own


def test_a_place_the_data_never_saw_is_refused_with_the_axis():
    with pytest.raises(UserError, match=r"no place in common: z: robot file 0.005 .. 0.42 m, data 0.98 .. 1.22 m"):
        limits_of(PANDA, statistics(z=(1.0, 1.2)))


def test_what_the_data_does_not_know_bounds_nothing():
    layout = CANONICAL.without("proprio", "delta_rot")
    limits = limits_of(PANDA, statistics(), layout=layout)
    assert limits.workspace_low_m == PANDA.limits.workspace_low_m
    assert limits.max_step_rad == PANDA.limits.max_step_rad
    with pytest.raises(UserError, match="10 proprio dimensions, the layout has"):
        limits_of(PANDA, statistics(), layout=Layout(proprio=CANONICAL.proprio[:2]))


JOINTS = ActionSpace(fields=(fields.joint_pos(2, prefix="left_"), fields.joint_pos(2)))
STATE = (fields.joint_state(2, prefix="left_"), fields.joint_state(2))
TWO = dataclasses.replace(
    PANDA, name="two", action=JOINTS, proprio=STATE, kinematics=None,
    limits=dataclasses.replace(
        PANDA.limits, joint_low_rad=(-1.0, -2.0), joint_high_rad=(1.0, 2.0), max_joint_velocity_rad_s=(0.5, 1.0),
        max_velocity_m_s=0.4, max_acceleration_m_s2=4.0,
    ),
)  # fmt: skip


def test_joint_ranges_come_in_the_robots_order_once_for_each_arm():
    right_first = Layout(action=ActionSpace(fields=JOINTS.fields[::-1]), proprio=STATE[::-1])
    seen = Statistics(
        action=of([-9] * 4, [9] * 4), proprio=of([0.1, 0.2, -0.5, -0.6], [0.3, 0.4, 0.5, 0.6]), num_episodes=1, source="t"
    )
    limits = limits_of(TWO, seen, layout=right_first)
    np.testing.assert_allclose(limits.joint_low_rad, [-0.6, -0.72, 0.05, 0.15], atol=1e-9)  # left, then right
    np.testing.assert_allclose(limits.joint_high_rad, [0.6, 0.72, 0.35, 0.45], atol=1e-9)
    assert limits.max_joint_velocity_rad_s == (0.5, 1.0, 0.5, 1.0)


def checked(safety, targets, joints, step):
    now = 10**12 + step * 200_000_000
    return safety.check(np.array(targets), joints=np.array(joints), stamp_ns=now, valid_until_ns=now + 10, now_ns=now)


def test_joints_of_both_arms_keep_range_speed_and_acceleration():
    safety, q = SafetyFilter(TWO.limits, control_hz=5.0, space=JOINTS, joints=np.zeros(4)), np.zeros(4)
    rng, speed, before = np.random.default_rng(5), np.array([0.5, 1.0, 0.5, 1.0]), np.zeros(4)
    for step in range(300):
        verdict = checked(safety, rng.normal(0, 3, 4), q, step)
        move = (verdict.action - q) * 5
        assert np.all(np.abs(move) <= speed * (1 + 1e-4))
        assert np.all(np.abs(verdict.action) <= np.array([1, 2, 1, 2]) + 1e-6)
        speeding = np.maximum(np.abs(move) - np.abs(before), 0) * (np.sign(move) == np.sign(before))
        assert np.all(speeding <= speed * 10 * 0.2 + 1e-4)
        q, before = verdict.action.astype(float), move
    assert {"joint_range", "joint_velocity"} <= set(safety.counts)


def test_swapped_arms_come_there_slowly_if_at_all():
    safety = SafetyFilter(TWO.limits, control_hz=5.0, space=JOINTS, joints=np.array([0.9, 1.5, -0.9, -1.5]))
    verdict = checked(safety, [-0.9, -1.5, 0.9, 1.5], [0.9, 1.5, -0.9, -1.5], 0)
    np.testing.assert_allclose(verdict.action, [0.8, 1.3, -0.8, -1.3], atol=1e-6)
    assert verdict.reasons == ("joint_velocity",)


def test_a_hold_keeps_joint_targets_where_they_were_last_sent():
    safety = SafetyFilter(TWO.limits, control_hz=5.0, space=JOINTS, joints=np.zeros(4))
    sent = checked(safety, [0.05, 0.05, 0.05, 0.05], np.zeros(4), 0).action
    held = checked(safety, [np.nan, 0.0, 0.0, 0.0], np.zeros(4), 1)
    assert held.reasons == ("non_finite",)
    np.testing.assert_array_equal(held.action, sent)


def test_two_hands_have_boxes_of_their_own():
    left = tuple(dataclasses.replace(field, name=f"left_{field.name}") for field in CANONICAL_ARM.fields[:3])
    safety = SafetyFilter(PANDA.limits, control_hz=5.0, space=ActionSpace(fields=(*CANONICAL_ARM.fields, *left)))
    action = np.zeros(15)
    action[0], action[8] = 0.05, 0.05
    verdict = safety.check(action, eef_pos=np.array([0.5, 0, 0.2, 0.74, 0, 0.2]), stamp_ns=0, valid_until_ns=10, now_ns=0)
    np.testing.assert_allclose(verdict.action[[0, 8]], [0.05, 0.01], atol=1e-6)
    assert verdict.reasons == ("workspace",)


def test_what_cannot_be_bounded_is_refused_when_the_filter_is_made():
    with pytest.raises(UserError, match="cannot be bounded"):
        SafetyFilter(PANDA.limits, control_hz=5.0, space=ActionSpace(fields=(fields.abs_pos(),)))
    with pytest.raises(UserError, match="joint_low_rad has 2 joints, the action has 3"):
        SafetyFilter(TWO.limits, control_hz=5.0, space=ActionSpace(fields=(fields.joint_pos(3),)))
