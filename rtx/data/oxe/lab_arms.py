"""One arm each: Berkeley's FANUC, MaskViT's Sawyer, IO-AI's office data, D3Fields' Kinova.

berkeley_fanuc        BGR pictures; no gripper command: the state of the next step is it
stanford_mask_vit     delta position (m) and yaw; the measured position is scaled to 0..1 between recorded bounds
io_ai_tech            motion relative to an undocumented frame; poses are measured
uiuc_d3field          displacements; 4x4 poses; some of the raw data is broken
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from rtx.data.oxe.arms import View, arm, images, keys
from rtx.data.oxe.moves import motion_switch, moved, values
from rtx.data.oxe.polarity import FLAGS, afterwards
from rtx.data.record import DatasetRecord, DepthKey, Switch, Trajectory
from rtx.data.standardize import absolute_gripper, canonical_action, canonical_proprio, ended, reached
from rtx.embodiment import CANONICAL, Field
from rtx.robots import fields
from rtx.robots.oxe import FANUC_MATE, KINOVA_D3FIELD
from rtx.robots.rotations import to_matrix

GRIPPER_DOWN = np.diag([1.0, -1.0, -1.0])
"""A gripper that points down and is not turned about the vertical."""


def standardize_fanuc(trajectory: Trajectory, *, motion: str) -> Trajectory:
    """state: joints (6), gripper 1 closed (1), joint velocities, all zero (6)."""
    action, pose = values(trajectory, "action"), values(trajectory, "observation/end_effector_state")
    opening = 1 - values(trajectory, "observation/state")[:, 6]
    return moved(
        trajectory,
        motion,
        command=(action[:, :3], to_matrix(action[:, 3:6], "rpy")),
        pos=pose[:, :3],
        rot=to_matrix(pose[:, 3:7], "quat_xyzw"),
        gripper=afterwards(opening),
        opening=opening,
        terminate=ended(trajectory),
    )


def standardize_mask_vit(trajectory: Trajectory, *, pose: str) -> Trajectory:
    """The gripper points down and turns about the vertical only: roll and pitch do not move. Gripper -1 open, 1 closed."""
    action, measured = values(trajectory, "action"), values(trajectory, "observation/end_effector_pose")
    low, high = values(trajectory, "observation/low_bound"), values(trajectory, "observation/high_bound")
    pos = measured[:, :3]
    if pose == "scaled":
        pos = low[:, :3] + pos * (high[:, :3] - low[:, :3])
    trajectory["action"] = canonical_action(action[:, :3], _about_z(action[:, 3]), (1 - action[:, 4]) / 2, None)
    trajectory["proprio"] = canonical_proprio(pos, _about_z(measured[:, 3]) @ GRIPPER_DOWN, (1 - measured[:, 4]) / 2)
    return trajectory


def _about_z(yaw: Float[np.ndarray, " t"]) -> Float[np.ndarray, "t 3 3"]:
    return to_matrix(np.stack([np.zeros_like(yaw), np.zeros_like(yaw), yaw], -1), "rpy")


def standardize_io_ai(trajectory: Trajectory) -> Trajectory:
    """state: position, quaternion wxyz, and the gripper's command once more; its opening is not measured."""
    state = values(trajectory, "observation/state")
    return reached(
        trajectory,
        pos=state[:, :3],
        rot=to_matrix(state[:, 3:7], "quat_wxyz"),
        gripper=absolute_gripper(values(trajectory, "action")[:, 6]),
        opening=None,
        terminate=ended(trajectory),
    )


def standardize_d3field(trajectory: Trajectory, *, motion: str) -> Trajectory:
    """The command turns nothing."""
    pose = values(trajectory, "observation/state")
    return moved(
        trajectory,
        motion,
        command=(values(trajectory, "action"), np.broadcast_to(np.eye(3), (len(pose), 3, 3)).copy()),
        pos=pose[:, :3, 3],
        rot=to_matrix(np.concatenate([pose[:, :3, 0], pose[:, :3, 1]], -1), "rot6d"),
        gripper=None,
        opening=None,
        terminate=ended(trajectory),
    )


def has_poses(trajectory: Trajectory) -> bool:
    """Whether every 4x4 matrix of the episode is a rotation and a position, to the digits of float32."""
    rot = values(trajectory, "observation/state")[:, :3, :3]
    return bool(np.all(np.abs(np.swapaxes(rot, -1, -2) @ rot - np.eye(3)) < 1e-3))


_MASK_VIT_VIEWS = {"primary": View("image", 480, 480)}
_IO_AI_VIEWS = {
    "primary": View("image", 360, 640),
    "secondary": View("image_left_side", 360, 640),
    "tertiary": View("image_right_side", 360, 640),
    "quaternary": View("image_fisheye", 640, 800, mounting="fisheye"),
}
_D3FIELD_ROLES = ("primary", "secondary", "tertiary", "quaternary")
_DELTA = (fields.delta_pos(), fields.delta_rot())

