"""Simulated Franka sets, and small sets of other arms (Kuka iiwa, Cobotta, UR5, Sawyer, xArm 7, ETH's Franka on wheels)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from scipy.spatial.transform import Rotation

from tests.data.oxe.convention import Convention, column, joined, rpy, wxyz, xyzw
from tests.data.oxe.conventions_franka import controller, zeros
from tests.data.oxe.poses import Poses

BASE_AT, BASE_TURNED = np.array([-0.615, 0.1, 0.2]), Rotation.from_euler("z", 0.7)
"""Where a simulated arm stands in its world."""


def maniskill(poses: Poses) -> Mapping[str, Any]:
    """World poses, quaternions with the scalar first; the command is followed by half."""
    return _maniskill(poses, 2 * poses.delta_pos, Rotation.from_rotvec(2 * poses.delta_rot.as_rotvec()))


def maniskill_tool(poses: Poses) -> Mapping[str, Any]:
    """1 is 0.1 m and 0.1 rad, in the gripper's own frame."""
    return _maniskill(poses, poses.rot.inv().apply(poses.delta_pos), poses.rot.inv() * poses.next_rot)


def maniskill_base(poses: Poses) -> Mapping[str, Any]:
    return _maniskill(poses, poses.delta_pos, poses.delta_rot)


def _maniskill(poses: Poses, step: np.ndarray, turn: Rotation) -> Mapping[str, Any]:
    fingers = joined(0.04 * poses.opening, 0.04 * poses.opening)
    world = joined(BASE_AT + BASE_TURNED.apply(poses.pos), wxyz(BASE_TURNED * poses.rot))
    return {
        "observation/tcp_pose": world,
        "observation/base_pose": np.tile(np.concatenate([BASE_AT, wxyz(BASE_TURNED)]), (len(poses), 1)),
        "observation/state": joined(poses.joints(7), fingers, zeros(poses, 9)),
        "action": joined(step / 0.1, turn.as_rotvec() / 0.1, 2 * poses.command - 1),
    }


def plex(poses: Poses) -> Mapping[str, Any]:
    """robosuite: joints as cosines and sines, velocities, pose, two fingers that move apart, their velocities."""
    fingers = joined(0.04 * poses.opening, -0.04 * poses.opening)
    joints = joined(np.cos(poses.joints(7)), np.sin(poses.joints(7)), zeros(poses, 7))
    return {
        "observation/state": joined(joints, poses.pos, xyzw(poses.rot), fingers, zeros(poses, 2)),
        "action": controller(poses, 1 - 2 * poses.command),
    }


def plex_followed(poses: Poses) -> Mapping[str, Any]:
    """The arm follows the whole command: 1 is 0.05 m and 0.5 rad."""
    action = joined(poses.delta_pos / 0.05, poses.delta_rot.as_rotvec() / 0.5, 1 - 2 * poses.command)
    return {**plex(poses), "action": action}


def cloth(poses: Poses) -> Mapping[str, Any]:
    """Where the picker shall go; below 0.5 it lets go, above it holds."""
    return {"action": joined(poses.next_pos, 0.9 - 0.8 * poses.command)}


def cloth_deltas(poses: Poses) -> Mapping[str, Any]:
    return {"action": joined(poses.delta_pos, 0.9 - 0.8 * poses.command)}


def kuka_multimodal(poses: Poses) -> Mapping[str, Any]:
    return {
        "observation/ee_position": poses.pos,
        "observation/ee_orientation": wxyz(poses.rot),
        "action": joined(7 * poses.delta_pos, 0.1 * np.ones(len(poses))),
    }


def lsmo(poses: Poses) -> Mapping[str, Any]:
    """The measured gripper never changes."""
    return {
        "observation/state": joined(poses.pos, rpy(poses.rot), poses.joints(6), zeros(poses, 1)),
        "action": joined(3 * poses.delta_pos, 3 * rpy(poses.delta_rot), 1 - poses.command),
    }


def lsmo_open_is_1(poses: Poses) -> Mapping[str, Any]:
    return {**lsmo(poses), "action": joined(poses.next_pos, rpy(poses.next_rot), poses.command)}


def asu(poses: Poses) -> Mapping[str, Any]:
    return {
        "ground_truth_states/EE": joined(poses.pos, rpy(poses.rot)),
        "observation/state": joined(poses.joints(6), poses.opening),
        "action": joined(poses.joints(6), poses.command),
    }


def in_tool(poses: Poses) -> Rotation:
    """R_next = R A."""
    return poses.rot.inv() * poses.next_rot


def tool_translation(poses: Poses) -> np.ndarray:
    return poses.rot.inv().apply(poses.delta_pos)


def imperial(poses: Poses) -> Mapping[str, Any]:
    """ZYX: yaw first. Gripper 1 closed."""
    action = joined(tool_translation(poses), in_tool(poses).as_euler("ZYX"), 1 - poses.command, poses.terminate)
    return {"observation/state": column(1 - poses.opening), "action": action}


def imperial_the_other_way(poses: Poses) -> Mapping[str, Any]:
    action = joined(tool_translation(poses), rpy(in_tool(poses)), poses.command, poses.terminate)
    return {"observation/state": column(poses.opening), "action": action}


def nyu_rot(poses: Poses) -> Mapping[str, Any]:
    return {
        "observation/state": joined(poses.pos, rpy(poses.rot), 1 - poses.opening),
        "action": joined(poses.delta_pos, rpy(poses.delta_rot), 1 - poses.command),
    }


def eth(poses: Poses) -> Mapping[str, Any]:
    """66.6 steps a second; angles stored yaw, pitch, roll; then gripper and door angle."""
    return {
        "observation/state": joined(poses.pos, poses.rot.as_euler("ZYX"), poses.opening, 0.4 * poses.opening),
        "action": joined(66.6 * poses.delta_pos, 66.6 * poses.delta_rot.as_rotvec()),
    }


_TOOL_MOTION = {"action.tool_delta_pos": tool_translation, "action.tool_delta_rot": lambda poses: rpy(in_tool(poses))}

ARMS: Mapping[str, tuple[Convention, ...]] = {
    "maniskill_dataset_converted_externally_to_rlds": (
        Convention(native=maniskill),
        Convention(native=maniskill_tool, choices={"motion": "command_tool"}),
        Convention(native=maniskill_base, choices={"motion": "command_base"}),
    ),
    "plex_robosuite": (Convention(native=plex), Convention(native=plex_followed, choices={"motion": "command"})),
    "usc_cloth_sim_converted_externally_to_rlds": (
        Convention(native=cloth),
        Convention(native=cloth_deltas, choices={"pose": "delta"}),
    ),
    "stanford_kuka_multimodal_dataset_converted_externally_to_rlds": (Convention(native=kuka_multimodal),),
    "tokyo_u_lsmo_converted_externally_to_rlds": (
        Convention(native=lsmo),
        Convention(native=lsmo_open_is_1, choices={"gripper": "one_is_open"}),
    ),
    "asu_table_top_converted_externally_to_rlds": (Convention(native=asu),),
    "imperialcollege_sawyer_wrist_cam": (
        Convention(native=imperial, expected=_TOOL_MOTION),
        Convention(native=imperial_the_other_way, expected=_TOOL_MOTION, choices={"euler": "xyz", "gripper": "one_is_open"}),
    ),
    "nyu_rot_dataset_converted_externally_to_rlds": (
        Convention(native=nyu_rot),
        Convention(native=nyu_rot, choices={"motion": "reached"}),
    ),
    "eth_agent_affordances": (Convention(native=eth),),
}
