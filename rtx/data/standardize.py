"""The moves that standardize functions share: cutting steps, gripper commands, motion between poses, the canonical vectors.

All work on arrays stacked over steps, float64 inside. Rotations are composed, never subtracted: differences of Euler angles
wrap at +-pi and are no rotation once the angles are large.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Float, Float32

from rtx.data.record import Trajectory
from rtx.robots import rotations

OPEN_ABOVE, CLOSED_BELOW = 0.95, 0.05


def cut(trajectory: Trajectory, steps: slice | np.ndarray) -> Trajectory:
    """The steps chosen, in every array of the trajectory alike."""

    def go(value: Any) -> Any:
        return {k: go(v) for k, v in value.items()} if isinstance(value, dict) else value[steps]

    return {key: go(value) for key, value in trajectory.items()}


def canonical_action(
    delta_pos: Float[np.ndarray, "t 3"],
    delta_rot: Float[np.ndarray, "t 3 3"],
    gripper: Float[np.ndarray, " t"],
    terminate: np.ndarray,
) -> Float32[np.ndarray, "t 8"]:
    """`CANONICAL_ARM`: metres and a rotation matrix in the base frame, gripper 1 open (clipped to 0..1), terminate 0 or 1."""
    rpy = rotations.from_matrix(delta_rot, "rpy")
    columns = [delta_pos, rpy, np.clip(gripper, 0, 1)[:, None], np.asarray(terminate, np.float64)[:, None]]
    return np.concatenate(columns, axis=-1).astype(np.float32)


def canonical_proprio(
    pos: Float[np.ndarray, "t 3"], rot: Float[np.ndarray, "t 3 3"], gripper: Float[np.ndarray, " t"]
) -> Float32[np.ndarray, "t 10"]:
    """`CANONICAL_PROPRIO`: metres, rot6d, gripper 1 open (clipped to 0..1: sensors overshoot, 1.007 seen in Bridge)."""
    columns = [pos, rotations.from_matrix(rot, "rot6d"), np.clip(gripper, 0, 1)[:, None]]
    return np.concatenate(columns, axis=-1).astype(np.float32)


def reached_motion(
    pos: Float[np.ndarray, "t 3"], rot: Float[np.ndarray, "t 3 3"]
) -> tuple[Float[np.ndarray, "t_minus_1 3"], Float[np.ndarray, "t_minus_1 3 3"]]:
    """From each pose to the next, base frame: p' - p and R' R^T. One shorter than the poses."""
    return pos[1:] - pos[:-1], rot[1:] @ rotations.transpose(rot[:-1])


def binarize_gripper(openness: Float[np.ndarray, " t"]) -> Float[np.ndarray, " t"]:
    """Above 0.95 open (1), below 0.05 closed (0); in between, where the gripper is on its way, what it reaches next.

    A tail that reaches neither takes its last value as it is, so the result is not strictly binary. The rule of Octo and
    OpenVLA, here as one backward fill.
    """
    decided = np.where(openness > OPEN_ABOVE, 1.0, np.where(openness < CLOSED_BELOW, 0.0, np.nan))
    if len(decided) == 0:
        return decided
    decided = np.append(decided, openness[-1])
    position = np.where(np.isnan(decided), len(openness), np.arange(len(decided)))
    return decided[np.minimum.accumulate(position[::-1])[::-1]][:-1]


def ended(trajectory: Trajectory) -> np.ndarray:
    """bool [T]: the last step of an episode that ended itself rather than being cut off."""
    return np.asarray(trajectory["is_last"], bool) & np.asarray(trajectory["is_terminal"], bool)
