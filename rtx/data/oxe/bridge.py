"""BridgeData V2, the project's own RLDS copy (bridge_dataset 1.0.0): WidowX 250, four cameras, crowd-sourced instructions.

The recorded actions are commands the arm only partly follows, so motion is replaced by what was reached:

    step t   delta_pos = p[t+1] - p[t]     delta_rot = R[t+1] R[t]^T     gripper = the command, made binary

The stored orientation is relative to "gripper pointing down": R_stored = R_base GRIPPER_DOWN^T. Base-frame deltas do not
see that constant (it cancels); proprio is composed with it to the true orientation. Octo and OpenVLA subtract Euler angles
instead, which wraps at +-pi.
"""

from __future__ import annotations

import numpy as np

from rtx.data.record import DatasetRecord, ImageKey, Trajectory
from rtx.data.standardize import binarize_gripper, canonical_action, canonical_proprio, cut, reached_motion
from rtx.robots import rotations
from rtx.robots.widowx import WIDOWX_250
from rtx.spec import CANONICAL

GRIPPER_DOWN = np.array([[0.0, 0.0, 1.0], [0.0, 1.0, 0.0], [-1.0, 0.0, 0.0]])
IDLE_BELOW = 1e-5  # m and rad; the idle first commands reach 8e-7, the smallest real one of the debug shards is 3.5e-3


def standardize(trajectory: Trajectory) -> Trajectory:
    """Drops the first step where it does not move (25 of 25 real episodes) and the last, which reaches nothing."""
    trajectory = drop_idle_start(trajectory)
    if trajectory["action"].shape[0] < 2:
        return cut(trajectory, slice(0, 0)) | {"action": np.zeros((0, 8), np.float32), "proprio": np.zeros((0, 10), np.float32)}
    state = trajectory["observation"]["state"].astype(np.float64)
    rot = rotations.to_matrix(state[:, 3:6], "rpy")
    delta_pos, delta_rot = reached_motion(state[:, :3], rot)
    gripper = binarize_gripper(trajectory["action"][:, 6].astype(np.float64))
    proprio = canonical_proprio(state[:, :3], rot @ GRIPPER_DOWN, state[:, 6])
    trajectory = cut(trajectory, slice(0, -1))
    trajectory["action"] = canonical_action(delta_pos, delta_rot, gripper[:-1], np.zeros(len(delta_pos)))
    trajectory["proprio"] = proprio[:-1]
    return trajectory


def drop_idle_start(trajectory: Trajectory) -> Trajectory:
    action = trajectory["action"]
    is_idle = len(action) > 0 and bool(np.all(np.abs(action[0, :6]) < IDLE_BELOW))
    return cut(trajectory, slice(1, None)) if is_idle else trajectory


BRIDGE_DATASET = DatasetRecord(
    name="bridge_dataset",
    other_names=("bridge_orig",),
    title="BridgeData V2 (project-site RLDS copy, also called bridge_orig)",
    license="CC BY 4.0",
    embodiment=WIDOWX_250,
    images={"primary": ImageKey(path="observation/image_0"), "secondary": ImageKey(path="observation/image_1")},
    instructions=("language_instruction",),
    keys={"action": (7,), "observation/state": (7,)},
    standardize=standardize,
    layout=CANONICAL.without("terminate"),
    notes=(
        "no terminate action is recorded, so that dimension is masked",
        "unused cameras are stored as black frames; the has_image_* flags of the debug shards are all False, do not trust them",
        "gripper command is continuous (0.16 ... 0.994 seen while moving): made binary by what it reaches next",
        "measured gripper opening overshoots to 1.007: clipped",
        "feature descriptions inside the published features.json are left over from a template and wrong",
    ),
)

BRIDGE: tuple[DatasetRecord, ...] = (BRIDGE_DATASET,)
