"""Franka sets that command joints and measure no pose: Berkeley RPT (changes) and RoboSet (targets)."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from rtx.data.oxe.arms import View, arm, images
from rtx.data.oxe.layouts import GRIPPER_STATE, joints
from rtx.data.oxe.moves import motion_switch, values
from rtx.data.record import DatasetRecord, Trajectory
from rtx.data.standardize import cut
from rtx.robots import fields

_RPT_VIEWS = {"wrist": View("hand_image", 480, 640)}
_ROBO_SET_VIEWS = {
    "primary": View("image_left", 240, 424),
    "secondary": View("image_right", 240, 424),
    "tertiary": View("image_top", 240, 424),
    "wrist": View("image_wrist", 240, 424),
}


def standardize_rpt(trajectory: Trajectory, *, motion: str) -> Trajectory:
    """action: changes of 7 joints, gripper 1 closed. joint_pos (7); gripper True closed."""
    measured, action = values(trajectory, "observation/joint_pos"), values(trajectory, "action")
    closed = values(trajectory, "observation/gripper")
    moves = action[:, :7] if motion == "command" else np.diff(measured, axis=0)
    return _jointed(trajectory, moves, 1 - action[:, 7], np.concatenate([measured, 1 - closed[:, None]], -1))


def standardize_robo_set(trajectory: Trajectory, *, motion: str) -> Trajectory:
    """action: targets of 7 joints, gripper -1 open, 1 closed. state: joints 0:7, gripper 7."""
    measured, action = values(trajectory, "observation/state")[:, :7], values(trajectory, "action")
    targets = action[:, :7] if motion == "command" else measured[1:]
    return _jointed(trajectory, targets, (1 - action[:, 7]) / 2, measured)


def _jointed(
    trajectory: Trajectory,
    joint: Float[np.ndarray, "s 7"],
    gripper: Float[np.ndarray, " t"],
    proprio: Float[np.ndarray, "t p"],
) -> Trajectory:
    """As many steps as `joint` has: the last one of what was reached has no next."""
    kept = slice(0, len(joint))
    action = np.concatenate([joint, np.clip(gripper[kept, None], 0, 1)], -1)
    return cut(trajectory, kept) | {"action": action.astype(np.float32), "proprio": proprio[kept].astype(np.float32)}


RPT = DatasetRecord(
    name="berkeley_rpt_converted_externally_to_rlds",
    title="Berkeley RPT",
    embodiment=arm(
        "franka_berkeley_rpt", _RPT_VIEWS, hz=30.0,
        action=(fields.joint_delta(7), fields.gripper(closed=1.0, opened=0.0)),
        proprio=(fields.joint_state(7), fields.gripper_state(closed=1.0, opened=0.0)),
    ),
    images=images(_RPT_VIEWS),
    instructions=("language_instruction",),
    sentence_vector="language_embedding",
    keys={"action": (8,), "observation/joint_pos": (7,), "observation/gripper": ()},
    standardize=standardize_rpt,
    layout=joints(fields.joint_delta(7), proprio=(fields.joint_state(7), GRIPPER_STATE)),
    switches=(
        motion_switch(
            "command", command="the change of each joint, radians",
            evidence="the text says joint deltas; Octo recomputes them from joint_pos when it keeps every third step",
        ),
    ),
    notes=(
        "of the paper's three cameras only the one at the wrist was published",
        "the feature text says xArm: the robot is a Franka",
        "30 Hz: Octo keeps every third step (`at_hz(10)`)",
    ),
)  # fmt: skip

ROBO_SET = DatasetRecord(
    name="robo_set",
    other_names=("roboset",),
    title="RoboSet (RoboAgent)",
    embodiment=arm(
        "franka_robo_set", _ROBO_SET_VIEWS, hz=5.0,
        action=(fields.joint_pos(7), fields.gripper(closed=1.0, opened=-1.0)),
        proprio=(fields.joint_state(7),),
    ),
    images=images(_ROBO_SET_VIEWS),
    instructions=("language_instruction",),
    keys={"action": (8,), "observation/state": (8,)},
    standardize=standardize_robo_set,
    layout=joints(fields.joint_pos(7), proprio=(fields.joint_state(7),)),
    switches=(
        motion_switch(
            "command", command="joint targets, radians",
            evidence="loaders read joint targets, RDT leaves the action out as undetermined",
        ),
    ),
    notes=("what the eighth number of the state, the gripper, means is not documented: left out",),
)  # fmt: skip

FRANKA_JOINTS: tuple[DatasetRecord, ...] = (RPT, ROBO_SET)
