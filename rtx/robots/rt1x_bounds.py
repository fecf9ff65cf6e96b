"""What the action tokens of RT-1-X mean: bounds of the bins, and what Bridge's actions were multiplied by before.

Source: google-deepmind/open_x_embodiment, `models/rt1.py` and `colabs/Minimal_Training_Example.ipynb`.
"""

from __future__ import annotations

import math

WORLD_VECTOR, ROTATION_DELTA, BASE_ROTATION, BASE_DISPLACEMENT = 2.0, math.pi / 2, math.pi, 1.0
"""Each from minus to plus; m and rad for the Google robot, whose actions are not scaled."""

BRIDGE_SCALE = (1.75 / 0.05, 1.4 / 0.25)
"""Of translations (m) and rotations (rad): 0.05 m becomes 1.75, 0.25 rad becomes 1.4."""
