"""The last look at an action before the arm moves: within the robot's limits, fresh, finite; otherwise smaller, or hold.

    action of an `ActionSpace` -> wrong shape? non-finite? stale? too soon? -> hold
                               -> each field by its kind: workspace box, step, velocity, acceleration, joint range
                               -> Verdict(action to execute, reasons)

Knows nothing of policies: it needs the robot's `Limits`, what was measured and a clock. It only ever makes a motion
smaller, never adds one: a hold is no motion with grippers and joint targets where they were last sent, and an arm that is
already outside its box or joint range may go back in or stay, but not further out. Which limits apply: `rtx.robots.limits`.

    delta_pos                       box, step, velocity, acceleration: each arm's by itself, in the base frame
    delta_rot, base_delta_rot       angle of one step
    base_delta_pos, base_vel        step, velocity, acceleration
    joint_pos, joint_delta, _vel    range, velocity, acceleration: each joint by itself
    gripper, terminate              their field's bounds
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32

from rtx.embodiment import CANONICAL_ARM, ActionField, ActionSpace, Limits
from rtx.errors import UserError
from rtx.robots import rotations

HOLD_REASONS = ("non_finite", "bad_shape", "stale", "not_yet", "clock_backward", "too_soon")
CLIP_REASONS = (
    "workspace", "step_m", "step_rad", "velocity", "acceleration", "joint_range", "joint_velocity", "joint_acceleration",
    "gripper", "terminate",
)  # fmt: skip

_SLACK = 1e-6  # relative; float32 actions on a limit are not over it
_MEMORY_PERIODS = 2.5  # after a longer silence the arm is taken to stand still
Numbers = np.ndarray | Sequence[float]
SOONEST = 0.5  # periods between two actions, at least: velocity is counted over the time that really went by

_LINEAR, _TURNS = ("delta_pos", "base_delta_pos"), ("delta_rot", "base_delta_rot")
_JOINTS = ("joint_pos", "joint_delta", "joint_vel")
_BOUNDED = ("gripper", "terminate")


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What to execute, and why it is not what was asked.

    `action` is float32 `[a]` and always safe to execute. `reasons` are names from `HOLD_REASONS` (then `held` and no
    motion) or `CLIP_REASONS`; empty where the action passed as it was.
    """

    action: Float32[np.ndarray, " a"]
    reasons: tuple[str, ...]
    held: bool


@dataclass(frozen=True, kw_only=True)
class Past:
    """All that a filter remembers, so that a verdict can be computed again: of the last executed action, `[a]` each.

    `velocity` per second in each dimension's unit (0 where none applies), `target` the values a hold keeps (grippers and
    joint targets, 0 elsewhere), `last_ns` when it was executed; None: never.
    """

    velocity: tuple[float, ...]
    target: tuple[float, ...]
    last_ns: int | None


