"""Which limits apply: what the robot's file allows, and of that only what the policy was trained on.

    box, joint range   robot's  ^  [q01, q99] of the measured state, widened by a share of its width
    step, velocity     min(robot's, the longest step within [q01, q99] of the actions, and a share more)

A policy knows nothing of places its data never showed, so it has no business there. Dimensions that the data set does not
know, or that never change in it, bound nothing.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np

from rtx.embodiment import CANONICAL, Embodiment, Field, Layout, Limits, field_slices
from rtx.errors import UserError
from rtx.spec import FieldStatistics, Statistics

MARGIN = 0.10  # of the width between q01 and q99, on each side; of the longest step
_LEAST_MARGIN_M = 0.02
_LEAST_MARGIN_RAD = 0.05
_CONSTANT = 1e-6
_JOINTS = ("joint_pos", "joint_delta", "joint_vel")


def limits_of(
    embodiment: Embodiment, statistics: Statistics, *, layout: Layout = CANONICAL, data_hz: float | None = None
) -> Limits:
    """The intersection of `embodiment.limits` with the data that a checkpoint was trained on.

    `statistics` and `layout` are the checkpoint's (`Contract`) for this robot, `data_hz` the rate of its actions if it is
    not the robot's own. Raises UserError where the two do not meet:
    then the robot stands elsewhere, or its frame or units are others than the data's.
    """
    own = embodiment.limits
    seen = _Seen(embodiment, layout, statistics)
    low, high = seen.box()
    box_low, box_high = np.maximum(own.workspace_low_m, low), np.minimum(own.workspace_high_m, high)
    joint_low, joint_high = _joint_range(own, *seen.joints())
    problems = _apart("xyz", "m", own.workspace_low_m, own.workspace_high_m, low, high, box_low, box_high)
    problems += _apart(
        [f"joint {i}" for i in range(len(joint_low))], "rad", own.joint_low_rad, own.joint_high_rad, *seen.joints(), joint_low,
        joint_high,
    )  # fmt: skip
    if problems:
        raise UserError(
            f"robot {embodiment.name!r} and the data of this checkpoint have no place in common: {'; '.join(problems)}; "
            "check the base frame and units of the robot's state, and that this is the robot the policy was trained for"
        )
    hz = data_hz or embodiment.control_hz
    share = hz / embodiment.control_hz  # of one of the data's steps that is done in one of the robot's
    step_m = min(own.max_step_m, share * seen.longest("delta_pos", own.max_step_m / share))
    speeds = seen.joint_steps() * hz
    return dataclasses.replace(
        own,
        workspace_low_m=tuple(box_low.tolist()),
        workspace_high_m=tuple(box_high.tolist()),
        max_step_m=step_m,
        max_step_rad=min(own.max_step_rad, share * seen.longest("delta_rot", own.max_step_rad / share)),
        max_velocity_m_s=min(own.max_velocity_m_s, step_m * embodiment.control_hz),
        joint_low_rad=tuple(joint_low.tolist()),
        joint_high_rad=tuple(joint_high.tolist()),
        max_joint_velocity_rad_s=_slower(own.max_joint_velocity_rad_s, speeds),
        source=f"{own.source or 'the robot file'}; within 1-99 % of {statistics.num_episodes} training episodes + {MARGIN:.0%}",
    )


class _Seen:
    """What the training data showed, by kind of field. Unknown dimensions are NaN."""

    def __init__(self, embodiment: Embodiment, layout: Layout, statistics: Statistics) -> None:
        self._joints = [field for field in embodiment.action.fields if field.kind in _JOINTS]  # the order of `Limits`
        self._action, self._proprio = layout.action.fields, layout.proprio
        self._step = _known(statistics.action, layout.action_mask, "action")
        self._state = _known(statistics.proprio, layout.proprio_mask, "proprio")
        self._action_at, self._proprio_at = field_slices(self._action), field_slices(self._proprio)

    def box(self) -> tuple[np.ndarray, np.ndarray]:
        """Of the gripper points of all arms, `[3]` each; infinite where nothing is known."""
        low, high = np.full(3, np.inf), np.full(3, -np.inf)
        for low_i, high_i in self._ranges(lambda f: f.name.endswith("eef_pos"), _LEAST_MARGIN_M):
            low, high = np.minimum(low, low_i), np.maximum(high, high_i)
        return np.where(np.isfinite(low), low, -np.inf), np.where(np.isfinite(high), high, np.inf)

    def joints(self) -> tuple[np.ndarray, np.ndarray]:
        """`[j]` each, in the order of the robot's joint commands; infinite where the data measured no such joints."""
        ranges = [self._joint_range(field) for field in self._joints]
        return _joined([low for low, _ in ranges], -np.inf), _joined([high for _, high in ranges], np.inf)

    def _joint_range(self, command: Field) -> tuple[np.ndarray, np.ndarray]:
        name = command.name.replace("joint_delta", "joint_pos").replace("joint_vel", "joint_pos")
        found = self._ranges(lambda f: f.name == name and f.width == command.width, _LEAST_MARGIN_RAD)
        return found[0] if found else (np.full(command.width, np.nan), np.full(command.width, np.nan))

    def _ranges(self, wanted: Callable[[Field], bool], least: float) -> list[tuple[np.ndarray, np.ndarray]]:
        found = []
        for field in (field for field in self._proprio if wanted(field)):
            low, high = self._state[:, self._proprio_at[field.name]]
            margin = np.maximum(MARGIN * (high - low), least)
            found.append((low - margin, high + margin))
        return found

    def longest(self, kind: str, default: float) -> float:
        """Length of the longest step within the quantiles, over all fields of this kind; `default` where none is known."""
        lengths = [
            float(np.linalg.norm(np.nanmax(np.abs(part), axis=0)))
            for field in self._action
            if field.kind == kind and not np.any(np.isnan(part := self._step[:, self._action_at[field.name]]))
        ]
        return max(lengths) * (1 + MARGIN) if lengths and max(lengths) > _CONSTANT else default

    def joint_steps(self) -> np.ndarray:
        """`[j]` rad: the widest step of each joint; infinite for absolute targets, whose steps the statistics do not tell."""
        steps = [
            np.max(np.abs(self._step[:, self._action_at[field.name]]), axis=0) * (1 + MARGIN)
            if field.kind == "joint_delta" and field.name in self._action_at
            else np.full(field.width, np.inf)
            for field in self._joints
        ]
        return _joined(steps, np.inf)


