"""What the robot did, in the words of its action: from the proprio of a step and of the next, where the two have a pair.

action                      measured from proprio
[left_]delta_pos            [left_]eef_pos: p' - p
[left_]delta_rot            [left_]eef_rot: R' R^T as rpy
base_delta_pos, _yaw        base_pos, base_heading (cos, sin): motion in the base's own frame, turn
joint_delta_N               joint_pos_N: q' - q
joint_pos_N, gripper, ...   the field of the same name: q'
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float

from rtx.data.prepared import PreparedSplit
from rtx.embodiment import ActionField, Field, Layout, field_slices
from rtx.robots import rotations


def measured_motion(layout: Layout, part: PreparedSplit, rows: np.ndarray) -> Float[np.ndarray, "n a"]:
    """float64 [n, action width]: NaN where nothing pairs with a dimension, or it is unknown, and at the end of episodes."""
    following = np.minimum(rows + 1, part.num_steps - 1)
    known, fields, at = np.array(layout.proprio_mask, bool), {f.name: f for f in layout.proprio}, field_slices(layout.proprio)
    now, then = (
        {name: part.proprio[r][:, place].astype(np.float64) for name, place in at.items() if known[place].all()}
        for r in (rows, following)
    )
    columns = [_measured(field, fields, now, then, len(rows)) for field in layout.action.fields]
    moved = np.concatenate(columns, axis=1)
    moved[np.isin(rows + 1, np.asarray(part.episode_start))] = np.nan
    moved[:, ~np.array(layout.action_mask, bool)] = np.nan
    return moved


def _measured(
    field: ActionField, fields: Mapping[str, Field], now: Mapping[str, np.ndarray], then: Mapping[str, np.ndarray], n: int
) -> np.ndarray:
    nothing = np.full((n, field.width), np.nan)
    position, rotation = field.name.replace("delta_pos", "eef_pos"), field.name.replace("delta_rot", "eef_rot")
    joints = field.name.replace("joint_delta", "joint_pos")
    if field.kind == "delta_pos" and position in now:
        return then[position] - now[position]
    if field.kind == "delta_rot" and rotation in now and field.rotation == "rpy" and (form := fields[rotation].rotation):
        first, second = (rotations.to_matrix(x[rotation], form) for x in (now, then))
        return rotations.from_matrix(second @ rotations.transpose(first), "rpy")
    if field.kind in ("base_delta_pos", "base_delta_rot") and {"base_pos", "base_heading"} <= set(now):
        return _base_motion(field, now, then)
    if field.kind == "joint_delta" and joints in now:
        return then[joints] - now[joints]
    if field.kind in ("joint_pos", "abs_pos", "gripper") and field.name in now and fields[field.name].width == field.width:
        return then[field.name]
    return nothing


def _base_motion(field: ActionField, now: Mapping[str, np.ndarray], then: Mapping[str, np.ndarray]) -> np.ndarray:
    cos, sin = now["base_heading"].T
    if field.kind == "base_delta_pos":
        x, y = (then["base_pos"] - now["base_pos"]).T
        return np.stack([cos * x + sin * y, cos * y - sin * x], axis=1)
    next_cos, next_sin = then["base_heading"].T
    return np.arctan2(cos * next_sin - sin * next_cos, cos * next_cos + sin * next_sin)[:, None]
