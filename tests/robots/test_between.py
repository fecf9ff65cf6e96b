"""Actions computed from states lead from each state to the next, whatever the robot is commanded in."""

import dataclasses

import numpy as np
import pytest

from rtx.embodiment import ActionSpace
from rtx.errors import UserError
from rtx.robots import fields, rotations
from rtx.robots.adapter import Adapter
from rtx.robots.aloha import ALOHA, ALOHA_MOBILE
from rtx.robots.between import Between, intended_opening
from rtx.robots.sim_arms import SIM_ARMS

ALOHA_JOINTS = dataclasses.replace(ALOHA, kinematics=None)


def wandering(robot, count: int) -> np.ndarray:
    """Native states of an arm that moves and turns a little each period; grippers closed and opened again."""
    rng = np.random.default_rng(3)
    turn, rows = np.eye(3), []
    for t in range(count):
        turn = rotations.to_matrix(rng.normal(0, 0.1, 3), "axis_angle") @ turn
        row = []
        for field in robot.proprio:
            if field.name.endswith("gripper"):
                share = 1.0 if t < 3 or t > 8 else 0.4  # it holds something
                row.append([field.closed + share * (field.opened - field.closed)])
            elif field.rotation is not None:
                scale = 180 / np.pi if field.unit == "deg" else 1.0
                row.append(np.asarray(rotations.from_matrix(turn, field.rotation)) * scale)
            else:
                row.append(0.4 + 0.02 * t + rng.normal(0, 0.005, field.width))
        rows.append(np.concatenate(row))
    return np.array(rows)


@pytest.mark.parametrize("name", sorted(SIM_ARMS))
def test_the_motion_of_every_form_of_pose_command(name: str):
    robot, states = SIM_ARMS[name], wandering(SIM_ARMS[name], 12)
    native = Between(robot)(states)
    assert native.shape == (11, robot.action.width)
    adapter = Adapter(robot)
    canonical, pose = adapter.to_canonical(native, proprio_native=states[:-1]), adapter.proprio(states).astype(np.float64)
    np.testing.assert_allclose(pose[:-1, :3] + canonical[:, :3], pose[1:, :3], atol=1e-6)
    turned = rotations.to_matrix(canonical[:, 3:6], "rpy") @ rotations.to_matrix(pose[:-1, 3:9], "rot6d")
    np.testing.assert_allclose(turned, rotations.to_matrix(pose[1:, 3:9], "rot6d"), atol=1e-5)
    assert canonical[:, 6].round(3).tolist() == [1, 1, 0, 0, 0, 0, 0, 0, 1, 1, 1], "it closes wholly around what it holds"
    assert not canonical[:, 7].any()


def test_joint_targets_are_the_next_joints():
    states = wandering(ALOHA_JOINTS, 6)
    native = Between(ALOHA_JOINTS)(states)
    for name, at in ALOHA_JOINTS.action.slices.items():
        if "joint" in name:
            found = dict(zip([f.name for f in ALOHA_JOINTS.proprio], np.split(states, [6, 7, 13], axis=1), strict=True))
            np.testing.assert_allclose(native[:, at], found[name][1:], atol=1e-6)


@pytest.mark.parametrize(("kind", "scale"), [(fields.joint_delta, 1.0)])
def test_changes_of_joints(kind, scale: float):
    robot = dataclasses.replace(
        ALOHA_JOINTS, proprio=(fields.joint_state(6),), action=ActionSpace(fields=(kind(6),)), control_hz=10.0
    )
    states = wandering(robot, 5)
    np.testing.assert_allclose(Between(robot)(states), scale * np.diff(states, axis=0), atol=1e-6)


def test_a_gripper_is_commanded_from_where_it_begins_to_move():
    opening = np.array([0.9, 0.91, 0.9, 0.6, 0.4, 0.4, 0.41, 0.4, 0.7, 1.0, 1.0])
    assert intended_opening(opening).tolist() == [1, 0, 0, 0, 0, 0, 0, 1, 1, 1]
    assert intended_opening(np.full(4, 0.45)).tolist() == [0, 0, 0]
    assert intended_opening(np.array([0.98, 0.97, 0.99, 0.96])).tolist() == [1, 1, 1], "noise is no command"


def test_what_cannot_be_computed_is_refused():
    with pytest.raises(UserError, match="the motion of a base"):
        Between(ALOHA_MOBILE)
    blind = dataclasses.replace(ALOHA_JOINTS, proprio=ALOHA_JOINTS.proprio[1:])
    with pytest.raises(UserError, match=r"does not measure what it commands \('left_joint_pos_6'\)"):
        Between(blind)
    panda = SIM_ARMS["sim_panda"]
    with pytest.raises(UserError, match=r"gripper.* cannot be computed|cannot be computed .*gripper"):
        Between(dataclasses.replace(panda, proprio=panda.proprio[:2]))
