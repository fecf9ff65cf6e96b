"""Inverse kinematics against forward kinematics on five real arms: exact where it can be, near and still where it cannot."""

import subprocess
import sys
import xml.etree.ElementTree as ET

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.spatial.transform import Rotation

from rtx.embodiment import Kinematics
from rtx.errors import UserError
from rtx.robots.descriptions import description_path
from rtx.robots.kinematics import SINGULAR_BELOW, TURN_WEIGHT_M, ArmKinematics
from tests.robots.arms import ARMS, SPEED, described, home, kinematics

PERIOD_S = 0.2
STEP = SPEED * PERIOD_S * (1 + 1e-12)


def miss(arm, joints, position, rotation):
    """Metres and radians from forward kinematics, and both weighted."""
    pose = arm.pose(joints)
    metres = float(np.linalg.norm(position - pose.position))
    turn = float(Rotation.from_matrix(rotation @ pose.rotation.T).magnitude())
    return metres, turn, float(np.hypot(metres, TURN_WEIGHT_M * turn))


def near(arm, joints, rng, *, metres=0.03, radians=0.1):
    """A pose a step away."""
    pose = arm.pose(joints)
    turn = Rotation.from_rotvec(rng.uniform(-radians, radians, 3)).as_matrix()
    return pose.position + rng.uniform(-metres, metres, 3), turn @ pose.rotation


def numbers(element, name, default):
    return np.array(element.get(name, default).split(), float)


def chained(name, joints):
    """Forward kinematics read off the MJCF: each body's offset, then its joint's turn."""
    angles = dict(zip(described(name).joints, joints, strict=True))

    def walk(body, position, rotation):
        position = position + rotation.apply(numbers(body, "pos", "0 0 0"))
        rotation = rotation * Rotation.from_quat(numbers(body, "quat", "1 0 0 0"), scalar_first=True)
        for joint in body.findall("joint"):
            rotation = rotation * Rotation.from_rotvec(angles[joint.get("name")] * numbers(joint, "axis", "0 0 1"))
        if body.get("name") == "right_hand":
            return position, rotation
        return next((found for child in body.findall("body") if (found := walk(child, position, rotation))), None)

    root = ET.parse(description_path(f"robosuite:{name}")).getroot()
    base = next(body for body in root.iter("body") if body.get("name") == "base")
    return walk(base, np.zeros(3), Rotation.identity())


@pytest.mark.parametrize("name", ARMS)
def test_forward_kinematics_are_the_description_s_chain(name):
    arm, rng = kinematics(name), np.random.default_rng(1)
    for _ in range(20):
        joints = rng.uniform(-1.5, 1.5, arm.num_joints)
        position, rotation = chained(name, joints)
        np.testing.assert_allclose(arm.pose(joints).position, position, atol=1e-12)
        np.testing.assert_allclose(arm.pose(joints).rotation, rotation.as_matrix(), atol=1e-12)


@pytest.mark.parametrize("name", ARMS)
def test_a_walk_of_small_steps_lands_on_every_pose(name):
    arm, rng, joints = kinematics(name), np.random.default_rng(7), home(name)
    for step in range(20):
        if step % 5 == 0:
            joints = home(name)
        position, rotation = near(arm, joints, rng)
        solution = arm.solve(position, rotation, start=joints, period_s=1.0)
        metres, turn, _ = miss(arm, solution.joints, position, rotation)
        assert solution.reached, (step, solution)
        assert solution.reasons == ()
        assert metres < 1e-6
        assert turn < 1e-5
        assert solution.position_error_m == pytest.approx(metres, abs=1e-9)
        assert solution.rotation_error_rad == pytest.approx(turn, abs=1e-7)
        assert np.all(solution.joints >= arm.lowest)
        assert np.all(solution.joints <= arm.highest)
        joints = solution.joints


@pytest.mark.parametrize("name", ARMS)
def test_whatever_is_asked_for_no_joint_jumps_and_nothing_gets_worse(name):
    arm, rng, joints = kinematics(name), np.random.default_rng(13), home(name)
    for step in range(20):
        position, rotation = near(arm, joints, rng, metres=rng.choice([0.02, 0.3, 5.0]), radians=rng.choice([0.0, 3.0]))
        solution = arm.solve(position, rotation, start=joints, period_s=PERIOD_S)
        assert np.max(np.abs(solution.joints - joints)) <= STEP, step
        assert np.all(solution.joints >= arm.lowest)
        assert np.all(solution.joints <= arm.highest)
        before, after = miss(arm, joints, position, rotation), miss(arm, solution.joints, position, rotation)
        assert after[2] <= before[2] + 1e-12
        assert solution.reached == (after[0] <= 1e-4 and after[1] <= 1e-3)
        assert solution.reached == (solution.reasons == ())
        joints = solution.joints


