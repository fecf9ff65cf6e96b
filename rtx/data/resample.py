"""Standardized steps at a lower rate: `stride` steps become one whose action does what they did together.

    control_hz 30, stride 3:   steps 0 1 2 | 3 4 5 | 6 7      ->  10 Hz:   0 | 3 | 6

Observations are those of the first step of each group. Relative fields compose (positions add, rotations multiply, a base's
motion is carried along its own heading, one in the gripper's frame along the gripper), absolute ones and the gripper take
the last value, terminate the largest; so integrating the slow actions arrives where the fast ones did. A last group with
fewer steps does what is left.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from rtx.data.record import Trajectory
from rtx.data.standardize import cut
from rtx.embodiment import ActionField, Layout
from rtx.errors import UserError
from rtx.robots import rotations


def resample(trajectory: Trajectory, layout: Layout, stride: int) -> Trajectory:
    """The trajectory with every `stride`-th step, in every array alike, and "action" composed over the steps between."""
    action = np.asarray(trajectory["action"], np.float64)
    starts = np.arange(0, len(action), stride)
    slow = cut(trajectory, starts)
    slow["action"] = _composed(action, starts, layout, stride).astype(np.float32)
    return slow


def _composed(action: np.ndarray, starts: np.ndarray, layout: Layout, stride: int) -> np.ndarray:
    """[groups, a]; one turn per place in a group, all groups at once."""
    result = action[starts]
    yaw = _yaw_of(layout)
    for k in range(1, stride):
        here = np.flatnonzero(starts + k < len(action))
        step = action[starts[here] + k]
        before = result[here]
        for field in layout.action.fields:
            at = layout.action.slices[field.name]
            heading = before[:, yaw.start] if yaw is not None else None
            if field.frame == "tool":
                result[here, at] = _then_in_tool(field, before[:, at], step[:, at], _turn_so_far(layout, before))
            else:
                result[here, at] = _then(field, before[:, at], step[:, at], heading)
    return result


def _then(field: ActionField, before: np.ndarray, step: np.ndarray, heading: np.ndarray | None) -> np.ndarray:
    """What one field does in both."""
    if field.kind == "delta_rot":
        assert field.rotation is not None  # the canonical fields say theirs
        both = rotations.to_matrix(step, field.rotation) @ rotations.to_matrix(before, field.rotation)
        return rotations.from_matrix(both, field.rotation)
    if field.kind == "base_delta_pos" and heading is not None:
        return before + _turned(step, heading)
    if field.kind in ("delta_pos", "joint_delta", "base_delta_pos", "base_delta_rot"):
        return before + step
    if field.kind in ("joint_vel", "base_vel"):
        raise UserError(f"action field {field.name!r} is a velocity; give the data set a displacement per step to resample it")
    return np.maximum(before, step) if field.kind == "terminate" else step


def _then_in_tool(
    field: ActionField, before: np.ndarray, step: np.ndarray, turn: Float[np.ndarray, "n 3 3"]
) -> Float[np.ndarray, "n w"]:
    """In the gripper's frame at the start of the group, which has turned by `turn` when `step` begins."""
    if field.kind == "delta_pos":
        return before + np.einsum("nij,nj->ni", turn, step)
    assert field.kind == "delta_rot"
    assert field.rotation is not None
    return rotations.from_matrix(turn @ rotations.to_matrix(step, field.rotation), field.rotation)


def _turn_so_far(layout: Layout, before: np.ndarray) -> Float[np.ndarray, "n 3 3"]:
    turn = next(f for f in layout.action.fields if f.kind == "delta_rot" and f.frame == "tool")
    assert turn.rotation is not None
    return rotations.to_matrix(before[:, layout.action.slices[turn.name]], turn.rotation)


def _turned(xy: Float[np.ndarray, "n 2"], yaw: Float[np.ndarray, " n"]) -> Float[np.ndarray, "n 2"]:
    cos, sin = np.cos(yaw), np.sin(yaw)
    return np.stack([cos * xy[:, 0] - sin * xy[:, 1], sin * xy[:, 0] + cos * xy[:, 1]], -1)


def _yaw_of(layout: Layout) -> slice | None:
    return next((layout.action.slices[f.name] for f in layout.action.fields if f.kind == "base_delta_rot"), None)
