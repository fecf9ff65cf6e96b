"""One scripted expert for all arms and tasks: what to do next follows from what is to be seen now, never from a clock.

    aims (where things are, how far the gripper is open) -> point to move to, gripper --at most 6 cm a step--> canonical action

A policy without memory can learn it, and any error, its own or a disturbance's, leads back into the same script.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from rtx.eval.sim.aims import HOVER_M, MAX_STEP_M, Aim, aim_lift, aim_open, aim_place, aim_push, aim_reach, shortened
from rtx.eval.sim.motion import rotation_vector
from rtx.eval.sim.objects import THINGS
from rtx.robots import rotations

if TYPE_CHECKING:
    from rtx.eval.sim.env import SimEnv

MAX_STEP_RAD = 0.35
_JITTER_M = 0.006
_BUMP_M = 0.035
_BUMP_RAD = 0.12
_BUMP_RATE = 0.08  # per step


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
        aim = _AIMS[self._env.skill](self._env)
        step = shortened(aim.to - self._env.gripper, MAX_STEP_M)
        turn = shortened(rotation_vector(self._env.home_rotation @ self._env.rotation.T), MAX_STEP_RAD)
        rpy = rotations.convert(turn, "axis_angle", "rpy")
        if self._noise > 0 and not aim.steady:
            self._env.disturb(self._noise * self._disturbance())
        return np.concatenate([step, rpy, [aim.gripper, self.done]]).astype(np.float32)

    def _disturbance(self) -> np.ndarray:
        offset = np.zeros(6)
        offset[:3] = self._rng.normal(0, _JITTER_M, 3)
        if self._rng.random() < _BUMP_RATE:
            offset[:3] += self._rng.uniform(-_BUMP_M, _BUMP_M, 3)
            offset[3:] = self._rng.uniform(-_BUMP_RAD, _BUMP_RAD, 3)
        return offset


def _reached(env: SimEnv) -> bool:
    state, half = env.state, THINGS[env.layout.target_body].half_m
    return float(np.linalg.norm(state.gripper - state.cube - [0, 0, half + HOVER_M])) < 0.015


def _pushed(env: SimEnv) -> bool:
    state = env.state
    return float((state.cube - state.cube_start)[:2] @ np.array(env.layout.direction)) > 0.07


def _lifted(env: SimEnv) -> bool:
    state = env.state
    return float((state.cube - state.cube_start)[2]) > 0.07


def _placed(env: SimEnv) -> bool:
    """And the hand is up and away."""
    return env.goal_distance == 0.0 and float((env.gripper - env.state.cube)[2]) > 0.05


def _opened(env: SimEnv) -> bool:
    state = env.state
    return env.layout.drawer_m + float((state.cube_start - state.cube)[0]) > 0.10


def _shut(env: SimEnv) -> bool:
    return env.goal_distance == 0.0


_AIMS: Mapping[str, Callable[[SimEnv], Aim]] = {
    "reach": aim_reach, "push": aim_push, "lift": aim_lift, "place": aim_place, "open": aim_open, "close": aim_push
}  # fmt: skip
_FINISHED: Mapping[str, Callable[[SimEnv], bool]] = {
    "reach": _reached, "push": _pushed, "lift": _lifted, "place": _placed, "open": _opened, "close": _shut
}  # fmt: skip
