"""Rotations in the five forms robots speak, all through one matrix: form -> R [..., 3, 3] -> form. Pure numpy, float64.

    rpy         R = Rz(yaw) Ry(pitch) Rx(roll), radians, as in `rtx.embodiment.CANONICAL_ARM`
    quat_wxyz   unit quaternion, scalar first; quat_xyzw scalar last; q and -q are one rotation, w >= 0 comes out
    axis_angle  unit axis times angle, radians, angle in [0, pi]
    rot6d       first two columns of R, column 1 then column 2 (arXiv 1812.07035); continuous, no wrap at pi

R maps coordinates of the rotated frame into the outer one. All functions take any leading dimensions.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike

from rtx.embodiment import ROTATION_WIDTH, RotationForm
from rtx.errors import UserError

Matrix = Float[np.ndarray, "*b 3 3"]

_TINY = 1e-12  # below it a direction cannot be told from rounding


def to_matrix(rotation: ArrayLike, form: RotationForm) -> Matrix:
    """`rotation [..., width of form]` as matrices. Quaternions and rot6d need not be normalised.

    Raises UserError where the last dimension does not fit, a value is not finite, or there is no direction
    (a zero quaternion, parallel columns).
    """
    value = np.asarray(rotation, np.float64)
    width = ROTATION_WIDTH[form]
    if value.shape[-1:] != (width,):
        raise UserError(f"rotation {form} has shape {list(value.shape)}; its last dimension must be {width}")
    if not np.all(np.isfinite(value)):
        raise UserError(f"rotation {form} holds a non-finite value; check the robot's state source")
    return _TO_MATRIX[form](value)


def from_matrix(matrix: Matrix, form: RotationForm) -> Float[np.ndarray, "*b width"]:
    """Rotation matrices in another form. At pitch = +-pi/2, where roll and yaw are one, rpy has roll = 0."""
    return _FROM_MATRIX[form](np.asarray(matrix, np.float64))


def convert(rotation: ArrayLike, source: RotationForm, target: RotationForm) -> Float[np.ndarray, "*b width"]:
    """From one form to another, by way of the matrix."""
    return from_matrix(to_matrix(rotation, source), target)


def angle(matrix: Matrix) -> Float[np.ndarray, "*b"]:
    """How far each matrix turns, radians in [0, pi]."""
    return np.asarray(np.linalg.norm(from_matrix(matrix, "axis_angle"), axis=-1))


def transpose(matrix: Matrix) -> Matrix:
    """The inverse rotation."""
    return np.swapaxes(matrix, -1, -2)


def _from_rpy(rpy: np.ndarray) -> np.ndarray:
    (sr, sp, sy), (cr, cp, cy) = np.moveaxis(np.sin(rpy), -1, 0), np.moveaxis(np.cos(rpy), -1, 0)
    rows = (
        (cy * cp, cy * sp * sr - sy * cr, cy * sp * cr + sy * sr),
        (sy * cp, sy * sp * sr + cy * cr, sy * sp * cr - cy * sr),
        (-sp, cp * sr, cp * cr),
    )
    return np.stack([np.stack(row, -1) for row in rows], -2)


def _to_rpy(matrix: np.ndarray) -> np.ndarray:
    cos_pitch = np.hypot(matrix[..., 0, 0], matrix[..., 1, 0])
    locked = cos_pitch < 1e-7
    roll = np.where(locked, 0.0, np.arctan2(matrix[..., 2, 1], matrix[..., 2, 2]))
    pitch = np.arctan2(-matrix[..., 2, 0], cos_pitch)
    yaw = np.where(locked, np.arctan2(-matrix[..., 0, 1], matrix[..., 1, 1]), np.arctan2(matrix[..., 1, 0], matrix[..., 0, 0]))
    return np.stack([roll, pitch, yaw], -1)


def _from_quat(wxyz: np.ndarray) -> np.ndarray:
    w, x, y, z = np.moveaxis(_unit(wxyz, "quaternion"), -1, 0)
    rows = (
        (1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)),
        (2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)),
        (2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)),
    )
    return np.stack([np.stack(row, -1) for row in rows], -2)


def _to_quat(matrix: np.ndarray) -> np.ndarray:
    """The symmetric matrix 4 q q^T has q times a component in each column: the largest one loses no digits."""
    r = np.moveaxis(matrix, (-2, -1), (0, 1))
    trace = r[0, 0] + r[1, 1] + r[2, 2]
    wx, wy, wz = r[2, 1] - r[1, 2], r[0, 2] - r[2, 0], r[1, 0] - r[0, 1]
    xy, xz, yz = r[0, 1] + r[1, 0], r[0, 2] + r[2, 0], r[1, 2] + r[2, 1]
    columns = np.stack(
        [
            np.stack([1 + trace, wx, wy, wz], -1),
            np.stack([wx, 1 + 2 * r[0, 0] - trace, xy, xz], -1),
            np.stack([wy, xy, 1 + 2 * r[1, 1] - trace, yz], -1),
            np.stack([wz, xz, yz, 1 + 2 * r[2, 2] - trace], -1),
        ],
        -2,
    )
    largest = np.argmax(np.diagonal(columns, axis1=-2, axis2=-1), axis=-1)[..., None, None]
    quat = _unit(np.take_along_axis(columns, largest, axis=-2)[..., 0, :], "matrix")
    return np.where(quat[..., :1] < 0, -quat, quat)


def _from_axis_angle(vector: np.ndarray) -> np.ndarray:
    half = np.linalg.norm(vector, axis=-1, keepdims=True) / 2
    # np.sinc is sin(pi x) / (pi x) and 1 at zero: sin(half) * axis without dividing by a vanishing angle
    return _from_quat(np.concatenate([np.cos(half), np.sinc(half / np.pi) * vector / 2], -1))


def _to_axis_angle(matrix: np.ndarray) -> np.ndarray:
    quat = _to_quat(matrix)
    sine = np.linalg.norm(quat[..., 1:], axis=-1, keepdims=True)
    turn = 2 * np.arctan2(sine, quat[..., :1])
    return np.where(sine < _TINY, 2.0, turn / np.maximum(sine, _TINY)) * quat[..., 1:]


def _from_rot6d(columns: np.ndarray) -> np.ndarray:
    """Gram-Schmidt: the first column keeps its direction, the second is made perpendicular."""
    first = _unit(columns[..., :3], "rot6d column 1")
    second = columns[..., 3:] - np.sum(first * columns[..., 3:], -1, keepdims=True) * first
    second = _unit(second, "rot6d column 2, perpendicular to column 1")
    return np.stack([first, second, np.cross(first, second)], -1)


def _to_rot6d(matrix: np.ndarray) -> np.ndarray:
    return np.concatenate([matrix[..., 0], matrix[..., 1]], -1)


def _unit(vector: np.ndarray, what: str) -> np.ndarray:
    length = np.linalg.norm(vector, axis=-1, keepdims=True)
    if np.any(length < _TINY):
        raise UserError(f"rotation: {what} has length 0, so it has no direction; check the robot's state source")
    return vector / length


_TO_MATRIX: Mapping[RotationForm, Callable[[np.ndarray], np.ndarray]] = {
    "rpy": _from_rpy,
    "quat_wxyz": _from_quat,
    "quat_xyzw": lambda q: _from_quat(np.roll(q, 1, axis=-1)),
    "axis_angle": _from_axis_angle,
    "rot6d": _from_rot6d,
}

_FROM_MATRIX: Mapping[RotationForm, Callable[[np.ndarray], np.ndarray]] = {
    "rpy": _to_rpy,
    "quat_wxyz": _to_quat,
    "quat_xyzw": lambda m: np.roll(_to_quat(m), -1, axis=-1),
    "axis_angle": _to_axis_angle,
    "rot6d": _to_rot6d,
}
