"""DROID (1.0.1; 1.0.0 has the same keys): Frankas on mobile desks in many buildings, three cameras, up to three sentences.

Each step holds the same command in several forms under `action_dict`. The Cartesian ones, one of them chosen by a switch:

    target     cartesian_position, xyz and euler: the way to it from the pose measured in the same step     (default)
    velocity   cartesian_velocity, -1..1: times 0.075 m and 0.15 rad, what the set's controller makes of it in a step
    reached    difference of consecutive measured poses

`DROID` reads those; `DROID_JOINTS` is the same data with joint targets, for policies in joint space.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from rtx.data.oxe.arms import keys
from rtx.data.oxe.layouts import GRIPPER_STATE, joints
from rtx.data.oxe.moves import moved, toward, values
from rtx.data.record import DatasetRecord, Switch, Trajectory
from rtx.embodiment import CANONICAL
from rtx.robots import fields
from rtx.robots.droid import FRANKA_DROID, FRANKA_DROID_JOINTS
from rtx.robots.rotations import to_matrix

MAX_STEP_M, MAX_STEP_RAD = 0.075, 0.15  # what 1 means in a velocity command, per step of 1/15 s
FILE_PATH = "episode_metadata/file_path"

_INSTRUCTIONS = ("language_instruction", "language_instruction_2", "language_instruction_3")
_GRIPPER_KEYS: dict[str, tuple[int, ...]] = {"action_dict/gripper_position": (1,), "observation/gripper_position": (1,)}
_NOTES = (
    "only episodes whose file path says success are kept",
    "of three sentences some are empty, in some episodes all; one that is not is drawn for each sample",
    "the wrist picture is rolled by 180 degrees against the gripper's axes: read as stored, turn it to match other sets",
    "the two exterior cameras stand anywhere; OpenVLA swaps them at random",
    "long idle stretches from VR teleoperation: filter idle steps",
    "1.0.1 has sentences for about 75,000 episodes, 1.0.0 for about 30,000",
    "the end of an episode is when the operator stopped recording: no terminate",
)


def is_success(trajectory: Trajectory) -> bool:
    """Whether the file path, which lies in folders `success` and `failure`, says that the task was done."""
    paths = trajectory["traj_metadata"]["episode_metadata"]["file_path"]
    return len(paths) > 0 and b"success" in paths[0]


def standardize(trajectory: Trajectory, *, motion: str) -> Trajectory:
    pose = values(trajectory, "observation/cartesian_position")
    pos, rot = pose[:, :3], to_matrix(pose[:, 3:], "rpy")
    if motion == "velocity":
        velocity = values(trajectory, "action_dict/cartesian_velocity")
        command = (velocity[:, :3] * MAX_STEP_M, to_matrix(velocity[:, 3:] * MAX_STEP_RAD, "rpy"))
    else:
        target = values(trajectory, "action_dict/cartesian_position")
        command = toward(pos, rot, target[:, :3], to_matrix(target[:, 3:], "rpy"))
    return moved(
        trajectory,
        "reached" if motion == "reached" else "command",
        command=command,
        pos=pos,
        rot=rot,
        gripper=1 - values(trajectory, "action_dict/gripper_position")[:, 0],
        opening=1 - values(trajectory, "observation/gripper_position")[:, 0],
    )


def standardize_joints(trajectory: Trajectory) -> Trajectory:
    """Joint targets and measured joints, radians."""
    command = 1 - values(trajectory, "action_dict/gripper_position")
    opening = 1 - values(trajectory, "observation/gripper_position")
    action = np.concatenate([values(trajectory, "action_dict/joint_position"), np.clip(command, 0, 1)], -1)
    proprio = np.concatenate([values(trajectory, "observation/joint_position"), np.clip(opening, 0, 1)], -1)
    return trajectory | {"action": action.astype(np.float32), "proprio": proprio.astype(np.float32)}


DROID_SET = DatasetRecord(
    name="droid",
    title="DROID",
    embodiment=FRANKA_DROID,
    images=keys(
        FRANKA_DROID, primary="exterior_image_1_left", secondary="exterior_image_2_left", wrist="wrist_image_left",
    ),
    instructions=_INSTRUCTIONS,
    keys={
        "action_dict/cartesian_position": (6,), "action_dict/cartesian_velocity": (6,), "observation/cartesian_position": (6,),
        **_GRIPPER_KEYS,
    },
    standardize=standardize,
    layout=CANONICAL.without("terminate"),
    metadata=(FILE_PATH,),
    keep=is_success,
    switches=(
        Switch(
            name="motion", question="which form of the command becomes the action?",
            options={
                "target": "cartesian_position minus the pose measured in the same step",
                "velocity": "cartesian_velocity times 0.075 m and 0.15 rad; OpenVLA takes it in its own units",
                "reached": "difference of consecutive measured poses; the last step is dropped",
            },
            default="target", evidence="in metres and radians as recorded; the controller computes it from the velocity",
        ),
    ),
    notes=_NOTES,
)  # fmt: skip

DROID_JOINTS = dataclasses.replace(
    DROID_SET,
    name="droid_joints",
    other_names=("droid",),
    title="DROID, joint targets",
    embodiment=FRANKA_DROID_JOINTS,
    keys={"action_dict/joint_position": (7,), "observation/joint_position": (7,), **_GRIPPER_KEYS},
    standardize=standardize_joints,
    layout=joints(fields.joint_pos(7), proprio=(fields.joint_state(7), GRIPPER_STATE)),
    switches=(),
)  # fmt: skip
"""The same files read for joint space; not of the catalogue, which has one record per data set."""

DROID: tuple[DatasetRecord, ...] = (DROID_SET,)
