"""Google's robots: RT-1, BC-Z, QT-Opt and MT-Opt."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from scipy.spatial.transform import Rotation

from tests.data.oxe.convention import Convention, column, joined, one_hot_terminate, rpy, xyzw
from tests.data.oxe.poses import Poses

NUM_FUTURE = 10


def rt1(poses: Poses) -> dict[str, Any]:
    """Displacements in m and rad (base frame); +1 closes the gripper, -1 opens it, 0 leaves it."""
    return {
        "action/world_vector": poses.delta_pos,
        "action/rotation_delta": rpy(poses.delta_rot),
        "action/gripper_closedness_action": column(poses.changes),
        "action/base_displacement_vector": np.zeros((len(poses), 2)),
        "action/base_displacement_vertical_rotation": np.zeros((len(poses), 1)),
        "action/terminate_episode": one_hot_terminate(poses),
        "observation/gripper_closed": column(1 - poses.opening),
    }


def fractal(poses: Poses) -> Mapping[str, Any]:
    """The base moves as well, by a displacement in its own frame; the tool pose is relative to the base."""
    return rt1(poses) | {
        "action/base_displacement_vector": poses.base_delta[:, :2],
        "action/base_displacement_vertical_rotation": poses.base_delta[:, 2:],
        "observation/base_pose_tool_reached": joined(poses.pos, xyzw(poses.rot)),
    }


def kuka(poses: Poses) -> Mapping[str, Any]:
    pose = joined(poses.pos, xyzw(poses.rot))
    return rt1(poses) | {"observation/clip_function_input/base_pose_tool_reached": pose, "success": True}


def kuka_halved(poses: Poses) -> Mapping[str, Any]:
    """Commands the arm overshoots."""
    turn = Rotation.from_rotvec(poses.delta_rot.as_rotvec() / 2)
    return kuka(poses) | {"action/world_vector": poses.delta_pos / 2, "action/rotation_delta": rpy(turn)}


def mt_opt(poses: Poses) -> Mapping[str, Any]:
    return {
        "action/target_pose": joined(poses.next_pos, xyzw(poses.next_rot)),
        "action/close_gripper": poses.changes > 0,
        "action/open_gripper": poses.changes < 0,
        "action/terminate": poses.terminate,
        "observation/state_dense": joined(poses.pos, xyzw(poses.rot)),
        "observation/gripper_closed": poses.command < 0.5,
    }


def bc_z(poses: Poses) -> Mapping[str, Any]:
    """Of the next ten poses, each relative to the present one: as far as the episode goes, then its last."""
    num_steps = len(poses)
    xyz, turns = np.zeros((num_steps, NUM_FUTURE, 3)), np.zeros((num_steps, NUM_FUTURE, 3))
    closed = np.zeros((num_steps, NUM_FUTURE), int)
    for t in range(num_steps):
        for k in range(NUM_FUTURE):
            then = min(t + k, num_steps - 1)
            xyz[t, k] = poses.next_pos[then] - poses.pos[t]
            turns[t, k] = (poses.next_rot[then] * poses.rot[t].inv()).as_rotvec()
            closed[t, k] = poses.command[then] < 0.5
    return {
        "action/future/xyz_residual": xyz.reshape(num_steps, -1),
        "action/future/axis_angle_residual": turns.reshape(num_steps, -1),
        "action/future/target_close": closed,
        "observation/present/xyz": poses.pos,
        "observation/present/axis_angle": poses.rot.as_rotvec(),
        "observation/present/sensed_close": column(1 - 0.8 * poses.opening),
    }


def commanded(poses: Poses) -> np.ndarray:
    """MT-Opt's gripper_closed is a bool: taken to be what was commanded."""
    return column(poses.command > 0.5)


GOOGLE: Mapping[str, tuple[Convention, ...]] = {
    "fractal20220817_data": (Convention(native=fractal),),
    "kuka": (
        Convention(native=kuka, filtered={"success": False}),
        Convention(native=kuka_halved, choices={"motion": "reached"}),
    ),
    "mt_opt": (
        Convention(native=mt_opt, expected={"proprio.gripper": lambda poses: column(poses.command > 0.5)}),
        Convention(
            native=mt_opt, choices={"motion": "reached"}, expected={"proprio.gripper": lambda p: column(p.command > 0.5)}
        ),
    ),
    "bc_z": (Convention(native=bc_z), Convention(native=bc_z, choices={"motion": "reached"})),
}