LAB_ARMS: tuple[DatasetRecord, ...] = (
    DatasetRecord(
        name="berkeley_fanuc_manipulation",
        title="Berkeley Fanuc Manipulation",
        embodiment=FANUC_MATE,
        images=keys(FANUC_MATE, primary="image", wrist="wrist_image"),
        instructions=("language_instruction",),
        sentence_vector="language_embedding",
        keys={"action": (6,), "observation/state": (13,), "observation/end_effector_state": (7,), **FLAGS},
        standardize=standardize_fanuc,
        switches=(
            motion_switch(
                "reached",
                command="the recorded delta position and rpy, taken as m and rad (Octo, OpenVLA, RDT)",
                evidence="the unit of the command is not documented, the measured poses are in metres",
            ),
        ),
        notes=(
            "both pictures are stored BGR",
            "no gripper command is recorded: the state of the gripper in the next step stands for it (Octo: in the same)",
            "quaternions are read as xyzw: so read, the measured statistics show a gripper that points down",
        ),
    ),
    DatasetRecord(
        name="stanford_mask_vit_converted_externally_to_rlds",
        title="Stanford MaskViT",
        embodiment=arm(
            "sawyer_mask_vit", _MASK_VIT_VIEWS, hz=5.0, hardware="sawyer",
            action=(*_DELTA, fields.gripper(closed=1, opened=-1)),
            proprio=(fields.eef_pos(), fields.eef_rot("rpy"), fields.gripper_state(closed=1, opened=-1)),
        ),
        images=images(_MASK_VIT_VIEWS),
        instructions=("language_instruction",),
        sentence_vector="language_embedding",
        keys={
            "action": (5,), "observation/end_effector_pose": (5,),
            "observation/low_bound": (5,), "observation/high_bound": (5,),
        },
        standardize=standardize_mask_vit,
        layout=CANONICAL.without("delta_rot.0", "delta_rot.1", "terminate"),
        switches=(
            Switch(
                name="pose",
                question="what are the first three numbers of end_effector_pose?",
                options={
                    "scaled": "a position, 0..1 between low_bound and high_bound (the recording software, as in RoboNet)",
                    "metres": "a position in metres (RDT)",
                },
                default="scaled",
                evidence="the recording software writes (p - low) / (high - low), and the yaw as it is; the bounds are kept "
                "with every step to undo that",
            ),
        ),
        notes=(
            "control frequency not recorded: 5.0 is a placeholder",
            "random motion, no tasks: the instruction is a placeholder",
            "the one recorded angle is the yaw; Octo and OpenVLA put it where the roll belongs and leave the gripper in -1..1",
            "yaw is the only rotation; roll and pitch are masked in the action, and the gripper is taken to point down",
            "where the yaw is zero is not documented: there the gripper is taken not to be turned",
        ),
    ),
    DatasetRecord(
        name="io_ai_tech",
        title="IO-AI office pick and place",
        embodiment=arm(
            "io_ai", _IO_AI_VIEWS, hz=5.0, hardware="io_ai",
            action=(*_DELTA, fields.gripper(closed=1, opened=-1)),
            proprio=(fields.eef_pos(), fields.eef_rot("quat_wxyz"), Field(name="gripper_command", width=1, unit="1")),
        ),
        images=images(_IO_AI_VIEWS),
        instructions=("language_instruction",),
        sentence_vector="language_embedding",
        keys={"action": (7,), "observation/state": (8,), **FLAGS},
        standardize=standardize_io_ai,
        layout=CANONICAL.without("proprio.gripper"),
        notes=(
            "control frequency not recorded: 5.0 is a placeholder; the hardware is not documented, limits are a Franka's",
            "the recorded motion is relative to an undocumented frame, so the motion is the measured one; gripper commands are "
            "+1 close, -1 open, between: as it is",
            "the published depth is an 8-bit JPEG of what was 16 bits: no distances can be had from it, it is left out",
        ),
    ),
    DatasetRecord(
        name="uiuc_d3field",
        title="UIUC D3Fields",
        embodiment=KINOVA_D3FIELD,
        images=keys(KINOVA_D3FIELD, primary="image_1", secondary="image_2", tertiary="image_3", quaternary="image_4"),
        depth={
            role: DepthKey(path=f"observation/depth_{i}", metres_per_unit=0.001) for i, role in enumerate(_D3FIELD_ROLES, 1)
        },
        instructions=("language_instruction",),
        sentence_vector="language_embedding",
        keys={"action": (3,), "observation/state": (4, 4), **FLAGS},
        standardize=standardize_d3field,
        layout=CANONICAL.without("gripper", "proprio.gripper"),
        keep=has_poses,
        switches=(
            motion_switch(
                "reached",
                command="the recorded displacement, m, without rotation (Octo fills in zeros)",
                evidence="the displacement leaves out the rotation, which is measured",
            ),
        ),
        notes=(
            "Octo and OpenVLA leave the set out: some raw data is broken; episodes with a pose that is no pose are dropped",
            "no gripper, neither command nor state",
            "depth is taken as millimetres, as depth cameras of this kind store it",
        ),
    ),
)  # fmt: skip
