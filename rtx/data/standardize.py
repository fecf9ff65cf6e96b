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
    delta_pos: Float[np.ndarray, "t 3"] | None,
    delta_rot: Float[np.ndarray, "t 3 3"] | None,
    gripper: Float[np.ndarray, " t"] | None,
    terminate: np.ndarray | None,
    *,
    num_steps: int | None = None,
) -> Float32[np.ndarray, "t 8"]:
    """`CANONICAL_ARM`: metres and a rotation matrix in the base frame, gripper 1 open (clipped to 0..1), terminate 0 or 1.

    None: the data set does not know it; zeros, to be masked by its layout. `num_steps` is needed only if all are None.
    """
    n = next((len(part) for part in (delta_pos, delta_rot, gripper, terminate) if part is not None), num_steps or 0)
    action = np.zeros((n, 8))
    if delta_pos is not None:
        action[:, 0:3] = delta_pos
    if delta_rot is not None:
        action[:, 3:6] = rotations.from_matrix(delta_rot, "rpy")
    if gripper is not None:
        action[:, 6] = np.clip(gripper, 0, 1)
    if terminate is not None:
        action[:, 7] = terminate
    return action.astype(np.float32)


def canonical_proprio(
    pos: Float[np.ndarray, "t 3"] | None,
    rot: Float[np.ndarray, "t 3 3"] | None,
    gripper: Float[np.ndarray, " t"] | None,
    *,
    num_steps: int | None = None,
) -> Float32[np.ndarray, "t 10"]:
    """`CANONICAL_PROPRIO`: metres, rot6d, gripper 1 open (clipped to 0..1: sensors overshoot, 1.007 seen in Bridge).

    None: the data set does not measure it; zeros, to be masked by its layout. `num_steps` is needed only if all are None.
    """
    n = next((len(part) for part in (pos, rot, gripper) if part is not None), num_steps or 0)
    proprio = np.zeros((n, 10))
    if pos is not None:
        proprio[:, 0:3] = pos
    if rot is not None:
        proprio[:, 3:9] = rotations.from_matrix(rot, "rot6d")
    if gripper is not None:
        proprio[:, 9] = np.clip(gripper, 0, 1)
    return proprio.astype(np.float32)


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


def absolute_gripper(relative: Float[np.ndarray, " t"]) -> Float[np.ndarray, " t"]:
    """Openness after commands of "close" (above 0.1), "open" (below -0.1) and "as it is" (between), carried forward.

    Before the first command the gripper is in the opposite state, without any command open: the rule of Octo and OpenVLA.
    """
    command = np.where(relative > 0.1, 0.0, np.where(relative < -0.1, 1.0, np.nan))
    given = np.flatnonzero(~np.isnan(command))
    if len(given) == 0:
        return np.ones(len(command))
    last = np.maximum.accumulate(np.where(np.isnan(command), -1, np.arange(len(command))))
    return np.where(last < 0, 1 - command[given[0]], command[np.maximum(last, 0)])


def pose_matrix(flat: Float[np.ndarray, "t 16"]) -> tuple[Float[np.ndarray, "t 3"], Float[np.ndarray, "t 3 3"]]:
    """Position and rotation of 4x4 poses stored column after column, as the Austin sets and VIOLA do."""
    pose = np.swapaxes(np.asarray(flat, np.float64).reshape(-1, 4, 4), 1, 2)
    columns = np.concatenate([pose[:, :3, 0], pose[:, :3, 1]], axis=-1)  # stored as float32: made orthonormal again
    return pose[:, :3, 3], rotations.to_matrix(columns, "rot6d")


def reached(
    trajectory: Trajectory,
    *,
    pos: Float[np.ndarray, "t 3"],
    rot: Float[np.ndarray, "t 3 3"] | None,
    gripper: Float[np.ndarray, " t"] | None,
    opening: Float[np.ndarray, " t"] | None,
    terminate: np.ndarray | None = None,
) -> Trajectory:
    """Action and proprio from measured poses (m, base frame): the motion of a step is what the arm did until the next.

    For commands in a controller's own units, or that the arm follows only partly. The last step reaches nothing and is
    dropped; its terminate, if any, moves to the step before it. `gripper` and `opening` are 1 open.
    """
    if len(pos) < 2:
        return cut(trajectory, slice(0, 0)) | {"action": np.zeros((0, 8), np.float32), "proprio": np.zeros((0, 10), np.float32)}
    proprio = canonical_proprio(pos, rot, opening)[:-1]
    delta_rot = None if rot is None else rot[1:] @ rotations.transpose(rot[:-1])
    if terminate is not None:
        terminate = np.asarray(terminate, np.float64)
        terminate = np.append(terminate[:-2], np.maximum(terminate[-2], terminate[-1]))
    trajectory = cut(trajectory, slice(0, -1))
    action = canonical_action(pos[1:] - pos[:-1], delta_rot, None if gripper is None else gripper[:-1], terminate)
    return trajectory | {"action": action, "proprio": proprio}


def ended(trajectory: Trajectory) -> np.ndarray:
    """bool [T]: the last step of an episode that ended itself rather than being cut off."""
    return np.asarray(trajectory["is_last"], bool) & np.asarray(trajectory["is_terminal"], bool)
