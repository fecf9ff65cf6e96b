"""A wheeled base's motion in one control period: where it ends, and the velocities that bring it there.

    pose      forward x, left y (m) and turn to the left (rad), in the base's own frame at the start
    velocity  vx, vy, w held for the period T: the pose is exp of the plane's twist (vx T, vy T, w T), an arc

      x + iy  =  (vx + i vy) T  *  (e^(i w T) - 1) / (i w T)

A base without a sideways velocity drives the forward part of the twist.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float

from rtx.embodiment import ActionField
from rtx.robots.units import METRES, RADIANS, per_unit, unit_problem

Twist = Float[np.ndarray, "*b 3"]


def driven(twist: Twist) -> Twist:
    """The pose at the end of a twist (m, m, rad)."""
    return _joined(_plane(twist) * _arc(twist[..., 2]), twist[..., 2])


def twist_to(pose: Twist) -> Twist:
    """The twist that ends in a pose; turns below a full one."""
    return _joined(_plane(pose) / _arc(pose[..., 2]), pose[..., 2])


def then(first: Twist, second: Twist) -> Twist:
    """Both poses one after the other, the second in the frame that the first ends in."""
    turned = np.exp(1j * first[..., 2]) * _plane(second)
    return _joined(_plane(first) + turned, first[..., 2] + second[..., 2])


def between(first: Twist, second: Twist) -> Twist:
    """`second` as seen from `first`: then(first, between(first, second)) is second."""
    turned = np.exp(-1j * first[..., 2]) * (_plane(second) - _plane(first))
    return _joined(turned, second[..., 2] - first[..., 2])


def pose_of(fields: Sequence[ActionField], values: Mapping[str, np.ndarray], period_s: float) -> Twist:
    """Where a base's command brings it in one period: `[..., 3]`."""
    motion = _motion(fields, values, period_s)
    return driven(motion) if _is_velocity(fields) else motion


def command_for(fields: Sequence[ActionField], pose: Twist, period_s: float) -> dict[str, np.ndarray]:
    """The command that brings it to `pose` in one period, by field."""
    motion = twist_to(pose) if _is_velocity(fields) else pose
    return {field.name: motion[..., _dims(field)] / _scale(field, period_s) for field in fields}


def base_problems(fields: Sequence[ActionField]) -> list[str]:
    """Why these are no base's command."""
    problems = []
    for field in fields:
        turns = _turns(field)
        widths = (1,) if turns else (1, 2)
        if field.width not in widths:
            problems.append(f"action field {field.name!r} ({field.kind}) has width {field.width}, expected {widths[-1]}")
        if problem := unit_problem(field, RADIANS if turns else METRES, velocity=True):
            problems.append(f"action field {field.name!r} ({field.kind}) {problem}")
        elif (field.kind == "base_vel") != field.unit.endswith("/s"):
            problems.append(f"action field {field.name!r} ({field.kind}) has unit {field.unit!r}")
    if len({_turns(field) for field in fields}) < len(fields) or len({field.kind == "base_vel" for field in fields}) > 1:
        problems.append(f"a base needs one field that drives and one that turns, has {[field.name for field in fields]}")
    return problems


def _motion(fields: Sequence[ActionField], values: Mapping[str, np.ndarray], period_s: float) -> Twist:
    leading = np.broadcast_shapes(*(values[field.name].shape[:-1] for field in fields))
    motion = np.zeros((*leading, 3))
    for field in fields:
        motion[..., _dims(field)] = values[field.name] * _scale(field, period_s)
    return motion


def _turns(field: ActionField) -> bool:
    return field.kind == "base_delta_rot" or (field.kind == "base_vel" and field.unit.removesuffix("/s") in RADIANS)


def _dims(field: ActionField) -> slice:
    return slice(2, 3) if _turns(field) else slice(0, field.width)


def _scale(field: ActionField, period_s: float) -> float:
    return per_unit(field, RADIANS if _turns(field) else METRES, period_s)


def _is_velocity(fields: Sequence[ActionField]) -> bool:
    return any(field.kind == "base_vel" for field in fields)


def _plane(pose: np.ndarray) -> np.ndarray:
    return np.asarray(pose[..., 0] + 1j * pose[..., 1])


def _arc(turn: np.ndarray | np.float64) -> np.ndarray:
    """(e^(i turn) - 1) / (i turn), without dividing by a vanishing turn."""
    return np.asarray(np.exp(0.5j * turn) * np.sinc(turn / (2 * np.pi)))


def _joined(plane: np.ndarray | np.complex128, turn: np.ndarray | np.float64) -> np.ndarray:
    return np.stack([plane.real, plane.imag, turn], -1)
