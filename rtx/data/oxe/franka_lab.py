"""Franka sets with a measured pose from single laboratories: FurnitureBench, FMB, KAIST, NYU play, QUT."""

from __future__ import annotations

import numpy as np

from rtx.data.oxe.arms import View, arm, images
from rtx.data.oxe.moves import from_tool, motion_switch, moved, toward, values
from rtx.data.oxe.polarity import FLAGS, openness
from rtx.data.record import DatasetRecord, DepthKey, Switch, Trajectory
from rtx.data.standardize import canonical_action, canonical_proprio, ended, reached
from rtx.embodiment import CANONICAL
from rtx.robots import fields
from rtx.robots.hardware import FRANKA_HAND_M
from rtx.robots.rotations import to_matrix

_WIDTH = fields.gripper_state(closed=0.0, opened=FRANKA_HAND_M, unit="m")
QUT_OPEN_M = 0.025  # position of a finger that the set commands to open; fully open it is at 0.04

_FURNITURE_VIEWS = {"primary": View("image", 224, 224), "wrist": View("wrist_image", 224, 224)}
_FMB_VIEWS = {
    "primary": View("image_side_1", 256, 256, "bgr"),
    "secondary": View("image_side_2", 256, 256, "bgr"),
    "wrist": View("image_wrist_1", 256, 256, "bgr"),
    "wrist_right": View("image_wrist_2", 256, 256, "bgr", "a second camera at the one wrist"),
}
_KAIST_VIEWS = {"primary": View("image", 480, 640)}
_NYU_VIEWS = {"primary": View("image", 128, 128), "secondary": View("image_additional_view", 128, 128)}
_QUT_VIEWS = {"primary": View("image", 480, 640), "wrist": View("wrist_image", 480, 640)}


def standardize_furniture_bench(trajectory: Trajectory, *, rotation_frame: str) -> Trajectory:
    """state: xyz 0:3, quaternion 3:7, velocities 7:13, joints 13:34, gripper width 34."""
    state, action = values(trajectory, "observation/state"), values(trajectory, "action")
    rot, turn = to_matrix(state[:, 3:7], "quat_xyzw"), to_matrix(action[:, 3:7], "quat_xyzw")
    trajectory["action"] = canonical_action(
        action[:, :3],
        from_tool(rot, turn) if rotation_frame == "tool" else turn,
        (1 - action[:, 7]) / 2,
        ended(trajectory),
    )
    trajectory["proprio"] = canonical_proprio(state[:, :3], rot, state[:, 34] / FRANKA_HAND_M)
    return trajectory


def standardize_fmb(trajectory: Trajectory, *, gripper: str) -> Trajectory:
    """Motion reached. One polarity for command and state: their recorded means go together."""
    pose = values(trajectory, "observation/eef_pose")
    command, state = values(trajectory, "action")[:, 6], values(trajectory, "observation/state_gripper_pose")
    return reached(
        trajectory,
        pos=pose[:, :3],
        rot=to_matrix(pose[:, 3:], "quat_xyzw"),
        gripper=openness(command, gripper),
        opening=openness(state, gripper),
        terminate=ended(trajectory),
    )


def standardize_kaist(trajectory: Trajectory, *, motion: str) -> Trajectory:
    """state: joints and their velocities in turn 0:14, xyz 14:17, quaternion 17:21. action: residual pose 0:6, gains 6:20."""
    state, action = values(trajectory, "observation/state"), values(trajectory, "action")
    return moved(
        trajectory,
        motion,
        command=(action[:, :3], to_matrix(action[:, 3:6], "axis_angle")),
        pos=state[:, 14:17],
        rot=to_matrix(state[:, 17:21], "quat_xyzw"),
        gripper=None,
        opening=None,
        terminate=ended(trajectory),
    )


