"""Real Franka sets: operational-space commands in a controller's units, targets, velocities, joints, deltas of all kinds."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
from scipy.spatial.transform import Rotation

from tests.data.oxe.convention import Convention, column, joined, rpy, xyzw
from tests.data.oxe.poses import Poses

HAND = 0.08  # m between the open fingers


class OpenOrClosed(Convention):
    """For sets whose measured gripper is a bool: the poses' opening has only two values too."""

    def poses(self, num_steps: int, seed: int) -> Poses:
        poses = super().poses(num_steps, seed)
        return dataclasses.replace(poses, openings=np.round(poses.openings))


def controller(poses: Poses, *gripper: Any) -> np.ndarray:
    """A command of an operational-space controller, -1..1 for 0.05 m and 0.5 rad, which the arm follows by half."""
    return joined(2 * poses.delta_pos / 0.05, 2 * poses.delta_rot.as_rotvec() / 0.5, *gripper)


def column_major(poses: Poses) -> np.ndarray:
    """[T, 16] homogeneous poses, one column after the other."""
    flat = []
    for position, matrix in zip(poses.pos, poses.rot.as_matrix(), strict=True):
        columns = [[*matrix[:, i], 0] for i in range(3)] + [[*position, 1]]
        flat.append(np.concatenate(columns))
    return np.array(flat)


def zeros(poses: Poses, width: int) -> np.ndarray:
    return np.zeros((len(poses), width))


def austin_one_vector(poses: Poses) -> Mapping[str, Any]:
    return {
        "observation/state": joined(poses.joints(7), HAND * poses.opening, column_major(poses)),
        "action": controller(poses, 1 - 2 * poses.command),
    }


def austin_sailor(poses: Poses) -> Mapping[str, Any]:
    return {
        "observation/state": joined(poses.pos, xyzw(poses.rot), HAND * poses.opening),
        "observation/state_joint": poses.joints(7),
        "observation/state_ee": column_major(poses),
        "observation/state_gripper": column(HAND * poses.opening),
        "action": controller(poses, 1 - 2 * poses.command),
    }


def austin_sirius(poses: Poses) -> Mapping[str, Any]:
    """The state is joints and gripper width here."""
    return {**austin_sailor(poses), "observation/state": joined(poses.joints(7), HAND * poses.opening)}


def hydra(poses: Poses) -> Mapping[str, Any]:
    gripper = joined(HAND * poses.opening, 0.3 * poses.opening, 0.9 - 0.5 * poses.opening)
    return {
        "observation/state": joined(
            poses.pos, xyzw(poses.rot), rpy(poses.rot), poses.joints(7), poses.next_joints(7) - poses.joints(7), gripper
        ),
        "action": joined(poses.delta_pos, rpy(poses.delta_rot), 1 - poses.command),
    }


def robocook(poses: Poses) -> Mapping[str, Any]:
    """5 steps a second: metres, radians and metres of width per second."""
    closing = HAND * (poses.next_opening - poses.opening)
    return {
        "observation/state": joined(poses.pos, rpy(poses.rot), HAND * poses.opening),
        "action": joined(5 * poses.delta_pos, 5 * poses.delta_rot.as_rotvec(), 5 * closing),
    }


def mimic_play(poses: Poses) -> Mapping[str, Any]:
    return {
        "observation/state/ee_pose": joined(poses.pos, xyzw(poses.rot)),
        "action": controller(poses, 1 - 2 * poses.command),
    }


def mimic_play_the_other_way(poses: Poses) -> Mapping[str, Any]:
    return {
        "observation/state/ee_pose": joined(poses.pos, np.roll(xyzw(poses.rot), 1, -1)),
        "action": controller(poses, 2 * poses.command - 1),
    }


def furniture_bench(poses: Poses) -> Mapping[str, Any]:
    """The goal's orientation is ee_quat * action_quat: a turn in the gripper's frame. The goal's position is a sum."""
    return _furniture(poses, poses.rot.inv() * poses.next_rot)


def furniture_bench_in_base(poses: Poses) -> Mapping[str, Any]:
    return _furniture(poses, poses.delta_rot)


def _furniture(poses: Poses, turn: Rotation) -> Mapping[str, Any]:
    state = joined(poses.pos, xyzw(poses.rot), zeros(poses, 6), poses.joints(14), zeros(poses, 7), HAND * poses.opening)
    return {"observation/state": state, "action": joined(poses.delta_pos, xyzw(turn), 1 - 2 * poses.command)}


