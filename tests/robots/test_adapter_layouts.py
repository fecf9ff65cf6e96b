"""Adapters beyond one arm's poses: inverse kinematics, two arms, bases, what a layout does not know; there and back."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from rtx.embodiment import CANONICAL, CANONICAL_ARM, CANONICAL_PROPRIO, ActionField, ActionSpace, Layout, dim_names
from rtx.errors import UserError
from rtx.robots import fields
from rtx.robots.adapter import Adapter, make_adapter
from rtx.robots.catalogue import ROBOTS
from rtx.robots.sim_arms import SIM_ARMS
from tests.robots.arms import ARMS, SPEED, home, joint_robot, kinematics

GRIPPER = fields.gripper(closed=0.0, opened=0.08, unit="m")


def joint_vel(count, unit="rad/s"):
    return ActionField(name=f"joint_vel_{count}", width=count, kind="joint_vel", unit=unit, frame="joint")


def joint_layout(field, count):
    return Layout(
        action=ActionSpace(fields=(field, CANONICAL_ARM.fields[2])),
        proprio=(fields.joint_state(count), CANONICAL_PROPRIO[2]),
    )


# ---- one arm's pose in every kind, unit, frame, form and polarity -----------------------------------------------------


FORMS = st.sampled_from(["rpy", "axis_angle", "quat_wxyz", "quat_xyzw", "rot6d"])
LENGTHS, ANGLES = st.sampled_from(["m", "cm", "mm"]), st.sampled_from(["rad", "deg"])
CONVENTIONS = st.fixed_dictionaries(
    {
        "frame": st.sampled_from(["base", "tool", "abs"]), "per_s": st.sampled_from(["", "/s"]),
        "length": LENGTHS, "angle": ANGLES, "form": FORMS, "state_length": LENGTHS, "state_angle": ANGLES, "state_form": FORMS,
        "gripper": st.sampled_from([(0, 1, "1"), (1, -1, "1"), (100, 0, "percent"), (0, 0.08, "m"), (0.8, 0, "rad")]),
        "order": st.permutations(range(4)),
    }
)  # fmt: skip


def pose_robot(of):
    closed, opened, unit = of["gripper"]
    gripper = fields.gripper(closed=closed, opened=opened, unit=unit)
    if of["frame"] == "abs":
        pos, rot = fields.abs_pos(of["length"]), fields.abs_rot(of["form"], of["angle"])
    else:
        turn_unit = of["angle"] + (of["per_s"] if of["form"] in ("rpy", "axis_angle") else "")
        pos = fields.delta_pos(of["length"] + of["per_s"], of["frame"])
        rot = fields.delta_rot(of["form"], turn_unit, of["frame"])
    action = [pos, rot, gripper, fields.terminate()]
    state = (
        fields.eef_pos(of["state_length"]), fields.eef_rot(of["state_form"], of["state_angle"]),
        fields.gripper_state(closed=closed, opened=opened, unit=unit),
    )  # fmt: skip
    in_order = tuple(action[i] for i in of["order"])
    return dataclasses.replace(SIM_ARMS["sim_panda"], action=ActionSpace(fields=in_order), proprio=state)


def state_of(robot, position, rotation, opening):
    """The native state, by scipy."""
    pos, rot, gripper = robot.proprio
    turn = {
        "rpy": lambda: rotation.as_euler("xyz"), "axis_angle": rotation.as_rotvec, "quat_xyzw": rotation.as_quat,
        "quat_wxyz": lambda: rotation.as_quat(scalar_first=True), "rot6d": lambda: rotation.as_matrix().T[:2].ravel(),
    }[rot.rotation]()  # fmt: skip
    turn = np.degrees(turn) if rot.unit == "deg" else turn
    scale = {"m": 1.0, "cm": 100.0, "mm": 1000.0}[pos.unit]
    return np.concatenate([position * scale, turn, [gripper.closed + opening * (gripper.opened - gripper.closed)]])


small = st.floats(-0.3, 0.3)


@settings(max_examples=150)
@given(CONVENTIONS, st.tuples(*[small] * 6), st.floats(0, 1), st.integers(0, 10**6))
def test_every_pose_convention_there_and_back(conventions, motion, gripper, seed):
    robot, rng = pose_robot(conventions), np.random.default_rng(seed)
    position, rotation = rng.uniform(-0.6, 0.6, 3), Rotation.random(random_state=rng)
    state = state_of(robot, position, rotation, 0.25)
    adapter, action = make_adapter(robot), np.array([*motion, gripper, 0.0])
    native = adapter.to_native(action, proprio_native=state)
    assert native.shape == (robot.action.width,)
    back = adapter.to_canonical(native, proprio_native=state)
    np.testing.assert_allclose(back[[0, 1, 2, 6, 7]], action[[0, 1, 2, 6, 7]], atol=2e-6)
    turn = Rotation.from_euler("xyz", back[3:6]) * Rotation.from_euler("xyz", action[3:6]).inv()
    assert turn.magnitude() < 2e-6
    fed = adapter.proprio(state)
    np.testing.assert_allclose(fed[:3], position, atol=1e-6)
    np.testing.assert_allclose(fed[3:9], rotation.as_matrix().T[:2].ravel(), atol=1e-6)
    assert fed[9] == pytest.approx(0.25, abs=1e-6)


# ---- joints ------------------------------------------------------------------------------------------------------------

JOINT_KINDS = {
    "joint_pos": lambda n: fields.joint_pos(n),
    "joint_pos in degrees": lambda n: dataclasses.replace(fields.joint_pos(n), unit="deg"),
    "joint_delta": lambda n: fields.joint_delta(n),
    "joint_vel": lambda n: joint_vel(n),
    "joint_vel in degrees": lambda n: joint_vel(n, "deg/s"),
}


def commanded(kind, value, joints, hz):
    """Joints (rad) at the end of the period, from a native command: each kind by its meaning."""
    return {
        "joint_pos": lambda: value, "joint_pos in degrees": lambda: np.radians(value), "joint_delta": lambda: joints + value,
        "joint_vel": lambda: joints + value / hz, "joint_vel in degrees": lambda: joints + np.radians(value) / hz,
    }[kind]()  # fmt: skip


@pytest.mark.parametrize("kind", JOINT_KINDS)
@pytest.mark.parametrize("name", ARMS)
def test_a_pose_command_becomes_joints_that_have_the_pose(name, kind):
    arm, q = kinematics(name), home(name)
    robot = joint_robot(name, JOINT_KINDS[kind](len(q)), GRIPPER)
    adapter, state = make_adapter(robot), np.append(q, 0.02)
    action = np.array([0.01, -0.02, 0.01, 0.03, 0.02, -0.04, 0.5, 0.0])
    command = adapter.command(action, proprio_native=state)
    assert command.reached
    joints = commanded(kind, command.native[:-1], q, robot.control_hz)
    before, after = arm.pose(q), arm.pose(joints)
    np.testing.assert_allclose(after.position, before.position + action[:3], atol=1e-6)
    wanted = Rotation.from_euler("xyz", action[3:6]).as_matrix() @ before.rotation
    np.testing.assert_allclose(after.rotation, wanted, atol=1e-5)
    assert command.native[-1] == pytest.approx(0.04)
    np.testing.assert_allclose(adapter.to_canonical(command.native, proprio_native=state), action, atol=1e-5)
    fed = adapter.proprio(state)
    np.testing.assert_allclose(fed[:3], before.position, atol=1e-6)
    np.testing.assert_allclose(fed[3:9], before.rotation.T[:2].ravel(), atol=1e-6)
    assert fed[9] == pytest.approx(0.25)


def test_a_batch_is_its_elements_and_what_is_not_reached_is_said():
    q = home("ur5e")
    adapter, state = make_adapter(joint_robot("ur5e", fields.joint_pos(6), GRIPPER)), np.append(q, 0.08)
    actions = np.array([[0.02, 0, 0, 0, 0, 0, 1, 0], [0, 5.0, 0, 0, 0, 0, 1, 0]])
    batch = adapter.command(actions, proprio_native=state)
    assert not batch.reached
    assert [solution.reached for solution in batch.solutions[""]] == [True, False]
    assert batch.solutions[""][1].position_error_m > 4
    assert np.max(np.abs(batch.native[1, :6] - q)) <= SPEED / 5 + 1e-12
    for action, native in zip(actions, batch.native, strict=True):
        np.testing.assert_array_equal(adapter.to_native(action, proprio_native=state), native)


@pytest.mark.parametrize("hz", [5.0, 50.0])
@pytest.mark.parametrize("theirs", JOINT_KINDS)
@pytest.mark.parametrize("ours", ["joint_pos", "joint_delta", "joint_vel"])
def test_a_policy_trained_in_joints_passes_through_with_its_units(ours, theirs, hz):
    """No kinematics are looked at: this robot has none."""
    robot = dataclasses.replace(joint_robot("panda", JOINT_KINDS[theirs](7), GRIPPER, hz=hz), kinematics=None)
    q = home("panda")
    adapter, state = make_adapter(robot, joint_layout(JOINT_KINDS[ours](7), 7)), np.append(q, 0.02)
    moves = np.linspace(-0.1, 0.1, 7)
    action = np.append({"joint_pos": q + moves, "joint_delta": moves, "joint_vel": moves * hz}[ours], 0.5)
    native = adapter.to_native(action, proprio_native=state)
    np.testing.assert_allclose(commanded(theirs, native[:7], q, hz), q + moves, atol=1e-12)
    assert native[7] == pytest.approx(0.04)
    np.testing.assert_allclose(adapter.to_canonical(native, proprio_native=state), action, atol=1e-5)
    np.testing.assert_allclose(adapter.proprio(state), np.append(q, 0.25), atol=1e-6)


def test_a_policy_trained_in_joints_moves_a_robot_commanded_in_poses():
    q, arm = home("panda"), kinematics("panda")
    robot = joint_robot("panda", fields.abs_pos(), fields.abs_rot("quat_wxyz"), GRIPPER)
    adapter = make_adapter(robot, joint_layout(fields.joint_delta(7), 7))
    moves = np.linspace(-0.05, 0.05, 7)
    native = adapter.to_native(np.append(moves, 1.0), proprio_native=np.append(q, 0.08))
    target = arm.pose(q + moves)
    np.testing.assert_allclose(native[:3], target.position, atol=1e-12)
    np.testing.assert_allclose(Rotation.from_quat(native[3:7], scalar_first=True).as_matrix(), target.rotation, atol=1e-12)


# ---- two arms, bases, unknown dimensions -------------------------------------------------------------------------------


def test_two_arms_in_poses_each_get_their_own():
    adapter = make_adapter(ROBOTS["xarm_bimanual"], _two_arms("proprio.gripper", "proprio.left_gripper"))
    assert adapter.layout.action.width == 15
    left, right = np.array([0.1, 0.2, 0.3, 0, 0, 0]), np.array([0.4, -0.2, 0.3, 0, 0, np.pi / 2])
    action = np.array([0.01, 0, 0, 0, 0, 0, 1, 0, 0, 0.02, 0, 0, 0, 0.1, 0])
    native = adapter.to_native(action, proprio_native=[*left, *right])  # its own vector has the left arm first
    np.testing.assert_allclose(native[:7], [0.1, 0.22, 0.3, 0, 0, 0.1, 1], atol=1e-12)  # closed at 1
    np.testing.assert_allclose(native[7:], [0.41, -0.2, 0.3, 0, 0, np.pi / 2, 0], atol=1e-12)
    np.testing.assert_allclose(adapter.to_canonical(native, proprio_native=[*left, *right]), action, atol=1e-6)
    fed = adapter.proprio([*left, *right])
    np.testing.assert_allclose(fed[:3], right[:3], atol=1e-6)
    np.testing.assert_allclose(fed[10:13], left[:3], atol=1e-6)
    assert fed[9] == fed[19] == 0.0  # not measured, and unknown in training


def _two_arms(*unknown):
    both = [*CANONICAL_ARM.fields, *(fields.left(field) for field in CANONICAL_ARM.fields[:3])]
    proprio = (*CANONICAL_PROPRIO, *(fields.left(field) for field in CANONICAL_PROPRIO))
    return Layout(action=ActionSpace(fields=tuple(both)), proprio=proprio).without(*unknown)


def aloha_layout():
    joints = (fields.joint_pos(6), CANONICAL_ARM.fields[2])
    state = (fields.joint_state(6), CANONICAL_PROPRIO[2])
    return Layout(
        action=ActionSpace(fields=(*joints, *(fields.left(f) for f in joints), *fields.base_delta())),
        proprio=(*state, *(fields.left(f) for f in state)),
    )


def test_mobile_aloha_in_joints_and_wheels():
    adapter = make_adapter(ROBOTS["aloha_mobile"], aloha_layout())
    right, left = np.linspace(0.1, 0.6, 6), np.linspace(-0.6, -0.1, 6)
    state = np.concatenate([left, [0.3], right, [0.7]])
    action = np.concatenate([right + 0.01, [1.0], left - 0.01, [0.0], [0.01, 0.0, 0.0]])
    native = adapter.to_native(action, proprio_native=state)
    np.testing.assert_allclose(native, [*(left - 0.01), 0.0, *(right + 0.01), 1.0, 0.5, 0.0], atol=1e-12)  # 1 cm in 1/50 s
    np.testing.assert_allclose(adapter.to_canonical(native, proprio_native=state), action, atol=1e-6)
    np.testing.assert_allclose(adapter.proprio(state), [*right, 0.7, *left, 0.3], atol=1e-6)


@pytest.mark.parametrize("name", ["aloha", "aloha_mobile", "franka_droid_joints"])
def test_robots_of_the_catalogue_that_are_commanded_in_joints_follow_poses(name):
    """Each arm by its own joints; of two, they go opposite ways."""
    robot = ROBOTS[name]
    adapter, rest = make_adapter(robot), robot.kinematics.home
    state = np.concatenate([rest if "joint" in field.name else [0.3] for field in robot.proprio])
    action = np.zeros(adapter.layout.action.width)
    action[:6], action[6] = [0.001, 0, 0.001, 0, 0.002, 0], 1.0
    if name != "franka_droid_joints":
        action[8:14] = [0, -0.001, 0, 0.002, 0, 0]
    command = adapter.command(action, proprio_native=state)
    assert command.reached
    assert len(command.solutions) == (1 if name == "franka_droid_joints" else 2)
    np.testing.assert_allclose(adapter.to_canonical(command.native, proprio_native=state), action, atol=1e-6)


def test_a_policy_of_the_arm_alone_leaves_the_base_standing():
    state = [0.5, 0, 0.8, 0, 0, 0, 1, 0.2]
    arm_alone = Layout()
    native = make_adapter(ROBOTS["google_robot"], arm_alone).to_native([0.01, 0, 0, 0, 0, 0, 0.5, 1], proprio_native=state)
    np.testing.assert_allclose(native, [0.01, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0], atol=1e-12)  # its gripper command 0: as it is
    both = make_adapter(ROBOTS["google_robot"])
    assert both.layout.action.dim_names[-3:] == ("base_delta_pos.0", "base_delta_pos.1", "base_delta_yaw")
    action = np.array([0.01, 0, 0, 0, 0, 0, 0.5, 0, 0.1, 0.02, 0.3])
    native = both.to_native(action, proprio_native=state)
    np.testing.assert_allclose(native[-3:], action[-3:], atol=1e-12)
    np.testing.assert_allclose(both.to_canonical(native, proprio_native=state), action, atol=1e-6)


def test_a_base_alone():
    adapter = make_adapter(ROBOTS["jackal_recon"])
    native = adapter.to_native([0.1, 0.0, 0.2], proprio_native=[1.0, 2.0, np.pi / 2])
    np.testing.assert_allclose(native, [0.1, 0, 0.2])
    np.testing.assert_allclose(adapter.proprio([1.0, 2.0, np.pi / 2]), [1, 2, 0, 1], atol=1e-7)


def test_a_gripper_that_the_policy_does_not_know_stays_as_it_is():
    robot = SIM_ARMS["sim_kinova3"]
    adapter = make_adapter(robot, Layout().without("gripper", "terminate"))
    state = [0.5, 0, 0.2, 0, 0, 0, 1, 30.0]  # percent closed
    assert adapter.to_native(np.zeros(8), proprio_native=state)[-1] == pytest.approx(30.0)
    assert adapter.to_canonical([0, 0, 0, 0, 0, 0, 10.0], proprio_native=state)[6] == 0.0


def test_a_binary_gripper_remembers():
    binary = dataclasses.replace(fields.gripper(closed=1, opened=0), unit="binary")
    robot = dataclasses.replace(
        SIM_ARMS["sim_panda"], action=ActionSpace(fields=(fields.delta_pos(), fields.delta_rot(), binary))
    )
    adapter, state = make_adapter(robot), np.array([0.5, 0, 0.2, 0, 0, 0, 1, 0.1])
    adapter.reset(proprio_native=state)  # closed
    sent = [adapter.to_native([0, 0, 0, 0, 0, 0, g, 0], proprio_native=state)[-1] for g in (0.55, 0.7, 0.45, 0.3, 0.55)]
    assert sent == [1.0, 0.0, 0.0, 1.0, 1.0]
    assert adapter.grippers_open == {"": False}
    adapter.grippers_open = {"": True}
    assert adapter.to_native([0, 0, 0, 0, 0, 0, 0.5, 0], proprio_native=state)[-1] == 0.0


def test_an_opening_beyond_its_stops_is_fed_as_in_training():
    assert make_adapter(SIM_ARMS["sim_panda"]).proprio([0.5, 0, 0.2, 0, 0, 0, 1, 1.007])[-1] == 1.0


# ---- what does not fit -------------------------------------------------------------------------------------------------


def test_everything_that_does_not_fit_is_named_at_once():
    robot = dataclasses.replace(
        SIM_ARMS["sim_panda"],
        action=ActionSpace(
            fields=(fields.delta_pos("inch"), fields.delta_rot(frame="world"), fields.gripper(closed=0, opened=1, unit="turns"))
        ),
        proprio=(fields.eef_pos("mile"),),
    )
    with pytest.raises(UserError) as refused:
        make_adapter(robot)
    for part in ("'inch'", "'world'", "'turns'", "'mile'"):
        assert part in str(refused.value)


@pytest.mark.parametrize(
    ("robot", "layout", "message"),
    [
        (
            joint_robot("panda", fields.joint_pos(7), GRIPPER), joint_layout(fields.joint_pos(6), 7),
            "has 7 joints, the policy commands 6",
        ),
        (
            dataclasses.replace(joint_robot("panda", fields.joint_pos(7), GRIPPER), kinematics=None), Layout(),
            "the arm needs kinematics between poses and joints",
        ),
        (ROBOTS["kinova_d3field"], CANONICAL, "needs one delta_rot or abs_rot action field, has none; .*needs one gripper"),
        (SIM_ARMS["sim_panda"], _two_arms(), "the left arm needs one delta_pos or abs_pos.*the left arm needs one gripper"),
        (ROBOTS["aloha"], joint_layout(fields.joint_pos(6), 6), "the left arm is not moved by the policy"),
        (
            SIM_ARMS["sim_panda"], Layout(action=ActionSpace(fields=(*CANONICAL_ARM.fields, *fields.base_delta()))),
            "the policy drives a base, the robot has none",
        ),
        (SIM_ARMS["sim_panda"], joint_layout(fields.joint_pos(7), 7), "lacks a field named 'joint_pos_7'"),
    ],
)  # fmt: skip
def test_a_policy_of_another_robot_is_refused(robot, layout, message):
    with pytest.raises(UserError, match=message):
        Adapter(robot, layout)


UNFIT = {  # no unit is published of it, or it is not three-dimensional
    "robo_net": "rotation form", "sawyer_roboturk": "unit '1'", "xarm6_language_table": "width 2",
}  # fmt: skip


@pytest.mark.parametrize("name", [name for name in ROBOTS if name not in UNFIT])
def test_the_robots_of_the_catalogue_have_an_adapter(name):
    assert make_adapter(ROBOTS[name]).layout.action.width >= 3


@pytest.mark.parametrize("name", UNFIT)
def test_or_say_why_not(name):
    with pytest.raises(UserError, match=UNFIT[name]):
        make_adapter(ROBOTS[name])


def test_what_a_robot_has_not_is_unknown_to_its_own_policy():
    """Its command of the pose, its measured rotation, its gripper: by default the layout of what there is."""
    masks = {
        name: make_adapter(ROBOTS[name]).layout for name in ("jaco_play", "kinova_d3field", "stretch_cmu", "xarm_bimanual")
    }
    unknown = {
        name: {dim for dim, known in zip(layout.action.dim_names, layout.action_mask, strict=True) if not known}
        | {f"proprio.{dim}" for dim, known in zip(dim_names(layout.proprio), layout.proprio_mask, strict=True) if not known}
        for name, layout in masks.items()
    }
    turn = {f"delta_rot.{i}" for i in range(3)}
    assert unknown["jaco_play"] == turn
    assert unknown["kinova_d3field"] == turn | {"gripper", "proprio.gripper"}
    assert unknown["stretch_cmu"] == {f"proprio.eef_rot.{i}" for i in range(6)}
    assert unknown["xarm_bimanual"] == {"proprio.gripper", "proprio.left_gripper"}


def test_a_position_without_a_rotation_is_fed():
    adapter = make_adapter(ROBOTS["stretch_cmu"])
    np.testing.assert_allclose(adapter.proprio([0.4, 0.1, 0.9, 1.0]), [0.4, 0.1, 0.9, *[0.0] * 6, 1.0], atol=1e-6)


def test_a_hand_is_as_open_as_its_fingers_on_average():
    robot = ROBOTS["jaco_play"]
    closed = next(field.closed for field in robot.proprio if field.name == "fingers")
    state = np.array([0.3, 0.0, 0.4, 0.0, 0.0, 0.0, 1.0, *[0.0] * 6, closed, 0.0])
    assert make_adapter(robot).proprio(state)[9] == pytest.approx(0.5)


def test_without_a_measured_position_nothing_drives():
    robot = ROBOTS["stretch_cmu"]
    with pytest.raises(UserError, match="lacks a field named 'eef_pos'"):
        make_adapter(dataclasses.replace(robot, proprio=robot.proprio[1:]))
