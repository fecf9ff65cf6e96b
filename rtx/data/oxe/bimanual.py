"""Two arms: Mobile ALOHA (joint commands and a base) and the University of Tokyo's pair of xArms (poses in one base frame).

Fields without a prefix are the right arm's, `left_*` the left one's (`rtx.data.oxe.layouts`); files store the left arm first.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Float32

from rtx.data.oxe.arms import keys
from rtx.data.oxe.layouts import GRIPPER, GRIPPER_STATE, TWO_ARMS
from rtx.data.oxe.moves import toward, values
from rtx.data.oxe.polarity import FLAGS, openness, polarity_switch
from rtx.data.oxe.xarm import from_ypr
from rtx.data.record import DatasetRecord, Switch, Trajectory
from rtx.data.standardize import canonical_action, canonical_proprio, cut, ended, reached
from rtx.embodiment import ActionField, ActionSpace, Field, Layout
from rtx.robots import fields
from rtx.robots.aloha import ALOHA_HZ, ALOHA_MOBILE
from rtx.robots.oxe import XARM_BIMANUAL


def standardize_aloha(trajectory: Trajectory) -> Trajectory:
    """Joint targets as they are; the base's velocities as the arc they drive in one step."""
    action, state = values(trajectory, "action"), values(trajectory, "observation/state")
    base = arc(action[:, 14] / ALOHA_HZ, action[:, 15] / ALOHA_HZ)
    trajectory["action"] = np.concatenate([_right_first(action[:, :14]), base], -1).astype(np.float32)
    trajectory["proprio"] = _right_first(state).astype(np.float32)
    return trajectory


def arc(forward: Float[np.ndarray, " t"], turn: Float[np.ndarray, " t"]) -> Float[np.ndarray, "t 3"]:
    """Where a base that drives `forward` (m) while it turns evenly by `turn` (rad) ends: forward and left (m), turn.

    A circle of radius forward / turn: (sin(turn), 1 - cos(turn)) times it, without dividing by a vanishing turn.
    """
    half = turn / 2
    chord = forward * np.sinc(half / np.pi)
    return np.stack([chord * np.cos(half), chord * np.sin(half), turn], -1)


def _right_first(both: Float[np.ndarray, "t 14"]) -> Float[np.ndarray, "t 14"]:
    """Left and right (6 joints and a gripper each), the other way round; grippers within 0..1 (sensors reach -0.02)."""
    swapped = np.concatenate([both[:, 7:], both[:, :7]], -1)
    swapped[:, [6, 13]] = np.clip(swapped[:, [6, 13]], 0, 1)
    return swapped


def standardize_xarms(trajectory: Trajectory, *, motion: str, gripper: str) -> Trajectory:
    action = values(trajectory, "action")
    sides = (
        _side(trajectory, values(trajectory, "observation/pose_r"), action[:, 7:], motion, gripper),
        _side(trajectory, values(trajectory, "observation/pose_l"), action[:, :7], motion, gripper),
    )
    kept = cut(trajectory, slice(0, len(sides[0][0])))
    kept["action"] = np.concatenate([sides[0][0], sides[1][0][:, :7]], -1)
    kept["proprio"] = np.concatenate([side[1] for side in sides], -1)
    return kept


def _side(
    trajectory: Trajectory, pose: Float[np.ndarray, "t 6"], command: Float[np.ndarray, "t 7"], motion: str, gripper: str
) -> tuple[Float32[np.ndarray, "n 8"], Float32[np.ndarray, "n 10"]]:
    """Action and proprio of one arm. Their grippers' openings are not measured."""
    pos, rot, opened = pose[:, :3], from_ypr(pose[:, 3:6]), openness(command[:, 6], gripper)
    if motion == "reached":
        flags = {name: trajectory[name] for name in ("is_last", "is_terminal")}
        out = reached(flags, pos=pos, rot=rot, gripper=opened, opening=None, terminate=ended(trajectory))
        return out["action"], out["proprio"]
    delta = (command[:, :3], from_ypr(command[:, 3:6]))
    if motion == "target":
        delta = toward(pos, rot, *delta)
    return canonical_action(*delta, opened, ended(trajectory)), canonical_proprio(pos, rot, None)


_ALOHA_ARMS: tuple[ActionField, ...] = (fields.joint_pos(6), GRIPPER, fields.joint_pos(6, prefix="left_"), fields.left(GRIPPER))
_ALOHA_STATE: tuple[Field, ...] = (
    fields.joint_state(6), GRIPPER_STATE, fields.joint_state(6, prefix="left_"), fields.left(GRIPPER_STATE),
)  # fmt: skip

BIMANUAL: tuple[DatasetRecord, ...] = (
    DatasetRecord(
        name="aloha_mobile",
        other_names=("aloha_mobile_dataset",),
        title="Mobile ALOHA",
        embodiment=ALOHA_MOBILE,
        images=keys(ALOHA_MOBILE, primary="cam_high", wrist_right="cam_right_wrist", wrist_left="cam_left_wrist"),
        instructions=("language_instruction",),
        keys={"action": (16,), "observation/state": (14,)},
        standardize=standardize_aloha,
        layout=Layout(action=ActionSpace(fields=(*_ALOHA_ARMS, *fields.base_delta())), proprio=_ALOHA_STATE),
        notes=(
            "the left arm comes first, as in the ALOHA software and in RDT; joint targets are absolute",
            "the base's velocities are taken as m/s and rad/s, driven for 1/50 s; Octo keeps every fifth step (10 Hz)",
            "one sentence per task; where no base is used its motion is zero",
        ),
    ),
    DatasetRecord(
        name="utokyo_xarm_bimanual_converted_externally_to_rlds",
        title="UTokyo xArm Bimanual",
        embodiment=XARM_BIMANUAL,
        images=keys(XARM_BIMANUAL, primary="image"),
        instructions=("language_instruction",),
        sentence_vector="language_embedding",
        keys={"action": (14,), "observation/pose_l": (6,), "observation/pose_r": (6,), **FLAGS},
        standardize=standardize_xarms,
        layout=TWO_ARMS.without("proprio.gripper", "proprio.left_gripper"),
        switches=(
            Switch(
                name="motion",
                question="what is the action?",
                options={
                    "reached": "the difference of consecutive measured poses; the last step is dropped",
                    "target": "the recorded poses are targets: the way there from the pose measured in the step (RDT)",
                    "command": "the recorded numbers are deltas, m and rad (label of Octo)",
                },
                default="reached",
                evidence="RDT says absolute, Octo's label delta; the measured poses are right in either case",
            ),
            polarity_switch(evidence="RDT turns it round set by set; Octo and OpenVLA pass every disputed one through"),
        ),
        notes=(
            "angles are stored as yaw, pitch, roll: read so, the measured statistics show grippers that point down",
            "a driver of this robot must hand out roll, pitch, yaw",
            "Octo's transform reads a key that the set does not have; Octo and OpenVLA keep the right arm only, here both are",
            "70 episodes",
        ),
    ),
)  # fmt: skip