def _known(statistics: FieldStatistics, mask: Sequence[bool], what: str) -> np.ndarray:
    """q01 and q99, float64 `[2, dims]`, NaN where the data set knows nothing or nothing ever changes."""
    quantiles = np.array([statistics.q01, statistics.q99], np.float64)
    if quantiles.shape[1] != len(mask):
        raise UserError(f"statistics have {quantiles.shape[1]} {what} dimensions, the layout has {len(mask)}")
    return np.where(np.array(mask) & (quantiles[1] - quantiles[0] > _CONSTANT), quantiles, np.nan)


def _joined(parts: Sequence[np.ndarray], unknown: float) -> np.ndarray:
    found = np.concatenate([np.empty(0), *parts])
    return np.where(np.isnan(found), unknown, found)


def _joint_range(own: Limits, low: np.ndarray, high: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The robot's own where the data has no joints; else its own, once for each arm, and the data's."""
    mine_low, mine_high = np.array(own.joint_low_rad, np.float64), np.array(own.joint_high_rad, np.float64)
    if not len(low) or (len(mine_low) and len(low) % len(mine_low)):
        return mine_low, mine_high
    if not len(mine_low):
        known = np.isfinite(low) & np.isfinite(high)
        return (low, high) if np.all(known) else (mine_low, mine_high)
    arms = len(low) // len(mine_low)
    return np.maximum(np.tile(mine_low, arms), low), np.minimum(np.tile(mine_high, arms), high)


def _slower(own: tuple[float, ...], seen: np.ndarray) -> tuple[float, ...]:
    if not own or not len(seen) or len(seen) % len(own):
        return own
    return tuple(np.fmin(np.tile(np.array(own), len(seen) // len(own)), seen).tolist())


def _apart(
    names: Sequence[str], unit: str, own_low: Sequence[float], own_high: Sequence[float], low: np.ndarray, high: np.ndarray,
    both_low: np.ndarray, both_high: np.ndarray,
) -> list[str]:  # fmt: skip
    return [
        f"{names[i]}: robot file {own_low[i % len(own_low)]:g} .. {own_high[i % len(own_high)]:g} {unit}, "
        f"data {low[i]:g} .. {high[i]:g} {unit}"
        for i in range(len(both_low))
        if not both_low[i] < both_high[i]
    ]
