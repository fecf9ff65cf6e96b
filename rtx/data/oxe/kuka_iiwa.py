"""Google's Kuka arms that learned by trying: QT-Opt (kuka) and MT-Opt. Most episodes are failures.

kuka     world_vector m, rotation_delta rpy (base frame; yaw only in practice), closedness relative, terminate one-hot
mt_opt   target_pose xyz, quaternion xyzw; open_gripper, close_gripper, terminate: bools
"""

from __future__ import annotations

import numpy as np

from rtx.data.oxe.arms import View, arm, images, keys
from rtx.data.oxe.moves import motion_switch, moved, toward, values
from rtx.data.record import DatasetRecord, Trajectory
from rtx.data.standardize import absolute_gripper
from rtx.robots import fields
from rtx.robots.oxe import KUKA_QT_OPT
from rtx.robots.rotations import to_matrix

_POSE = "clip_function_input/base_pose_tool_reached"


def standardize_kuka(trajectory: Trajectory, *, motion: str) -> Trajectory:
    pose = np.asarray(trajectory["observation"][_POSE], np.float64)
    return moved(
        trajectory,
        motion,
        command=(
            values(trajectory, "action/world_vector"),
            to_matrix(values(trajectory, "action/rotation_delta"), "rpy"),
        ),
        pos=pose[:, :3],
        rot=to_matrix(pose[:, 3:], "quat_xyzw"),
        gripper=absolute_gripper(values(trajectory, "action/gripper_closedness_action")[:, 0]),
        opening=1 - values(trajectory, "observation/gripper_closed")[:, 0],
        terminate=values(trajectory, "action/terminate_episode")[:, 0] == 1,
    )


def succeeded(trajectory: Trajectory) -> bool:
    """The usual recipe: only episodes that grasped something."""
    return bool(trajectory["traj_metadata"]["success"][0])


def standardize_mt_opt(trajectory: Trajectory, *, motion: str) -> Trajectory:
    state, target = values(trajectory, "observation/state_dense"), values(trajectory, "action/target_pose")
    rot = to_matrix(state[:, 3:], "quat_xyzw")
    closing = values(trajectory, "action/close_gripper") - values(trajectory, "action/open_gripper")
    return moved(
        trajectory,
        motion,
        command=toward(state[:, :3], rot, target[:, :3], to_matrix(target[:, 3:], "quat_xyzw")),
        pos=state[:, :3],
        rot=rot,
        gripper=absolute_gripper(closing),
        opening=1 - values(trajectory, "observation/gripper_closed"),
        terminate=values(trajectory, "action/terminate"),
    )


_VIEWS = {"primary": View("image", 512, 640, mounting="over the shoulder")}
_PROPRIO = (fields.eef_pos(), fields.eef_rot("quat_xyzw"), fields.gripper_state(closed=1, opened=0))

KUKA_IIWA: tuple[DatasetRecord, ...] = (
    DatasetRecord(
        name="kuka",
        title="QT-Opt",
        embodiment=KUKA_QT_OPT,
        images=keys(KUKA_QT_OPT, primary="image"),
        instructions=("observation/natural_language_instruction",),
        sentence_vector="observation/natural_language_embedding",
        keys={
            "action/world_vector": (3,), "action/rotation_delta": (3,), "action/gripper_closedness_action": (1,),
            "action/terminate_episode": (3,), f"observation/{_POSE}": (7,), "observation/gripper_closed": (1,),
        },
        standardize=standardize_kuka,
        metadata=("success",),
        keep=succeeded,
        switches=(
            motion_switch(
                "command", command="the recorded displacement",
                evidence="the action is documented as a displacement in metres and radians in the base frame, as RT-1's",
            ),
        ),
        notes=(
            "580,392 episodes of trial and error, most of them failures: only those with success are kept",
            "the sentence is nearly the same everywhere (Octo blanks it)",
            "its base_displacement keys belong to a base this robot does not have",
        ),
    ),
    DatasetRecord(
        name="mt_opt",
        title="MT-Opt",
        embodiment=arm(
            "kuka_mt_opt", _VIEWS, hz=5.0, hardware="kuka_iiwa", proprio=_PROPRIO,
            action=(fields.abs_pos(), fields.abs_rot("quat_xyzw"), fields.gripper(closed=1, opened=-1), fields.terminate()),
        ),
        images=images(_VIEWS),
        instructions=("task_code",),
        keys={
            "action/target_pose": (7,), "action/open_gripper": (), "action/close_gripper": (), "action/terminate": (),
            "observation/state_dense": (7,), "observation/gripper_closed": (),
        },
        standardize=standardize_mt_opt,
        switches=(
            motion_switch(
                "command", command="target pose less the measured one",
                evidence="target_pose is documented as an absolute pose in the base frame",
            ),
        ),
        notes=(
            "control frequency not recorded: 5 Hz assumed",
            "state_dense is not described; read as the target is: position and quaternion xyzw",
            "the text is a code of the task, no sentence",
            "trial and error, mostly failures",
        ),
    ),
)  # fmt: skip
