"""What the check finds in a robot's record: each mistake by itself, named, and none in a record that is right."""

import dataclasses
import sys

import pytest

from rtx.embodiment import ActionSpace, Camera, Field, Kinematics
from rtx.robots import fields
from rtx.robots.catalogue import ROBOTS
from rtx.robots.check import check_robot
from rtx.robots.droid import FRANKA_DROID, FRANKA_DROID_JOINTS
from rtx.robots.so_arms import SO_101
from rtx.robots.starter import starter_text
from rtx.robots.user_file import load_robot

FIRST_JOINTS = """
<mujoco>
  <compiler angle="radian"/>
  <worldbody>
    <body name="base">
      <body name="upper" pos="0 0 0.2">
        <joint name="turn" axis="0 0 1" range="-3 3" limited="true"/>
        <geom size="0.01" mass="1"/>
        <body name="lower" pos="0.3 0 0">
          <joint name="lift" axis="0 1 0" range="-2 2" limited="true"/>
          <geom size="0.01" mass="1"/>
          <site name="hand" pos="0.2 0 0"/>
        </body>
      </body>
    </body>
  </worldbody>
</mujoco>
"""


def with_limits(**changes):
    return dataclasses.replace(FRANKA_DROID, limits=dataclasses.replace(FRANKA_DROID.limits, **changes))


def with_kinematics(**changes):
    return dataclasses.replace(FRANKA_DROID, kinematics=dataclasses.replace(FRANKA_DROID.kinematics, **changes))


def with_action(*action):
    return dataclasses.replace(FRANKA_DROID, action=ActionSpace(fields=action))


def with_first_joint(low, high):
    limits = FRANKA_DROID.limits
    return with_limits(joint_low_rad=(low, *limits.joint_low_rad[1:]), joint_high_rad=(high, *limits.joint_high_rad[1:]))


def stretched():
    """Straight up, as high as it goes: the one way up is out of reach."""
    robot = with_limits(workspace_high_m=(0.855, 0.855, 1.5))
    home = (0.0, 0.0, 0.0, -0.07, 0.0, 0.0, 0.0)
    return dataclasses.replace(robot, kinematics=dataclasses.replace(robot.kinematics, home=home))


POS, ROT, GRIPPER = FRANKA_DROID.action.fields


@pytest.mark.parametrize("robot", [FRANKA_DROID, FRANKA_DROID_JOINTS], ids=["poses", "joints"])
def test_a_right_record_has_no_problems_and_goes_wherever_it_is_sent(robot):
    report = check_robot(robot)
    assert report.problems == ()
    assert [move.name for move in report.moves] == [
        f"{turn}{sign}{axis}" for turn in ("", "turn ") for axis in "xyz" for sign in "+-"
    ]
    for move in report.moves:
        assert move.said == "ok"
        assert move.reached == pytest.approx(move.wanted, abs=1e-3)
        assert 0.05 < move.joint_speed <= max(robot.limits.max_joint_velocity_rad_s) + 1e-6


