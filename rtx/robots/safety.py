"""The last look at an action before the arm moves: within the robot's limits, fresh, finite; otherwise smaller, or hold.

    canonical action -> non-finite? stale? -> hold
                     -> workspace box -> step and velocity -> acceleration -> Verdict(action to execute, reasons)

Knows nothing of policies: it needs the robot's `Limits`, the measured position and a clock. It only ever makes a motion
smaller, never adds one: a hold is no motion with the gripper where it was last sent, and an arm that is already outside
its box may go back in or stay, but not further out. Positions of the gripper point only; joint limits are the driver's.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike

from rtx.errors import UserError
from rtx.robots import rotations
from rtx.spec import CANONICAL_ARM, Limits

HOLD_REASONS = ("non_finite", "bad_shape", "stale", "not_yet")
CLIP_REASONS = ("workspace", "step_m", "step_rad", "velocity", "acceleration", "gripper", "terminate")

_SLACK = 1e-6  # relative; float32 actions on a limit are not over it
_MEMORY_PERIODS = 2.5  # after a longer silence the arm is taken to stand still


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What to execute, and why it is not what was asked.

    `action` is float32 [8] canonical and always safe to execute. `reasons` are names from `HOLD_REASONS` (then `held` and
    no motion) or `CLIP_REASONS`; empty where the action passed as it was.
    """

    action: Float[np.ndarray, " 8"]
    reasons: tuple[str, ...]
    held: bool


