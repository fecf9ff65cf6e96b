"""Every simulated arm there and back, each convention by a value worked out by hand, and robots that do not fit."""

import dataclasses

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from rtx.embodiment import ActionField, ActionSpace, Field
from rtx.errors import UserError
from rtx.robots.adapter import Adapter
from rtx.robots.sim_arms import SIM_ARMS

# The hand looks down: turned half a turn about x, then a quarter about the vertical. Tool x is base y, tool y is base x.
HAND = Rotation.from_euler("xyz", [np.pi, 0, np.pi / 2])
HERE = np.array([0.5, -0.1, 0.2])


def state(name, rotation=HAND, position=HERE, opening=0.25):
    """The state as this arm reports it, written with scipy from the table of conventions."""
    quat_xyzw, quat_wxyz = rotation.as_quat(), rotation.as_quat(scalar_first=True)
    rpy = rotation.as_euler("xyz")
    turn, gripper = {
        "sim_panda": (quat_xyzw, opening),
        "sim_sawyer": (quat_wxyz, 1 - opening),
        "sim_ur5e": (quat_wxyz, 1 - opening),
        "sim_iiwa": (rpy, 1 - opening),
        "sim_kinova3": (quat_xyzw, 100 * (1 - opening)),
        "sim_jaco": (np.degrees(rpy), 2 * opening - 1),
        "sim_vx300s": (rpy, opening),
    }[name]
    return np.concatenate([position, turn, [gripper]])


def canonical_actions(rng, n):
    rotation = Rotation.from_rotvec(rng.uniform(-0.4, 0.4, [n, 3])).as_euler("xyz")
    return np.concatenate([rng.uniform(-0.05, 0.05, [n, 3]), rotation, rng.uniform(0, 1, [n, 1]), np.zeros([n, 1])], -1)


@pytest.mark.parametrize("name", SIM_ARMS)
def test_there_and_back(name):
    adapter, rng = Adapter(SIM_ARMS[name]), np.random.default_rng(3)
    actions = canonical_actions(rng, 200)
    states = np.stack(
        [state(name, Rotation.random(random_state=i), rng.uniform(-0.6, 0.6, 3), rng.uniform()) for i in range(200)]
    )
    native = adapter.to_native(actions, proprio_native=states)
    assert native.shape == (200, SIM_ARMS[name].action.width)
    np.testing.assert_allclose(adapter.to_canonical(native, proprio_native=states), actions, atol=1e-6)
    one = adapter.to_native(actions[7], proprio_native=states[7])
    np.testing.assert_array_equal(one, native[7])


@pytest.mark.parametrize("name", SIM_ARMS)
def test_proprio_is_the_same_for_all_arms_in_one_pose(name):
    # HAND takes x to y and y to x
    expected = [0.5, -0.1, 0.2, 0, 1, 0, 1, 0, 0, 0.25]
    np.testing.assert_allclose(Adapter(SIM_ARMS[name]).proprio(state(name)), expected, atol=1e-6)
    assert Adapter(SIM_ARMS[name]).proprio(state(name)).dtype == np.float32


# 2 cm along base x, 1 cm up, a quarter turn about base z; gripper a quarter open. By hand:
#   axis-angle of a quarter turn about z is pi/2 z; the tool's z points down, so there it is -pi/2 z and up is -z;
#   the target of the hand that was turned a quarter about the vertical is half a turn about the vertical: rpy (pi, 0, pi)
NATIVE = {
    "sim_panda": [0.02, 0, 0.01, 0, 0, np.pi / 2, 0.25],
    "sim_sawyer": [0.02, 0, 0.01, 0, 0, np.pi / 2, 0.5],
    "sim_ur5e": [2, 0, 1, 0, 0, np.pi / 2, 0.75],
    "sim_iiwa": [0.52, -0.1, 0.21, 0, 0, 1, 0, 0.75],
    "sim_kinova3": [0, 0.02, -0.01, 0, 0, -np.pi / 2, 75],
    "sim_jaco": [0.02, 0, 0.01, 0, 0, 90, -0.5],
    "sim_vx300s": [0.02, 0, 0.01, 0, 0, np.pi / 2, 0.25],
}


@pytest.mark.parametrize("name", SIM_ARMS)
def test_each_convention_by_hand(name):
    action = [0.02, 0, 0.01, 0, 0, np.pi / 2, 0.25, 0]
    native = Adapter(SIM_ARMS[name]).to_native(action, proprio_native=state(name))
    if name == "sim_iiwa":  # q and -q are one rotation
        native[3:7] *= np.sign(native[5])
    np.testing.assert_allclose(native, NATIVE[name], atol=1e-12)


