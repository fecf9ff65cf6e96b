"""A robot's native state as the proprio a policy was trained on: by name, in the layout's unit, rotation form and polarity.

eef_pos, eef_rot   the measured pose, or that of the joints by forward kinematics
joint_pos_7        the measured joints          gripper   how open, clipped to 0..1 (sensors overshoot), as in training
base_heading       cos and sin of base_yaw      others    a native field of that name, in another unit of the same kind
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float

from rtx.embodiment import Embodiment, Field, Layout, field_slices
from rtx.robots import grippers, rotations
from rtx.robots.measured import ArmState, Measured
from rtx.robots.parts import prefix_of
from rtx.robots.units import METRES, RADIANS

_TABLES = (METRES, RADIANS, {f"{unit}/s": scale for table in (METRES, RADIANS) for unit, scale in table.items()})


class ProprioReader:
    """One embodiment's states for one layout."""

    def __init__(self, embodiment: Embodiment, layout: Layout, states: Mapping[str, ArmState]) -> None:
        self._layout, self._native = layout, {field.name: field for field in embodiment.proprio}
        self._slices, self._at = field_slices(embodiment.proprio), field_slices(layout.proprio)
        self._mask = np.array(layout.proprio_mask, bool)
        self._states = dict(states)
        self._fields = [field for field in layout.proprio if self._mask[self._at[field.name]].any()]
        for field in self._fields:
            prefix = prefix_of(field.name)
            self._states.setdefault(prefix, ArmState(prefix, embodiment.proprio, kinematics=None, num_joints=0))

    def __call__(self, native: np.ndarray) -> Float[np.ndarray, "*b p"]:
        """float32."""
        measured = {prefix: state.read(native) for prefix, state in self._states.items()}
        value = np.zeros((*native.shape[:-1], self._layout.proprio_width))
        for field in self._fields:
            value[..., self._at[field.name]] = self._value(field, native, measured)
        return np.where(self._mask, value, 0.0).astype(np.float32)

    def problems(self) -> list[str]:
        """Everything the layout wants that the robot does not measure."""
        return [problem for field in self._fields for problem in self._field_problems(field)]

    def _value(self, field: Field, native: np.ndarray, measured: Mapping[str, Measured]) -> np.ndarray:
        prefix = prefix_of(field.name)
        name, arm = field.name.removeprefix(prefix), measured[prefix]
        if name == "eef_pos":
            return arm.position / METRES[field.unit]
        if name == "eef_rot":
            assert field.rotation is not None
            turn = rotations.from_matrix(arm.rotation, field.rotation)
            return turn / (RADIANS[field.unit] if field.rotation in ("rpy", "axis_angle") else 1.0)
        if name == "gripper":
            return grippers.to_unit(np.clip(arm.opening, 0.0, 1.0), field)
        if name == "base_heading" and name not in self._native:
            yaw = self._scaled(self._native["base_yaw"], native, "rad")
            return np.concatenate([np.cos(yaw), np.sin(yaw)], -1)
        return self._scaled(self._native[field.name], native, field.unit)

    def _scaled(self, field: Field, native: np.ndarray, unit: str) -> np.ndarray:
        ratio = next((table[field.unit] / table[unit] for table in _TABLES if field.unit in table and unit in table), 1.0)
        return native[..., self._slices[field.name]] * ratio

    def _field_problems(self, field: Field) -> list[str]:
        prefix = prefix_of(field.name)
        name, state = field.name.removeprefix(prefix), self._states[prefix]
        if name in ("eef_pos", "eef_rot"):
            return state.problems(["pose" if name == "eef_rot" else "position"])
        if name == "gripper":
            return state.problems(["gripper"])
        own = self._native.get("base_yaw" if name == "base_heading" and name not in self._native else field.name)
        if own is None:
            return [f"proprio lacks a field named {field.name!r}, has {', '.join(self._native) or 'none'}"]
        if own.name == "base_yaw":
            return [] if own.unit in RADIANS else [f"proprio field 'base_yaw' has unit {own.unit!r}, expected rad or deg"]
        if own.width != field.width or (own.rotation, own.frame) != (field.rotation, field.frame):
            return [f"proprio field {field.name!r} differs from the policy's: {own} and {field}"]
        if own.unit != field.unit and not any(own.unit in table and field.unit in table for table in _TABLES):
            return [f"proprio field {field.name!r} has unit {own.unit!r}, the policy's is {field.unit!r}"]
        return []
