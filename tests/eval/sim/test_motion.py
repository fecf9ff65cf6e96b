"""The arm goes where it is told, on the real model of one arm."""

import numpy as np
import pytest

from rtx.eval.sim.arms import find_arm
from rtx.eval.sim.calibrate import home_position, look_at
from rtx.eval.sim.models import load_models
from rtx.eval.sim.motion import Motion, rotation_matrix, rotation_vector
from rtx.eval.sim.mujoco_gl import mujoco
from rtx.robots import rotations


@pytest.fixture(scope="module")
def motion():
    models = load_models(find_arm("sim_panda"))
    known, data = models.calibration, mujoco.MjData(models.physics)
    motion = Motion(
        models.physics, data, joints=known.arm_joints, actuators=known.arm_actuators,
        gripper_actuators=known.gripper_actuators, open_ctrl=known.open_ctrl, closed_ctrl=known.closed_ctrl,
    )  # fmt: skip
    data.qpos[motion.qpos_at] = motion.home = np.array(known.home_qpos)
    mujoco.mj_forward(models.physics, data)
    return motion


def test_rotation_vectors_go_there_and_back():
    rng = np.random.default_rng(0)
    for _ in range(50):
        vector = rng.normal(0, 0.9, 3)
        matrix = rotation_matrix(vector)
        np.testing.assert_allclose(matrix, rotations.to_matrix(vector, "axis_angle"), atol=1e-9)
        np.testing.assert_allclose(rotation_vector(matrix), vector, atol=1e-7)
    np.testing.assert_array_equal(rotation_matrix(np.zeros(3)), np.eye(3))


def test_a_camera_looks_at_its_point():
    eye, point = np.array([1.0, 0.3, 0.8]), np.array([0.2, 0.1, 0.0])
    rotation = look_at(eye, point, up=np.array([0.0, 0.0, 1.0]))
    np.testing.assert_allclose(rotation.T @ rotation, np.eye(3), atol=1e-12)
    np.testing.assert_allclose(-rotation[:, 2], (point - eye) / np.linalg.norm(point - eye), atol=1e-12)
    assert rotation[2, 1] > 0  # the picture's up is up


def test_home_is_home(motion):
    np.testing.assert_allclose(motion.position, home_position(find_arm("sim_panda")), atol=1e-4)
    np.testing.assert_allclose(motion.rotation[:, 2], [0, 0, -1], atol=1e-3)  # the hand points down


def test_inverse_kinematics_reaches_its_pose(motion):
    before = motion.data.qpos.copy()
    q, error = motion.solve(np.array([0.55, 0.12, 0.1]), motion.rotation, start=motion.home)
    assert error < 1e-4
    np.testing.assert_array_equal(motion.data.qpos, before)
    motion.data.qpos[motion.qpos_at] = q
    mujoco.mj_forward(motion.model, motion.data)
    np.testing.assert_allclose(motion.position, [0.55, 0.12, 0.1], atol=1e-4)


def test_a_pose_out_of_reach_is_approached_and_reported(motion):
    q, error = motion.solve(np.array([2.0, 0.0, 0.3]), motion.rotation, start=motion.home)
    assert error > 0.5
    assert np.all(np.isfinite(q))


def test_a_command_is_carried_out_within_its_period(motion):
    """Starting from rest: most of the way; the second period brings the rest."""
    rng = np.random.default_rng(1)
    for _ in range(5):
        motion.servo(np.array([0.5, 0.0, 0.2]), motion.rotation, 1.0, seconds=1.0)
        start, rotation = motion.position, motion.rotation
        step, turn = rng.normal(0, 0.03, 3), rng.normal(0, 0.1, 3)
        target = rotation_matrix(turn) @ rotation
        motion.servo(start + step, target, 1.0, seconds=0.2)
        assert np.linalg.norm(motion.position - start - step) < 0.2 * np.linalg.norm(step) + 1e-3
        motion.servo(start + step, target, 1.0, seconds=0.2)
        assert np.linalg.norm(motion.position - start - step) < 0.05 * np.linalg.norm(step) + 1e-3
        assert np.linalg.norm(rotation_vector(target @ motion.rotation.T)) < 0.05 * np.linalg.norm(turn) + 1e-3
        motion.servo(start, rotation, 1.0, seconds=1.0)
