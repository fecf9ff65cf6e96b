"""Two arms behind one guard: each within its own limits, also when what was meant for one comes for the other.

ALOHA in joints, its arms kept to different ranges as training data keep them, so that a swapped command is outside of them;
two xArms by poses. The long run: `python -m pytest -m slow tests/control/test_guard_two_arms.py -s`.
"""

import dataclasses

import numpy as np
import pytest

from rtx.control.guard import Guard
from rtx.control.guard_log import GuardLog, replay
from rtx.control.judge import Command
from rtx.embodiment import CANONICAL_ARM, CANONICAL_PROPRIO, ActionSpace, Layout
from rtx.robots import fields
from rtx.robots.adapter import Adapter
from rtx.robots.catalogue import ROBOTS
from rtx.robots.limits import limits_of
from rtx.spec import FieldStatistics, Statistics
from tests.control.adversary import EVENTS, KINDS, Adversary
from tests.control.test_guard_adversary import must_be_safe
from tests.control.witness import Clock, PointArm, widened

RIGHT = np.array([0.5, -0.4, 0.6, 0.2, 1.0, -0.3])  # rad: where the right arm works
LEFT = np.array([-0.5, -1.0, 0.1, -0.2, 0.2, 0.3])
REACH = 0.25  # rad to either side, of each


def aloha_layout() -> Layout:
    """Right arm first, as policies have it; the robot's own vector begins with the left one."""
    arm, state = (fields.joint_pos(6), CANONICAL_ARM.fields[2]), (fields.joint_state(6), CANONICAL_PROPRIO[2])
    return Layout(
        action=ActionSpace(fields=(*arm, *(fields.left(field) for field in arm))),
        proprio=(*state, *(fields.left(field) for field in state)),
    )


def poses_layout() -> Layout:
    """Of two xArms, whose state has no grippers."""
    both = (*CANONICAL_ARM.fields, *(fields.left(field) for field in CANONICAL_ARM.fields[:3]))
    state = (*CANONICAL_PROPRIO, *(fields.left(field) for field in CANONICAL_PROPRIO))
    return Layout(action=ActionSpace(fields=both), proprio=state).without("proprio.gripper", "proprio.left_gripper")


def aloha():
    """Embodiment, layout, limits narrowed to the data, where each arm rests (the layout's order)."""
    robot, layout = ROBOTS["aloha"], aloha_layout()
    rest = np.concatenate([RIGHT, [0.5], LEFT, [0.5]])
    reach = np.concatenate([np.full(6, REACH), [0.5]] * 2)
    seen = tuple((rest - reach).tolist()), tuple((rest + reach).tolist())
    known = FieldStatistics(
        mean=tuple(rest.tolist()), std=tuple((reach / 2).tolist()), min=seen[0], max=seen[1], q01=seen[0], q99=seen[1],
        count=1000,
    )  # fmt: skip
    statistics = Statistics(action=known, proprio=known, num_episodes=50, source="a test")
    return robot, layout, limits_of(robot, statistics, layout=layout), rest


def xarms():
    """In a box of 10 cm, so that they come to its walls."""
    robot = ROBOTS["xarm_bimanual"]
    limits = dataclasses.replace(robot.limits, workspace_low_m=(0.3, -0.05, 0.2), workspace_high_m=(0.4, 0.05, 0.3))
    return robot, poses_layout(), limits, 0.0


def attacked(made, commands, *, seed=7, log=None, allowed=None, lies=False):
    """`allowed`: what the guard takes for the limits, where the witness knows the right ones."""
    (robot, layout, limits, rest), clock = made, Clock()
    arm = PointArm(robot, clock, limits=limits)
    if arm.num_joints:
        arm.joints[:] = np.concatenate([LEFT, RIGHT])  # the robot's own order
    guard = Guard(arm, Adapter(robot, layout), allowed or limits, layout=layout, log=GuardLog(log))
    guard.connect()
    adversary = Adversary(guard, arm, clock, layout.action, seed=seed, lies=lies, rest=rest).run(commands)
    status = guard.status
    guard.close()
    return adversary, arm, status


@pytest.mark.parametrize("make", [aloha, xarms])
def test_two_arms_stay_within_their_limits(make, tmp_path):
    made = make()
    adversary, arm, status = attacked(made, 300, log=tmp_path / "guard.jsonl")
    must_be_safe(adversary, arm, 300)
    assert set(adversary.sent) == set(KINDS)
    assert {"non_finite", "bad_shape", "stale"} <= set(status.refusals)
    assert {"joint_range", "joint_velocity"} <= set(status.refusals) or {"workspace", "step_m"} <= set(status.refusals)
    again = replay(tmp_path / "guard.jsonl", Adapter(*made[:2]))
    assert again.verdicts > 100
    assert again.different == ()


def test_each_arm_has_the_range_its_own_data_had():
    """In the robot's own order, left arm first."""
    limits = aloha()[2]
    middle = (np.array(limits.joint_low_rad) + np.array(limits.joint_high_rad)) / 2
    np.testing.assert_allclose(middle, np.concatenate([LEFT, RIGHT]), atol=0.05)


def test_what_was_meant_for_the_other_arm_ends_at_the_wall():
    """The swapped command goes as far as the arm's own range, and no further, however often it comes."""
    (robot, layout, limits, rest), clock = aloha(), Clock()
    arm = PointArm(robot, clock, limits=limits)
    arm.joints[:] = np.concatenate([LEFT, RIGHT])
    guard = Guard(arm, Adapter(robot, layout), limits, layout=layout)
    guard.connect()
    guard.arm(clock())
    for number in range(200):
        clock.advance(1 / robot.control_hz)
        stamp, swapped = clock(), np.concatenate([rest[7:], rest[:7]])
        guard.submit(Command(number=number, values=swapped, stamp_ns=stamp, valid_until_ns=stamp + 10**9))
        guard.tick(stamp)
    assert arm.problems == []
    low, high = np.array(limits.joint_low_rad), np.array(limits.joint_high_rad)
    wanted = np.concatenate([RIGHT, LEFT])
    np.testing.assert_allclose(arm.joints, np.clip(wanted, low, high), atol=1e-4)
    assert np.abs(arm.joints - wanted).max() > 0.1


def test_the_witness_sees_arms_that_were_given_each_others_limits():
    made = aloha()
    limits = made[2]
    turned = dataclasses.replace(
        limits, joint_low_rad=(*limits.joint_low_rad[6:], *limits.joint_low_rad[:6]),
        joint_high_rad=(*limits.joint_high_rad[6:], *limits.joint_high_rad[:6]),
    )  # fmt: skip
    _, arm, _ = attacked(made, 200, allowed=turned)
    assert any(problem.startswith("joint targets") for problem in arm.problems)


def test_the_witness_sees_what_a_broken_filter_lets_through_of_either_hand():
    made = xarms()
    _, arm, _ = attacked(made, 200, allowed=widened(made[2], 3.0))
    assert {"step", "turns"} <= {problem.split()[0] for problem in arm.problems}


@pytest.mark.slow
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("make", [aloha, xarms])
def test_forty_thousand_commands_for_two_arms(make, tmp_path):
    made = make()
    adversary, arm, status = attacked(made, 20_000, seed=3, log=tmp_path / "guard.jsonl")
    must_be_safe(adversary, arm, 20_000)
    assert set(adversary.happened) == set(EVENTS)
    again = replay(tmp_path / "guard.jsonl", Adapter(*made[:2]))
    assert again.different == ()
    print(make.__name__, adversary.number, arm.commands, again.verdicts, adversary.rearmed, dict(adversary.happened))
    print(dict(adversary.sent), status.refusals)
