"""A record for an RLDS data set of your own: which keys hold what, and a function that makes them canonical.

    rtx data prepare my_robot SOURCE OUT --records examples/own_data_set.py
    rtx data inspect OUT

This one is an arm that is sent target poses in its base frame, with one camera in front of it. `standardize` gets each episode
as a dictionary of arrays stacked over steps (only the `keys`), and adds "action" [t, 8] and "proprio" [t, 10].
"""

from __future__ import annotations

import numpy as np

from rtx.data.record import DatasetRecord, ImageKey, Trajectory
from rtx.data.standardize import canonical_action, canonical_proprio, ended
from rtx.embodiment import ActionSpace, Camera, Embodiment, Limits
from rtx.robots import fields, rotations

ROBOT = Embodiment(
    name="my_robot",
    morphology="single arm",
    cameras=(Camera(role="primary", resolution=(128, 128), mounting="in front of the table"),),
    proprio=(fields.eef_pos(), fields.eef_rot("rpy"), fields.gripper_state(closed=1, opened=0)),
    action=ActionSpace(fields=(fields.abs_pos(), fields.abs_rot("quat_wxyz"), fields.gripper(closed=1, opened=0))),
    control_hz=4.0,
    limits=Limits(
        workspace_low_m=(0.3, -0.3, 0.0),
        workspace_high_m=(0.8, 0.3, 0.4),
        max_step_m=0.08,
        max_step_rad=0.4,
        max_velocity_m_s=0.32,
        max_acceleration_m_s2=2.5,
        source="measured around my table",
    ),
)


def standardize(trajectory: Trajectory) -> Trajectory:
    """The delta of a step: from the pose measured at its start to the pose it commands."""
    observation, action = trajectory["observation"], trajectory["action"].astype(np.float64)
    position = observation["tcp_position"].astype(np.float64)
    rotation = rotations.to_matrix(observation["tcp_rpy"], "rpy")
    target = rotations.to_matrix(action[:, 3:7], "quat_wxyz")
    trajectory["action"] = canonical_action(
        action[:, :3] - position, target @ rotations.transpose(rotation), 1 - action[:, 7], ended(trajectory)
    )
    trajectory["proprio"] = canonical_proprio(position, rotation, 1 - observation["gripper"][:, 0].astype(np.float64))
    return trajectory


MY_ROBOT = DatasetRecord(
    name="my_robot",
    other_names=("sim_iiwa",),  # what the files call themselves
    title="demonstrations in my lab",
    embodiment=ROBOT,
    images={"primary": ImageKey(path="observation/cam_front")},
    instructions=("language_instruction",),
    keys={
        "action": (8,),
        "observation/tcp_position": (3,),
        "observation/tcp_rpy": (3,),
        "observation/gripper": (1,),
        "is_last": (),
        "is_terminal": (),
    },
    standardize=standardize,
)