def standardize_nyu_franka_play(trajectory: Trajectory, *, motion: str) -> Trajectory:
    """state: joints 0:7, xyz 7:10, rpy 10:13. action: joint velocities 0:7, deltas 7:13, gripper 13, terminate 14.

    The commanded turn is a difference of Euler angles (it jumps by a full circle where they wrap), so it is added to the
    measured angles and becomes the rotation between the two orientations.
    """
    state, action = values(trajectory, "observation/state"), values(trajectory, "action")
    rot = to_matrix(state[:, 10:13], "rpy")
    target = to_matrix(state[:, 10:13] + action[:, 10:13], "rpy")
    return moved(
        trajectory,
        motion,
        command=toward(state[:, 7:10], rot, state[:, 7:10] + action[:, 7:10], target),
        pos=state[:, 7:10],
        rot=rot,
        gripper=action[:, 13],  # -1 closed is clipped to 0
        opening=None,
        terminate=action[:, 14] > 0.5,
    )


def standardize_qut(trajectory: Trajectory) -> Trajectory:
    """state: xyz 0:3, quaternion 3:7, joints 7:14, two fingers 14:16, joint velocities 16:23. action: target pose, finger."""
    state, action = values(trajectory, "observation/state"), values(trajectory, "action")
    pos, rot = state[:, :3], to_matrix(state[:, 3:7], "quat_xyzw")
    motion = toward(pos, rot, action[:, :3], to_matrix(action[:, 3:7], "quat_xyzw"))
    trajectory["action"] = canonical_action(*motion, action[:, 7] / QUT_OPEN_M, ended(trajectory))
    trajectory["proprio"] = canonical_proprio(pos, rot, np.sum(state[:, 14:16], axis=-1) / FRANKA_HAND_M)
    return trajectory


FURNITURE_BENCH = DatasetRecord(
    name="furniture_bench_dataset_converted_externally_to_rlds",
    title="FurnitureBench",
    embodiment=arm(
        "franka_furniture_bench", _FURNITURE_VIEWS, hz=10.0,
        action=(fields.delta_pos(), fields.delta_rot("quat_xyzw", frame="tool"), fields.gripper(closed=1.0, opened=-1.0)),
        proprio=(fields.eef_pos(), fields.eef_rot("quat_xyzw"), _WIDTH),
    ),
    images=images(_FURNITURE_VIEWS),
    instructions=("language_instruction",),
    sentence_vector="language_embedding",
    keys={"action": (8,), "observation/state": (35,), **FLAGS},
    standardize=standardize_furniture_bench,
    switches=(
        Switch(
            name="rotation_frame", question="in which frame does the delta quaternion turn the gripper?",
            options={
                "tool": "R_goal = R A: the benchmark's own environment, real and simulated",
                "base": "R_goal = A R: what loaders that pass it through assume",
            },
            default="tool", evidence="the benchmark's goal is quat_multiply(ee_quat, action_quat); positions add in the base",
        ),
    ),
    notes=(
        "5,100 long episodes (115 GiB): mixtures give it a tenth of the others' weight",
        "skill_completion marks the ends of sub-tasks; the sentence names the furniture only",
    ),
)  # fmt: skip

FMB = DatasetRecord(
    name="fmb",
    other_names=("fmb_dataset",),
    title="Functional Manipulation Benchmark",
    embodiment=arm(
        "franka_fmb", _FMB_VIEWS, hz=10.0,
        action=(fields.delta_pos(), fields.delta_rot("rpy"), fields.gripper(closed=1.0, opened=0.0)),
        proprio=(fields.eef_pos(), fields.eef_rot("quat_xyzw"), fields.gripper_state(closed=1.0, opened=0.0)),
    ),
    images=images(_FMB_VIEWS),
    depth={role: DepthKey(path=f"observation/{view.key}_depth") for role, view in _FMB_VIEWS.items()},
    instructions=("language_instruction",),
    sentence_vector="language_embedding",
    keys={
        "action": (7,), "observation/eef_pose": (7,), "observation/state_gripper_pose": (), **FLAGS,
    },
    standardize=standardize_fmb,
    switches=(
        Switch(
            name="gripper", question="does 1 mean closed or open, in command and state?",
            options={"one_is_closed": "RDT, of the state", "one_is_open": "RDT, Octo and OpenVLA, of the command"},
            default="one_is_closed",
            evidence="the measured state is 1 in two thirds of the steps, as long as parts are carried and inserted",
        ),
    ),
    notes=(
        "sources read the action as delta (Octo, OpenVLA) and as absolute pose (RDT): motion is the measured one",
        "all four pictures are stored BGR, according to one converter",
        "the unit of the depth maps is not documented: taken as metres",
        "two releases share the version 0.0.1: 1,804 episodes in the catalogue, 8,611 in the bucket",
    ),
)  # fmt: skip