@pytest.mark.parametrize("name", ARMS)
def test_what_takes_longer_than_a_period_is_driven_straight_and_as_fast_as_the_joints_may(name):
    arm, joints = kinematics(name), home(name)
    start, way = arm.pose(joints), np.array([0.0, 0.12, 0.0])
    solution = arm.solve(start.position + way, start.rotation, start=joints, period_s=0.05)
    assert solution.reasons == ("joint_velocity",)
    moved = arm.pose(solution.joints).position - start.position
    share = moved @ way / (way @ way)
    assert 0.02 < share < 0.9
    assert np.linalg.norm(moved - share * way) < 1e-3 * np.linalg.norm(way)
    fastest = np.max(np.abs(solution.joints - joints)) / (SPEED * 0.05)
    assert 0.6 < fastest <= 1 + 1e-12


@pytest.mark.parametrize("name", ARMS)
def test_out_of_reach_it_settles_at_the_nearest_pose_and_comes_back(name):
    arm, joints = kinematics(name), home(name)
    position, rotation = np.array([2.0, 0.0, 0.4]), arm.pose(joints).rotation
    steps = []
    for _ in range(40):
        solution = arm.solve(position, rotation, start=joints, period_s=PERIOD_S)
        steps.append(np.max(np.abs(solution.joints - joints)))
        joints = solution.joints
    assert not solution.reached
    assert "unreachable" in solution.reasons
    assert max(steps[-5:]) < 1e-3  # it stands, and does not tremble
    bounds = list(zip(np.maximum(arm.lowest, -7), np.minimum(arm.highest, 7), strict=True))
    best = minimize(lambda q: miss(arm, q, position, rotation)[2] ** 2, joints, bounds=bounds, method="L-BFGS-B")
    assert miss(arm, joints, position, rotation)[2] <= best.fun**0.5 * 1.001
    back = arm.pose(home(name))
    for _ in range(40):
        joints = arm.solve(back.position, back.rotation, start=joints, period_s=PERIOD_S).joints
    assert miss(arm, joints, back.position, back.rotation)[2] < 1e-5


# Stretched upwards, hand and elbow in line: the outermost place an arm has, with no way further and none straight back.
STRETCHED = {"panda": None, "ur5e": [0, -np.pi / 2, 0, 0, 0, 0], "iiwa": [0] * 7, "kinova3": [0] * 7, "sawyer": None}


@pytest.mark.parametrize("name", [name for name, joints in STRETCHED.items() if joints])
def test_in_a_singularity_joints_turn_slower_and_it_gets_out(name):
    arm, joints = kinematics(name), np.array(STRETCHED[name], float)
    assert arm.manipulability(joints) < 1e-6
    assert arm.manipulability(home(name)) > 2 * SINGULAR_BELOW
    there = arm.pose(joints)
    target = there.position - [0, 0, 0.05]  # straight back: the direction in which the Jacobian is blind
    first = arm.solve(target, there.rotation, start=joints, period_s=PERIOD_S)
    assert "singular" in first.reasons
    assert 0 < np.max(np.abs(first.joints - joints)) <= 0.1 * STEP
    for _ in range(60):
        solution = arm.solve(target, there.rotation, start=joints, period_s=PERIOD_S)
        assert np.max(np.abs(solution.joints - joints)) <= STEP
        joints = solution.joints
    assert miss(arm, joints, target, there.rotation)[2] < 1e-3


@pytest.mark.parametrize("name", ARMS)
def test_standing_still_is_standing_still(name):
    """Spare joints do not creep home under an arm that is told to stay."""
    arm, joints = kinematics(name), home(name) + 0.2
    pose = arm.pose(joints)
    solution = arm.solve(pose.position, pose.rotation, start=joints, period_s=PERIOD_S)
    np.testing.assert_array_equal(solution.joints, joints)
    assert solution.reached


def test_five_joints_hold_the_place_and_turn_as_far_as_they_can():
    """Their turn and their place cannot both be chosen: the nearest is found, said, and not jumped to."""
    five = Kinematics(source="robosuite:ur5e", joints=described("ur5e").joints[:5], tip="right_hand", base="base")
    arm, joints = ArmKinematics(five, max_joint_velocity=(SPEED,) * 5), home("ur5e")[:5]
    exact = arm.pose(joints + 0.05)
    reachable = arm.solve(exact.position, exact.rotation, start=joints, period_s=PERIOD_S)
    assert reachable.reached
    np.testing.assert_allclose(reachable.joints, joints + 0.05, atol=1e-5)
    rolled = Rotation.from_euler("y", 0.2).as_matrix()  # about the wrist's missing axis
    solution = arm.solve(exact.position, exact.rotation @ rolled, start=joints, period_s=PERIOD_S)
    assert "unreachable" in solution.reasons
    assert solution.rotation_error_rad < 0.2 + 1e-6
    assert np.max(np.abs(solution.joints - joints)) <= STEP


