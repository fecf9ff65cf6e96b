"""The fields that native vectors are made of, one short constructor each: `delta_pos("cm")`, `gripper(closed=1, opened=0)`.

Names are what `rtx.robots.adapter` looks for: one position, one rotation and one gripper make an arm's command; `eef_pos`,
`eef_rot` and `gripper` its state. Joints, bases and second arms have fields of their own.
"""

from __future__ import annotations

import dataclasses
from typing import TypeVar

from rtx.embodiment import ActionField, ActionKind, Field, Frame, RotationForm

_AnyField = TypeVar("_AnyField", bound=Field)
_ROTATION_WIDTH = {"rpy": 3, "axis_angle": 3, "quat_wxyz": 4, "quat_xyzw": 4, "rot6d": 6}


def delta_pos(unit: str = "m", frame: Frame = "base") -> ActionField:
    return ActionField(name="delta_pos", width=3, kind="delta_pos", unit=unit, frame=frame)


def abs_pos(unit: str = "m", frame: Frame = "base") -> ActionField:
    return ActionField(name="abs_pos", width=3, kind="abs_pos", unit=unit, frame=frame)


def delta_rot(form: RotationForm = "rpy", unit: str = "rad", frame: Frame = "base") -> ActionField:
    return _rotation("delta_rot", "delta_rot", form, unit, frame)


def abs_rot(form: RotationForm = "rpy", unit: str = "rad", frame: Frame = "base") -> ActionField:
    return _rotation("abs_rot", "abs_rot", form, unit, frame)


def gripper(*, closed: float | int, opened: float | int, unit: str = "1") -> ActionField:
    """A commanded opening: its value when closed and when open."""
    return ActionField(
        name="gripper", width=1, kind="gripper", unit=unit, closed=float(closed), opened=float(opened),
        low=float(min(closed, opened)), high=float(max(closed, opened)), normalize=False,
    )  # fmt: skip


def terminate() -> ActionField:
    return ActionField(name="terminate", width=1, kind="terminate", unit="1", low=0.0, high=1.0, normalize=False)


def joint_pos(count: int, *, prefix: str = "") -> ActionField:
    """Absolute joint targets, radians. The number of joints is part of the name: robots with equal numbers share it."""
    return ActionField(name=f"{prefix}joint_pos_{count}", width=count, kind="joint_pos", unit="rad", frame="joint")


def joint_delta(count: int, *, prefix: str = "") -> ActionField:
    """Change of each joint in one step, radians."""
    return ActionField(name=f"{prefix}joint_delta_{count}", width=count, kind="joint_delta", unit="rad", frame="joint")


def base_delta() -> tuple[ActionField, ActionField]:
    """Motion of a wheeled base in one step, in its own frame at the start: forward and left (m), turn to the left (rad)."""
    return (
        ActionField(name="base_delta_pos", width=2, kind="base_delta_pos", unit="m", frame="base"),
        ActionField(name="base_delta_yaw", width=1, kind="base_delta_rot", unit="rad", frame="base"),
    )


def left(field: _AnyField) -> _AnyField:
    """The same field of the left arm; of two arms, fields without a prefix are the right one's."""
    return dataclasses.replace(field, name=f"left_{field.name}")


BASE_POSE: tuple[Field, ...] = (
    Field(name="base_pos", width=2, unit="m", frame="world"),
    Field(name="base_heading", width=2, unit="1", frame="world"),
)
"""Where a base stands (m) and looks (cos and sin of its yaw: no wrap at pi), in its odometry's frame."""


def eef_pos(unit: str = "m") -> Field:
    """Measured position of the gripper point, base frame."""
    return Field(name="eef_pos", width=3, unit=unit, frame="base")


def eef_rot(form: RotationForm, unit: str = "rad") -> Field:
    """Measured orientation of the gripper, base frame."""
    width = _ROTATION_WIDTH[form]
    return Field(name="eef_rot", width=width, unit=unit if width == 3 else "1", frame="base", rotation=form)


def gripper_state(*, closed: float | int, opened: float | int, unit: str = "1") -> Field:
    """Measured opening."""
    return Field(name="gripper", width=1, unit=unit, closed=float(closed), opened=float(opened))


def joint_state(count: int, *, prefix: str = "") -> Field:
    """Measured joint angles, radians."""
    return Field(name=f"{prefix}joint_pos_{count}", width=count, unit="rad", frame="joint")


def _rotation(name: str, kind: ActionKind, form: RotationForm, unit: str, frame: Frame) -> ActionField:
    width = _ROTATION_WIDTH[form]
    return ActionField(name=name, width=width, kind=kind, unit=unit if width == 3 else "1", frame=frame, rotation=form)
