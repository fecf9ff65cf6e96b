"""Motion measured from proprio is the motion that was made, for arms, joints and bases."""

import dataclasses
from pathlib import Path

import numpy as np

from rtx.data.measured import measured_motion
from rtx.data.oxe.layouts import BASE, TWO_ARMS, joints
from rtx.data.prepared import PreparedSplit
from rtx.embodiment import Layout
from rtx.robots import fields, rotations
from tests.data.tiny_sets import tiny_set

STEPS = 6


def split(folder: Path, layout: Layout, proprio: np.ndarray) -> PreparedSplit:
    """One episode of `STEPS` steps, then one of a single step."""
    part = tiny_set(folder, lengths=(STEPS, 1)).split("train")
    np.save(folder / "train" / "proprio.npy", np.concatenate([proprio, proprio[-1:]]).astype(np.float32))
    return part


def test_a_base_turning_and_driving(tmp_path: Path):
    rng = np.random.default_rng(0)
    forward, turn = rng.normal(0, 0.2, (STEPS - 1, 2)), rng.uniform(-2, 2, STEPS - 1)
    position, yaw, rows = np.zeros(2), 3.0, []
    for step in range(STEPS):
        rows.append([*position, np.cos(yaw), np.sin(yaw)])
        if step < STEPS - 1:
            rotation = np.array([[np.cos(yaw), -np.sin(yaw)], [np.sin(yaw), np.cos(yaw)]])
            position, yaw = position + rotation @ forward[step], yaw + turn[step]
    moved = measured_motion(BASE, split(tmp_path, BASE, np.array(rows)), np.arange(STEPS + 1))
    np.testing.assert_allclose(moved[: STEPS - 1], np.column_stack([forward, turn]), atol=1e-5)
    assert np.isnan(moved[STEPS - 1 :]).all(), "nothing follows the last step of an episode"


def test_the_left_arm_is_measured_by_the_left_hand(tmp_path: Path):
    rng = np.random.default_rng(1)
    deltas, proprio = rng.normal(0, 0.1, (2, STEPS, 6)), []
    poses = [[np.zeros(3), np.eye(3)] for _ in range(2)]
    for step in range(STEPS):
        proprio.append(np.concatenate([[*position, *rotations.from_matrix(turn, "rot6d"), 0.25] for position, turn in poses]))
        for pose, delta in zip(poses, deltas[:, step], strict=True):
            pose[0], pose[1] = pose[0] + delta[:3], rotations.to_matrix(delta[3:], "rpy") @ pose[1]
    layout = TWO_ARMS.without("proprio.left_gripper")
    moved = measured_motion(layout, split(tmp_path, layout, np.array(proprio)), np.arange(STEPS - 1))
    np.testing.assert_allclose(moved[:, :6], deltas[0, : STEPS - 1], atol=1e-5)
    np.testing.assert_allclose(moved[:, 8:14], deltas[1, : STEPS - 1], atol=1e-5)
    assert (moved[:, 6] == 0.25).all()
    assert np.isnan(moved[:, [7, 14]]).all(), "terminate has no measurement, the left gripper's is unknown"


def test_joints_as_targets_and_as_changes(tmp_path: Path):
    proprio = np.random.default_rng(2).normal(size=(STEPS, 7))
    for make, expected in ((fields.joint_pos, proprio[1:]), (fields.joint_delta, np.diff(proprio, axis=0))):
        layout = joints(make(7), proprio=(fields.joint_state(7),))
        moved = measured_motion(layout, split(tmp_path / make.__name__, layout, proprio), np.arange(STEPS - 1))
        np.testing.assert_allclose(moved[:, :7], expected, atol=1e-6)
        unknown = dataclasses.replace(layout, action_mask=(False,) * 8)
        assert np.isnan(measured_motion(unknown, split(tmp_path / f"{make.__name__}_", layout, proprio), np.arange(3))).all()
