"""What was done, drawn under an episode's video: one small plot of executed actions for each part of an action.

    +-- delta_pos (m) +-0.031 --+-- delta_rot (rad) +-0.12 --+-- gripper (1) 0..1 --+
    |  x red, y green, z blue   |                            |                      |   time: the whole episode's
    +---------------------------+----------------------------+----------------------+

Actions are canonical, in physical units, as they left the safety filter.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import ImageDraw

from rtx.embodiment import ActionField, field_slices

HEIGHT_PX = 72
_MOST = 3  # parts shown; an arm with a hand has as many
_COLOURS = ("#f87171", "#4ade80", "#60a5fa", "#fbbf24", "#c084fc", "#22d3ee", "#f472b6")
_INK, _GRID = "#a1a1aa", "#3f3f46"
_EDGE, _LABEL = 6, 15


class Traces:
    """Actions so far, to be drawn again under each frame."""

    def __init__(self, fields: Sequence[ActionField], *, max_steps: int) -> None:
        """`fields` of the whole action, in order; `max_steps` fit the width."""
        self._at = field_slices(fields)
        self._fields = [field for field in fields if field.kind != "terminate"][:_MOST]
        self._max_steps = max(2, max_steps)
        self._actions: list[np.ndarray] = []

    def add(self, action: np.ndarray) -> None:
        """`[a]`, physical units."""
        self._actions.append(np.array(action, float))

    def draw(self, draw: ImageDraw.ImageDraw, *, left: int, top: int, width: int, font: Any) -> None:
        """Into the box from (left, top), `width` by `HEIGHT_PX`."""
        each = width / max(1, len(self._fields))
        for number, field in enumerate(self._fields):
            values = np.array([action[self._at[field.name]] for action in self._actions]).reshape(-1, field.width)
            box = (left + number * each + _EDGE, top + _LABEL, left + (number + 1) * each - _EDGE, top + HEIGHT_PX - _EDGE)
            self._panel(draw, field, values, box, font)

    def _panel(
        self, draw: ImageDraw.ImageDraw, field: ActionField, values: np.ndarray, box: tuple[float, ...], font: Any
    ) -> None:
        low, high = _range(field, values)
        x0, y0, x1, y1 = box
        unit = "" if field.unit == "1" else f" ({field.unit})"
        draw.text((x0, y0 - _LABEL), f"{field.name}{unit} {low:.2g}..{high:.2g}", font=font, fill=_INK)
        draw.rectangle((x0, y0, x1, y1), outline=_GRID)
        xs = x0 + (x1 - x0) * np.arange(len(values)) / (self._max_steps - 1)
        ys = y1 - (y1 - y0) * (np.clip(values, low, high) - low) / (high - low)
        if low < 0 < high:
            zero = y1 - (y1 - y0) * -low / (high - low)
            draw.line((x0, zero, x1, zero), fill=_GRID)
        for colour, line in zip(itertools.cycle(_COLOURS), ys.T, strict=False):
            points = list(zip(xs.tolist(), line.tolist(), strict=True))
            if len(points) > 1:
                draw.line(points, fill=colour, width=1)
            elif points:
                draw.point(points, fill=colour)


def _range(field: ActionField, values: np.ndarray) -> tuple[float, float]:
    """Of the plot: the field's bounds if it has any, else what came so far, zero in the middle of changes."""
    if np.isfinite(field.low) and np.isfinite(field.high):
        return field.low, field.high
    if not values.size:
        return -1.0, 1.0
    if "delta" in field.kind or "vel" in field.kind:
        most = max(float(np.abs(values).max()), 1e-6)
        return -most, most
    low, high = float(values.min()), float(values.max())
    return low, max(high, low + 1e-6)
