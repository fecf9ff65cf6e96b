"""The Google robot, an arm on a wheeled base: RT-1's data (fractal) and BC-Z.

RT-1    world_vector m, rotation_delta rpy (base frame), closedness relative (-1 opens, 1 closes, 0 keeps);
        base_displacement_vector m (forward, left), base_displacement_vertical_rotation rad; terminate one-hot
BC-Z    the next ten poses relative to the present one: xyz and axis-angle residuals; target_close. The first counts
"""

from __future__ import annotations

import numpy as np

from rtx.data.oxe.arms import View, arm, images
from rtx.data.oxe.layouts import ARM_AND_BASE
from rtx.data.oxe.moves import motion_switch, moved, values
from rtx.data.record import DatasetRecord, ImageKey, Trajectory
from rtx.data.standardize import absolute_gripper, canonical_action, canonical_proprio
from rtx.embodiment import CANONICAL
from rtx.robots import fields, google_robot
from rtx.robots.rotations import to_matrix

_ALMOST_OPEN = 0.2  # BC-Z's sensed_close of an open gripper; 1 when closed


def standardize_fractal(trajectory: Trajectory) -> Trajectory:
    """Arm and base, each as commanded: the reached pose is measured from a base that itself moves."""
    rot = to_matrix(values(trajectory, "action/rotation_delta"), "rpy")
    gripper = absolute_gripper(values(trajectory, "action/gripper_closedness_action")[:, 0])
    terminate = values(trajectory, "action/terminate_episode")[:, 0] == 1
    arm_action = canonical_action(values(trajectory, "action/world_vector"), rot, gripper, terminate)
    base = [values(trajectory, f"action/base_displacement_{part}") for part in ("vector", "vertical_rotation")]
    pose = values(trajectory, "observation/base_pose_tool_reached")
    opening = 1 - values(trajectory, "observation/gripper_closed")[:, 0]
    return trajectory | {
        "action": np.concatenate([arm_action, *base], -1).astype(np.float32),
        "proprio": canonical_proprio(pose[:, :3], to_matrix(pose[:, 3:], "quat_xyzw"), opening),
    }


def standardize_bc_z(trajectory: Trajectory, *, motion: str) -> Trajectory:
    """The rotation residual is a turn about an axis, R* = R(residual) R; read as Euler angles it would be another one."""
    action, present = trajectory["action"], trajectory["observation"]
    residual = np.asarray(action["future/xyz_residual"], np.float64)[:, :3]
    turn = to_matrix(np.asarray(action["future/axis_angle_residual"], np.float64)[:, :3], "axis_angle")
    sensed = np.asarray(present["present/sensed_close"], np.float64)[:, 0]
    return moved(
        trajectory,
        motion,
        command=(residual, turn),
        pos=np.asarray(present["present/xyz"], np.float64),
        rot=to_matrix(present["present/axis_angle"], "axis_angle"),
        gripper=1.0 - np.asarray(action["future/target_close"], np.float64)[:, 0],
        opening=(1 - sensed) / (1 - _ALMOST_OPEN),
    )


_BC_Z_VIEWS = {"primary": View("image", 171, 213, mounting="the robot's head")}

GOOGLE_ROBOT: tuple[DatasetRecord, ...] = (
    DatasetRecord(
        name="fractal20220817_data",
        title="RT-1 Robot Action",
        embodiment=google_robot.GOOGLE_ROBOT,
        images={"primary": ImageKey(path="observation/image")},
        instructions=("observation/natural_language_instruction",),
        sentence_vector="observation/natural_language_embedding",
        keys={
            "action/world_vector": (3,), "action/rotation_delta": (3,), "action/gripper_closedness_action": (1,),
            "action/base_displacement_vector": (2,), "action/base_displacement_vertical_rotation": (1,),
            "action/terminate_episode": (3,), "observation/base_pose_tool_reached": (7,), "observation/gripper_closed": (1,),
        },
        standardize=standardize_fractal,
        layout=ARM_AND_BASE,
        notes=(
            "the gripper command is relative and carried forward; the base's motion stands beside the arm's",
            "aspects/* and attributes/* rate success and feasibility of each episode; nothing is filtered by them",
        ),
    ),
    DatasetRecord(
        name="bc_z",
        title="BC-Z",
        embodiment=arm(
            "google_robot_bc_z", _BC_Z_VIEWS, hz=10.0, hardware="google_robot",
            action=(fields.delta_pos(), fields.delta_rot("axis_angle"), fields.gripper(closed=1, opened=0)),
            proprio=(
                fields.eef_pos(), fields.eef_rot("axis_angle"), fields.gripper_state(closed=1, opened=_ALMOST_OPEN),
            ),
        ),
        images=images(_BC_Z_VIEWS),
        instructions=("observation/natural_language_instruction",),
        sentence_vector="observation/natural_language_embedding",
        keys={
            "action/future/xyz_residual": (30,), "action/future/axis_angle_residual": (30,),
            "action/future/target_close": (10,),
            "observation/present/xyz": (3,), "observation/present/axis_angle": (3,), "observation/present/sensed_close": (1,),
        },
        standardize=standardize_bc_z,
        layout=CANONICAL.without("terminate"),
        switches=(
            motion_switch(
                "command", command="the first of the ten future residuals",
                evidence="the residuals are documented as relative to the present pose, in metres and axis-angle",
            ),
        ),
        notes=(
            "use version 0.1.0; later ones are reported broken",
            "holds failed and corrected (DAgger) episodes: observation/episode_success, present/intervention",
            "no terminate action is recorded, so that dimension is masked",
        ),
    ),
)  # fmt: skip
