"""Moves that standardize functions share."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from rtx.data.standardize import (
    absolute_gripper,
    binarize_gripper,
    canonical_action,
    canonical_proprio,
    cut,
    pose_matrix,
    reached,
)


@given(values=st.lists(st.floats(0, 1), max_size=30))
def test_binarize_is_octos_backward_scan(values):
    """Written as the scan it stands for: from the end, undecided steps carry what comes after them."""
    expected, carry = [], values[-1] if values else None
    for value in reversed(values):
        carry = 1.0 if value > 0.95 else 0.0 if value < 0.05 else carry
        expected.append(carry)
    np.testing.assert_array_equal(binarize_gripper(np.array(values, np.float64)), expected[::-1])


@given(seed=st.integers(0, 1000), num_steps=st.integers(2, 8))
def test_reached_replays_the_poses_through_any_wrap(seed, num_steps):
    rng = np.random.default_rng(seed)
    pos, rot = rng.normal(size=(num_steps, 3)), Rotation.random(num_steps, random_state=seed)
    start = {"_frame_index": np.arange(num_steps)}
    result = reached(start, pos=pos, rot=rot.as_matrix(), gripper=np.ones(num_steps), opening=None)
    action = result["action"].astype(np.float64)
    where, turned = pos[0], rot[0]
    for t, one in enumerate(action, start=1):
        where, turned = where + one[:3], Rotation.from_euler("xyz", one[3:6]) * turned
        np.testing.assert_allclose(where, pos[t], atol=1e-5)
        assert (turned * rot[t].inv()).magnitude() < 1e-5


def test_a_small_turn_across_pi_is_small():
    """Subtracting Euler angles would give a turn of nearly a full circle."""
    before, after = Rotation.from_euler("xyz", [np.pi - 0.01, 0, 0]), Rotation.from_euler("xyz", [-np.pi + 0.01, 0, 0])
    rot = np.stack([before.as_matrix(), after.as_matrix()])
    result = reached({"_frame_index": np.arange(2)}, pos=np.zeros((2, 3)), rot=rot, gripper=None, opening=None)
    rpy = result["action"][0, 3:6]
    np.testing.assert_allclose(rpy, [0.02, 0, 0], atol=1e-6)


def test_cut_reaches_every_nested_array():
    trajectory = {"a": np.arange(5), "observation": {"b": np.arange(10).reshape(5, 2), "c": {"d": np.arange(5)}}}
    shorter = cut(trajectory, slice(1, 3))
    assert shorter["a"].tolist() == [1, 2]
    assert shorter["observation"]["b"].tolist() == [[2, 3], [4, 5]]
    assert cut(trajectory, np.array([4, 0]))["observation"]["c"]["d"].tolist() == [4, 0]
    assert trajectory["a"].tolist() == [0, 1, 2, 3, 4]


def test_gripper_is_clipped_and_rot6d_is_two_columns():
    rot = Rotation.random(2, random_state=0).as_matrix()
    proprio = canonical_proprio(np.zeros((2, 3)), rot, np.array([1.007, -0.1]))
    assert proprio[:, 9].tolist() == [1.0, 0.0]
    np.testing.assert_allclose(proprio[:, 3:9], np.concatenate([rot[..., 0], rot[..., 1]], -1), atol=1e-7)
    assert proprio.dtype == np.float32
    assert canonical_action(np.zeros((2, 3)), rot, np.array([1.2, 0.5]), np.array([False, True]))[:, 6:].tolist() == [
        [1, 0],
        [0.5, 1],
    ]


@pytest.mark.parametrize("value", [0.0, 0.3, 1.0])
def test_binarize_of_a_constant(value):
    assert binarize_gripper(np.full(4, value)).tolist() == [value] * 4


@pytest.mark.parametrize(
    ("relative", "expected"),
    [
        ([0, 0, 1, 0, -1, 0.05], [1, 1, 0, 0, 1, 1]),
        ([0, -0.5, 0, 0.2], [0, 1, 1, 0]),
        ([0, 0.1, -0.1], [1, 1, 1]),
        ([], []),
    ],
)
def test_relative_gripper_commands_are_carried_forward(relative, expected):
    """Close is positive; before the first command the gripper is the other way; no command at all: open."""
    assert absolute_gripper(np.array(relative, np.float64)).tolist() == expected


def test_poses_stored_column_after_column():
    pose = np.tile(np.eye(4), (3, 1, 1))
    pose[:, :3, :3], pose[:, :3, 3] = Rotation.random(3, random_state=1).as_matrix(), np.arange(9).reshape(3, 3)
    pos, rot = pose_matrix(np.swapaxes(pose, 1, 2).reshape(3, 16).astype(np.float32).astype(np.float64))
    np.testing.assert_array_equal(pos, pose[:, :3, 3])
    np.testing.assert_allclose(rot, pose[:, :3, :3], atol=1e-6)
    np.testing.assert_allclose(rot @ np.swapaxes(rot, 1, 2), np.tile(np.eye(3), (3, 1, 1)), atol=1e-12)


def test_reached_keeps_the_terminate_of_the_step_it_drops():
    trajectory = {"_frame_index": np.arange(4), "other": np.arange(4)}
    pos, rot = np.arange(12.0).reshape(4, 3), Rotation.random(4, random_state=2).as_matrix()
    result = reached(trajectory, pos=pos, rot=rot, gripper=np.ones(4), opening=None, terminate=np.array([0, 0, 0, 1]))
    assert result["other"].tolist() == result["_frame_index"].tolist() == [0, 1, 2]
    assert result["action"][:, 7].tolist() == [0, 0, 1]
    assert result["action"][:, :3].tolist() == [[3.0] * 3] * 3
    assert not result["proprio"][:, 9].any()
    short = reached(trajectory, pos=pos[:1], rot=None, gripper=None, opening=None)
    assert short["action"].shape == (0, 8)
    assert short["_frame_index"].shape == (0,)