class SafetyFilter:
    """Checks one robot's actions, one control period after the other. One object per robot, one caller at a time.

    `counts` says how often each reason was given, `num_checked` how many actions were seen, since the filter was made.
    """

    def __init__(
        self, limits: Limits, *, control_hz: float, space: ActionSpace = CANONICAL_ARM, gripper: float | Numbers = 1.0,
        joints: Numbers = (), limited: bool = True,
    ) -> None:  # fmt: skip
        """`control_hz`: how often actions are executed. `gripper`, `joints`: as in `reset`.

        `limited=False`: only shape, finiteness and freshness are checked. Raises UserError for a rate that is none, a field
        whose motion cannot be bounded (absolute poses, the tool's frame: convert them first), joint limits of another length.
        """
        if not (math.isfinite(control_hz) and control_hz > 0):
            raise UserError(f"safety filter: control_hz {control_hz} must be positive")
        self.limits, self.control_hz, self.space, self.limited = limits, control_hz, space, limited
        self._period_s = 1.0 / control_hz
        self._low, self._high = np.array(limits.workspace_low_m), np.array(limits.workspace_high_m)
        self._places, start, joint, arm = [], 0, 0, 0
        for field in space.fields:
            _check_field(field)
            at = joint if field.kind in _JOINTS else arm
            self._places.append((field, slice(start, start + field.width), at))
            start, joint = start + field.width, joint + field.width * (field.kind in _JOINTS)
            arm += field.kind == "delta_pos"
        self.num_arms, self.num_joints = arm, joint
        self._joint_low = _tiled(limits.joint_low_rad, joint, -np.inf, "joint_low_rad")
        self._joint_high = _tiled(limits.joint_high_rad, joint, np.inf, "joint_high_rad")
        slowest = limits.max_step_rad * control_hz  # a robot that names no joint speeds turns no joint faster than its hand
        self._joint_speed = _tiled(limits.max_joint_velocity_rad_s, joint, slowest, "max_joint_velocity_rad_s")
        # Joints reach full speed in the time that the gripper point takes: limits have no acceleration of joints.
        self._joint_acceleration = self._joint_speed * (limits.max_acceleration_m_s2 / limits.max_velocity_m_s)
        self._reasons: Counter[str] = Counter()
        self.num_checked = 0
        self._last_ns: int | None = None
        self.reset(gripper=gripper, joints=joints)

    @property
    def counts(self) -> Mapping[str, int]:
        return dict(self._reasons)

    @property
    def past(self) -> Past:
        return Past(velocity=tuple(self._velocity.tolist()), target=tuple(self._target.tolist()), last_ns=self._last_ns)

    @past.setter
    def past(self, past: Past) -> None:
        self._velocity, self._target = np.array(past.velocity), np.array(past.target)
        self._last_ns = past.last_ns

    def reset(self, *, gripper: float | Numbers = 1.0, joints: Numbers = ()) -> None:
        """The arm stands still (a new episode). Counts go on.

        `gripper`: openings now, one for all or `[number of gripper fields]`; `joints [j]`: their angles now (0 if left out).
        """
        opening = np.clip(np.broadcast_to(np.asarray(gripper, np.float64), self._number("gripper")), 0.0, 1.0)
        angles = np.asarray(joints, np.float64)
        if angles.shape not in ((self.num_joints,), (0,)):
            raise UserError(f"safety filter: {angles.shape} joint angles were measured, the action has {self.num_joints}")
        self._velocity, self._target = np.zeros(self.space.width), np.zeros(self.space.width)
        self._last_ns = None
        seen = 0
        for field, place, joint in self._places:
            if field.kind == "gripper":
                self._target[place], seen = opening[seen], seen + 1
            if field.kind == "joint_pos" and angles.size:
                self._target[place] = angles[joint : joint + field.width]

    def _number(self, kind: str) -> int:
        return sum(field.kind == kind for field in self.space.fields)

    def check(
        self, action: object, *, eef_pos: Numbers = (), joints: Numbers = (), stamp_ns: int, valid_until_ns: int,
        now_ns: int,
    ) -> Verdict:  # fmt: skip
        """The verdict on one action `[a]`, about to be executed.

        `eef_pos` (m, base frame, measured): `[3]`, or `[3 * arms]` in the order of the position fields; `joints` (rad,
        measured) `[j]` in the order of the joint fields. `stamp_ns` and `valid_until_ns` are the chunk's (`ActionChunk`),
        `now_ns` the same monotonic clock, read now. Never raises for what a policy sends: it holds and gives the reason.
        """
        self.num_checked += 1
        wanted, here, angles = _numbers(action), _numbers(eef_pos), _numbers(joints)
        if refusal := self._refusal(wanted, here, angles, stamp_ns, valid_until_ns, now_ns):
            return self._hold(refusal, now_ns)
        period_s = self._period_s if self._last_ns is None else min((now_ns - self._last_ns) * 1e-9, self._period_s)
        before = np.zeros_like(self._velocity) if self._is_silent(now_ns) else self._velocity
        safe, velocity, reasons = wanted.copy(), np.zeros(self.space.width), list[str]()
        for field, place, at in self._places:
            if field.kind in _BOUNDED:
                safe[place] = _bounded(field, wanted[place], reasons)
            elif not self.limited:
                continue
            elif field.kind == "base_vel" and field.unit == "rad/s":
                safe[place] = self._limit_turn(wanted[place] * period_s, period_s, reasons) / period_s
            elif field.kind in _LINEAR or field.kind == "base_vel":
                box = here[3 * at : 3 * at + 3] if field.kind == "delta_pos" else None
                scale = period_s if field.kind == "base_vel" else 1.0
                safe[place] = self._limit_move(wanted[place] * scale, box, before[place], period_s, reasons) / scale
                velocity[place] = safe[place] * (scale / period_s)
            elif field.kind in _TURNS:
                safe[place] = self._limit_turn(wanted[place], period_s, reasons)
            else:
                joint = slice(at, at + field.width)
                start = angles[joint] if self._is_silent(now_ns) or field.kind != "joint_pos" else self._target[place]
                move = _joint_move(field, wanted[place], start, period_s)
                move = self._limit_joints(move, start, joint, before[place], period_s, reasons)
                safe[place] = _joint_command(field, wanted[place], move, start, period_s)
                velocity[place] = move / period_s
        self._remember(velocity, safe, now_ns)
        reasons = list(dict.fromkeys(reasons))
        self._reasons.update(reasons)
        return Verdict(action=_float32(safe), reasons=tuple(reasons), held=False)

    def stand_still(self, now_ns: int) -> None:
        """The arm was told to hold, without an action: its speed is zero from now on."""
        self._remember(np.zeros(self.space.width), self._target, now_ns)

    def _refusal(
        self, wanted: np.ndarray, here: np.ndarray, angles: np.ndarray, stamp_ns: int, valid_until_ns: int, now_ns: int
    ) -> str | None:
        shapes = (wanted.shape, here.shape, angles.shape)
        if shapes != ((self.space.width,), (3 * self.num_arms,), (self.num_joints,)):
            return "bad_shape"
        if not (np.all(np.isfinite(wanted)) and np.all(np.isfinite(here)) and np.all(np.isfinite(angles))):
            return "non_finite"
        if now_ns > valid_until_ns:
            return "stale"
        if stamp_ns > now_ns:  # another machine's clock: then valid_until_ns means nothing either
            return "not_yet"
        if self._last_ns is not None and now_ns < self._last_ns:
            return "clock_backward"
        if self._last_ns is not None and (now_ns - self._last_ns) * 1e-9 < SOONEST * self._period_s:
            return "too_soon"
        return None

    def _hold(self, reason: str, now_ns: int) -> Verdict:
        if reason not in ("clock_backward", "too_soon"):  # what came last is still being executed
            self.stand_still(now_ns)
        self._reasons[reason] += 1
        return Verdict(action=_float32(self._still()), reasons=(reason,), held=True)

    def _still(self) -> np.ndarray:
        """Zero motion; grippers and joint targets as last sent."""
        kept = np.zeros(self.space.width)
        for field, place, _ in self._places:
            if field.kind in ("gripper", "joint_pos"):
                kept[place] = self._target[place]
        return kept

    def _remember(self, velocity: np.ndarray, target: np.ndarray, now_ns: int) -> None:
        self._velocity, self._target, self._last_ns = velocity, np.array(target), now_ns

    def _is_silent(self, now_ns: int) -> bool:
        return self._last_ns is None or (now_ns - self._last_ns) * 1e-9 > _MEMORY_PERIODS * self._period_s

    def _limit_move(
        self, move: np.ndarray, here: np.ndarray | None, before: np.ndarray, period_s: float, reasons: list[str]
    ) -> np.ndarray:
        limits = self.limits
        most = limits.max_acceleration_m_s2 * period_s**2
        move = _accelerated(move, before * period_s, most, reasons)
        if here is not None:
            move = self._into_box(move, here, reasons)
        # The box before the lengths: from inside a convex box shortening a move cannot leave it again.
        move = _shorten(move, limits.max_step_m, "step_m", reasons)
        move = _shorten(move, limits.max_velocity_m_s * period_s, "velocity", reasons)
        # A wall turns a move aside, and that too is an acceleration. The distance of s * move from the line of braking is
        # at most s times that of move (it is convex, and 0 at standstill), so this much shortening is enough.
        aside = float(np.linalg.norm(move - _braked(move, before * period_s)))
        if aside <= most * (1 + _SLACK):
            return move
        reasons.append("acceleration")
        return move * (most / aside)

    def _into_box(self, move: np.ndarray, here: np.ndarray, reasons: list[str]) -> np.ndarray:
        """Outside the box its walls stand where the arm is: no further out, and no motion that nobody asked for."""
        low, high = np.minimum(self._low, here), np.maximum(self._high, here)
        target = np.clip(here + move, low, high)
        if np.max(np.abs(target - here - move)) <= _SLACK * self.limits.max_step_m:
            return move
        reasons.append("workspace")
        return target - here

    def _limit_turn(self, turn: np.ndarray, period_s: float, reasons: list[str]) -> np.ndarray:
        """By the angle of the rotation, about its own axis: clipping roll, pitch and yaw apart would turn elsewhere."""
        most = self.limits.max_step_rad * (period_s / self._period_s)
        if turn.shape == (1,):
            return _shorten(turn, most, "step_rad", reasons)
        axis_angle = rotations.convert(turn, "rpy", "axis_angle")
        short = _shorten(axis_angle, most, "step_rad", reasons)
        return turn if short is axis_angle else rotations.convert(short, "axis_angle", "rpy")

    def _limit_joints(
        self, move: np.ndarray, start: np.ndarray, joint: slice, before: np.ndarray, period_s: float, reasons: list[str]
    ) -> np.ndarray:
        """Each joint by itself: a slow one does not hold the others back, as in a robot's own controller."""
        low, high = np.minimum(self._joint_low[joint], start), np.maximum(self._joint_high[joint], start)
        move = _clipped(move, low - start, high - start, "joint_range", reasons)
        speed = self._joint_speed[joint] * period_s
        move = _clipped(move, -speed, speed, "joint_velocity", reasons)
        most, was = self._joint_acceleration[joint] * period_s**2, before * period_s
        return _clipped(move, np.minimum(was, 0) - most, np.maximum(was, 0) + most, "joint_acceleration", reasons)


