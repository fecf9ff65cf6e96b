"""A scripted expert of ours for a hand over cubes: pick one up, carry it to a point, or put it onto another.

What is next follows from what is seen, but for the time that fingers take to close. It reads the simulator's truth.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

Vector = Float[np.ndarray, " 3"]
Pose = tuple[Vector, Float[np.ndarray, "3 3"]]
"""Position m and rotation in the base frame."""


@dataclass(frozen=True, kw_only=True)
class Sight:
    """Where things are. Fingers close along y of `hand`. `goal`: where the cube's middle is wanted; `below`: that of the cube
    it is wanted on; both m, base frame."""

    hand: Pose
    cube: Pose
    goal: Vector | None = None
    below: Vector | None = None


class CubeExpert:
    """Says native actions `[7]`: metres, axis-angle (rad) in the base frame, gripper (`closed`, or minus that for open).

    `max_step_m`, `max_turn_rad`: of one step; the hand is asked for `gain` times what is missing.
    """

    _ABOVE_M, _LIFT_M, _NEAR_M, _CLOSE_STEPS = 0.08, 0.15, 0.012, 8
    _ON_TOP_M = 0.047  # between the middles of two cubes, with a little air

    def __init__(
        self, look: Callable[[], Sight], *, closed: float, max_step_m: float, max_turn_rad: float, gain: float
    ) -> None:
        self._look, self._max_step_m, self._max_turn_rad, self._gain = look, max_step_m, max_turn_rad, gain
        self._closed, self._closing, self._released = closed, 0, False

    def __call__(self) -> Float[np.ndarray, " 7"]:
        seen = self._look()
        (hand, hand_rotation), (cube, cube_rotation) = seen.hand, seen.cube
        if self._released:
            return self._move(_up(0.1), closed=False)
        if self._closing >= self._CLOSE_STEPS:
            return self._carry(seen)
        to_cube = cube - hand
        turn = _to_nearest_face(hand_rotation, cube_rotation)
        if np.linalg.norm(to_cube) < self._NEAR_M:
            self._closing += 1
            return self._move(to_cube, closed=True)
        self._closing = 0
        if float(np.linalg.norm(to_cube[:2])) > self._NEAR_M or abs(turn) > 0.15:
            to_cube = to_cube + _up(self._ABOVE_M)
        return self._move(to_cube, turn, closed=False)

    def _carry(self, seen: Sight) -> np.ndarray:
        cube, _ = seen.cube
        if seen.goal is not None:
            return self._move(seen.goal - cube, closed=True)
        if seen.below is None:
            return self._move(_up(self._LIFT_M), closed=True)
        missing = seen.below + _up(self._ON_TOP_M) - cube
        if float(np.linalg.norm(missing[:2])) > 0.01:
            height = seen.below[2] + self._ABOVE_M + 0.02 - cube[2]
            across = missing[:2] if height < 0.04 else np.zeros(2)
            return self._move(np.array([*across, height]), closed=True)
        if missing[2] > -0.004:
            self._released = True
            return self._move(np.zeros(3), closed=False)
        return self._move(missing, closed=True)

    def _move(self, step: np.ndarray, turn: float = 0.0, *, closed: bool) -> np.ndarray:
        step = np.clip(self._gain * step, -self._max_step_m, self._max_step_m)
        turn = float(np.clip(self._gain * turn, -self._max_turn_rad, self._max_turn_rad))
        return np.array([*step, 0.0, 0.0, turn, self._closed if closed else -self._closed])


def _up(metres: float) -> np.ndarray:
    return np.array([0.0, 0.0, metres])


def _to_nearest_face(hand: np.ndarray, cube: np.ndarray) -> float:
    """The smallest turn about the vertical (rad) that brings the fingers' axis (y of the hand) along one of the cube's."""
    angle = np.arctan2(cube[1, 0], cube[0, 0]) - np.arctan2(hand[1, 1], hand[0, 1])
    return float((angle + np.pi / 4) % (np.pi / 2) - np.pi / 4)
