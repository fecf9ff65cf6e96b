"""Simulated Franka sets of Open X-Embodiment: ManiSkill2, PLEX (robosuite), USC cloth."""

from __future__ import annotations

import numpy as np

from rtx.data.oxe.arms import View, arm, images
from rtx.data.oxe.moves import Motion, between, from_tool, motion_switch, moved, values
from rtx.data.oxe.polarity import FLAGS
from rtx.data.record import DatasetRecord, DepthKey, Switch, Trajectory
from rtx.data.standardize import canonical_action, ended, reached
from rtx.embodiment import CANONICAL
from rtx.robots import fields
from rtx.robots.hardware import FRANKA_HAND_M
from rtx.robots.rotations import to_matrix, transpose

_PAIR = ("primary", "image"), ("wrist", "wrist_image")
_MANISKILL_VIEWS = {role: View(key, 256, 256) for role, key in _PAIR}
_PLEX_VIEWS = {role: View(key, 128, 128) for role, key in _PAIR}
_CLOTH_VIEWS = {"primary": View("image", 32, 32)}
MANISKILL_STEP = 0.1  # what 1 means in its action: metres and radians
PLEX_STEP_M, PLEX_STEP_RAD = 0.05, 0.5  # robosuite's operational-space controller as it comes


def standardize_maniskill(trajectory: Trajectory, *, motion: str) -> Trajectory:
    """Poses are the world's, quaternions wxyz: the arm's base is taken out. action: delta xyz, axis-angle, gripper 1 open."""
    action, state = values(trajectory, "action"), values(trajectory, "observation/state")
    pos, rot = _in_base(values(trajectory, "observation/tcp_pose"), values(trajectory, "observation/base_pose"))
    gripper = (action[:, 6] + 1) / 2
    opening = np.sum(state[:, 7:9], axis=-1) / FRANKA_HAND_M
    if motion == "reached":
        return reached(trajectory, pos=pos, rot=rot, gripper=gripper, opening=opening, terminate=ended(trajectory))
    step, turn = action[:, :3] * MANISKILL_STEP, to_matrix(action[:, 3:6] * MANISKILL_STEP, "axis_angle")
    if motion == "command_tool":
        step, turn = np.einsum("tij,tj->ti", rot, step), from_tool(rot, turn)
    return moved(
        trajectory, "command", command=(step, turn), pos=pos, rot=rot, gripper=gripper, opening=opening,
        terminate=ended(trajectory),
    )  # fmt: skip


def _in_base(pose: np.ndarray, base: np.ndarray) -> Motion:
    """World poses [T, 7] (xyz, wxyz) as the base sees them."""
    base_rot = transpose(to_matrix(base[:, 3:], "quat_wxyz"))
    pos = np.einsum("tij,tj->ti", base_rot, pose[:, :3] - base[:, :3])
    return pos, base_rot @ to_matrix(pose[:, 3:], "quat_wxyz")


def standardize_plex(trajectory: Trajectory, *, motion: str) -> Trajectory:
    """state, robosuite's order: cos, sin, velocity of 7 joints 0:21, xyz 21:24, quaternion xyzw 24:28, two fingers 28:30."""
    action, state = values(trajectory, "action"), values(trajectory, "observation/state")
    return moved(
        trajectory,
        motion,
        command=(action[:, :3] * PLEX_STEP_M, to_matrix(action[:, 3:6] * PLEX_STEP_RAD, "axis_angle")),
        pos=state[:, 21:24],
        rot=to_matrix(state[:, 24:28], "quat_xyzw"),
        gripper=(1 - action[:, 6]) / 2,
        opening=(state[:, 28] - state[:, 29]) / FRANKA_HAND_M,
        terminate=ended(trajectory),
    )


def standardize_cloth(trajectory: Trajectory, *, pose: str) -> Trajectory:
    """action: xyz of the picker's goal, and above 0.5 to hold."""
    action = values(trajectory, "action")
    pos, gripper = action[:, :3], np.where(action[:, 3] > 0.5, 0.0, 1.0)
    proprio, terminate = np.zeros((len(action), 10), np.float32), ended(trajectory)
    if pose == "target":
        return between(
            trajectory,
            target_pos=pos,
            target_rot=None,
            gripper=gripper,
            terminate=terminate,
            proprio=proprio.astype(np.float64),
        )
    return trajectory | {"action": canonical_action(pos, None, gripper, terminate), "proprio": proprio}


