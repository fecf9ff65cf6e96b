"""Between the canonical action and one robot's own command, both ways, by what the embodiment says of its fields.

    canonical [8]  delta_pos (m, base) | delta_rot (rpy, rad, base) | gripper (1 open) | terminate
         |  ^
         v  |      p, R: the measured pose, from the robot's own proprio
    native [n]     fields of `Embodiment.action`, in their order, unit, frame, rotation form and polarity

What a native field means, with p_t, R_t the pose aimed at by the end of the step:

    delta_pos   base: p_t = p + d        tool: p_t = p + R d        abs_pos: p_t itself
    delta_rot   base: R_t = R(d) R       tool: R_t = R R(d)         abs_rot: R_t itself
    gripper     closed + g (opened - closed)

Nothing is clipped here: limits are the safety filter's. A robot that fits none of this (joints, two arms, a base) is refused
when the adapter is made.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike

from rtx.errors import UserError
from rtx.robots import rotations
from rtx.spec import CANONICAL_ARM, ActionField, Embodiment, Field, field_slices

_METRES: Mapping[str, float] = {"m": 1.0, "cm": 0.01, "mm": 0.001}
_RADIANS: Mapping[str, float] = {"rad": 1.0, "deg": np.pi / 180}


class _Pose(NamedTuple):
    position: np.ndarray  # [..., 3] m, base frame
    rotation: np.ndarray  # [..., 3, 3]


class Adapter:
    """Converts for one embodiment. Holds no state: the same input gives the same output.

    Raises UserError when made, with every field it cannot convert.
    """

    def __init__(self, embodiment: Embodiment) -> None:
        self.embodiment = embodiment
        self._actions = field_slices(embodiment.action.fields)
        self._proprio = field_slices(embodiment.proprio)
        problems = _action_problems(embodiment) + _proprio_problems(embodiment)
        if problems:
            raise UserError(
                f"embodiment {embodiment.name!r} has no conversion from the canonical single-arm action: " + "; ".join(problems)
            )
        kinds = {field.kind.removeprefix("delta_").removeprefix("abs_"): field for field in embodiment.action.fields}
        self._pos, self._rot, self._gripper = kinds["pos"], kinds["rot"], kinds["gripper"]
        self._terminate = kinds.get("terminate")

    def to_native(self, action: ArrayLike, *, proprio_native: ArrayLike) -> Float[np.ndarray, "*b n"]:
        """Canonical `action [..., 8]` as this robot's command `[..., n]`, float64, at the measured state `proprio_native`.

        `terminate` is dropped where the robot has no such field.
        """
        value = _vector(action, CANONICAL_ARM.width, "canonical action")
        pose = self._pose(proprio_native)
        parts = {
            self._pos.name: _native_position(self._pos, value[..., 0:3], pose),
            self._rot.name: _native_rotation(self._rot, rotations.to_matrix(value[..., 3:6], "rpy"), pose),
            self._gripper.name: _to_range(value[..., 6:7], self._gripper.closed, self._gripper.opened),
        }
        if self._terminate is not None:
            parts[self._terminate.name] = _to_range(value[..., 7:8], self._terminate.low, self._terminate.high)
        leading = np.broadcast_shapes(*(part.shape[:-1] for part in parts.values()))
        ordered = [np.broadcast_to(parts[name], (*leading, parts[name].shape[-1])) for name in self._actions]
        return np.concatenate(ordered, -1)

    def to_canonical(self, native: ArrayLike, *, proprio_native: ArrayLike) -> Float[np.ndarray, "*b 8"]:
        """Inverse of `to_native`, float32: what the command `native [..., n]` does from the state `proprio_native`.

        `terminate` is 0 where the robot has no such field.
        """
        value = _vector(native, self.embodiment.action.width, f"native action of {self.embodiment.name!r}")
        pose = self._pose(proprio_native)
        position = _canonical_position(self._pos, value[..., self._actions[self._pos.name]], pose)
        turn = _canonical_rotation(self._rot, value[..., self._actions[self._rot.name]], pose)
        gripper = _from_range(value[..., self._actions[self._gripper.name]], self._gripper.closed, self._gripper.opened)
        if self._terminate is None:
            terminate = np.zeros_like(gripper)
        else:
            command = value[..., self._actions[self._terminate.name]]
            terminate = _from_range(command, self._terminate.low, self._terminate.high)
        return _joined(position, rotations.from_matrix(turn, "rpy"), gripper, terminate)

    def proprio(self, native: ArrayLike) -> Float[np.ndarray, "*b 10"]:
        """Native state `[..., m]` as `CANONICAL_PROPRIO`, float32: position (m), rot6d, gripper (0 closed, 1 open)."""
        pose = self._pose(native)
        field = self._field("gripper")
        measured = np.asarray(native, np.float64)[..., self._proprio["gripper"]]
        opening = _from_range(measured, field.closed, field.opened)
        return _joined(pose.position, rotations.from_matrix(pose.rotation, "rot6d"), opening)

    def _pose(self, proprio_native: ArrayLike) -> _Pose:
        width = sum(field.width for field in self.embodiment.proprio)
        value = _vector(proprio_native, width, f"native proprio of {self.embodiment.name!r}")
        position = value[..., self._proprio["eef_pos"]] * _METRES[self._field("eef_pos").unit]
        rotation = _matrix(self._field("eef_rot"), value[..., self._proprio["eef_rot"]])
        return _Pose(position, rotation)

    def _field(self, name: str) -> Field:
        return next(field for field in self.embodiment.proprio if field.name == name)


def _native_position(field: ActionField, delta: np.ndarray, pose: _Pose) -> np.ndarray:
    if field.kind == "abs_pos":
        delta = pose.position + delta
    elif field.frame == "tool":
        delta = _rotated(rotations.transpose(pose.rotation), delta)
    return delta / _METRES[field.unit]


def _canonical_position(field: ActionField, command: np.ndarray, pose: _Pose) -> np.ndarray:
    metres = command * _METRES[field.unit]
    if field.kind == "abs_pos":
        return metres - pose.position
    return _rotated(pose.rotation, metres) if field.frame == "tool" else metres


def _native_rotation(field: ActionField, turn: np.ndarray, pose: _Pose) -> np.ndarray:
    if field.kind == "abs_rot":
        turn = turn @ pose.rotation
    elif field.frame == "tool":
        turn = rotations.transpose(pose.rotation) @ turn @ pose.rotation
    assert field.rotation is not None  # checked when the adapter was made
    return rotations.from_matrix(turn, field.rotation) / _angle_unit(field)


def _canonical_rotation(field: ActionField, command: np.ndarray, pose: _Pose) -> np.ndarray:
    turn = _matrix(field, command)
    if field.kind == "abs_rot":
        return turn @ rotations.transpose(pose.rotation)
    return pose.rotation @ turn @ rotations.transpose(pose.rotation) if field.frame == "tool" else turn


def _matrix(field: Field, value: np.ndarray) -> np.ndarray:
    assert field.rotation is not None  # checked when the adapter was made
    return rotations.to_matrix(value * _angle_unit(field), field.rotation)


def _angle_unit(field: Field) -> float:
    """Radians per unit; quaternions and rot6d have no angle in them."""
    return _RADIANS[field.unit] if field.rotation in ("rpy", "axis_angle") else 1.0


def _rotated(matrix: np.ndarray, vector: np.ndarray) -> np.ndarray:
    return (matrix @ vector[..., None])[..., 0]


def _to_range(value: np.ndarray, zero: float, one: float) -> np.ndarray:
    return zero + value * (one - zero)


def _from_range(value: np.ndarray, zero: float, one: float) -> np.ndarray:
    return (value - zero) / (one - zero)


def _joined(*parts: np.ndarray) -> np.ndarray:
    leading = np.broadcast_shapes(*(part.shape[:-1] for part in parts))
    return np.concatenate([np.broadcast_to(part, (*leading, part.shape[-1])) for part in parts], -1).astype(np.float32)


def _vector(value: ArrayLike, width: int, what: str) -> np.ndarray:
    array = np.asarray(value, np.float64)
    if array.shape[-1:] != (width,):
        raise UserError(f"{what}: got shape {list(array.shape)}, expected [..., {width}]")
    if not np.all(np.isfinite(array)):
        raise UserError(f"{what} holds a non-finite value; hold still and check where it comes from")
    return array


def _action_problems(embodiment: Embodiment) -> list[str]:
    problems = []
    for wanted in (("delta_pos", "abs_pos"), ("delta_rot", "abs_rot"), ("gripper",)):
        found = [field.name for field in embodiment.action.fields if field.kind in wanted]
        if len(found) != 1:
            problems.append(f"needs one {' or '.join(wanted)} action field, has {found or 'none'}")
    for field in embodiment.action.fields:
        if problem := _action_field_problem(field):
            problems.append(f"action field {field.name!r} ({field.kind}) {problem}")
    return problems


def _action_field_problem(field: ActionField) -> str | None:
    position, rotation = field.kind in ("delta_pos", "abs_pos"), field.kind in ("delta_rot", "abs_rot")
    if not (position or rotation or field.kind in ("gripper", "terminate")):
        return "is not part of a single arm's pose command"
    if not rotation and field.width != (3 if position else 1):
        return f"has width {field.width}, expected {3 if position else 1}"
    if (position or rotation) and (frame := _frame_problem(field)):
        return frame
    if field.kind == "terminate" and not np.isfinite(field.high - field.low):
        return "needs finite low (go on) and high (stop)"
    return _unit_problem(field, position=position, rotation=rotation)


def _frame_problem(field: ActionField) -> str | None:
    frames: Sequence[str] = ("base",) if field.kind.startswith("abs_") else ("base", "tool")
    return None if field.frame in frames else f"is in frame {field.frame!r}, expected {' or '.join(frames)}"


def _unit_problem(field: Field, *, position: bool, rotation: bool) -> str | None:
    if position and field.unit not in _METRES:
        return f"has unit {field.unit!r}, expected one of {', '.join(_METRES)}"
    if rotation and field.rotation is None:
        return "does not say its rotation form"
    if rotation and field.rotation in ("rpy", "axis_angle") and field.unit not in _RADIANS:
        return f"has unit {field.unit!r}, expected one of {', '.join(_RADIANS)}"
    return None


def _proprio_problems(embodiment: Embodiment) -> list[str]:
    """The pose and the gripper are found by the names of `CANONICAL_PROPRIO`; further fields are the robot's own affair."""
    fields, problems = {field.name: field for field in embodiment.proprio}, []
    for name in ("eef_pos", "eef_rot", "gripper"):
        if name not in fields:
            problems.append(f"proprio lacks a field named {name!r}, has {list(fields) or 'none'}")
            continue
        field = fields[name]
        if name != "gripper" and field.frame != "base":
            problems.append(f"proprio field {name!r} is in frame {field.frame!r}, expected base")
        if problem := _unit_problem(field, position=name == "eef_pos", rotation=name == "eef_rot"):
            problems.append(f"proprio field {name!r} {problem}")
    return problems