KAIST = DatasetRecord(
    name="kaist_nonprehensile_converted_externally_to_rlds",
    title="KAIST Nonprehensile",
    embodiment=arm(
        "franka_kaist_nonprehensile", _KAIST_VIEWS, hz=10.0,
        action=(fields.delta_pos(), fields.delta_rot("axis_angle")),
        proprio=(fields.eef_pos(), fields.eef_rot("quat_xyzw")),
    ),
    images=images(_KAIST_VIEWS),
    instructions=("language_instruction",),
    sentence_vector="language_embedding",
    keys={"action": (20,), "observation/state": (21,), **FLAGS},
    standardize=standardize_kaist,
    layout=CANONICAL.without("gripper", "proprio.gripper"),
    switches=(
        motion_switch(
            "command", command="the residual pose that the impedance controller is given, left-multiplied",
            evidence="the set documents it; a compliant arm pushing an object does not reach all of it",
        ),
    ),
    notes=("the hand stays closed: no gripper", "the joint gains that belong to the action (14 numbers) are left out"),
)  # fmt: skip

NYU_FRANKA_PLAY = DatasetRecord(
    name="nyu_franka_play_dataset_converted_externally_to_rlds",
    title="NYU Franka Play",
    embodiment=arm(
        "franka_nyu_play", _NYU_VIEWS, hz=3.0,
        action=(fields.delta_pos(), fields.delta_rot("rpy"), fields.gripper(closed=-1.0, opened=1.0), fields.terminate()),
        proprio=(fields.eef_pos(), fields.eef_rot("rpy")),
    ),
    images=images(_NYU_VIEWS),
    depth={
        "primary": DepthKey(path="observation/depth", metres_per_unit=0.001),
        "secondary": DepthKey(path="observation/depth_additional_view", metres_per_unit=0.001),
    },
    instructions=("language_instruction",),
    sentence_vector="language_embedding",
    keys={"action": (15,), "observation/state": (13,)},
    standardize=standardize_nyu_franka_play,
    layout=CANONICAL.without("proprio.gripper"),
    switches=(
        motion_switch(
            "reached", command="the recorded deltas; those of the angles are differences of Euler angles",
            evidence="the pose is measured, and angles that are subtracted jump by a full turn where they wrap",
        ),
    ),
    notes=(
        "play data: the sentence says nothing of the task (Octo blanks it), few clean boundaries",
        "the gripper is not measured",
        "the unit of the depth maps is not documented: integers, taken as millimetres",
        "joint velocities (7) come with the action and are left out",
    ),
)  # fmt: skip

QUT = DatasetRecord(
    name="qut_dexterous_manpulation",
    title="QUT Dexterous Manipulation",
    embodiment=arm(
        "franka_qut", _QUT_VIEWS, hz=30.0,
        action=(fields.abs_pos(), fields.abs_rot("quat_xyzw"), fields.gripper(closed=0.0, opened=QUT_OPEN_M, unit="m")),
        proprio=(fields.eef_pos(), fields.eef_rot("quat_xyzw"), _WIDTH),
    ),
    images=images(_QUT_VIEWS),
    instructions=("language_instruction",),
    sentence_vector="language_embedding",
    keys={"action": (8,), "observation/state": (23,), **FLAGS},
    standardize=standardize_qut,
    notes=(
        "the name is misspelt in the bucket",
        "the gripper's command is a finger position, 0.025 m open; measured fingers open to 0.04 m",
    ),
)  # fmt: skip

FRANKA_LAB: tuple[DatasetRecord, ...] = (FURNITURE_BENCH, FMB, KAIST, NYU_FRANKA_PLAY, QUT)
