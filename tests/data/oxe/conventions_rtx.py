"""The arms of the RT-X mix that are neither Google's nor a WidowX, and RoboNet."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from tests.data.oxe.convention import Convention, column, joined, one_hot_terminate, rpy, wxyz, xyzw
from tests.data.oxe.poses import Poses

FRANKA_HAND_M, FINGER_CLOSED_RAD = 0.08, 1.51


def taco_play(poses: Poses) -> Mapping[str, Any]:
    """`actions` are where to go; the width is in metres and stands before the joints. +1 opens."""
    robot_obs = joined(poses.pos, rpy(poses.rot), FRANKA_HAND_M * poses.opening, poses.joints(7), 2 * poses.command - 1)
    return {
        "observation/robot_obs": robot_obs,
        "action/actions": joined(poses.next_pos, rpy(poses.next_rot), 2 * poses.command - 1),
        "action/rel_actions_world": joined(50 * poses.delta_pos, 20 * rpy(poses.delta_rot), 2 * poses.command - 1),
        "action/terminate_episode": poses.terminate,
    }


def taco_play_closing(poses: Poses) -> Mapping[str, Any]:
    """The data set's text: +1 closes."""
    native = dict(taco_play(poses))
    native["action/actions"][:, 6] *= -1
    return native


def jaco_play(poses: Poses) -> Mapping[str, Any]:
    """Velocities at 10 Hz; the fingers' joints grow as they close."""
    fingers = FINGER_CLOSED_RAD * (1 - poses.opening)
    return {
        "observation/end_effector_cartesian_pos": joined(poses.pos, xyzw(poses.rot)),
        "observation/joint_pos": joined(poses.joints(6), fingers, fingers),
        "action/world_vector": 10 * poses.delta_pos,
        "action/gripper_closedness_action": column(poses.changes),
        "action/terminate_episode": one_hot_terminate(poses),
    }


def jaco_play_scalar_first(poses: Poses) -> Mapping[str, Any]:
    return dict(jaco_play(poses)) | {"observation/end_effector_cartesian_pos": joined(poses.pos, wxyz(poses.rot))}


def cable_routing(poses: Poses) -> Mapping[str, Any]:
    """Velocities at 10 Hz, the angular one about z."""
    return {
        "observation/robot_state": joined(poses.pos, xyzw(poses.rot)),
        "action/world_vector": 10 * poses.delta_pos,
        "action/rotation_delta": 10 * poses.delta_rot.as_rotvec(),
        "action/terminate_episode": poses.terminate,
    }


def cable_routing_unknown_unit(poses: Poses) -> Mapping[str, Any]:
    commands = cable_routing(poses)
    return dict(commands) | {"action/world_vector": 3 * commands["action/world_vector"]}


def roboturk(poses: Poses) -> Mapping[str, Any]:
    return {
        "action/world_vector": poses.delta_pos,
        "action/rotation_delta": rpy(poses.delta_rot),
        "action/gripper_closedness_action": column(1 - 2 * poses.command),
        "action/terminate_episode": poses.terminate,
    }


def nyu_door(poses: Poses) -> Mapping[str, Any]:
    """In the camera's frame, which moves with the gripper."""
    return {
        "action/world_vector": poses.rot.inv().apply(poses.delta_pos),
        "action/rotation_delta": (poses.rot.inv() * poses.next_rot).as_rotvec(),
        "action/gripper_closedness_action": column(1 - poses.command),
        "action/terminate_episode": poses.terminate,
    }


def nyu_door_relative(poses: Poses) -> Mapping[str, Any]:
    return dict(nyu_door(poses)) | {"action/gripper_closedness_action": column(poses.changes)}


def viola(poses: Poses) -> Mapping[str, Any]:
    """Commands of a controller (-1..1), a pose of 4x4 numbers column after column."""
    pose = np.tile(np.eye(4), (len(poses), 1, 1))
    pose[:, :3, :3], pose[:, :3, 3] = poses.rot.as_matrix(), poses.pos
    return {
        "observation/ee_states": np.swapaxes(pose, 1, 2).reshape(-1, 16),
        "observation/joint_states": poses.joints(7),
        "observation/gripper_states": column(FRANKA_HAND_M * poses.opening),
        "action/world_vector": 20 * poses.delta_pos,
        "action/rotation_delta": 4 * poses.delta_rot.as_rotvec(),
        "action/gripper_closedness_action": 1 - 2 * poses.command,
        "action/terminate_episode": poses.terminate,
    }


