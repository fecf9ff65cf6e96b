"""No action leaves the filter outside the limits, harmless ones pass untouched, doubtful ones become a hold."""

import dataclasses

import numpy as np
import pytest

from rtx.embodiment import Limits
from rtx.errors import UserError
from rtx.robots import rotations
from rtx.robots.safety import SafetyFilter
from rtx.robots.sim_arms import SIM_ARMS

LIMITS = Limits(
    workspace_low_m=(0.2, -0.3, 0.0), workspace_high_m=(0.7, 0.3, 0.5), max_step_m=0.05, max_step_rad=0.3,
    max_velocity_m_s=0.25, max_acceleration_m_s2=5.0,
)  # fmt: skip
HZ, PERIOD_NS = 5.0, 200_000_000
MIDDLE = np.array([0.45, 0.0, 0.25])


def filter_of(**changes):
    return SafetyFilter(dataclasses.replace(LIMITS, **changes), control_hz=HZ)


def check(safety, action, *, eef_pos=MIDDLE, step=0, age_ns=1_000_000):
    now = 10**12 + step * round(1e9 / safety.control_hz)
    return safety.check(action, eef_pos=eef_pos, stamp_ns=now - age_ns, valid_until_ns=now - age_ns + PERIOD_NS, now_ns=now)


def action(pos=(0, 0, 0), rot=(0, 0, 0), gripper=1.0, terminate=0.0):
    return np.array([*pos, *rot, gripper, terminate], np.float32)


def test_a_harmless_action_passes_bit_for_bit():
    safety, wanted = filter_of(), action((0.05, 0, 0), (0.1, -0.1, 0.2), 0.3)
    verdict = check(safety, wanted)
    assert (verdict.reasons, verdict.held) == ((), False)
    np.testing.assert_array_equal(verdict.action, wanted)
    assert safety.counts == {}
    assert safety.num_checked == 1


@pytest.mark.parametrize("name", SIM_ARMS)
def test_every_arm_may_reverse_at_full_speed(name):
    limits = SIM_ARMS[name].limits
    safety = SafetyFilter(limits, control_hz=SIM_ARMS[name].control_hz)
    middle = (np.array(limits.workspace_low_m) + limits.workspace_high_m) / 2
    for step in range(4):
        wanted = action((0, limits.max_step_m * (-1) ** step, 0))
        assert check(safety, wanted, eef_pos=middle, step=step).reasons == ()


def test_whatever_comes_in_what_goes_out_is_within_the_limits():
    rng, safety, here, velocity = np.random.default_rng(11), filter_of(), MIDDLE.copy(), np.zeros(3)
    for step in range(500):
        wanted = rng.normal(size=8) * rng.choice([0.01, 0.1, 3.0])
        out = check(safety, wanted, eef_pos=here, step=step).action.astype(float)
        assert np.linalg.norm(out[:3]) <= 0.05 * (1 + 1e-5)
        assert rotations.angle(rotations.to_matrix(out[3:6], "rpy")) <= 0.3 * (1 + 1e-5)
        assert np.all((out[6:] >= 0) & (out[6:] <= 1))
        here = here + out[:3]
        assert np.all(here >= np.array(LIMITS.workspace_low_m) - 1e-6)
        assert np.all(here <= np.array(LIMITS.workspace_high_m) + 1e-6)
        velocity = out[:3] * HZ
    assert np.linalg.norm(velocity) <= 0.25 * (1 + 1e-5)
    assert {"workspace", "step_m", "step_rad", "gripper", "terminate"} <= set(safety.counts)


def test_the_target_stops_at_the_wall():
    verdict = check(filter_of(), action((0.04, 0.01, 0)), eef_pos=[0.69, 0.0, 0.25])
    np.testing.assert_allclose(verdict.action[:3], [0.01, 0.01, 0], atol=1e-7)
    assert verdict.reasons == ("workspace",)


def test_outside_the_box_it_may_come_back_or_stay_but_not_go_on():
    outside, safety = [0.75, 0.0, 0.25], filter_of()
    assert check(safety, action((0.04, 0, 0)), eef_pos=outside, step=0).reasons == ("workspace",)
    np.testing.assert_array_equal(check(safety, action((0.04, 0, 0)), eef_pos=outside, step=1).action[:3], 0)
    np.testing.assert_array_equal(check(safety, action(), eef_pos=outside, step=2).action[:3], 0)
    assert check(safety, action((-0.04, 0, 0)), eef_pos=outside, step=3).reasons == ()


