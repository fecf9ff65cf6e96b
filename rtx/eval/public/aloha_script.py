"""A script for gym-aloha's transfer_cube: where both hands are at which step, in the package's end-effector scene.

Waypoints after the scripted demonstrations of ALOHA (Zhao et al. 2023); between them hands move straight.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

STEPS = 400

Waypoint = tuple[int, np.ndarray, np.ndarray, float]
"""Step, position m, orientation wxyz, opening."""


def handover(left: np.ndarray, right: np.ndarray, *, box: np.ndarray) -> list[np.ndarray]:
    """Commands `[16]` of the end-effector scene: pose and opening of the left hand, then of the right one.

    The right hand picks the cube from above, tilted, and meets the left one in the middle, which closes before it lets go.
    """
    meet = (0.0, 0.5, 0.25)
    tilted, sideways = _turned(right[3:], (0, 1, 0), -60), _turned(left[3:], (1, 0, 0), 90)
    above, around = _moved(box, z=0.08), _moved(box, z=-0.035)
    aside, beside = _moved(meet, x=-0.1, z=-0.02), _moved(meet, x=0.02, z=-0.02)
    rights: list[Waypoint] = [
        (0, right[:3], right[3:], 0.0), (90, above, tilted, 1.0), (130, around, tilted, 1.0), (170, around, tilted, 0.0),
        (200, _moved(meet, x=0.05), tilted, 0.0), (220, _moved(meet), tilted, 0.0), (310, _moved(meet), tilted, 0.0),
        (360, _moved(meet), tilted, 1.0), (400, _moved(meet, x=0.1), tilted, 1.0),
    ]  # fmt: skip
    lefts: list[Waypoint] = [
        (0, left[:3], left[3:], 0.0), (100, aside, sideways, 1.0), (260, beside, sideways, 1.0), (310, beside, sideways, 0.0),
        (360, aside, sideways, 0.0), (400, aside, sideways, 0.0),
    ]  # fmt: skip
    return [np.concatenate([_at(lefts, step), _at(rights, step)]) for step in range(1, STEPS + 1)]


def _moved(point: Sequence[float] | np.ndarray, *, x: float = 0.0, z: float = 0.0) -> np.ndarray:
    return np.asarray(point, np.float64) + np.array([x, 0.0, z])


def _at(waypoints: Sequence[Waypoint], step: int) -> np.ndarray:
    """Between two waypoints, straight: pose `[7]` and opening."""
    after = next(i for i, point in enumerate(waypoints) if point[0] >= step)
    (t0, p0, q0, g0), (t1, p1, q1, g1) = waypoints[max(0, after - 1)], waypoints[after]
    share = (step - t0) / (t1 - t0) if t1 > t0 else 1.0
    return np.array([*(p0 + share * (p1 - p0)), *(q0 + share * (q1 - q0)), g0 + share * (g1 - g0)])


def _turned(quaternion: np.ndarray, axis: Sequence[int], degrees: float) -> np.ndarray:
    """wxyz, turned about an axis of its own frame."""
    half = np.radians(degrees) / 2
    w, v = np.cos(half), np.sin(half) * np.asarray(axis, np.float64)
    a, b = quaternion[0], quaternion[1:]
    return np.concatenate([[a * w - b @ v], a * v + w * b + np.cross(b, v)])