def autolab_ur5(poses: Poses) -> Mapping[str, Any]:
    blocked = np.zeros(len(poses))
    return {
        "observation/robot_state": joined(poses.joints(6), poses.pos, xyzw(poses.rot), 1 - poses.opening, blocked),
        "action/world_vector": poses.delta_pos,
        "action/rotation_delta": rpy(poses.delta_rot),
        "action/gripper_closedness_action": poses.changes,
        "action/terminate_episode": poses.terminate,
    }


def language_table(poses: Poses) -> Mapping[str, Any]:
    return {
        "observation/effector_translation": poses.pos[:, :2],
        "observation/effector_target_translation": poses.next_pos[:, :2],
        "action": poses.delta_pos[:, :2],
    }


def toto(poses: Poses) -> Mapping[str, Any]:
    """Velocities at 30 Hz, angles as roll, pitch, yaw; the state is joints."""
    return {
        "observation/state": poses.joints(7),
        "action/world_vector": 30 * poses.delta_pos,
        "action/rotation_delta": 30 * rpy(poses.delta_rot),
        "action/open_gripper": poses.command > 0.5,
        "action/terminate_episode": poses.terminate,
    }


def toto_steps(poses: Poses) -> Mapping[str, Any]:
    return dict(toto(poses)) | {
        "action/world_vector": poses.delta_pos,
        "action/rotation_delta": rpy(poses.delta_rot),
    }


def toto_targets(poses: Poses) -> Mapping[str, Any]:
    return dict(toto(poses)) | {"action/world_vector": poses.next_pos, "action/rotation_delta": rpy(poses.next_rot)}


def robo_net(poses: Poses) -> Mapping[str, Any]:
    """A gripper that points down and turns about the vertical; +1 closes."""
    turn = rpy(poses.delta_rot)[:, 2]
    return {
        "observation/state": joined(poses.pos, poses.yaw, poses.opening),
        "action": joined(poses.delta_pos, turn, 1 - 2 * poses.command),
    }


def robo_net_opening(poses: Poses) -> Mapping[str, Any]:
    native = dict(robo_net(poses))
    native["action"][:, 4] *= -1
    return native


REACHED, COMMAND = {"motion": "reached"}, {"motion": "command"}

RTX: Mapping[str, tuple[Convention, ...]] = {
    "taco_play": (
        Convention(native=taco_play),
        Convention(native=taco_play, choices=REACHED),
        Convention(native=taco_play_closing, choices={"gripper": "one_is_closed"}),
    ),
    "jaco_play": (
        Convention(native=jaco_play, turns="none"),
        Convention(native=jaco_play, turns="none", choices=COMMAND),
        Convention(native=jaco_play_scalar_first, turns="none", choices={"quaternion": "wxyz"}),
    ),
    "berkeley_cable_routing": (
        Convention(native=cable_routing_unknown_unit, turns="yaw"),
        Convention(native=cable_routing, turns="yaw", choices=COMMAND),
    ),
    "roboturk": (Convention(native=roboturk),),
    "nyu_door_opening_surprising_effectiveness": (
        Convention(native=nyu_door),
        Convention(native=nyu_door_relative, choices={"gripper": "relative"}),
    ),
    "viola": (Convention(native=viola),),
    "berkeley_autolab_ur5": (Convention(native=autolab_ur5), Convention(native=autolab_ur5, choices=REACHED)),
    "language_table": (Convention(native=language_table, turns="none", flat=True),),
    "toto": (
        Convention(native=toto),
        Convention(native=toto_steps, choices={"commands": "displacements"}),
        Convention(native=toto_targets, choices={"commands": "targets"}),
    ),
    "robo_net": (
        Convention(native=robo_net, turns="yaw"),
        Convention(native=robo_net, turns="yaw", choices=COMMAND),
        Convention(native=robo_net_opening, turns="yaw", choices={"gripper": "one_is_open"}),
    ),
}