MANISKILL = DatasetRecord(
    name="maniskill_dataset_converted_externally_to_rlds",
    title="ManiSkill2 demonstrations",
    embodiment=arm(
        "franka_maniskill", _MANISKILL_VIEWS, hz=20.0,
        action=(fields.delta_pos(), fields.delta_rot("axis_angle"), fields.gripper(closed=-1.0, opened=1.0)),
        proprio=(
            fields.eef_pos(), fields.eef_rot("quat_wxyz"), fields.gripper_state(closed=0.0, opened=FRANKA_HAND_M, unit="m"),
        ),
    ),
    images=images(_MANISKILL_VIEWS),
    depth={
        "primary": DepthKey(path="observation/depth", metres_per_unit=1 / 1024),
        "wrist": DepthKey(path="observation/wrist_depth", metres_per_unit=1 / 1024),
    },
    instructions=("language_instruction",),
    sentence_vector="language_embedding",
    keys={
        "action": (7,), "observation/state": (18,), "observation/tcp_pose": (7,), "observation/base_pose": (7,), **FLAGS,
    },
    standardize=standardize_maniskill,
    switches=(
        Switch(
            name="motion", question="is the action what was commanded, and in which frame, or what the arm did?",
            options={
                "reached": "difference of consecutive poses, exact in a simulation; the last step is dropped",
                "command_tool": "the command, 1 being 0.1 m and 0.1 rad, in the gripper's frame: the controller's default",
                "command_base": "the same in the base frame: what loaders assume",
            },
            default="reached", evidence="the text gives the scale of the command, not its frame; the pose is known exactly",
        ),
    ),
    notes=(
        "simulation",
        "quaternions are wxyz; poses are the world's and are brought into the base's frame",
        "gripper -1..1 becomes 0..1; Octo and OpenVLA leave it",
        "30,213 episodes, 151 GiB: mixtures give it a tenth of the others' weight",
    ),
)  # fmt: skip

PLEX = DatasetRecord(
    name="plex_robosuite",
    title="PLEX Robosuite",
    embodiment=arm(
        "franka_plex", _PLEX_VIEWS, hz=20.0,
        action=(fields.delta_pos(), fields.delta_rot("axis_angle"), fields.gripper(closed=1.0, opened=-1.0)),
        proprio=(
            fields.eef_pos(), fields.eef_rot("quat_xyzw"), fields.gripper_state(closed=0.0, opened=FRANKA_HAND_M, unit="m"),
        ),
    ),
    images=images(_PLEX_VIEWS),
    instructions=("language_instruction",),
    sentence_vector="language_embedding",
    keys={"action": (7,), "observation/state": (32,), **FLAGS},
    standardize=standardize_plex,
    switches=(
        motion_switch(
            "reached", command="the controller's input, 1 being robosuite's default of 0.05 m and 0.5 rad",
            evidence="the controller's scale is not recorded with the data; the pose is known exactly",
        ),
    ),
    notes=(
        "simulation",
        "control rate not recorded: 20 Hz is robosuite's default",
        "the 32 numbers of the state are not documented: read in robosuite's order for this arm, which has exactly 32",
        "positions are the world's, whose axes are the base's but whose origin is not",
    ),
)  # fmt: skip

CLOTH = DatasetRecord(
    name="usc_cloth_sim_converted_externally_to_rlds",
    title="USC Cloth Sim",
    embodiment=arm(
        "franka_usc_cloth", _CLOTH_VIEWS, hz=5.0, action=(fields.abs_pos(), fields.gripper(closed=1.0, opened=0.0)),
    ),
    images=images(_CLOTH_VIEWS),
    instructions=("language_instruction",),
    sentence_vector="language_embedding",
    keys={"action": (4,), **FLAGS},
    standardize=standardize_cloth,
    layout=CANONICAL.without("delta_rot", "proprio"),
    switches=(
        Switch(
            name="pose", question="is the action the picker's goal or its displacement?",
            options={
                "target": "its goal: the action is the way from one goal to the next, the first step is dropped",
                "delta": "its displacement, as the simulator's own picker takes it",
            },
            default="target", evidence="the set's text says goal",
        ),
    ),
    notes=(
        "simulation; a free picker, not a hand: it does not turn",
        "control rate not recorded: 5 Hz is a placeholder; the unit is the simulator's",
        "no state is recorded; pictures are 32 x 32",
    ),
)  # fmt: skip

SIMULATED_FRANKA: tuple[DatasetRecord, ...] = (MANISKILL, PLEX, CLOTH)
