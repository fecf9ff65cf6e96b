"""One scripted expert for all arms and tasks: what to do next follows from what is to be seen now, never from a clock.

    aim(where things are, how far the gripper is open) -> point to move to, gripper --at most 6 cm a step--> canonical action

A policy without memory can learn it, and any error, its own or a disturbance's, leads back into the same script. Heights
follow funnels: far from the aim the hand is high, and it comes down as it gets closer.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from rtx.eval.sim.motion import rotation_vector
from rtx.eval.sim.tasks import CUBE_HALF_M
from rtx.robots import rotations

if TYPE_CHECKING:
    from rtx.eval.sim.env import SimEnv

MAX_STEP_M = 0.06
MAX_STEP_RAD = 0.35
_HOVER_M = 0.01  # above the cube's top, where a reach ends
_BEHIND_M = 0.085  # from the cube's middle to the gripper point before a push
_HELD = 0.8  # a gripper told to close and open less than this holds the cube, or nothing
_JITTER_M = 0.006
_BUMP_M = 0.035
_BUMP_RAD = 0.12
_BUMP_RATE = 0.08  # per step

Aim = tuple[np.ndarray, float]  # where to (m, base frame), gripper


class Expert:
    """`noise` in [0, 1]: how much the arm is disturbed on its way. The actions handed out are always the expert's own."""

    def __init__(self, env: SimEnv, rng: np.random.Generator, *, noise: float = 1.0) -> None:
        self._env, self._rng, self._noise = env, rng, noise

    @property
    def done(self) -> bool:
        """Done with a margin: the task's own success comes a little earlier."""
        return self._env.success and _FINISHED[self._env.skill](self._env)

    def act(self) -> Float[np.ndarray, " 8"]:
        """The next canonical action, float32. Also decides how the arm is disturbed while carrying it out."""
        aim, gripper = _AIMS[self._env.skill](self._env)
        step = _shortened(aim - self._env.state.gripper, MAX_STEP_M)
        turn = _shortened(rotation_vector(self._env.home_rotation @ self._env.rotation.T), MAX_STEP_RAD)
        rpy = rotations.convert(turn, "axis_angle", "rpy")
        if self._noise > 0:
            self._env.disturb(self._noise * self._disturbance())
        return np.concatenate([step, rpy, [gripper, self.done]]).astype(np.float32)

    def _disturbance(self) -> np.ndarray:
        offset = np.zeros(6)
        offset[:3] = self._rng.normal(0, _JITTER_M, 3)
        if self._rng.random() < _BUMP_RATE:
            offset[:3] += self._rng.uniform(-_BUMP_M, _BUMP_M, 3)
            offset[3:] = self._rng.uniform(-_BUMP_RAD, _BUMP_RAD, 3)
        return offset


def _aim_reach(env: SimEnv) -> Aim:
    state = env.state
    away = float(np.linalg.norm((state.gripper - state.cube)[:2]))
    height = CUBE_HALF_M + _HOVER_M + np.clip(0.8 * (away - 0.03), 0.0, 0.10)
    return state.cube + np.array([0, 0, height]), 1.0


def _aim_push(env: SimEnv) -> Aim:
    """Behind the cube and down: forward. Else to the place behind it, from above."""
    state, direction = env.state, np.array([*(env.layout.direction or ()), 0.0])
    offset = (state.gripper - state.cube) * [1, 1, 0]
    along = float(offset @ direction)
    sideways = offset - along * direction
    low = env.arm.table_z_m + env.arm.push_height_m
    is_low = state.gripper[2] < low + 0.025
    if is_low and float(np.linalg.norm(sideways)) < 0.02 and -_BEHIND_M - 0.03 < along < 0:
        ahead = state.gripper + MAX_STEP_M * direction - sideways
        ahead[2] = low
        return ahead, 0.0
    behind = state.cube - _BEHIND_M * direction
    return _from_above(state.gripper, behind, low, clearance=0.08), 0.0


def _aim_lift(env: SimEnv) -> Aim:
    """Between the fingers and closing: up. Above the cube: down, then close. Else over it."""
    state = env.state
    offset = state.gripper - state.cube
    away = float(np.linalg.norm(offset[:2]))
    low = env.arm.table_z_m + env.arm.grasp_height_m
    around = away < 0.018 and abs(offset[2]) < 0.02
    if around and env.opening < _HELD:
        return state.gripper + np.array([0, 0, MAX_STEP_M]), 0.0
    if away < 0.01 and state.gripper[2] < low + 0.01:
        return np.array([*state.cube[:2], low]), 0.0
    return _from_above(state.gripper, state.cube, low, clearance=0.09), 1.0


def _from_above(gripper: np.ndarray, place: np.ndarray, low: float, *, clearance: float) -> np.ndarray:
    """Towards `place` at height `low` through a funnel; straight up first where the hand is below it."""
    away = float(np.linalg.norm((place - gripper)[:2]))
    height = low + float(np.clip(2.0 * (away - 0.01), 0.0, clearance))
    if gripper[2] < height - 0.03:
        return np.array([*gripper[:2], height])
    return np.array([*place[:2], height])


def _shortened(vector: np.ndarray, longest: float) -> np.ndarray:
    length = float(np.linalg.norm(vector))
    return vector * min(1.0, longest / length) if length > 0 else vector


def _reached(env: SimEnv) -> bool:
    state = env.state
    return float(np.linalg.norm(state.gripper - state.cube - [0, 0, CUBE_HALF_M + _HOVER_M])) < 0.015


def _pushed(env: SimEnv) -> bool:
    state = env.state
    return float((state.cube - state.cube_start)[:2] @ np.array(env.layout.direction)) > 0.07


def _lifted(env: SimEnv) -> bool:
    state = env.state
    return float((state.cube - state.cube_start)[2]) > 0.07


_AIMS: Mapping[str, Callable[[SimEnv], Aim]] = {"reach": _aim_reach, "push": _aim_push, "lift": _aim_lift}
_FINISHED: Mapping[str, Callable[[SimEnv], bool]] = {"reach": _reached, "push": _pushed, "lift": _lifted}
