"""How many metres or radians one unit of a field is; a velocity is what it moves in one control period."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from rtx.embodiment import Field

METRES: Mapping[str, float] = {"m": 1.0, "cm": 0.01, "mm": 0.001}
RADIANS: Mapping[str, float] = {"rad": 1.0, "deg": np.pi / 180}
ANGLES = ("rpy", "axis_angle")
"""Rotation forms that have an angle in them: a quaternion and rot6d have no unit."""


def per_unit(field: Field, table: Mapping[str, float], period_s: float) -> float:
    """Metres or radians per unit; of a velocity, those of one period."""
    if field.rotation is not None and field.rotation not in ANGLES:
        return 1.0
    unit = field.unit.removesuffix("/s")
    return table[unit] * (period_s if unit != field.unit else 1.0)


def unit_problem(field: Field, table: Mapping[str, float], *, velocity: bool = False) -> str | None:
    """Why the field's unit is none of `table`, as a half sentence. `velocity`: "m/s" is allowed beside "m"."""
    if field.rotation is not None and field.rotation not in ANGLES:
        return None
    known = [*table, *(f"{unit}/s" for unit in table if velocity)]
    return None if field.unit in known else f"has unit {field.unit!r}, expected one of {', '.join(known)}"