def fmb(poses: Poses) -> Mapping[str, Any]:
    """1 closed, in the command and in the state."""
    return _fmb(poses, 1 - poses.command, 1 - poses.opening)


def fmb_open_is_1(poses: Poses) -> Mapping[str, Any]:
    return _fmb(poses, poses.command, poses.opening)


def _fmb(poses: Poses, command: np.ndarray, state: np.ndarray) -> Mapping[str, Any]:
    return {
        "observation/eef_pose": joined(poses.pos, xyzw(poses.rot)),
        "observation/state_gripper_pose": state,
        "action": controller(poses, command),
    }


def kaist(poses: Poses) -> Mapping[str, Any]:
    """Joint position and velocity of the first joint, of the second, ...; residuals left-multiplied, then 14 gains."""
    joints = np.stack([poses.joints(7), poses.next_joints(7) - poses.joints(7)], -1).reshape(-1, 14)
    return {
        "observation/state": joined(joints, poses.pos, xyzw(poses.rot)),
        "action": joined(poses.delta_pos, poses.delta_rot.as_rotvec(), zeros(poses, 14) + 50),
    }


def nyu_franka_play(poses: Poses) -> Mapping[str, Any]:
    """The turn is a plain difference of Euler angles: 2 pi too much where they wrap."""
    velocities = 3 * (poses.next_joints(7) - poses.joints(7))
    turns = rpy(poses.next_rot) - rpy(poses.rot)
    return {
        "observation/state": joined(poses.joints(7), poses.pos, rpy(poses.rot)),
        "action": joined(velocities, poses.delta_pos, turns, 2 * poses.command - 1, poses.terminate),
    }


def qut(poses: Poses) -> Mapping[str, Any]:
    """The pose to go to, and a finger's position: 0.025 m open in the command, 0.04 m in the state."""
    fingers = joined(0.04 * poses.opening, 0.04 * poses.opening)
    return {
        "observation/state": joined(poses.pos, xyzw(poses.rot), poses.joints(7), fingers, zeros(poses, 7)),
        "action": joined(poses.next_pos, xyzw(poses.next_rot), 0.025 * poses.command),
    }


def exploration(poses: Poses) -> Mapping[str, Any]:
    return {"action": joined(poses.next_pos, rpy(poses.next_rot), poses.command, poses.terminate)}


def exploration_deltas(poses: Poses) -> Mapping[str, Any]:
    return {"action": joined(poses.delta_pos, rpy(poses.delta_rot), poses.command, poses.terminate)}


def play_fusion(poses: Poses) -> Mapping[str, Any]:
    """Three of translation, four of rotation, gripper, terminate."""
    return {
        "observation/state": joined(poses.joints(7), 0.085 * poses.opening),
        "action": joined(poses.delta_pos, xyzw(poses.delta_rot), poses.command, poses.terminate),
    }


def play_fusion_scalar_first(poses: Poses) -> Mapping[str, Any]:
    quaternion = np.roll(xyzw(poses.delta_rot), 1, -1)
    return {**play_fusion(poses), "action": joined(poses.delta_pos, quaternion, poses.command, poses.terminate)}


def food(poses: Poses) -> Mapping[str, Any]:
    forces = zeros(poses, 6) + np.arange(6)
    return {"observation/state": forces, "action": joined(poses.next_pos, xyzw(poses.next_rot), poses.command)}


def food_deltas(poses: Poses) -> Mapping[str, Any]:
    return {"action": joined(poses.delta_pos, xyzw(poses.delta_rot), 1 - poses.command)}


def iamlab(poses: Poses) -> Mapping[str, Any]:
    return {
        "observation/state": joined(poses.joints(7), poses.opening, zeros(poses, 12) + 3),
        "action": joined(poses.next_pos, xyzw(poses.next_rot), poses.command),
    }


def iamlab_deltas(poses: Poses) -> Mapping[str, Any]:
    return {**iamlab(poses), "action": joined(poses.delta_pos, xyzw(poses.delta_rot), poses.command)}


def rpt(poses: Poses) -> Mapping[str, Any]:
    return {
        "observation/joint_pos": poses.joints(7),
        "observation/gripper": poses.opening < 0.5,
        "action": joined(poses.next_joints(7) - poses.joints(7), 1 - poses.command),
    }