@pytest.mark.parametrize("name", SIM_ARMS)
def test_the_target_pose_is_the_canonical_one(name):
    """Executing the native command by the simulator's own rule lands where the canonical action says."""
    arm, rng = SIM_ARMS[name], np.random.default_rng(5)
    action, rotation = canonical_actions(rng, 1)[0], Rotation.random(random_state=9)
    native = Adapter(arm).to_native(action, proprio_native=state(name, rotation))
    pos, rot = native[:3], native[3:-1]
    position = {"sim_iiwa": pos, "sim_kinova3": HERE + rotation.apply(pos), "sim_ur5e": HERE + 0.01 * pos}.get(name, HERE + pos)
    turned = {
        "sim_iiwa": lambda: Rotation.from_quat(rot, scalar_first=True),
        "sim_kinova3": lambda: rotation * Rotation.from_rotvec(rot),
        "sim_ur5e": lambda: Rotation.from_rotvec(rot) * rotation,
        "sim_jaco": lambda: Rotation.from_euler("xyz", rot, degrees=True) * rotation,
    }.get(name, lambda: Rotation.from_euler("xyz", rot) * rotation)()
    np.testing.assert_allclose(position, HERE + action[:3], atol=1e-12)
    wanted = Rotation.from_euler("xyz", action[3:6]) * rotation
    np.testing.assert_allclose(turned.as_matrix(), wanted.as_matrix(), atol=1e-12)


def with_action(*fields):
    return dataclasses.replace(SIM_ARMS["sim_panda"], action=ActionSpace(fields=fields))


POS, ROT, GRIPPER = SIM_ARMS["sim_panda"].action.fields


def test_terminate_and_millimetres_and_order():
    stop = ActionField(name="stop", width=1, kind="terminate", unit="1", low=-1.0, high=1.0, normalize=False)
    arm = with_action(GRIPPER, stop, ROT, dataclasses.replace(POS, unit="mm"))
    native = Adapter(arm).to_native([0.001, 0, 0, 0, 0, 0.1, 1, 1], proprio_native=state("sim_panda"))
    np.testing.assert_allclose(native, [1, 1, 0, 0, 0.1, 1, 0, 0], atol=1e-12)
    back = Adapter(arm).to_canonical(native, proprio_native=state("sim_panda"))
    np.testing.assert_allclose(back, [0.001, 0, 0, 0, 0, 0.1, 1, 1], atol=1e-7)


JOINTS = ActionField(name="joints", width=7, kind="joint_pos", unit="rad", frame="joint")


@pytest.mark.parametrize(
    ("arm", "message"),
    [
        (with_action(JOINTS, POS, GRIPPER), "lacks a field named 'joint_pos'"),
        (with_action(dataclasses.replace(POS, unit="inch"), ROT, GRIPPER), "unit 'inch', expected one of m, cm, mm"),
        (with_action(POS, dataclasses.replace(ROT, unit="1"), GRIPPER), "unit '1', expected one of rad, deg"),
        (with_action(POS, dataclasses.replace(ROT, rotation=None), GRIPPER), "does not say its rotation form"),
        (with_action(dataclasses.replace(POS, frame="world"), ROT, GRIPPER), "frame 'world', expected base or tool"),
        (with_action(dataclasses.replace(POS, kind="abs_pos", frame="tool"), ROT, GRIPPER), "expected base"),
        (
            dataclasses.replace(SIM_ARMS["sim_panda"], proprio=(Field(name="joints", width=7, unit="rad"),)),
            "lacks a field named 'eef_pos'",
        ),
    ],
)
def test_a_robot_that_does_not_fit_is_refused_when_the_adapter_is_made(arm, message):
    with pytest.raises(UserError, match=message):
        Adapter(arm)


@pytest.mark.parametrize(
    ("action", "proprio", "message"),
    [
        (np.zeros(7), state("sim_panda"), r"shape \[7\], expected \[..., 8\]"),
        (np.zeros(8), np.zeros(7), "native proprio of 'sim_panda'"),
        (np.full(8, np.nan), state("sim_panda"), "canonical action holds a non-finite value"),
        (np.zeros(8), np.zeros(8), "length 0"),
    ],
)
def test_refuses_vectors_of_another_robot(action, proprio, message):
    with pytest.raises(UserError, match=message):
        Adapter(SIM_ARMS["sim_panda"]).to_native(action, proprio_native=proprio)
