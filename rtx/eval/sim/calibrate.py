"""What has to be measured once on a finished model: the home pose, how far the gripper opens, where the wrist camera goes."""

from __future__ import annotations

import numpy as np

from rtx.errors import WorldError
from rtx.eval.sim.arms import SimArm
from rtx.eval.sim.build import GRIP_SITE, WRIST_CAMERA, Blueprint
from rtx.eval.sim.models import Calibration
from rtx.eval.sim.motion import Motion
from rtx.eval.sim.mujoco_gl import mujoco

_SETTLE_S = 1.5


def home_position(arm: SimArm) -> np.ndarray:
    return np.array([arm.center_x_m, 0.0, arm.table_z_m + arm.home_height_m])


def calibrate(model: mujoco.MjModel, blueprint: Blueprint, arm: SimArm) -> Calibration:
    """Raises WorldError when the arm cannot reach its home pose: a defect of its record."""
    data = mujoco.MjData(model)
    shut, wide = (_ctrl(model, blueprint, command) for command in (blueprint.close_command, blueprint.open_command))
    open_ctrl = tuple((shut + arm.open_share * (wide - shut)).tolist())
    closed_ctrl = tuple(shut.tolist())
    motion = Motion(
        model, data, joints=blueprint.arm_joints, actuators=blueprint.arm_actuators,
        gripper_actuators=blueprint.gripper_actuators, open_ctrl=open_ctrl, closed_ctrl=closed_ctrl,
    )  # fmt: skip
    for name, q in zip(blueprint.gripper_joints, blueprint.gripper_qpos, strict=True):
        data.joint(name).qpos[0] = q
    data.qpos[motion.qpos_at] = motion.home = np.array(blueprint.initial_qpos)
    mujoco.mj_forward(model, data)
    axis = _finger_axis(model, data, blueprint.pads)
    rotation = _pointing_down(motion.rotation, axis, arm.turn_hand_deg)
    home, error = motion.solve(home_position(arm), rotation, start=np.array(blueprint.initial_qpos), steps=1000)
    if error > 1e-3:
        raise WorldError(f"{arm.name} cannot reach its home pose: {error:.3f} (m + rad) is missing; correct its record")
    data.qpos[motion.qpos_at] = motion.home = home
    mujoco.mj_forward(model, data)
    gaps = {}
    for opening in (0.0, 1.0):
        motion.servo(home_position(arm), rotation, opening, seconds=_SETTLE_S)
        gaps[opening] = _gap(model, data, blueprint.pads, axis)
    return Calibration(
        arm_joints=blueprint.arm_joints, arm_actuators=blueprint.arm_actuators,
        gripper_joints=blueprint.gripper_joints, gripper_actuators=blueprint.gripper_actuators, pads=blueprint.pads,
        home_qpos=tuple(home.tolist()), home_rotation=tuple(map(tuple, rotation.tolist())),
        open_qpos=tuple(float(data.joint(name).qpos[0]) for name in blueprint.gripper_joints),
        open_ctrl=open_ctrl, closed_ctrl=closed_ctrl,
        finger_axis=(float(axis[0]), float(axis[1]), float(axis[2])), open_gap_m=gaps[1.0], closed_gap_m=gaps[0.0],
    )  # fmt: skip


def place_wrist_camera(model: mujoco.MjModel, calibration: Calibration, arm: SimArm) -> None:
    """In front of the hand (towards +x at home), looking down at the fingertips, the fingers hanging in from above."""
    site, camera = model.site(GRIP_SITE), model.camera(WRIST_CAMERA)
    frame = np.zeros(9)
    mujoco.mju_quat2Mat(frame, site.quat)
    finger, ahead = np.array(calibration.finger_axis), np.array([0.0, 0.0, 1.0])
    side = np.cross(finger, ahead)
    if (np.array(calibration.home_rotation) @ side)[0] < 0:
        side = -side
    eye = arm.wrist.side_m * side - arm.wrist.back_m * ahead
    pose = look_at(eye, arm.wrist.look_ahead_m * ahead, up=-ahead)
    rotation = frame.reshape(3, 3) @ pose
    quaternion = np.zeros(4)
    mujoco.mju_mat2Quat(quaternion, rotation.reshape(9))
    camera.pos[:] = site.pos + frame.reshape(3, 3) @ eye
    camera.quat[:] = quaternion


def look_at(eye: np.ndarray, point: np.ndarray, *, up: np.ndarray) -> np.ndarray:
    """Rotation of a MuJoCo camera (x right, y up, looking along -z) at `eye` that looks at `point`."""
    back = (eye - point) / np.linalg.norm(eye - point)
    right = np.cross(up, back)
    right /= np.linalg.norm(right)
    return np.stack([right, np.cross(back, right), back], axis=1)


def _ctrl(model: mujoco.MjModel, blueprint: Blueprint, command: tuple[float, ...]) -> np.ndarray:
    """robosuite's [-1, 1] to each gripper actuator's own range."""
    ids = [model.actuator(name).id for name in blueprint.gripper_actuators]
    low, high = model.actuator_ctrlrange[ids].T
    return np.asarray((low + high) / 2 + (high - low) / 2 * np.array(command))


def _finger_axis(model: mujoco.MjModel, data: mujoco.MjData, pads: tuple[str, str]) -> np.ndarray:
    """The gripper point's own x or y axis, whichever the pads lie along."""
    frame = data.site(GRIP_SITE).xmat.reshape(3, 3)
    apart = frame.T @ (data.geom(pads[1]).xpos - data.geom(pads[0]).xpos)
    axis = np.zeros(3)
    axis[int(np.argmax(np.abs(apart[:2])))] = 1.0
    return axis


def _gap(model: mujoco.MjModel, data: mujoco.MjData, pads: tuple[str, str], axis: np.ndarray) -> float:
    frame = data.site(GRIP_SITE).xmat.reshape(3, 3)
    return float(abs(axis @ (frame.T @ (data.geom(pads[1]).xpos - data.geom(pads[0]).xpos))))


def _pointing_down(now: np.ndarray, finger: np.ndarray, turn_deg: float) -> np.ndarray:
    """The gripper's z axis down, its fingers opening along the base's y (turned by `turn_deg`), of both ways the nearer one."""
    turn = np.radians(turn_deg)
    across = np.array([-np.sin(turn), np.cos(turn), 0.0])
    down = np.array([0.0, 0.0, -1.0])
    side = np.cross([0.0, 0.0, 1.0], finger)
    candidates = []
    for sign in (1.0, -1.0):
        target = np.stack([sign * across, np.cross(down, sign * across), down], axis=1)
        source = np.stack([finger, side, [0.0, 0.0, 1.0]], axis=1)
        candidates.append(target @ source.T)
    return max(candidates, key=lambda rotation: float(np.trace(rotation @ now.T)))
