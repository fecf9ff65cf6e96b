"""BridgeData V2 and its relatives: base-frame poses whose rotation is relative to a gripper that points down."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from scipy.spatial.transform import Rotation

from tests.data.oxe.convention import Convention, joined, rpy
from tests.data.oxe.poses import Poses

FINGERS_DOWN = Rotation.from_matrix([[0, 0, 1], [0, 1, 0], [-1, 0, 0]])
"""The gripper frame has x along the fingers, so pointing down it is turned by 90 degrees about y."""


def state(poses: Poses) -> np.ndarray:
    return joined(poses.pos, rpy(poses.rot * FINGERS_DOWN.inv()), poses.opening)


def bridge_dataset(poses: Poses) -> Mapping[str, Any]:
    """Commands of 1.1 times the motion, which the arm does not reach, and a first one of zeros."""
    rotation = Rotation.from_rotvec(1.1 * poses.delta_rot.as_rotvec())
    action = joined(1.1 * poses.delta_pos, rpy(rotation), _on_its_way(poses))
    action[0, :6] = 0
    return {"observation/state": state(poses), "action": action}


def bridge(poses: Poses) -> Mapping[str, Any]:
    """The bucket's older copy: the same numbers under names of their own, a gripper that is open or not, a terminate flag."""
    action = bridge_dataset(poses)["action"]
    return {
        "observation/state": state(poses),
        "action/world_vector": action[:, :3],
        "action/rotation_delta": action[:, 3:6],
        "action/open_gripper": poses.command > 0.5,
        "action/terminate_episode": poses.terminate,
    }


def _on_its_way(poses: Poses) -> np.ndarray:
    """The command before the one that differs is in between, on its way there, as the recorded values are."""
    command = poses.command.copy()
    command[poses.changes != 0] = 0.5
    return command if len(command) < 3 or command[-1] != 0.5 else poses.command


WIDOWX: Mapping[str, tuple[Convention, ...]] = {
    "bridge": (Convention(native=bridge, home=FINGERS_DOWN),),
    "bridge_dataset": (Convention(native=bridge_dataset, home=FINGERS_DOWN),),
    "bridge_data_msr": (Convention(native=bridge_dataset, home=FINGERS_DOWN),),
}