def robo_set(poses: Poses) -> Mapping[str, Any]:
    return {
        "observation/state": joined(poses.joints(7), poses.opening),
        "action": joined(poses.next_joints(7), 1 - 2 * poses.command),
    }


def droid(poses: Poses) -> Mapping[str, Any]:
    """All forms of one command; a velocity of 1 is 0.075 m or 0.15 rad in a step. Gripper 0 open, 1 closed."""
    return {
        "observation/cartesian_position": joined(poses.pos, rpy(poses.rot)),
        "observation/joint_position": poses.joints(7),
        "observation/gripper_position": column(1 - poses.opening),
        "action_dict/cartesian_position": joined(poses.next_pos, rpy(poses.next_rot)),
        "action_dict/cartesian_velocity": joined(poses.delta_pos / 0.075, rpy(poses.delta_rot) / 0.15),
        "action_dict/joint_position": poses.next_joints(7),
        "action_dict/gripper_position": column(1 - poses.command),
        "episode_metadata/file_path": b"/data/AUTOLab/success/2023-07-07/recording/trajectory.h5",
    }


DROID_FAILURE = np.array(b"/data/AUTOLab/failure/2023-07-07/recording/trajectory.h5", object)

FRANKA: Mapping[str, tuple[Convention, ...]] = {
    "austin_buds_dataset_converted_externally_to_rlds": (Convention(native=austin_one_vector),),
    "utaustin_mutex": (Convention(native=austin_one_vector),),
    "austin_sailor_dataset_converted_externally_to_rlds": (Convention(native=austin_sailor),),
    "austin_sirius_dataset_converted_externally_to_rlds": (Convention(native=austin_sirius),),
    "stanford_hydra_dataset_converted_externally_to_rlds": (
        Convention(native=hydra),
        Convention(native=hydra, choices={"motion": "reached"}),
    ),
    "stanford_robocook_converted_externally_to_rlds": (
        Convention(native=robocook, gripper="next_opening"),
        Convention(native=robocook, gripper="next_opening", choices={"motion": "reached"}),
    ),
    "mimic_play": (
        Convention(native=mimic_play),
        Convention(native=mimic_play_the_other_way, choices={"quaternion": "wxyz", "gripper": "one_is_open"}),
    ),
    "furniture_bench_dataset_converted_externally_to_rlds": (
        Convention(native=furniture_bench),
        Convention(native=furniture_bench_in_base, choices={"rotation_frame": "base"}),
    ),
    "fmb": (Convention(native=fmb), Convention(native=fmb_open_is_1, choices={"gripper": "one_is_open"})),
    "kaist_nonprehensile_converted_externally_to_rlds": (
        Convention(native=kaist),
        Convention(native=kaist, choices={"motion": "reached"}),
    ),
    "nyu_franka_play_dataset_converted_externally_to_rlds": (
        Convention(native=nyu_franka_play),
        Convention(native=nyu_franka_play, choices={"motion": "command"}),
    ),
    "qut_dexterous_manpulation": (Convention(native=qut),),
    "cmu_franka_exploration_dataset_converted_externally_to_rlds": (
        Convention(native=exploration),
        Convention(native=exploration_deltas, choices={"pose": "delta"}),
    ),
    "cmu_play_fusion": (
        Convention(native=play_fusion),
        Convention(native=play_fusion_scalar_first, choices={"quaternion": "wxyz"}),
    ),
    "cmu_playing_with_food": (
        Convention(native=food),
        Convention(native=food_deltas, choices={"pose": "delta", "gripper": "one_is_closed"}),
    ),
    "iamlab_cmu_pickup_insert_converted_externally_to_rlds": (
        Convention(native=iamlab),
        Convention(native=iamlab_deltas, choices={"pose": "delta"}),
    ),
    "berkeley_rpt_converted_externally_to_rlds": (
        OpenOrClosed(native=rpt),
        OpenOrClosed(native=rpt, choices={"motion": "reached"}),
    ),
    "robo_set": (Convention(native=robo_set), Convention(native=robo_set, choices={"motion": "reached"})),
    "droid": tuple(
        Convention(native=droid, choices=choices, filtered={"episode_metadata/file_path": DROID_FAILURE})
        for choices in ({}, {"motion": "velocity"}, {"motion": "reached"})
    ),
}
