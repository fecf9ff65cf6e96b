"""Robots that are no single arm on a table: two arms, bases, legs, hand-held sticks, and actions that are whole primitives."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.spatial.transform import Rotation

from tests.data.oxe.convention import Convention, column, joined, rpy, wxyz, xyzw
from tests.data.oxe.conventions_others import COMMAND, OPEN_IS_1, Switched, exact, overdone, ypr
from tests.data.oxe.poses import Arm, Poses, wrapped

ALOHA_HZ = 50


@dataclass(frozen=True, kw_only=True)
class TwoWheels(Convention):
    """A base that cannot move sideways: it drives and turns evenly in each step, integrated in a thousand parts."""

    def poses(self, num_steps: int, seed: int) -> Poses:
        x, y, yaw = 0.3, -0.2, np.pi - 0.4
        path = [(x, y, yaw)]
        for forward, turn in np.stack(driving(num_steps), -1):
            for _ in range(1000):
                middle = yaw + turn / 2000
                x, y, yaw = x + forward / 1000 * np.cos(middle), y + forward / 1000 * np.sin(middle), yaw + turn / 1000
            path.append((x, y, yaw))
        base_path = np.array(path)
        base_path[:, 2] = wrapped(base_path[:, 2])
        return dataclasses.replace(super().poses(num_steps, seed), base_path=base_path)


def driving(num_steps: int) -> tuple[np.ndarray, np.ndarray]:
    """Way (m) and turn (rad) of each step; the first step does not turn."""
    t = np.arange(num_steps)
    return 0.1 * np.cos(0.2 * t), 0.15 * np.sin(0.3 * t)


def aloha(poses: Poses) -> Mapping[str, Any]:
    """Left arm, right arm (six joints and a gripper), then velocities of the base, per second."""
    forward, turn = driving(len(poses))
    sides = (poses.left, poses)
    return {
        "observation/state": joined(*(joined(arm.joints(6), arm.opening) for arm in sides)),
        "action": joined(
            *(joined(arm.next_joints(6), arm.command) for arm in sides), forward * ALOHA_HZ, turn * ALOHA_HZ
        ),
    }  # fmt: skip


def xarms(motion: Any, closed: float = 1.0) -> Any:
    """Left then right: position, yaw, pitch, roll, gripper."""

    def native(poses: Poses) -> Mapping[str, Any]:
        sides = {"l": poses.left, "r": poses}
        commands = {}
        for side, arm in sides.items():
            pos, rot = motion(arm)
            commands[side] = joined(pos, ypr(rot), 1 - arm.command if closed else arm.command)
        return {
            **{f"observation/pose_{side}": joined(arm.pos, ypr(arm.rot)) for side, arm in sides.items()},
            **{f"observation/action_{side}": command for side, command in commands.items()},
            "action": joined(*commands.values()),
        }

    return native


def targets(arm: Arm) -> tuple[np.ndarray, Rotation]:
    return arm.next_pos, arm.next_rot


def cmu_stretch(motion: Any) -> Any:
    def native(poses: Poses) -> Mapping[str, Any]:
        action = joined(motion(poses)[0], np.full((len(poses), 3), 0.3), poses.command, poses.terminate)
        return {"observation/state": joined(poses.pos, poses.opening), "action": action}

    return native


def dobbe(quat: Any) -> Any:
    """The action is in the frame of the stick's camera."""

    def native(poses: Poses) -> Mapping[str, Any]:
        camera = poses.rot.inv()
        return {
            "observation/xyz": poses.pos,
            "observation/quat": quat(poses.rot),
            "observation/rot": rpy(poses.rot),
            "observation/gripper": column(poses.opening),
            "observation/state": joined(poses.pos, rpy(poses.rot), poses.opening),
            "action": joined(30 * camera.apply(poses.delta_pos), 30 * (camera * poses.next_rot).as_rotvec(), poses.command),
        }

    return native


def spoc(poses: Poses) -> Mapping[str, Any]:
    """AI2-THOR: x right, y up, z forward; yaw in degrees, clockwise. At the end flags: pickup, dropoff, done, sub_done."""
    x, y, z = poses.pos.T
    base_x, base_y, base_yaw = poses.base.T
    none = np.zeros(len(poses))
    turn = -np.rad2deg(poses.base_delta[:, 2])
    lift, out = poses.delta_pos[:, 2], poses.delta_pos[:, 1]
    wrist = -np.rad2deg(poses.delta_rot.as_euler("xyz")[:, 2])
    flags = joined(poses.changes > 0, poses.changes < 0, poses.terminate, none)
    return {
        "observation/relative_arm_location_metadata": joined(-y, z, x, -np.rad2deg(poses.yaw)),
        "observation/last_agent_location": joined(-base_y, none + 0.9, base_x, none, -np.rad2deg(base_yaw), none),
        "observation/an_object_is_in_hand": poses.opening < 0.5,
        "action": joined(turn, poses.base_delta[:, 0], lift, out, wrist, flags),
    }


