"""BUDS, SAILOR, SIRIUS and MUTEX of UT Austin: one kind of station, a Franka driven by an operational-space controller.

    action   delta pose in the controller's own units (-1..1), gripper -1 open, 1 closed
    state    the end effector's 4x4 pose, column after column; gripper width in metres

The controller's scale is not recorded, so the motion is what the arm reached.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from jaxtyping import Float

from rtx.data.oxe.arms import View, arm, images
from rtx.data.oxe.moves import values
from rtx.data.oxe.polarity import FLAGS
from rtx.data.record import DatasetRecord, Trajectory
from rtx.data.standardize import cut, ended, pose_matrix, reached
from rtx.images import ChannelOrder
from rtx.robots import fields
from rtx.robots.hardware import FRANKA_HAND_M

_IDENTITY = np.eye(4).reshape(16)
_ACTION = (fields.delta_pos(), fields.delta_rot("axis_angle"), fields.gripper(closed=1.0, opened=-1.0))
_PROPRIO = (fields.eef_pos(), fields.eef_rot("rot6d"), fields.gripper_state(closed=0.0, opened=FRANKA_HAND_M, unit="m"))
_NO_STATE = (
    "measured statistics hold rows of zeros (no pose yet): such steps, and those before them, whose motion they would spoil, "
    "are cut"
)


def standardize_one_vector(trajectory: Trajectory) -> Trajectory:
    """state: joints (7), gripper width (1), pose (16)."""
    state = values(trajectory, "observation/state")
    return _reach(trajectory, state[:, 8:24], state[:, 7])


def standardize_three_vectors(trajectory: Trajectory) -> Trajectory:
    """Pose and gripper width under their own keys. SIRIUS' `state` is no pose, as others read it."""
    return _reach(trajectory, values(trajectory, "observation/state_ee"), values(trajectory, "observation/state_gripper")[:, 0])


def _reach(trajectory: Trajectory, pose: Float[np.ndarray, "t 16"], width: Float[np.ndarray, " t"]) -> Trajectory:
    is_measured = np.any(pose != 0, axis=-1)
    pos, rot = pose_matrix(np.where(is_measured[:, None], pose, _IDENTITY))
    result = reached(
        trajectory,
        pos=pos,
        rot=rot,
        gripper=(1 - values(trajectory, "action")[:, 6]) / 2,
        opening=width / FRANKA_HAND_M,
        terminate=ended(trajectory),
    )
    return cut(result, is_measured[:-1] & is_measured[1:])


def _record(
    name: str,
    title: str,
    views: Mapping[str, View],
    standardize: Callable[[Trajectory], Trajectory],
    *notes: str,
) -> DatasetRecord:
    state = {"observation/state": (24,)}
    if standardize is standardize_three_vectors:
        state = {"observation/state_ee": (16,), "observation/state_gripper": (1,)}
    robot = "franka_" + title.lower().replace(" ", "_")
    return DatasetRecord(
        name=name,
        title=title,
        embodiment=arm(robot, views, hz=20.0, action=_ACTION, proprio=_PROPRIO),
        images=images(views),
        instructions=("language_instruction",),
        sentence_vector="language_embedding",
        keys={"action": (7,), **state, **FLAGS},
        standardize=standardize,
        notes=("commands are in the controller's own units, so the motion is the measured one", *notes),
    )


def _two(size: int, order: ChannelOrder = "rgb") -> dict[str, View]:
    return {"primary": View("image", size, size, order), "wrist": View("wrist_image", size, size, order)}


_NO_TASK = "the sentence says nothing of the task (Octo blanks it)"

AUSTIN: tuple[DatasetRecord, ...] = (
    _record(
        "austin_buds_dataset_converted_externally_to_rlds", "Austin BUDS", _two(128), standardize_one_vector,
        _NO_TASK, _NO_STATE,
    ),
    _record(
        "austin_sailor_dataset_converted_externally_to_rlds", "Austin SAILOR", _two(128), standardize_three_vectors,
        _NO_TASK,
    ),
    _record(
        "austin_sirius_dataset_converted_externally_to_rlds", "Austin SIRIUS", _two(84), standardize_three_vectors,
        _NO_TASK, _NO_STATE, "84 x 84 pictures",
        "robot and human share the episodes: action_mode is -1 in a demonstration, 0 robot, 1 intervention; all steps are kept",
        "observation/state is joints and gripper width; Octo and OpenVLA label it position and quaternion",
    ),
    _record(
        "utaustin_mutex", "Austin MUTEX", _two(128, "bgr"), standardize_one_vector,
        "both pictures are stored BGR",
        "instructions are long lists of steps; Octo blanks them, OpenVLA keeps them, so do we",
        "gripper 1 is closed, as in the other Austin sets; RDT passes it through unturned",
    ),
)  # fmt: skip