class SafetyFilter:
    """Checks one arm's canonical actions, one control period after the other. One object per arm, one caller at a time.

    `counts` says how often each reason was given, `num_checked` how many actions were seen, since the filter was made.
    """

    def __init__(self, limits: Limits, *, control_hz: float, gripper: float = 1.0) -> None:
        """`control_hz`: how often actions are executed. `gripper`: its opening now, kept by a hold before the first action."""
        if not (math.isfinite(control_hz) and control_hz > 0):
            raise UserError(f"safety filter: control_hz {control_hz} must be positive")
        self._limits = limits
        self._period_s = 1.0 / control_hz
        self._low, self._high = np.array(limits.workspace_low_m), np.array(limits.workspace_high_m)
        self._reasons: Counter[str] = Counter()
        self.num_checked = 0
        self.reset(gripper=gripper)

    @property
    def counts(self) -> Mapping[str, int]:
        return dict(self._reasons)

    def reset(self, *, gripper: float = 1.0) -> None:
        """The arm stands still (a new episode); `gripper` is its opening now. Counts go on."""
        self._velocity = np.zeros(3)  # m/s, of the last executed action
        self._last_ns: int | None = None
        self._gripper = min(max(gripper, 0.0), 1.0)

    def check(self, action: ArrayLike, *, eef_pos: ArrayLike, stamp_ns: int, valid_until_ns: int, now_ns: int) -> Verdict:
        """The verdict on one canonical action [8], about to be executed from `eef_pos` (m, base frame, measured).

        `stamp_ns` and `valid_until_ns` are the chunk's (`ActionChunk`), `now_ns` the same monotonic clock, read now.
        Never raises for what a policy sends: it holds and gives the reason.
        """
        self.num_checked += 1
        wanted, here = np.asarray(action, np.float64), np.asarray(eef_pos, np.float64)
        if refusal := _refusal(wanted, here, stamp_ns=stamp_ns, valid_until_ns=valid_until_ns, now_ns=now_ns):
            return self._hold(refusal, now_ns)
        reasons: list[str] = []
        move = self._limit_move(wanted[0:3], here, now_ns, reasons)
        turn = self._limit_turn(wanted[3:6], reasons)
        gripper, terminate = np.clip(wanted[6:], 0.0, 1.0)
        reasons += [name for name, out in (("gripper", gripper != wanted[6]), ("terminate", terminate != wanted[7])) if out]
        self._remember(move, gripper, now_ns)
        self._reasons.update(reasons)
        safe = np.concatenate([move, turn, [gripper, terminate]]).astype(np.float32)
        return Verdict(action=safe, reasons=tuple(reasons), held=False)

    def _hold(self, reason: str, now_ns: int) -> Verdict:
        self._remember(np.zeros(3), self._gripper, now_ns)
        self._reasons[reason] += 1
        still = np.array([0, 0, 0, 0, 0, 0, self._gripper, 0], np.float32)
        return Verdict(action=still, reasons=(reason,), held=True)

    def _remember(self, move: np.ndarray, gripper: float, now_ns: int) -> None:
        self._velocity, self._gripper, self._last_ns = move / self._period_s, float(gripper), now_ns

    def _limit_move(self, move: np.ndarray, here: np.ndarray, now_ns: int, reasons: list[str]) -> np.ndarray:
        limits = self._limits
        move = self._limit_acceleration(move, now_ns, reasons)
        move = self._into_box(move, here, reasons)
        # The box before the lengths: from inside a convex box shortening a move cannot leave it again.
        move = _shorten(move, limits.max_step_m, "step_m", reasons)
        return _shorten(move, limits.max_velocity_m_s * self._period_s, "velocity", reasons)

    def _into_box(self, move: np.ndarray, here: np.ndarray, reasons: list[str]) -> np.ndarray:
        """Outside the box its walls stand where the arm is: no further out, and no motion that nobody asked for."""
        low, high = np.minimum(self._low, here), np.maximum(self._high, here)
        target = np.clip(here + move, low, high)
        if np.max(np.abs(target - here - move)) <= _SLACK * self._limits.max_step_m:
            return move
        reasons.append("workspace")
        return target - here

    def _limit_acceleration(self, move: np.ndarray, now_ns: int, reasons: list[str]) -> np.ndarray:
        """Braking along the present motion is free (a hold is the safe state); any other change of velocity is limited."""
        velocity, wanted = self._velocity_now(now_ns), move / self._period_s
        speed2 = float(velocity @ velocity)
        kept = velocity * (min(max(float(wanted @ velocity) / speed2, 0.0), 1.0) if speed2 > 0 else 0.0)
        change: list[str] = []
        allowed = _shorten(wanted - kept, self._limits.max_acceleration_m_s2 * self._period_s, "acceleration", change)
        reasons += change
        return (kept + allowed) * self._period_s if change else move

    def _velocity_now(self, now_ns: int) -> np.ndarray:
        silent = self._last_ns is None or (now_ns - self._last_ns) * 1e-9 > _MEMORY_PERIODS * self._period_s
        return np.zeros(3) if silent else self._velocity

    def _limit_turn(self, rpy: np.ndarray, reasons: list[str]) -> np.ndarray:
        """By the angle of the rotation, about its own axis: clipping roll, pitch and yaw apart would turn elsewhere."""
        axis_angle = rotations.convert(rpy, "rpy", "axis_angle")
        short = _shorten(axis_angle, self._limits.max_step_rad, "step_rad", reasons)
        return rpy if short is axis_angle else rotations.convert(short, "axis_angle", "rpy")


def _refusal(action: np.ndarray, here: np.ndarray, *, stamp_ns: int, valid_until_ns: int, now_ns: int) -> str | None:
    if action.shape != (CANONICAL_ARM.width,) or here.shape != (3,):
        return "bad_shape"
    if not (np.all(np.isfinite(action)) and np.all(np.isfinite(here))):
        return "non_finite"
    if now_ns > valid_until_ns:
        return "stale"
    if stamp_ns > now_ns:  # another machine's clock: then valid_until_ns means nothing either
        return "not_yet"
    return None


def _shorten(vector: np.ndarray, longest: float, reason: str, reasons: list[str]) -> np.ndarray:
    """`vector` itself if it is short enough."""
    length = float(np.linalg.norm(vector))
    if length <= longest * (1 + _SLACK):
        return vector
    reasons.append(reason)
    return vector * (longest / length)