def base_pose(poses: Poses) -> np.ndarray:
    return poses.base[:, :2]


def base_heading(poses: Poses) -> np.ndarray:
    return np.stack([np.cos(poses.base[:, 2]), np.sin(poses.base[:, 2])], -1)


def conq(poses: Poses) -> Mapping[str, Any]:
    """A delta of the hand in its own frame, T_target = T_hand D; the arm's joints turn about z, y, x, y, x, y, x."""
    t = np.arange(len(poses))
    outer = np.stack([-0.9 + 0.03 * t, 0.3 + 0.02 * t, 0.4 - 0.02 * t, 1.1 + 0.01 * t], -1)
    elbow, wrist = Rotation.from_euler("YX", outer[:, :2]), Rotation.from_euler("YX", outer[:, 2:])
    shoulder = poses.rot * (elbow * wrist).inv()
    joints = np.zeros((len(poses), 20))
    joints[:, :12] = poses.joints(12)
    joints[:, 12:19] = joined(ypr(shoulder), outer)
    joints[:, 19] = -np.pi / 2 * poses.opening
    hand = poses.rot.inv()
    return {
        "observation/state": joined(joints, np.zeros((len(poses), 46))),
        "action": joined(hand.apply(poses.delta_pos), rpy(hand * poses.next_rot), poses.command),
    }


def saytap(poses: Poses) -> Mapping[str, Any]:
    state = joined(body_vel(poses), body_turn_vel(poses), poses.joints(12), np.ones((len(poses), 12)))
    return {"observation/state": state, "action": poses.next_joints(12)}


def body_vel(poses: Poses) -> np.ndarray:
    return 50 * poses.delta_pos


def body_turn_vel(poses: Poses) -> np.ndarray:
    return 50 * poses.delta_rot.as_rotvec()


def vima(poses: Poses) -> Mapping[str, Any]:
    """Take hold here, let go there."""
    return {
        "action/pose0_position": poses.pos,
        "action/pose0_rotation": xyzw(poses.rot),
        "action/pose1_position": poses.next_pos,
        "action/pose1_rotation": xyzw(poses.next_rot),
        "episode_metadata/success": True,
    }


def two_columns(rotation: Rotation) -> np.ndarray:
    matrix = rotation.as_matrix()
    return np.concatenate([matrix[..., 0], matrix[..., 1]], -1)


_LOST = {"steps/observation/xyz": np.full((3, 3), 12.0, np.float32)}

MOBILE: Mapping[str, tuple[Convention, ...]] = {
    "aloha_mobile": (TwoWheels(native=aloha),),
    "utokyo_xarm_bimanual_converted_externally_to_rlds": (
        Convention(native=xarms(overdone)),
        Convention(native=xarms(targets, closed=0.0), choices={"motion": "target", **OPEN_IS_1}),
        Convention(native=xarms(exact), choices=COMMAND),
    ),
    "cmu_stretch": (Convention(native=cmu_stretch(overdone)), Convention(native=cmu_stretch(exact), choices=COMMAND)),
    "dobbe": (
        Convention(native=dobbe(xyzw), filtered=_LOST),
        Convention(native=dobbe(wxyz), choices={"rotation": "wxyz"}),
        Convention(native=dobbe(lambda rotation: np.ones((len(rotation), 4))), choices={"rotation": "rpy"}),
    ),
    "spoc_robot": (
        Switched(
            native=spoc,
            turns="yaw",
            home=Rotation.identity(),
            expected={"proprio.base_pos": base_pose, "proprio.base_heading": base_heading},
        ),
    ),
    "conq_hose_manipulation": (Convention(native=conq),),
    "utokyo_saytap_converted_externally_to_rlds": (
        Convention(
            native=saytap,
            expected={
                "action.leg_joint_pos_12": lambda poses: poses.next_joints(12),
                "proprio.leg_joint_pos_12": lambda poses: poses.joints(12),
                "proprio.body_vel": body_vel,
                "proprio.body_turn_vel": body_turn_vel,
            },
        ),
    ),
    "vima_converted_externally_to_rlds": (
        Convention(
            native=vima,
            filtered={"episode_metadata/success": False},
            expected={
                "action.pick_pos": lambda poses: poses.pos,
                "action.pick_rot": lambda poses: two_columns(poses.rot),
                "action.place_pos": lambda poses: poses.next_pos,
                "action.place_rot": lambda poses: two_columns(poses.next_rot),
            },
        ),
    ),
}
