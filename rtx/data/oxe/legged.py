"""Robots with legs: Conq, a Spot with an arm (University of Michigan), and SayTap's simulated quadruped (University of Tokyo).

Conq's action is the target of the hand in the hand's own frame: T_target = T_hand (R_d, d), with R_d of rpy. In the body's
frame that is R d and R R_d R^T, where R, the hand's orientation, follows from the recorded joints of the arm:

    R = Rz(sh0) Ry(sh1) Rx(hr0) Ry(el0) Rx(el1) Ry(wr0) Rx(wr1)

The state (66): angles of 20 joints (12 of the legs, then sh0, sh1, hr0, el0, el1, wr0, wr1 and the gripper's f1x), their
velocities, the body's, and what the sensors of hand and feet say.
"""

from __future__ import annotations

from functools import reduce

import numpy as np
from jaxtyping import Float

from rtx.data.oxe.arms import View, arm, images
from rtx.data.oxe.moves import from_tool, values
from rtx.data.oxe.polarity import FLAGS
from rtx.data.record import DatasetRecord, Trajectory
from rtx.data.standardize import canonical_action, canonical_proprio, ended
from rtx.embodiment import CANONICAL, ActionSpace, Field, Layout
from rtx.robots import fields
from rtx.robots.oxe import A1_SAYTAP, BODY_STATE, LEG_JOINTS, LEG_STATE
from rtx.robots.rotations import to_matrix

_X, _Y, _Z = 0, 1, 2
SPOT_ARM = ((12, _Z), (13, _Y), (14, _X), (15, _Y), (16, _X), (17, _Y), (18, _X))
"""Place in the state and axis of each joint between body and hand; at zero all axes are the body's and the arm points ahead."""
SPOT_GRIPPER, SPOT_OPEN_RAD = 19, -np.pi / 2


def standardize_conq(trajectory: Trajectory) -> Trajectory:
    action, state = values(trajectory, "action"), values(trajectory, "observation/state")
    hand = hand_rotation(state)
    delta_pos = np.einsum("tij,tj->ti", hand, action[:, :3])
    delta_rot = from_tool(hand, to_matrix(action[:, 3:6], "rpy"))
    trajectory["action"] = canonical_action(delta_pos, delta_rot, action[:, 6], ended(trajectory))
    trajectory["proprio"] = canonical_proprio(None, hand, state[:, SPOT_GRIPPER] / SPOT_OPEN_RAD)
    return trajectory


def hand_rotation(state: Float[np.ndarray, "t 66"]) -> Float[np.ndarray, "t 3 3"]:
    """Orientation of the hand in the body's frame."""
    return reduce(np.matmul, (_about(axis, state[:, joint]) for joint, axis in SPOT_ARM))


def _about(axis: int, angle: Float[np.ndarray, " t"]) -> Float[np.ndarray, "t 3 3"]:
    rpy = np.zeros((len(angle), 3))
    rpy[:, axis] = angle
    return to_matrix(rpy, "rpy")


def standardize_saytap(trajectory: Trajectory) -> Trajectory:
    """state: velocity of the body (3), turning velocity (3), joints (12), their velocities (12), which are left out."""
    trajectory["action"] = values(trajectory, "action").astype(np.float32)
    trajectory["proprio"] = values(trajectory, "observation/state")[:, :18].astype(np.float32)
    return trajectory


_CONQ_VIEWS = {
    "primary": View("frontleft_fisheye_image", 726, 604, mounting="fisheye at the front left, turned upright"),
    "secondary": View("frontright_fisheye_image", 726, 604, mounting="fisheye at the front right, turned upright"),
    "wrist": View("hand_color_image", 480, 640),
}

LEGGED: tuple[DatasetRecord, ...] = (
    DatasetRecord(
        name="conq_hose_manipulation",
        title="Conq Hose Manipulation",
        embodiment=arm(
            "spot_conq", _CONQ_VIEWS, hz=7.7, hardware="spot", morphology="quadruped with an arm",
            action=(fields.delta_pos(frame="tool"), fields.delta_rot(frame="tool"), fields.gripper(closed=0, opened=1)),
            proprio=(
                Field(name="spot_joints", width=20, unit="rad", frame="joint"),
                Field(name="spot_joint_velocities", width=20, unit="rad/s", frame="joint"),
                Field(name="body_velocity", width=6, unit="m/s and rad/s", frame="world"),
                Field(name="holding", width=1, unit="1"),
                Field(name="hand_force", width=3, unit="N", frame="tool"),
                Field(name="feet", width=16, unit="m and contact", frame="base"),
            ),
        ),
        images=images(_CONQ_VIEWS),
        instructions=("language_instruction",),
        sentence_vector="language_embedding",
        keys={"action": (7,), "observation/state": (66,), **FLAGS},
        standardize=standardize_conq,
        layout=CANONICAL.without("proprio.eef_pos"),
        notes=(
            "the set's builder documents the action as a delta of the hand in its own frame, gripper as open fraction; it is "
            "turned into the body's frame by the recorded joint angles, whose order is taken to be the one Spot reports",
            "7.7 Hz is the mean rate of the recordings (the set's own check); steps are not evenly spaced",
            "the legs move too, and no action says how: deltas hold in the body's frame at the time",
            "where the hand is was not recorded",
        ),
    ),
    DatasetRecord(
        name="utokyo_saytap_converted_externally_to_rlds",
        title="UTokyo SayTap",
        embodiment=A1_SAYTAP,
        images={},
        instructions=("language_instruction",),
        sentence_vector="language_embedding",
        keys={"action": (12,), "observation/state": (30,)},
        standardize=standardize_saytap,
        layout=Layout(action=ActionSpace(fields=(LEG_JOINTS,)), proprio=(*BODY_STATE, LEG_STATE)),
        notes=(
            "image and wrist_image are placeholders without content, so the set has no camera",
            "the action is 12 absolute joint angles of the legs",
            "control frequency not recorded: 5.0 is a placeholder",
            "20 episodes",
        ),
    ),
)  # fmt: skip