def test_a_joint_outside_its_limits_may_stay_or_come_back_but_not_go_further():
    arm, joints = kinematics("panda"), home("panda")
    joints[3] = 0.05  # its range ends at -0.0698
    rng = np.random.default_rng(2)
    for _ in range(20):
        position, rotation = near(arm, joints, rng, metres=0.2)
        assert arm.solve(position, rotation, start=joints, period_s=PERIOD_S).joints[3] <= 0.05


def test_narrower_limits_of_the_robot_s_own_hold():
    joints = home("ur5e")
    arm = ArmKinematics(
        described("ur5e"), joint_low=tuple(joints - 0.1), joint_high=tuple(joints + 0.1), max_joint_velocity=(SPEED,) * 6
    )
    pose = arm.pose(joints)
    solution = arm.solve(pose.position + np.array([0, 0.3, 0]), pose.rotation, start=joints, period_s=10.0)
    assert np.max(np.abs(solution.joints - joints)) <= 0.1 + 1e-12
    assert solution.reasons == ("unreachable", "joint_limit")


# Two links of 1 m and 0.5 m that turn about z on a stand at (0, 0, 0.2), and a fingertip that no joint moves.
PLANAR = """<robot name="planar">
<link name="world_link"/><link name="stand"/><link name="upper"/><link name="lower"/><link name="tip"/>
<joint name="mount" type="fixed"><parent link="world_link"/><child link="stand"/>
  <origin xyz="0 0 0.2" rpy="0 0 1.5707963267948966"/></joint>
<joint name="a" type="revolute"><parent link="stand"/><child link="upper"/><axis xyz="0 0 1"/>
  <limit lower="-2" upper="2" effort="1" velocity="1"/></joint>
<joint name="b" type="revolute"><parent link="upper"/><child link="lower"/><origin xyz="1 0 0"/><axis xyz="0 0 1"/>
  <limit lower="-2" upper="2" effort="1" velocity="1"/></joint>
<joint name="end" type="fixed"><parent link="lower"/><child link="tip"/><origin xyz="0.5 0 0"/></joint>
</robot>"""


@pytest.mark.parametrize("order", [("a", "b"), ("b", "a")])
def test_a_urdf_in_its_stand_s_frame_in_the_robot_s_order(tmp_path, order):
    path = tmp_path / "planar.urdf"
    path.write_text(PLANAR)
    arm = ArmKinematics(Kinematics(source=f"file:{path}", joints=order, tip="tip", base="stand"), max_joint_velocity=(1.0, 1.0))
    angles = {"a": 0.3, "b": 0.9}
    pose = arm.pose([angles[name] for name in order])
    np.testing.assert_allclose(
        pose.position, [np.cos(0.3) + 0.5 * np.cos(1.2), np.sin(0.3) + 0.5 * np.sin(1.2), 0.0], atol=1e-12
    )
    world = ArmKinematics(Kinematics(source=f"file:{path}", joints=order, tip="tip"))
    np.testing.assert_allclose(world.pose([0.0, 0.0]).position, [0, 1.5, 0.2], atol=1e-9)  # turned a quarter by its mount
    start = np.array([angles[name] for name in order])
    wanted = start + np.array([0.05, -0.02])
    goal = arm.pose(wanted)
    np.testing.assert_allclose(arm.solve(goal.position, goal.rotation, start=start, period_s=1.0).joints, wanted, atol=1e-6)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"joints": ("joint1", "elbow")}, "has no joint 'elbow'.*Its joints: joint1, joint2"),
        ({"tip": "hand"}, r"has no site or body 'hand' \(tip\)"),
        ({"base": "table"}, r"has no body 'table' \(base\)"),
        ({"source": "robosuite:pandda"}, "pandda.*panda"),
        ({"source": "file:/nowhere/arm.urdf"}, "/nowhere/arm.urdf does not exist"),
        ({"source": "file:arm.json"}, "must be an MJCF"),
        ({"source": "robot_descriptions:os/../x"}, "is no name of a description"),
    ],
)
def test_a_description_that_does_not_fit_is_refused_with_what_there_is(changes, message):
    settings = {"source": "robosuite:panda", "joints": ("joint1", "joint2"), "tip": "right_hand", "base": "base"} | changes
    with pytest.raises(UserError, match=message):
        ArmKinematics(Kinematics(**settings))


def test_joints_of_another_arm_and_nan_are_refused():
    arm = kinematics("panda")
    with pytest.raises(UserError, match="must be 7 finite numbers: joint1"):
        arm.pose(np.zeros(6))
    with pytest.raises(UserError, match="must be 7 finite numbers"):
        arm.solve(np.zeros(3), np.eye(3), start=np.full(7, np.nan), period_s=PERIOD_S)


def test_no_jax_on_the_robot_s_computer():
    code = "import rtx.robots.kinematics as k, sys; k._import_mink(); print(sorted({'jax', 'tensorflow'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