@pytest.mark.parametrize(
    ("robot", "where", "text"),
    [
        (with_limits(max_step_m=0.05), "limits.max_step_m", "0.75 m/s, over max_velocity_m_s 0.5; at most 0.03333 m fits"),
        (with_limits(max_step_m=30.0), "limits.max_step_m", "Millimetres?"),
        (with_limits(max_velocity_m_s=500.0), "limits.max_velocity_m_s", "500 m/s"),
        (with_limits(max_step_rad=20.0), "limits.max_step_rad", "Are these degrees?"),
        (with_limits(workspace_low_m=(-800.0,) * 3, workspace_high_m=(800.0,) * 3), "limits.workspace_high_m", "1600 m wide"),
        (with_limits(workspace_low_m=(0.6, -0.3, 0.0)), "limits.workspace_low_m", "at home is (0.445, 0.000, 0.195) m"),
        (with_limits(workspace_high_m=(-0.5, -0.5, -0.5)), "limits.workspace_low_m", "none is in the box"),
        (with_first_joint(-166.0, 166.0), "limits.joint_low_rad", "166 rad is over two turns. Are these degrees?"),
        (with_first_joint(-4.0, 2.0), "limits.joint_high_rad", "joint1: -4 .. 2 rad reach beyond"),
        (with_first_joint(3.0, 4.0), "limits.joint_low_rad", "joint1: 3 .. 4 rad, the description has -2.897 .. 2.897"),
        (with_first_joint(0.5, 2.0), "kinematics.home", "joint1 stands at 0 rad, its range is 0.5 .. 2"),
        (with_limits(max_joint_velocity_rad_s=(120.0,) * 7), "limits.max_joint_velocity_rad_s", "degrees a second"),
        (with_kinematics(joints=(*FRANKA_DROID.kinematics.joints[:6], "joint8")), "kinematics", "has no joint 'joint8'"),
        (with_kinematics(tip="hand"), "kinematics", "has no site or body 'hand' (tip)"),
        (with_kinematics(source="file:nothing.xml"), "kinematics", "nothing.xml does not exist"),
        (with_kinematics(source="robosuite:pandda"), "kinematics", "did you mean 'panda'"),
        (stretched(), "kinematics.home", "+z (unreachable"),
        (dataclasses.replace(FRANKA_DROID, control_hz=0.01), "control_hz", "Is this a period?"),
        (with_action(fields.abs_pos("inch"), ROT, GRIPPER), "action.abs_pos", "unit 'inch'; expected m, cm, mm"),
        (with_action(fields.abs_pos(frame="tool"), ROT, GRIPPER), "action.abs_pos", "frame 'tool'; a abs_pos is in base"),
        (with_action(POS, fields.abs_rot("rpy", "m"), GRIPPER), "action.abs_rot", "unit 'm'; expected rad, deg"),
        (with_action(POS, ROT, dataclasses.replace(GRIPPER, opened=85.0)), "action.gripper", "are not within low 0 .. high 1"),
        (with_action(POS, fields.delta_pos(), ROT, GRIPPER), "action", "policies cannot drive it"),
        (dataclasses.replace(FRANKA_DROID, proprio=()), "proprio", "nothing is measured"),
        (
            dataclasses.replace(FRANKA_DROID, proprio=(Field(name="eef_pos", width=3, unit="ft"), *FRANKA_DROID.proprio[1:])),
            "proprio.eef_pos", "unit 'ft'",
        ),
        (dataclasses.replace(FRANKA_DROID, cameras=(Camera(role="wrist", resolution=(0, 9)),)), "cameras.wrist", "(0, 9) px"),
        (
            dataclasses.replace(
                FRANKA_DROID_JOINTS, limits=dataclasses.replace(FRANKA_DROID.limits, joint_low_rad=(), joint_high_rad=())
            ),
            "limits.joint_low_rad", "empty, and 7 joints are commanded",
        ),
        (
            dataclasses.replace(SO_101, kinematics=None, action=FRANKA_DROID_JOINTS.action),
            "limits.joint_low_rad", "5 values for 7",
        ),
    ],
)  # fmt: skip
def test_each_mistake_is_named(robot, where, text):
    found = [finding for finding in check_robot(robot).problems if finding.where == where]
    assert any(text in finding.text for finding in found), check_robot(robot).text()


def test_swapped_joints_are_found_by_their_ranges():
    joints = list(FRANKA_DROID.kinematics.joints)
    joints[1], joints[3] = joints[3], joints[1]
    texts = [finding.text for finding in check_robot(with_kinematics(joints=tuple(joints))).problems]
    assert any(
        text.startswith("joint4: -1.7628 .. 1.7628 rad reach beyond the description's -3.072 .. -0.0698") for text in texts
    )


def test_notes_do_not_forbid():
    robot = dataclasses.replace(
        FRANKA_DROID, kinematics=None, limits=dataclasses.replace(FRANKA_DROID.limits, source="", workspace_low_m=(0.84,) * 3),
        cameras=(Camera(role="secondary", resolution=(640, 480)),), control_hz=15.0,
    )  # fmt: skip
    report = check_robot(robot)
    assert report.problems == ()
    assert {finding.where for finding in report.findings} == {
        "cameras.secondary", "cameras", "limits.workspace_low_m", "limits.source", "kinematics",
    }  # fmt: skip


