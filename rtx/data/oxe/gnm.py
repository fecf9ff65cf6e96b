"""Three navigation sets of Berkeley's General Navigation Model: a camera on wheels, odometry, and no task but to go on.

The recorded waypoint is relative and scaled differently from set to set (Octo rescales it by each trajectory's first step),
so the motion is what the odometry says: from each pose to the next, in the robot's own frame.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from rtx.data.oxe.arms import keys
from rtx.data.oxe.layouts import BASE
from rtx.data.oxe.moves import motion_switch, values
from rtx.data.record import DatasetRecord, Trajectory
from rtx.data.standardize import cut
from rtx.embodiment import Embodiment
from rtx.robots.oxe import JACKAL_RECON, RC_CAR_CORY_HALL, TURTLEBOT_SAC_SON


def standardize(trajectory: Trajectory, *, motion: str) -> Trajectory:
    """Forward and left (m), turn to the left (rad). Reached: the last step reaches nothing and is dropped."""
    pos, yaw = values(trajectory, "observation/position"), values(trajectory, "observation/yaw")[:, 0]
    proprio = np.concatenate([pos, np.cos(yaw)[:, None], np.sin(yaw)[:, None]], -1).astype(np.float32)
    if motion == "command":
        waypoint = values(trajectory, "action_angle").astype(np.float32)
        return trajectory | {"action": waypoint, "proprio": proprio}
    return cut(trajectory, slice(0, -1)) | {"action": driven(pos, yaw), "proprio": proprio[:-1]}


def driven(pos: Float[np.ndarray, "t 2"], yaw: Float[np.ndarray, " t"]) -> np.ndarray:
    """float32 [t - 1, 3]: from each pose to the next, in the frame of the first of the two."""
    dx, dy = (pos[1:] - pos[:-1]).T
    cos, sin = np.cos(yaw[:-1]), np.sin(yaw[:-1])
    turn = yaw[1:] - yaw[:-1]
    wrapped = np.arctan2(np.sin(turn), np.cos(turn))
    return np.stack([cos * dx + sin * dy, cos * dy - sin * dx, wrapped], -1).astype(np.float32)


def _record(name: str, title: str, robot: Embodiment) -> DatasetRecord:
    return DatasetRecord(
        name=name,
        title=title,
        embodiment=robot,
        images=keys(robot, primary="image"),
        instructions=("language_instruction",),
        sentence_vector="language_embedding",
        keys={"action_angle": (3,), "observation/position": (2,), "observation/yaw": (1,)},
        standardize=standardize,
        layout=BASE,
        switches=(
            motion_switch(
                "reached", command="the recorded waypoint and its angle, in the robot's frame",
                evidence="the waypoint's scale and horizon differ between the sets; Octo too recomputes it from the odometry",
            ),
        ),
        notes=(
            "navigation has goal images only: the sentence is a placeholder and says nothing of the task",
            "Octo calls the camera primary, OpenVLA wrist; neighbouring steps are close, Octo keeps every third",
        ),
    )  # fmt: skip


GNM: tuple[DatasetRecord, ...] = (
    _record("berkeley_gnm_cory_hall", "Berkeley GNM CoryHall", RC_CAR_CORY_HALL),
    _record("berkeley_gnm_recon", "Berkeley GNM RECON", JACKAL_RECON),
    _record("berkeley_gnm_sac_son", "Berkeley GNM SACSoN", TURTLEBOT_SAC_SON),
)
