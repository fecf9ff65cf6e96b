"""Native actions of the suites against canonical ones, and against what each suite's own code computes."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from rtx.data.oxe import OXE
from rtx.data.public import PUBLIC
from rtx.eval.public.libero import Libero
from rtx.eval.public.maniskill import ManiSkill
from rtx.eval.public.simpler import Simpler
from rtx.robots.adapter import Adapter
from rtx.robots.google_robot import GOOGLE_ROBOT
from rtx.robots.public_arms import LANGUAGE_TABLE_ARM, PUBLIC_ARMS
from rtx.robots.widowx import WIDOWX_250


def state_of(robot, rng):
    """Any state with unit quaternions."""
    state, start = rng.uniform(0.1, 0.9, sum(field.width for field in robot.proprio)), 0
    for field in robot.proprio:
        if field.rotation is not None and field.width == 4:
            state[start : start + field.width] = Rotation.random(rng=rng).as_quat()
        start += field.width
    return state


@pytest.mark.parametrize("arm", sorted(PUBLIC_ARMS))
def test_a_native_action_comes_back_through_the_canonical_one(arm):
    robot, layout = PUBLIC_ARMS[arm]
    adapter, rng = Adapter(robot, layout), np.random.default_rng(3)
    state = state_of(robot, rng)
    for _ in range(20):
        native = np.concatenate([rng.uniform(-0.1, 0.1, field.width) for field in robot.action.fields])
        for field, place in zip(robot.action.fields, robot.action.slices.values(), strict=True):
            if field.kind == "gripper":
                native[place] = rng.choice([field.closed, field.opened])
        canonical = adapter.to_canonical(native, proprio_native=state)
        np.testing.assert_allclose(adapter.to_native(canonical, proprio_native=state), native, atol=1e-6)


def test_meta_worlds_unit_is_a_centimetre_and_its_gripper_closes_at_one():
    adapter = Adapter(*PUBLIC_ARMS["metaworld_sawyer"])
    state = np.array([0, 0.6, 0.2, 1, 0, 0, 0, 1.0])
    canonical = adapter.to_canonical(np.array([1.0, -0.5, 0, 1.0]), proprio_native=state)
    np.testing.assert_allclose(canonical, [0.01, -0.005, 0, 0, 0, 0, 0, 0], atol=1e-7)


def test_aloha_keeps_left_and_right_apart():
    robot, layout = PUBLIC_ARMS["gym_aloha"]
    adapter = Adapter(robot, layout)
    state = np.concatenate([np.full(6, 0.1), [0.25], np.full(6, 0.2), [0.75]])  # left arm first
    values = dict(zip(layout.proprio, np.split(adapter.proprio(state), [6, 7, 13]), strict=True))
    assert {field.name: float(value[0]) for field, value in values.items()} == pytest.approx(
        {"joint_pos_6": 0.2, "gripper": 0.75, "left_joint_pos_6": 0.1, "left_gripper": 0.25}
    )


def test_maniskill_gets_its_turns_the_other_way():
    """Its controller multiplies by the lower bound, which is negative: seen in mani_skill 3.0.1."""
    env = object.__new__(ManiSkill)
    raw = env.raw_action(np.array([0.05, -0.1, 0.2, 0, 0, 0.1, -1.0]))
    np.testing.assert_allclose(raw, [0.5, -1, 1, 0, 0, -1, -1], atol=1e-12)
    turned = Rotation.from_euler("XYZ", -0.1 * env.raw_action(np.array([0, 0, 0, 0.03, -0.05, 0.07, 1.0]))[3:6])
    np.testing.assert_allclose(turned.as_rotvec(), [0.03, -0.05, 0.07], atol=1e-12)
    native = np.array([0.05, -0.01, 0.02, 0.03, -0.05, 0.07, 1.0])
    np.testing.assert_allclose(env.native_action(env.raw_action(native)), native, atol=1e-12)


def test_libero_is_scaled_as_osc_pose_scales_it():
    env = object.__new__(Libero)
    native = np.array([0.05, -0.025, 0, 0.5, 0, -0.25, 1.0])
    np.testing.assert_allclose(env.raw_action(native), [1, -0.5, 0, 1, 0, -0.5, 1])
    np.testing.assert_allclose(env.native_action(env.raw_action(native)), native)


@pytest.mark.parametrize("robot", [WIDOWX_250, GOOGLE_ROBOT])
def test_simpler_turns_as_its_own_policies_do(robot):
    """They send euler2axangle(roll, pitch, yaw) with static axes: R = Rz Ry Rx."""
    env = object.__new__(Simpler)
    env.robot = robot
    native = np.zeros(robot.action.width)
    native[:7] = [0.01, 0.02, 0.03, 0.1, -0.2, 0.3, 0.9]
    raw = env.raw_action(native)
    wanted = Rotation.from_euler("xyz", [0.1, -0.2, 0.3]).as_rotvec()  # lower-case: static axes
    np.testing.assert_allclose(raw, [0.01, 0.02, 0.03, *wanted, 1.0 if robot is WIDOWX_250 else 0.9], atol=1e-9)
    np.testing.assert_allclose(env.raw_action(env.native_action(raw)), raw, atol=1e-9)


@pytest.mark.parametrize(
    ("arm", "robot"),
    [("language_table", LANGUAGE_TABLE_ARM), ("bridge_dataset", WIDOWX_250), ("fractal20220817_data", GOOGLE_ROBOT)],
)
def test_checkpoints_of_the_real_data_sets_drive_the_suites_arms(arm, robot):
    adapter = Adapter(robot, OXE[arm].layout)
    action = np.zeros(OXE[arm].layout.action.width, np.float32)
    action[OXE[arm].layout.action.slices["delta_pos"]] = [0.01, -0.02, 0]
    native = adapter.to_native(action, proprio_native=state_of(robot, np.random.default_rng(1)))
    np.testing.assert_allclose(native[:2], [0.01, -0.02], atol=1e-7)


def test_simpler_grippers():
    env = object.__new__(Simpler)
    env.robot = WIDOWX_250
    assert env.raw_action(np.array([0, 0, 0, 0, 0, 0, 0.2]))[6] == -1.0
    state = {"hand": np.array([0.3, 0, 0.1, 1, 0, 0, 0]), "opening": np.float64(0.8)}
    assert env.proprio(state)[-1] == pytest.approx(0.8)
    env.robot = GOOGLE_ROBOT
    assert env.proprio(state)[-1] == pytest.approx(0.2)  # its state tells how far it is closed
    np.testing.assert_allclose(env.proprio(state)[3:7], [0, 0, 0, 1])


@pytest.mark.parametrize("arm", sorted(PUBLIC_ARMS))
def test_recorded_demonstrations_become_what_policies_say(arm):
    robot, layout = PUBLIC_ARMS[arm]
    rng = np.random.default_rng(5)
    states = np.stack([state_of(robot, rng) for _ in range(4)])
    actions = np.stack(
        [np.concatenate([np.full(f.width, f.opened if f.kind == "gripper" else 0.05) for f in robot.action.fields])] * 4
    )
    trajectory = {
        "action": actions.astype(np.float32), "observation": {"state": states.astype(np.float32)},
        "is_terminal": np.array([False, False, False, True]), "is_last": np.array([False, False, False, True]),
    }  # fmt: skip
    done = PUBLIC[arm].standardize(trajectory)
    assert done["action"].shape == (4, layout.action.width)
    assert done["proprio"].shape == (4, layout.proprio_width)
    grippers = [place for name, place in layout.action.slices.items() if name.endswith("gripper")]
    assert all(np.all(done["action"][:, place] == 1) for place in grippers)
    if "terminate" in layout.action.slices:
        assert done["action"][:, layout.action.slices["terminate"]].ravel().tolist() == [0, 0, 0, 1]