def test_a_description_of_ones_own_lies_beside_the_file(tmp_path):
    (tmp_path / "arm.xml").write_text(FIRST_JOINTS)
    own = dataclasses.replace(
        FRANKA_DROID.kinematics, source="file:arm.xml", joints=("turn", "lift"), tip="hand", base="base", home=(0.0, 0.3)
    )
    limits = dataclasses.replace(
        FRANKA_DROID.limits, joint_low_rad=(-3.0, -2.0), joint_high_rad=(3.0, 2.0), max_joint_velocity_rad_s=()
    )
    robot = dataclasses.replace(FRANKA_DROID, kinematics=own, limits=limits)
    path = tmp_path / "my_robot.py"
    path.write_text(starter_text(path, robot))
    report = check_robot(load_robot(path), file=path)
    assert report.problems == ()
    (finding,) = [f for f in report.findings if f.where == "kinematics"]
    assert finding.text.startswith("2 joints cannot hold every pose")
    sideways = next(move for move in report.moves if move.name == "+y")  # 0.2 m ahead of the lift, so the turn takes it there
    assert sideways.reached > 0.05


URDF = """
<robot name="two">
  <link name="base_link"/>
  <link name="upper"/>
  <link name="lower"/>
  <link name="tool0"/>
  <joint name="turn" type="revolute">
    <parent link="base_link"/><child link="upper"/><origin xyz="0 0 0.2"/><axis xyz="0 0 1"/>
    <limit lower="-3" upper="3" velocity="2" effort="1"/>
  </joint>
  <joint name="lift" type="revolute">
    <parent link="upper"/><child link="lower"/><origin xyz="0.3 0 0"/><axis xyz="0 1 0"/>
    <limit lower="-2" upper="2" velocity="2" effort="1"/>
  </joint>
  <joint name="flange" type="fixed"><parent link="lower"/><child link="tool0"/><origin xyz="0.2 0 0"/></joint>
</robot>
"""


def test_a_urdf_will_do_and_its_ranges_count(tmp_path):
    (tmp_path / "arm.urdf").write_text(URDF)
    own = Kinematics(
        source=f"file:{tmp_path / 'arm.urdf'}", joints=("turn", "lift"), tip="tool0", base="base_link", home=(0.0, 0.3)
    )
    limits = dataclasses.replace(
        FRANKA_DROID.limits, joint_low_rad=(-3.0, -2.5), joint_high_rad=(3.0, 2.0), max_joint_velocity_rad_s=()
    )
    (finding,) = check_robot(dataclasses.replace(FRANKA_DROID, kinematics=own, limits=limits)).problems
    assert finding.text.startswith("lift: -2.5 .. 2 rad reach beyond the description's -2 .. 2")


def test_a_problem_names_the_line_of_the_file(tmp_path):
    path = tmp_path / "my_robot.py"
    text = starter_text(path, FRANKA_DROID).replace("max_step_m=0.03333333333333333", "max_step_m=3.3")
    path.write_text(text)
    line = next(i for i, row in enumerate(text.splitlines(), 1) if "max_step_m=" in row)
    assert f"limits.max_step_m (line {line})" in check_robot(load_robot(path), file=path).text()


def test_without_the_package_the_rest_is_checked(monkeypatch):
    """As on a robot's computer without the extra: what could not be looked at is a note, not a problem."""
    monkeypatch.setitem(sys.modules, "mujoco", None)
    report = check_robot(FRANKA_DROID)
    assert report.problems == ()
    (finding,) = report.findings
    assert "pip install rtx-robotics[ik]" in finding.text
    assert finding.where == "kinematics.source"


UNIT, PLANE = "action field 'delta_pos' (delta_pos) has unit '1'", "has width 2, expected 3"
YAW = "'delta_yaw' (delta_rot) does not say its rotation form"


@pytest.mark.parametrize(
    ("name", "why"),
    [
        *dict.fromkeys(
            ("cobotta_lsmo", "dlr_sara_pour", "stretch_cmu", "jaco_play", "kinova_d3field", "a1_saytap", "xarm7_utokyo",
             "xarm_bimanual"), "",
        ).items(),
        ("robo_net", YAW), ("sawyer_roboturk", UNIT), ("xarm6_language_table", PLANE),
    ],
)  # fmt: skip
def test_robots_of_the_catalogue_pass_or_their_data_set_does_not_say_enough(name, why):
    robot = dataclasses.replace(ROBOTS[name], kinematics=None)  # nothing to download
    found = [problem.text for problem in check_robot(robot).problems]
    assert any(why in text for text in found) if why else found == []


def test_what_is_not_measured_is_worth_knowing():
    notes = [finding.text for finding in check_robot(ROBOTS["stretch_cmu"]).findings if finding.where == "proprio"]
    assert notes == [
        "eef_rot not measured: only policies that were trained without can drive it, such as those of its own data"
    ]
