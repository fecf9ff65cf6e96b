"""From native commands to motion in the base frame, as several sets need it; measured motion is `rtx.data.standardize.reached`.

target    absolute pose aimed at, a pose measured in the same step      toward:   p* - p, R* R^T
targets   the same without a measured pose                              between:  p*[t] - p*[t-1], the first step dropped
velocity  linear and angular, base frame                                drift:    v / hz, exp(w / hz)
tool      a turn in the gripper's own frame                             from_tool: R A R^T
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Shaped

from rtx.data.record import Switch, Trajectory
from rtx.data.standardize import canonical_action, canonical_proprio, cut, reached
from rtx.robots import rotations

Motion = tuple[Float[np.ndarray, "t 3"], Float[np.ndarray, "t 3 3"]]
"""Metres and rotation matrices, base frame."""


def values(trajectory: Trajectory, path: str) -> Float[np.ndarray, "t ..."]:
    """The array at `path` ("observation/state") as float64."""
    found = trajectory
    for name in path.split("/"):
        found = found[name]
    return np.asarray(found, np.float64)


def toward(
    pos: Float[np.ndarray, "t 3"],
    rot: Float[np.ndarray, "t 3 3"],
    target_pos: Float[np.ndarray, "t 3"],
    target_rot: Float[np.ndarray, "t 3 3"],
) -> Motion:
    """From the pose measured in a step to the pose that the step commands."""
    return target_pos - pos, target_rot @ rotations.transpose(rot)


def drift(linear: Float[np.ndarray, "t 3"], angular: Float[np.ndarray, "t 3"], hz: float) -> Motion:
    """What velocities (m/s, rad/s about the base's axes) do in one step."""
    return linear / hz, rotations.to_matrix(angular / hz, "axis_angle")


def from_tool(rot: Float[np.ndarray, "t 3 3"], turn: Float[np.ndarray, "t 3 3"]) -> Float[np.ndarray, "t 3 3"]:
    """A turn in the gripper's frame, R_next = R A, as one in the base frame: R A R^T."""
    return rot @ turn @ rotations.transpose(rot)


def between(
    trajectory: Trajectory,
    *,
    target_pos: Float[np.ndarray, "t 3"],
    target_rot: Float[np.ndarray, "t 3 3"] | None,
    gripper: Float[np.ndarray, " t"],
    terminate: Shaped[np.ndarray, " t"],
    proprio: Float[np.ndarray, "t p"],
) -> Trajectory:
    """Action from each target to the next, where no pose is measured: an arm is taken to be where it was last told to go.

    The first step has no target before it and is dropped.
    """
    turn = None if target_rot is None else target_rot[1:] @ rotations.transpose(target_rot[:-1])
    action = canonical_action(target_pos[1:] - target_pos[:-1], turn, gripper[1:], terminate[1:])
    return cut(trajectory, slice(1, None)) | {"action": action, "proprio": proprio[1:].astype(np.float32)}


def motion_switch(default: str, *, command: str, evidence: str) -> Switch:
    """Which motion becomes the action: "command" (what it is, in words) or "reached"."""
    return Switch(
        name="motion",
        question="is the action what was commanded, or what the arm did until the next step?",
        options={"command": command, "reached": "difference of consecutive measured poses; the last step is dropped"},
        default=default,
        evidence=evidence,
    )


def moved(
    trajectory: Trajectory,
    motion: str,
    *,
    command: Motion,
    pos: Float[np.ndarray, "t 3"],
    rot: Float[np.ndarray, "t 3 3"],
    gripper: Float[np.ndarray, " t"] | None,
    opening: Float[np.ndarray, " t"] | None,
    terminate: Shaped[np.ndarray, " t"] | None = None,
) -> Trajectory:
    """Action and proprio by the answer to `motion_switch`."""
    if motion == "reached":
        return reached(trajectory, pos=pos, rot=rot, gripper=gripper, opening=opening, terminate=terminate)
    action = canonical_action(*command, gripper, terminate)
    return trajectory | {"action": action, "proprio": canonical_proprio(pos, rot, opening)}
