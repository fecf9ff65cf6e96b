"""Where a hand goes next, skill by skill: a function of what is to be seen now.

    aim(env: where things are, how far the gripper is open) -> Aim (point to move to, gripper)

Heights follow funnels: far from the aim the hand is high, and it comes down as it gets closer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from rtx.eval.sim.objects import CUBE_HALF_M, THINGS

if TYPE_CHECKING:
    from rtx.eval.sim.env import SimEnv

MAX_STEP_M = 0.06
HOVER_M = 0.01  # above the target's top, where a reach ends
_BEHIND_M = 0.085  # from the cube's middle to the gripper point before a push
_HELD = 0.8  # a gripper told to close and open less than this holds something, or nothing
_CARRY_M = 0.05  # over what something is put on or into, on the way there
_DROP_M = 0.005  # of air below it when it is let go
_OVER_M = 0.012  # sideways from the place it is meant for: close enough to come down


class Aim(NamedTuple):
    to: np.ndarray  # [3] m, base frame
    gripper: float
    steady: bool = False  # not to be disturbed: what goes wrong now cannot be mended


def aim_reach(env: SimEnv) -> Aim:
    state = env.state
    away = float(np.linalg.norm((state.gripper - state.cube)[:2]))
    height = THINGS[env.layout.target_body].half_m + HOVER_M + np.clip(0.8 * (away - 0.03), 0.0, 0.10)
    return Aim(state.cube + np.array([0, 0, height]), 1.0)


def aim_push(env: SimEnv) -> Aim:
    """Behind the cube and down: forward. Else to the place behind it, from above."""
    state, direction = env.state, np.array([*(env.layout.direction or ()), 0.0])
    offset = (state.gripper - state.cube) * [1, 1, 0]
    along = float(offset @ direction)
    sideways = offset - along * direction
    low = env.arm.table_z_m + env.arm.push_height_m + _higher(env)
    is_low = state.gripper[2] < low + 0.025
    if is_low and float(np.linalg.norm(sideways)) < 0.02 and -_BEHIND_M - 0.03 < along < 0:
        ahead = state.gripper + MAX_STEP_M * direction - sideways
        ahead[2] = low
        return Aim(ahead, 0.0)
    behind = state.cube - _BEHIND_M * direction
    return Aim(_from_above(state.gripper, behind, low, clearance=0.08), 0.0)


def aim_lift(env: SimEnv) -> Aim:
    """Between the fingers and closing: up. Else to grasp it."""
    if _is_held(env):
        return Aim(env.state.gripper + np.array([0, 0, MAX_STEP_M]), 0.0)
    return _aim_grasp(env, env.arm.table_z_m + env.arm.grasp_height_m + _higher(env))


def aim_place(env: SimEnv) -> Aim:
    """Held: over its place, down, and open. Lying in its place: up and away. Else to grasp it, wherever it lies."""
    state = env.state
    if env.goal_distance == 0.0:
        return Aim(state.gripper + np.array([0, 0, MAX_STEP_M]), 1.0, steady=True)
    if not _is_held(env):
        return _aim_grasp(env, float(state.cube[2]) - CUBE_HALF_M + env.arm.grasp_height_m)
    place = _place(env)
    away = float(np.linalg.norm((place - state.cube)[:2]))
    height = place[2] + float(np.clip(2.0 * (away - 0.01), 0.0, _CARRY_M))
    grip = state.gripper - state.cube
    if state.cube[2] < height - 0.03:  # straight up first
        return Aim(np.array([*state.gripper[:2], height + grip[2]]), 0.0)
    if away < _OVER_M and state.cube[2] < place[2] + 0.008:
        return Aim(state.gripper, 1.0, steady=True)
    return Aim(np.array([*place[:2], height]) + grip, 0.0, steady=away < 2 * _OVER_M)


def aim_open(env: SimEnv) -> Aim:
    """Its handle between the fingers, and both of them at it: pull. Else to grasp it."""
    state = env.state
    if _is_held(env) and env.is_gripped:
        return Aim(np.array([state.gripper[0] - MAX_STEP_M, *state.cube[1:]]), 0.0)
    return _aim_grasp(env, env.arm.table_z_m + env.arm.grasp_height_m + _higher(env))


def _place(env: SimEnv) -> np.ndarray:
    """`[3]` where the middle of what is carried is to be when it is let go."""
    state, goal = env.state, env.layout.goal
    assert state.goal is not None, "only in tasks with a goal"
    top = THINGS[goal].half_m
    return state.goal + np.array([0, 0, top + THINGS[env.layout.target_body].middle_m + _DROP_M])


def _aim_grasp(env: SimEnv, low: float) -> Aim:
    """Above the target: down to `low`, then close. Else over it."""
    state = env.state
    away = float(np.linalg.norm((state.gripper - state.cube)[:2]))
    if away < 0.01 and state.gripper[2] < low + 0.01:
        return Aim(np.array([*state.cube[:2], low]), 0.0)
    return Aim(_from_above(state.gripper, state.cube, low, clearance=0.09), 1.0)


def _is_held(env: SimEnv) -> bool:
    offset = env.state.gripper - env.state.cube
    return float(np.linalg.norm(offset[:2])) < 0.018 and abs(float(offset[2])) < 0.02 and env.opening < _HELD


def _higher(env: SimEnv) -> float:
    """How much higher than a cube's the target's middle is when it stands on the table."""
    return THINGS[env.layout.target_body].middle_m - CUBE_HALF_M


def _from_above(gripper: np.ndarray, place: np.ndarray, low: float, *, clearance: float) -> np.ndarray:
    """Towards `place` at height `low` through a funnel; straight up first where the hand is below it."""
    away = float(np.linalg.norm((place - gripper)[:2]))
    height = low + float(np.clip(2.0 * (away - 0.01), 0.0, clearance))
    if gripper[2] < height - 0.03:
        return np.array([*gripper[:2], height])
    return np.array([*place[:2], height])


def shortened(vector: np.ndarray, longest: float) -> np.ndarray:
    length = float(np.linalg.norm(vector))
    return vector * min(1.0, longest / length) if length > 0 else vector
