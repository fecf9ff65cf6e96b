"""RoboNet: seven kinds of arms moving at random over tables, grippers always pointing down.

state and action are xyz, yaw, gripper. Octo and OpenVLA put the yaw into the roll's place; here it turns about the vertical.
"""

from __future__ import annotations

import numpy as np

from rtx.data.oxe.arms import keys
from rtx.data.oxe.moves import motion_switch, moved, values
from rtx.data.record import DatasetRecord, Switch, Trajectory
from rtx.embodiment import CANONICAL
from rtx.robots import oxe as robots
from rtx.robots.rotations import to_matrix

_DOWN = to_matrix([np.pi, 0, 0], "rpy")


def standardize(trajectory: Trajectory, *, motion: str, gripper: str) -> Trajectory:
    """The opening is measured in units that differ from arm to arm, so it is left out."""
    state, action = values(trajectory, "observation/state"), values(trajectory, "action")
    opened = (1 + action[:, 4]) / 2
    return moved(
        trajectory,
        motion,
        command=(action[:, :3], _about_z(action[:, 3])),
        pos=state[:, :3],
        rot=_about_z(state[:, 3]) @ _DOWN,
        gripper=opened if gripper == "one_is_open" else 1 - opened,
        opening=None,
    )


def _about_z(yaw: np.ndarray) -> np.ndarray:
    return to_matrix(np.stack([np.zeros_like(yaw), np.zeros_like(yaw), yaw], -1), "rpy")


ROBO_NET: tuple[DatasetRecord, ...] = (
    DatasetRecord(
        name="robo_net",
        title="RoboNet",
        embodiment=robots.ROBO_NET,
        images=keys(robots.ROBO_NET, primary="image", secondary="image1", tertiary="image2"),
        instructions=("language_instruction",),
        sentence_vector="language_embedding",
        keys={"action": (5,), "observation/state": (5,)},
        standardize=standardize,
        layout=CANONICAL.without("delta_rot.0", "delta_rot.1", "terminate", "proprio.gripper"),
        switches=(
            motion_switch(
                "reached", command="the recorded change of position and yaw",
                evidence="the command's unit is not written down and differs between the arms; the pose is measured",
            ),
            Switch(
                name="gripper",
                question="what does a gripper command of +1 mean?",
                options={"one_is_closed": "closed (RDT)", "one_is_open": "open"},
                default="one_is_closed",
                evidence="RDT is the one reader that says so; Octo and OpenVLA pass the number through",
            ),
        ),
        notes=(
            "yaw is the only rotation; roll and pitch are masked in the action, and the gripper is taken to point down",
            "the arm is not named in the records; the reach is that of Sawyer, the most frequent one",
            "the measured gripper is in rad or deg, by the arm: masked",
            "random and scripted motion without a task; the sentence is a placeholder",
            "no terminate action is recorded, so that dimension is masked",
        ),
    ),
)  # fmt: skip
