"""What the suites with a Panda share: the scale of OSC_POSE's input, and how far the hand is open."""

from __future__ import annotations

import numpy as np

SCALE = np.array([0.05] * 3 + [0.5] * 3 + [1.0])
"""Metres, radians and gripper of one unit of OSC_POSE's input."""
_OPEN_M = 0.08  # between the fingers


def opening(fingers: np.ndarray) -> float:
    """0 closed to 1 open, of both fingers' joints `[2]`, m."""
    return float(np.clip(np.abs(fingers).sum() / _OPEN_M, 0.0, 1.0))
