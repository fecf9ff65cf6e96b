"""One action out of several for the same moment: means where numbers add, mean rotations, votes where they choose.

positions, joints, base   weighted mean
rotations                 the rotation nearest to all of them: the largest eigenvector of sum w q q^T (Markley et al. 2007,
                          "Averaging quaternions"); the mean of roll, pitch and yaw is no rotation's mean
grippers                  vote where all say fully open or fully closed, mean where they say something between
terminate                 vote
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from rtx.embodiment import ActionField, ActionSpace, field_slices
from rtx.errors import UserError
from rtx.robots import rotations

_AT_AN_END = 0.05  # of a gripper's range: what is nearer to an end is a choice, not an opening


class Blend:
    """The weighted mean of actions of one space. Raises UserError when made for rotations in degrees."""

    def __init__(self, space: ActionSpace) -> None:
        self.space, self._at = space, field_slices(space.fields)
        if turned := [field.name for field in space.fields if field.rotation is not None and field.unit == "deg"]:
            raise UserError(f"actions are averaged in radians; {', '.join(turned)} is in degrees")

    def __call__(self, actions: Float[np.ndarray, "n a"], weights: Float[np.ndarray, " n"]) -> Float[np.ndarray, " a"]:
        """`actions` for one moment, at least one; `weights` > 0, of any sum."""
        if len(actions) == 1:
            return np.array(actions[0])
        share = weights / np.sum(weights)
        return np.concatenate([_mean(field, actions[:, self._at[field.name]], share) for field in self.space.fields])

    def between(
        self, first: Float[np.ndarray, "n a"], second: Float[np.ndarray, "n a"], weight: Float[np.ndarray, " n"]
    ) -> Float[np.ndarray, "n a"]:
        """Row by row, `weight` of the first and the rest of the second; 1 and 0 give one of them bit for bit."""
        rows = np.where(weight[:, None] >= 1, first, second)
        for i in np.flatnonzero((weight > 0) & (weight < 1)):
            rows[i] = self(np.stack([first[i], second[i]]), np.array([weight[i], 1 - weight[i]]))
        return rows


def _mean(field: ActionField, values: np.ndarray, share: np.ndarray) -> np.ndarray:
    if field.rotation is not None:
        quats = rotations.convert(values, field.rotation, "quat_wxyz")
        _, vectors = np.linalg.eigh((quats * share[:, None]).T @ quats)
        return rotations.convert(vectors[:, -1], "quat_wxyz", field.rotation)
    mean = share @ values
    low, high = min(field.closed, field.opened), max(field.closed, field.opened)
    if field.kind == "terminate" or (field.kind == "gripper" and _is_choice(values, low, high)):
        return np.where(mean > (low + high) / 2, high, low)
    return mean


def _is_choice(values: np.ndarray, low: float, high: float) -> bool:
    near = _AT_AN_END * (high - low)
    return bool(np.all((np.abs(values - low) <= near) | (np.abs(values - high) <= near)))
