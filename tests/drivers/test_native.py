"""Native vectors to an arm's targets and back: units, frames, rotation forms, velocities, and poses for arms of joints only."""

import dataclasses

import numpy as np
import pytest

from rtx.drivers.arm import ArmDriver
from rtx.drivers.native import ArmModel, Measured, Translator
from rtx.embodiment import ActionField, ActionSpace, Field, Kinematics
from rtx.errors import UserError, WorldError
from rtx.robots import rotations
from rtx.robots.fields import delta_pos, delta_rot, joint_pos, joint_state
from tests.drivers.robots import arm, joint_arm, pose_arm, without_gripper

POSES = ArmModel(name="an arm", num_joints=3, takes_pose=True, knows_pose=True, has_gripper=True)
JOINTS = dataclasses.replace(POSES, takes_pose=False, knows_pose=False)
TURNED = rotations.to_matrix([0.3, -0.2, 1.0], "rpy")
HERE = Measured(joints=np.array([0.1, 0.2, 0.3]), position=np.array([0.4, 0.0, 0.3]), rotation=TURNED, opening=0.25)


def test_units_and_polarity_of_joints():
    degrees = ActionField(name="joint_pos_3", width=3, kind="joint_pos", unit="deg", frame="joint")
    shown = Field(name="joint_pos_3", width=3, unit="deg", frame="joint")
    robot = arm((degrees, *joint_arm(3).action.fields[1:]), (shown, *joint_arm(3).proprio[1:]), joints=3)
    translator = Translator(robot, POSES)
    target = translator.target(np.array([10.0, 12.0, 15.0, 1.0]), HERE)
    np.testing.assert_allclose(target.joints, np.radians([10, 12, 15]))
    assert target.opening == 0.0  # 1 is closed
    values = np.concatenate([value for _, value in translator.proprio(HERE)])
    np.testing.assert_allclose(values, [*np.degrees(HERE.joints), 0.75])


def test_changes_and_velocities_start_where_the_arm_is():
    delta = Translator(joint_arm(3, delta=True), POSES).target(np.array([0.05, 0.0, -0.05, 0.5]), HERE)
    np.testing.assert_allclose(delta.joints, [0.15, 0.2, 0.25])
    speed = ActionField(name="joint_vel_3", width=3, kind="joint_vel", unit="rad/s", frame="joint")
    robot = arm((speed,), (joint_state(3),), joints=3, hz=10.0)
    moved = Translator(robot, POSES).target(np.array([1.0, 0.0, -0.5]), HERE)
    np.testing.assert_allclose(moved.joints, [0.2, 0.2, 0.25])  # where it leads to in a tenth of a second


def test_frames_and_rotation_forms_of_poses():
    native = np.array([1.0, 2.0, -1.0, 5.0, 0.0, -5.0, 1.0])  # cm, degrees
    base = Translator(pose_arm(3), POSES).target(native, HERE)
    turn = rotations.to_matrix(np.radians([5, 0, -5]), "rpy")
    np.testing.assert_allclose(base.position, [0.41, 0.02, 0.29])
    np.testing.assert_allclose(base.rotation, turn @ TURNED, atol=1e-12)
    tool = without_gripper(arm((delta_pos(frame="tool"), delta_rot("axis_angle", frame="tool")), (), joints=3))
    moved = Translator(tool, POSES).target(np.array([0.01, 0.0, 0.0, 0.0, 0.0, 0.1]), HERE)
    np.testing.assert_allclose(moved.position, HERE.position + TURNED @ [0.01, 0, 0], atol=1e-12)
    np.testing.assert_allclose(moved.rotation, TURNED @ rotations.to_matrix([0, 0, 0.1], "axis_angle"), atol=1e-12)
    absolute = Translator(pose_arm(3, absolute=True), POSES)
    goal = np.array([0.42, 0.01, 0.31, *rotations.from_matrix(TURNED, "quat_wxyz"), 0.0])
    reached = absolute.target(goal, HERE)
    np.testing.assert_allclose(reached.position, goal[:3])
    np.testing.assert_allclose(reached.rotation, TURNED, atol=1e-12)


