"""A gripper's command and measurement in its own unit, and how open that is: 0 closed .. 1 open.

    value = closed + opening (opened - closed)        closed, opened: the field's own, which say polarity, range and unit

    "1", "percent", "m", "cm", "mm", "rad", "deg"   a share, a width between the fingers, an angle: as above
    "ticks"     a servo's counts: whole numbers
    "binary"    closed or open and nothing between, with hysteresis: a command near one half changes nothing

Without hysteresis a policy that wavers about one half opens and closes a binary gripper many times a second.
"""

from __future__ import annotations

import numpy as np

from rtx.embodiment import Field

GRIPPER_UNITS = ("1", "percent", "m", "cm", "mm", "rad", "deg", "ticks", "binary")
OPEN_ABOVE, CLOSE_BELOW = 0.6, 0.4  # openings at which a binary gripper changes its mind


def to_unit(opening: np.ndarray, field: Field) -> np.ndarray:
    """Openings `[..., 1]` as values of `field`. Nothing is clipped; what lies between two ticks is rounded."""
    value = field.closed + opening * (field.opened - field.closed)
    return np.rint(value) if field.unit == "ticks" else value


def from_unit(value: np.ndarray, field: Field) -> np.ndarray:
    """Values of `field` `[..., 1]` as openings."""
    return (value - field.closed) / (field.opened - field.closed)


class Hysteresis:
    """The state of one binary gripper: open from `OPEN_ABOVE` on, closed from `CLOSE_BELOW` on, in between as it was."""

    def __init__(self) -> None:
        self.reset(1.0)

    def reset(self, opening: float) -> None:
        """How open the gripper is now, before the first command."""
        self.is_open = opening >= 0.5

    def __call__(self, opening: np.ndarray) -> np.ndarray:
        """Openings `[..., 1]`, in the order of time, as 0 or 1."""
        decided = np.empty(opening.size)
        for i, wanted in enumerate(opening.ravel()):
            if wanted >= OPEN_ABOVE or wanted <= CLOSE_BELOW:
                self.is_open = bool(wanted >= OPEN_ABOVE)
            decided[i] = float(self.is_open)
        return decided.reshape(opening.shape)
