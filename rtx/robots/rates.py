"""A chunk of actions at one control rate as actions at another: the same path, looked at more or less often.

    5 Hz     |---------- a0 ----------|---------- a1 ----------|        path: where the actions lead, from the start
    20 Hz    |--b0-|--b1-|--b2-|--b3--|--b4-|--b5-|--b6-|--b7--|        b: what the path does in each new period

The actions of a chunk are joined to a path (relative ones composed, absolute ones as they are), and each new action is what
the path does between two new moments. So composing the new actions gives the old ones exactly, in either direction and for
any two rates; a last period that is not full does what is left.

    places, joints       straight between the old moments, or cubic (Catmull-Rom): through the same points, without corners
    turns                slerp: evenly about one axis            base    evenly along one arc
    velocities           what the displacement needs             gripper the command in force at the period's end
    terminate            in the period in which the old action ends
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Literal

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike

from rtx.embodiment import ActionField, ActionSpace
from rtx.errors import UserError
from rtx.robots import mobile_base, rotations
from rtx.robots.parts import BASE, prefix_of
from rtx.robots.units import RADIANS, per_unit
from rtx.spec import ActionChunk

Way = Literal["linear", "cubic"]
_ABSOLUTE = ("abs_pos", "abs_rot", "joint_pos")
_SAME = 1e-9  # periods; moments nearer to each other are one


def resample(
    actions: ArrayLike, space: ActionSpace, *, from_hz: float, to_hz: float, start: ArrayLike | None = None, way: Way = "linear"
) -> Float[np.ndarray, "m a"]:
    """`actions [k, a]` of `space` at `from_hz` as `[ceil(k to_hz / from_hz), a]` at `to_hz`, float64.

    `start [a]`: where absolute fields (joint and pose targets) are at the beginning; the others of it are not looked at.
    Raises UserError for a rate that is not positive, absolute fields without a start, and motion in the gripper's frame
    whose turns are not in it too.
    """
    value, problems = np.asarray(actions, np.float64), _problems(space, start, (from_hz, to_hz))
    if value.ndim != 2 or value.shape[1] != space.width or not len(value):
        problems.append(f"actions have shape {list(value.shape)}, expected [k, {space.width}]")
    if problems:
        raise UserError("resampling actions: " + "; ".join(problems))
    moments = _moments(len(value), from_hz, to_hz)
    path = _Path(value, space, moments, (1 / from_hz, 1 / to_hz), None if start is None else np.asarray(start, np.float64), way)
    out = np.zeros((len(moments) - 1, space.width))
    for field in space.fields:
        if field.kind not in BASE:
            out[:, space.slices[field.name]] = path.of(field)
    for name, part in path.of_base().items():
        out[:, space.slices[name]] = part
    return out


def resample_chunk(
    chunk: ActionChunk, space: ActionSpace, to_hz: float, *, start: ArrayLike | None = None, way: Way = "linear"
) -> ActionChunk:
    """The same chunk at another control rate; as valid, and as old. Raises UserError like `resample`."""
    if chunk.names != space.dim_names:
        raise UserError(f"action chunk: its dimensions {chunk.names} are not those of the action space, {space.dim_names}")
    actions = resample(chunk.actions, space, from_hz=chunk.control_hz, to_hz=to_hz, start=start, way=way)
    return dataclasses.replace(chunk, actions=actions.astype(np.float32), control_hz=to_hz)


class _Path:
    """Where the actions lead, at the old moments 0..k, and read off at the new ones."""

    def __init__(
        self, value: np.ndarray, space: ActionSpace, moments: np.ndarray, periods_s: tuple[float, float],
        start: np.ndarray | None, way: Way,
    ) -> None:  # fmt: skip
        self._value, self._space, self._start, self._way = value, space, start, way
        self._moments = moments
        self._at = np.minimum(moments.astype(int), len(value) - 1)  # the old period a moment lies in
        self._share = moments - self._at
        self._old_s, self._new_s = periods_s

    def of(self, field: ActionField) -> np.ndarray:
        """The field's new values `[m, width]`."""
        old = self._value[:, self._space.slices[field.name]]
        if field.kind == "gripper":
            return old[np.ceil(self._moments[1:]).astype(int) - 1]
        if field.kind == "terminate":
            return self._ended(old, field.low)
        if field.kind in ("delta_rot", "abs_rot"):
            return self._turned(field, old)
        if field.frame == "tool":
            return self._moved_in_tool(field, old)
        if field.kind in _ABSOLUTE:
            return self._between(np.concatenate([self._start_of(field), old]))[1:]
        moved = np.diff(self._between(_summed(old)), axis=0)
        return moved * (self._old_s / self._new_s if field.unit.endswith("/s") else 1.0)

    def of_base(self) -> dict[str, np.ndarray]:
        """The base's new values by field."""
        fields = [field for field in self._space.fields if field.kind in BASE]
        if not fields:
            return {}
        values = {field.name: self._value[:, self._space.slices[field.name]] for field in fields}
        steps = mobile_base.pose_of(fields, values, self._old_s)
        poses = [np.zeros(3)]
        for step in steps:
            poses.append(mobile_base.then(poses[-1], step))
        along = mobile_base.driven(self._share[:, None] * mobile_base.twist_to(steps)[self._at])
        there = mobile_base.then(np.array(poses)[self._at], along)
        return mobile_base.command_for(fields, mobile_base.between(there[:-1], there[1:]), self._new_s)

    def _between(self, points: np.ndarray) -> np.ndarray:
        """`points [k + 1, w]` at the new moments."""
        share, first, last = self._share[:, None], points[self._at], points[self._at + 1]
        if self._way == "linear":
            return first + share * (last - first)
        slopes = np.gradient(points, axis=0)  # central within, one-sided at the ends
        s2, s3 = share**2, share**3
        bend = (s3 - 2 * s2 + share) * slopes[self._at] + (s3 - s2) * slopes[self._at + 1]
        return first + (3 * s2 - 2 * s3) * (last - first) + bend

    def _turned(self, field: ActionField, old: np.ndarray) -> np.ndarray:
        assert field.rotation is not None  # checked before
        turns = self._turns(field, old)
        before, after = rotations.transpose(turns[:-1]), turns[1:]
        new = after if field.kind == "abs_rot" else before @ after if field.frame == "tool" else after @ before
        return rotations.from_matrix(new, field.rotation) / per_unit(field, RADIANS, self._new_s)

    def _turns(self, field: ActionField, old: np.ndarray) -> np.ndarray:
        """Orientations at the new moments `[m + 1, 3, 3]`, from that at the start."""
        assert field.rotation is not None
        steps = rotations.to_matrix(old * per_unit(field, RADIANS, self._old_s), field.rotation)
        if field.kind == "abs_rot":
            start = rotations.to_matrix(self._start_of(field) * per_unit(field, RADIANS, 1.0), field.rotation)
            there = np.concatenate([start, steps])
            steps = there[1:] @ rotations.transpose(there[:-1])
        else:
            there = np.array(_composed(steps, tool=field.frame == "tool"))
        shares = self._share[:, None] * rotations.from_matrix(steps, "axis_angle")[self._at]
        part = rotations.to_matrix(shares, "axis_angle")
        return there[self._at] @ part if field.frame == "tool" else part @ there[self._at]

    def _moved_in_tool(self, field: ActionField, old: np.ndarray) -> np.ndarray:
        """Straight in the frame that the gripper has at the start, seen from the one it has in each new period."""
        turn = _tool_turn(self._space, field)
        assert turn is not None  # checked before
        assert turn.rotation is not None
        turned = self._value[:, self._space.slices[turn.name]] * per_unit(turn, RADIANS, self._old_s)
        frames = np.array(_composed(rotations.to_matrix(turned, turn.rotation), tool=True))
        places = self._between(_summed((frames[:-1] @ old[..., None])[..., 0]))
        now = self._turns(turn, self._value[:, self._space.slices[turn.name]])[:-1]
        moved = (rotations.transpose(now) @ np.diff(places, axis=0)[..., None])[..., 0]
        return moved * (self._old_s / self._new_s if field.unit.endswith("/s") else 1.0)

    def _ended(self, old: np.ndarray, low: float) -> np.ndarray:
        """The largest of the old actions that end in each new period; `low` where none does."""
        ends = np.searchsorted(self._moments, np.arange(1, len(old) + 1)) - 1
        new = np.full((len(self._moments) - 1, 1), low)
        np.maximum.at(new, ends, old)
        return new

    def _start_of(self, field: ActionField) -> np.ndarray:
        assert self._start is not None  # checked before
        return self._start[None, self._space.slices[field.name]]


