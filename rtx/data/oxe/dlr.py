"""The three data sets of the German Aerospace Center: EDAN (an arm on a wheelchair) and SARA.

Poses are position (m) and scipy's Euler angles "zxy" in the base frame: R = Ry(c) Rx(b) Rz(a), stored as (a, b, c). The action
has the same numbers and its text says position, loaders take it for a delta: what was reached is the action.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from rtx.data.oxe.arms import View, arm, images, keys
from rtx.data.oxe.moves import motion_switch, moved, values
from rtx.data.oxe.polarity import FLAGS, openness, polarity_switch
from rtx.data.record import DatasetRecord, Trajectory
from rtx.data.standardize import ended
from rtx.embodiment import CANONICAL
from rtx.robots import fields
from rtx.robots.oxe import DLR_EDAN, DLR_SARA
from rtx.robots.rotations import to_matrix


def from_zxy(angles: Float[np.ndarray, "t 3"]) -> Float[np.ndarray, "t 3 3"]:
    """Rotations of scipy's `from_euler("zxy")`: about the fixed z, then x, then y; angles in that order, rad."""
    a, b, c = angles.T
    none = np.zeros_like(a)
    about_y = to_matrix(np.stack([none, c, none], -1), "rpy")
    about_x = to_matrix(np.stack([b, none, none], -1), "rpy")
    about_z = to_matrix(np.stack([none, none, a], -1), "rpy")
    return about_y @ about_x @ about_z


def standardize_edan(trajectory: Trajectory, *, motion: str) -> Trajectory:
    """Gripper 1 closed, in command and state."""
    state = values(trajectory, "observation/state")
    return _standardize(trajectory, motion, 1 - values(trajectory, "action")[:, 6], 1 - state[:, 6])


def standardize_sara(trajectory: Trajectory, *, motion: str, gripper: str) -> Trajectory:
    """The opening of the gripper is not measured; a wrench follows the pose in the state of the grid clamp set."""
    return _standardize(trajectory, motion, openness(values(trajectory, "action")[:, 6], gripper), None)


def _standardize(
    trajectory: Trajectory, motion: str, gripper: Float[np.ndarray, " t"], opening: Float[np.ndarray, " t"] | None
) -> Trajectory:
    action, state = values(trajectory, "action"), values(trajectory, "observation/state")
    return moved(
        trajectory,
        motion,
        command=(action[:, :3], from_zxy(action[:, 3:6])),
        pos=state[:, :3],
        rot=from_zxy(state[:, 3:6]),
        gripper=gripper,
        opening=opening,
        terminate=ended(trajectory),
    )


_MOTION = motion_switch(
    "reached",
    command="the recorded action as a delta, m and rad (Octo, OpenVLA)",
    evidence="its text says position, loaders feed it as a delta; the measured poses are right in either case",
)
_GRIPPER = polarity_switch(
    evidence="RDT watched the episodes: 0 open, 1 closed; Octo and OpenVLA invert dlr_edan only, whose text is the same",
)
_ANGLES = "angles are scipy's Euler angles zxy (extrinsic), not rpy; a driver of this robot must hand out rpy"
_POSE = (fields.eef_pos(), fields.eef_rot("rpy"))
_ACTION = (fields.delta_pos(), fields.delta_rot(), fields.gripper(closed=1, opened=0))
_SARA_VIEWS = {"primary": View("image", 480, 640)}

DLR: tuple[DatasetRecord, ...] = (
    DatasetRecord(
        name="dlr_edan_shared_control_converted_externally_to_rlds",
        title="DLR EDAN wheelchair shared control",
        embodiment=DLR_EDAN,
        images=keys(DLR_EDAN, primary="image"),
        instructions=("language_instruction",),
        sentence_vector="language_embedding",
        keys={"action": (7,), "observation/state": (7,), **FLAGS},
        standardize=standardize_edan,
        switches=(_MOTION,),
        notes=(_ANGLES, "the hand has five fingers; one number says how closed it is"),
    ),
    DatasetRecord(
        name="dlr_sara_grid_clamp_converted_externally_to_rlds",
        title="DLR SARA grid clamp",
        embodiment=arm("dlr_sara_grid_clamp", _SARA_VIEWS, hz=10.0, hardware="dlr_sara", action=_ACTION, proprio=_POSE),
        images=images(_SARA_VIEWS),
        instructions=("language_instruction",),
        sentence_vector="language_embedding",
        keys={"action": (7,), "observation/state": (12,), **FLAGS},
        standardize=standardize_sara,
        layout=CANONICAL.without("proprio.gripper"),
        switches=(_MOTION, _GRIPPER),
        notes=(_ANGLES, "the instruction is a sentence about pouring; the task is to place a clamp on a grid"),
    ),
    DatasetRecord(
        name="dlr_sara_pour_converted_externally_to_rlds",
        title="DLR SARA pour",
        embodiment=DLR_SARA,
        images=keys(DLR_SARA, primary="image"),
        instructions=("language_instruction",),
        sentence_vector="language_embedding",
        keys={"action": (7,), "observation/state": (6,), **FLAGS},
        standardize=standardize_sara,
        layout=CANONICAL.without("proprio.gripper"),
        switches=(_MOTION, _GRIPPER),
        notes=(_ANGLES, "the instruction is the same in every episode", "recorded for reinforcement learning, with rewards"),
    ),
)  # fmt: skip
