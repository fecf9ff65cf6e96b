"""Slow actions arrive where the fast ones did."""

import dataclasses

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from rtx.data.catalogue import RECORDS
from rtx.data.oxe.layouts import TOOL_DELTA_POS, TOOL_DELTA_ROT
from rtx.data.record import Trajectory
from rtx.data.resample import resample
from rtx.embodiment import CANONICAL, CANONICAL_ARM, ActionField, ActionSpace, Layout
from rtx.errors import UserError
from rtx.robots.fields import base_delta, joint_delta, joint_pos


def arm_trajectory(num_steps: int) -> Trajectory:
    rng = np.random.default_rng(num_steps)
    action = rng.uniform(-0.5, 0.5, (num_steps, 8)).astype(np.float32)
    action[:, 6], action[:, 7] = np.arange(num_steps) % 2, np.arange(num_steps) == num_steps - 1
    return {"action": action, "observation": {"x": np.arange(num_steps)}, "_frame_index": np.arange(num_steps)}


def poses(action: np.ndarray) -> tuple[np.ndarray, Rotation]:
    """Where the arm is at the end, starting at the origin, integrated step by step."""
    pos, rot = np.zeros(3), Rotation.identity()
    for one in action.astype(np.float64):
        pos, rot = pos + one[:3], Rotation.from_euler("xyz", one[3:6]) * rot
    return pos, rot


@pytest.mark.parametrize(("num_steps", "stride"), [(9, 3), (10, 3), (1, 4), (7, 1), (0, 2)])
def test_an_arm_arrives_at_the_same_pose(num_steps: int, stride: int):
    fast = arm_trajectory(num_steps)
    slow = resample(fast, CANONICAL, stride)
    assert slow["_frame_index"].tolist() == slow["observation"]["x"].tolist() == list(range(0, num_steps, stride))
    assert slow["action"].dtype == np.float32
    for group in range(len(slow["action"])):
        (pos, rot), (slow_pos, slow_rot) = poses(fast["action"][: (group + 1) * stride]), poses(slow["action"][: group + 1])
        np.testing.assert_allclose(slow_pos, pos, atol=1e-6 * num_steps)
        assert (slow_rot * rot.inv()).magnitude() < 1e-5
        assert slow["action"][group, 6] == fast["action"][: (group + 1) * stride][-1, 6], "the gripper's last command"
    if num_steps:
        assert slow["action"][-1, 7] == 1, "the end is not lost"


def test_a_base_is_carried_along_its_own_heading():
    layout = Layout(action=ActionSpace(fields=base_delta()), proprio=CANONICAL.proprio)
    quarter = np.array([[1.0, 0.0, np.pi / 2]] * 4, np.float32)  # one metre ahead, then to the left: a square
    slow = resample({"action": quarter, "_frame_index": np.arange(4)}, layout, 2)["action"]
    np.testing.assert_allclose(slow, [[1, 1, np.pi]] * 2, atol=1e-6)
    np.testing.assert_allclose(
        resample({"action": quarter, "_frame_index": np.arange(4)}, layout, 4)["action"], [[0, 0, 2 * np.pi]], atol=1e-6
    )


def test_motion_in_the_gripper_frame_is_carried_along_the_gripper():
    """p' = p + R d, R' = R A, from step to step."""
    layout = Layout(action=ActionSpace(fields=(TOOL_DELTA_POS, TOOL_DELTA_ROT)))
    fast = np.random.default_rng(0).uniform(-0.5, 0.5, (7, 6)).astype(np.float32)
    slow = resample({"action": fast, "_frame_index": np.arange(7)}, layout, 3)["action"]
    ends = []
    for action in (fast, slow):
        pos, rot = np.zeros(3), Rotation.identity()
        for one in action.astype(np.float64):
            pos, rot = pos + rot.apply(one[:3]), rot * Rotation.from_euler("xyz", one[3:])
        ends.append((pos, rot))
    assert len(slow) == 3
    np.testing.assert_allclose(ends[0][0], ends[1][0], atol=1e-6)
    assert (ends[0][1] * ends[1][1].inv()).magnitude() < 1e-6


def test_joint_changes_add_and_targets_are_the_last():
    layout = Layout(action=ActionSpace(fields=(joint_delta(2), joint_pos(1))))
    action = np.array([[1, 2, 10], [3, 4, 20], [5, 6, 30]], np.float32)
    slow = resample({"action": action, "_frame_index": np.arange(3)}, layout, 2)
    assert slow["action"].tolist() == [[4, 6, 20], [5, 6, 30]]


def test_a_velocity_is_refused():
    field = ActionField(name="base_vel", width=1, kind="base_vel", unit="m/s")
    with pytest.raises(UserError, match="give the data set a displacement"):
        resample({"action": np.zeros((4, 1), np.float32)}, Layout(action=ActionSpace(fields=(field,))), 2)


def test_a_record_at_another_rate_says_so_everywhere():
    record = RECORDS["sim_panda"]  # 5 Hz
    slow = record.at_hz(2.4)
    assert (slow.stride, slow.embodiment.control_hz) == (2, 2.5)
    assert slow.fingerprint() != record.fingerprint()
    assert record.at_hz(100.0) == record
    assert dataclasses.replace(record, stride=1) == record
    assert slow.layout.action == CANONICAL_ARM
    with pytest.raises(UserError, match="rate of 0"):
        record.at_hz(0.0)