@pytest.mark.parametrize(
    ("native", "words"),
    [
        ([50.0, 0, 0, 0, 0, 0, 1], "outside its workspace"),
        ([0.0, 20.0, 0, 0, 0, 0, 1], "in one step"),
        ([0.0, 0, 0, 0, 0, 90.0, 1], "rad in one step"),
    ],
)
def test_the_fuse_refuses_what_no_filter_sends(native, words):
    with pytest.raises(WorldError, match=rf"refused to move .*{words}"):
        Translator(pose_arm(3), POSES).target(np.array(native), HERE)


SIX_JOINTS = """<mujoco><worldbody>
  <body pos="0 0 0.2"><joint name="j0" axis="0 0 1" range="-180 180" limited="true"/><geom size="0.02"/>
    <body pos="0 0 0.1"><joint name="j1" axis="0 1 0" range="-120 120" limited="true"/><geom size="0.02"/>
      <body pos="0 0 0.3"><joint name="j2" axis="0 1 0" range="-150 150" limited="true"/><geom size="0.02"/>
        <body pos="0.15 0 0"><joint name="j3" axis="1 0 0" range="-180 180" limited="true"/><geom size="0.02"/>
          <body pos="0.15 0 0"><joint name="j4" axis="0 1 0" range="-120 120" limited="true"/><geom size="0.02"/>
            <body pos="0.1 0 0"><joint name="j5" axis="1 0 0" range="-180 180" limited="true"/><geom size="0.02"/>
              <site name="tip" pos="0.05 0 0"/></body></body></body></body></body></body>
</worldbody></mujoco>"""


def test_an_arm_of_joints_takes_poses_by_its_kinematics(tmp_path):
    """Commanded by pose deltas in cm and degrees, on a bus that knows joint angles only."""
    pytest.importorskip("mink", reason="mink is not installed: pip install rtx-robotics[ik]")
    path = tmp_path / "arm.xml"
    path.write_text(SIX_JOINTS)
    kinematics = Kinematics(source=f"file:{path}", joints=tuple(f"j{i}" for i in range(6)), tip="tip")
    robot = dataclasses.replace(pose_arm(6), kinematics=kinematics)
    translator = Translator(robot, dataclasses.replace(JOINTS, num_joints=6))
    here = Measured(joints=np.array([0.1, 0.2, 0.3, 0.1, 0.6, -0.2]), opening=1.0)
    state = np.concatenate([value for _, value in translator.proprio(here)])
    target = translator.target(np.array([1.0, 0.0, -0.5, 0, 0, 2.0, 1.0]), here)
    assert target.position is None
    assert target.joints is not None
    assert np.max(np.abs(target.joints - here.joints)) < 0.15 + 1e-6  # 1.5 rad/s for a tenth of a second
    after = np.concatenate([value for _, value in translator.proprio(Measured(joints=target.joints, opening=1.0))])
    np.testing.assert_allclose(after[:3] - state[:3], [1.0, 0, -0.5], atol=0.02)  # cm
    turn = rotations.to_matrix(np.radians(after[3:6]), "rpy") @ rotations.to_matrix(np.radians(state[3:6]), "rpy").T
    np.testing.assert_allclose(turn, rotations.to_matrix(np.radians([0, 0, 2.0]), "rpy"), atol=2e-3)


def test_every_field_that_does_not_fit_is_named():
    with pytest.raises(UserError, match=r"has 4 joints, the arm has 3.*not measured"):
        Translator(joint_arm(4), POSES)
    with pytest.raises(UserError, match="kinematics"):
        Translator(pose_arm(3), JOINTS)
    base = ActionField(name="base_delta_pos", width=2, kind="base_delta_pos", unit="m", frame="base")
    with pytest.raises(UserError, match="nothing an arm does"):
        Translator(arm((joint_pos(3), base), (), joints=3), POSES)
    left = dataclasses.replace(joint_pos(3), name="left_joint_pos_3")
    with pytest.raises(UserError, match=r"second arm \(left_joint_pos_3\)"):
        ArmDriver(arm((joint_pos(3), left), (), joints=3), {"": _Still()}, {})
    with pytest.raises(UserError, match="it is gripper"):
        Translator(dataclasses.replace(joint_arm(3), action=ActionSpace(fields=joint_arm(3).action.fields[1:])), POSES)


class _Still:
    """Never moved: the embodiment is refused before."""

    model = POSES

    def connect(self): ...

    def measure(self): ...

    def send(self, target, *, period_s): ...

    def hold(self): ...

    def stop(self): ...

    def close(self): ...