def test_a_long_step_keeps_its_direction():
    verdict = check(filter_of(max_velocity_m_s=9.0, max_acceleration_m_s2=99.0), action((0.06, 0.08, 0)))
    np.testing.assert_allclose(verdict.action[:3], [0.03, 0.04, 0], atol=1e-7)
    assert verdict.reasons == ("step_m",)


def test_a_wide_turn_keeps_its_axis():
    rpy = rotations.convert(np.array([0.6, 0.6, 0.0]), "axis_angle", "rpy")
    verdict = check(filter_of(), action(rot=rpy))
    turned = rotations.convert(verdict.action[3:6], "rpy", "axis_angle")
    np.testing.assert_allclose(turned, np.array([0.3, 0.3, 0]) / np.sqrt(2), atol=1e-6)
    assert verdict.reasons == ("step_rad",)


def test_velocity_follows_the_control_rate():
    slow = SafetyFilter(dataclasses.replace(LIMITS, max_velocity_m_s=0.1), control_hz=HZ)
    verdict = check(slow, action((0.05, 0, 0)))
    np.testing.assert_allclose(verdict.action[:3], [0.02, 0, 0], atol=1e-7)
    assert verdict.reasons == ("velocity",)


def test_speed_builds_up_by_the_acceleration_limit_and_braking_is_free():
    safety = filter_of(max_acceleration_m_s2=0.5)  # 0.1 m/s more each period, 0.02 m more each step
    first = check(safety, action((0.05, 0, 0)), step=0)
    assert first.reasons == ("acceleration",)
    np.testing.assert_allclose(first.action[:3], [0.02, 0, 0], atol=1e-7)
    np.testing.assert_allclose(check(safety, action((0.05, 0, 0)), step=1).action[:3], [0.04, 0, 0], atol=1e-7)
    assert check(safety, action(), step=2).reasons == ()  # a stop at once
    check(safety, action((0.02, 0, 0)), step=3)
    back = check(safety, action((-0.05, 0, 0)), step=4)  # braking is free, then away from standing still
    np.testing.assert_allclose(back.action[:3], [-0.02, 0, 0], atol=1e-7)


def test_after_a_silence_or_a_reset_the_arm_stands_still():
    safety = filter_of(max_acceleration_m_s2=0.5)
    for step in range(3):
        check(safety, action((0.05, 0, 0)), step=step)
    assert check(safety, action((0.05, 0, 0)), step=3).reasons == ()
    np.testing.assert_allclose(check(safety, action((0.05, 0, 0)), step=30).action[:3], [0.02, 0, 0], atol=1e-7)
    safety.reset()
    np.testing.assert_allclose(check(safety, action((0.05, 0, 0)), step=31).action[:3], [0.02, 0, 0], atol=1e-7)


@pytest.mark.parametrize(
    ("wanted", "eef_pos", "age_ns", "reason"),
    [
        (action((np.nan, 0, 0)), MIDDLE, 1, "non_finite"),
        (action(gripper=np.inf), MIDDLE, 1, "non_finite"),
        (action(), [np.nan, 0.0, 0.0], 1, "non_finite"),
        (np.zeros(7), MIDDLE, 1, "bad_shape"),
        (action((0.01, 0, 0)), MIDDLE, PERIOD_NS + 1, "stale"),
        (action((0.01, 0, 0)), MIDDLE, -1, "not_yet"),
    ],
)
def test_what_cannot_be_trusted_becomes_a_hold_with_the_gripper_where_it_was(wanted, eef_pos, age_ns, reason):
    safety = filter_of()
    check(safety, action((0.01, 0, 0), gripper=0.25))
    verdict = check(safety, wanted, eef_pos=eef_pos, age_ns=age_ns, step=1)
    assert (verdict.held, verdict.reasons) == (True, (reason,))
    np.testing.assert_array_equal(verdict.action, action(gripper=0.25))
    assert safety.counts == {reason: 1}


def test_an_action_is_good_until_its_last_nanosecond():
    assert not check(filter_of(), action(), age_ns=PERIOD_NS).held


def test_a_hold_before_the_first_action_leaves_the_gripper_as_it_is():
    safety = SafetyFilter(LIMITS, control_hz=HZ, gripper=0.0)
    assert check(safety, action((np.nan, 0, 0))).action[6] == 0
    safety.reset(gripper=0.5)
    assert check(safety, action((np.nan, 0, 0))).action[6] == 0.5


def test_refuses_a_rate_that_is_none():
    with pytest.raises(UserError, match="must be positive"):
        SafetyFilter(LIMITS, control_hz=0.0)