def _moments(count: int, from_hz: float, to_hz: float) -> np.ndarray:
    """Ends of the new periods in old ones: from 0 to `count`."""
    ratio = from_hz / to_hz
    moments = np.arange(int(np.ceil(count / ratio - _SAME)) + 1) * ratio
    whole = np.rint(moments)
    moments = np.where(np.abs(moments - whole) < _SAME, whole, moments)
    return np.minimum(moments, count)


def _summed(steps: np.ndarray) -> np.ndarray:
    return np.concatenate([np.zeros((1, steps.shape[1])), np.cumsum(steps, axis=0)])


def _composed(steps: np.ndarray, *, tool: bool) -> list[np.ndarray]:
    there = [np.eye(3)]
    for step in steps:
        there.append(there[-1] @ step if tool else step @ there[-1])
    return there


def _tool_turn(space: ActionSpace, field: ActionField) -> ActionField | None:
    return next(
        (
            other
            for other in space.fields
            if other.kind == "delta_rot" and other.frame == "tool" and prefix_of(other.name) == prefix_of(field.name)
        ),
        None,
    )


def _problems(space: ActionSpace, start: ArrayLike | None, rates: Sequence[float]) -> list[str]:
    problems = [f"rate {hz} Hz must be positive and finite" for hz in rates if not 0 < hz < np.inf]
    absolute = [field.name for field in space.fields if field.kind in _ABSOLUTE]
    if absolute and start is None:
        problems.append(f"{', '.join(absolute)}: absolute targets need a start, the targets before the first action")
    if absolute and start is not None and np.shape(start) != (space.width,):
        problems.append(f"start has shape {list(np.shape(start))}, expected [{space.width}]")
    for field in space.fields:
        if field.kind in ("delta_rot", "abs_rot") and field.rotation is None:
            problems.append(f"action field {field.name!r} ({field.kind}) does not say its rotation form")
        if field.kind == "delta_pos" and field.frame == "tool" and _tool_turn(space, field) is None:
            problems.append(f"action field {field.name!r} is in the gripper's frame, and no delta_rot says how that turns")
    base = [field for field in space.fields if field.kind in BASE]
    return problems + (mobile_base.base_problems(base) if base else [])