def _check_field(field: ActionField) -> None:
    known = (*_LINEAR, *_TURNS, *_JOINTS, *_BOUNDED, "base_vel")
    units = {"m", "rad", "1", "m/s", "rad/s"} if field.kind not in _BOUNDED else {field.unit}
    form = field.rotation in (None, "rpy")
    arm_frame = field.frame != "tool"
    if field.kind not in known or field.unit not in units or not form or not arm_frame:
        raise UserError(
            f"safety filter: field {field.name!r} ({field.kind}, {field.unit}, frame {field.frame}) cannot be bounded; "
            "give it canonical actions (SI units, base frame, rpy deltas) or joints in radians"
        )


def _tiled(values: tuple[float, ...], joints: int, default: float, what: str) -> np.ndarray:
    """One per joint of the action; a list for one arm serves two equal ones."""
    if not values or not joints:
        return np.full(joints, default)
    if joints % len(values):
        raise UserError(f"limits: {what} has {len(values)} joints, the action has {joints}")
    return np.tile(np.array(values, np.float64), joints // len(values))


def _numbers(value: object) -> np.ndarray:
    """As float64; what is no array of numbers becomes one of a shape that fits nothing."""
    try:
        array = np.asarray(value)
        return array.astype(np.float64) if array.dtype.kind in "fiub" else np.empty((0, 0))
    except (TypeError, ValueError):
        return np.empty((0, 0))


def _float32(value: np.ndarray) -> np.ndarray:
    """Without limits a finite float64 may be too large: the largest float32 then, which is still finite."""
    most = float(np.finfo(np.float32).max)
    return np.clip(value, -most, most).astype(np.float32)


def _bounded(field: ActionField, wanted: np.ndarray, reasons: list[str]) -> np.ndarray:
    inside = np.clip(wanted, field.low, field.high)
    if np.any(inside != wanted):
        reasons.append(field.kind)
    return inside


def _joint_move(field: ActionField, wanted: np.ndarray, start: np.ndarray, period_s: float) -> np.ndarray:
    if field.kind == "joint_pos":
        return wanted - start
    return wanted * period_s if field.kind == "joint_vel" else wanted


def _joint_command(field: ActionField, wanted: np.ndarray, move: np.ndarray, start: np.ndarray, period_s: float) -> np.ndarray:
    """The same kind of command again, bit for bit where nothing was changed."""
    command = {"joint_pos": start + move, "joint_delta": move, "joint_vel": move / period_s}[field.kind]
    return np.where(move == _joint_move(field, wanted, start, period_s), wanted, command)


def _clipped(move: np.ndarray, low: np.ndarray, high: np.ndarray, reason: str, reasons: list[str]) -> np.ndarray:
    inside = np.clip(move, low, high)
    if np.all(np.abs(inside - move) <= _SLACK * np.maximum(high - low, _SLACK)):
        return move
    reasons.append(reason)
    return inside


def _braked(move: np.ndarray, before: np.ndarray) -> np.ndarray:
    """The part of `move` that is `before`, slowed down: what costs no acceleration, since a hold is the safe state."""
    length2 = float(before @ before)
    return before * (min(max(float(move @ before) / length2, 0.0), 1.0) if length2 > 0 else 0.0)


def _accelerated(move: np.ndarray, before: np.ndarray, most: float, reasons: list[str]) -> np.ndarray:
    """Braking along the present motion is free; any other change of it, in metres a period, is at most `most`."""
    kept, change = _braked(move, before), list[str]()
    allowed = _shorten(move - kept, most, "acceleration", change)
    reasons += change
    return kept + allowed if change else move


def _shorten(vector: np.ndarray, longest: float, reason: str, reasons: list[str]) -> np.ndarray:
    """`vector` itself if it is short enough."""
    length = float(np.linalg.norm(vector))
    if length <= longest * (1 + _SLACK):
        return vector
    reasons.append(reason)
    return vector * (longest / length)
