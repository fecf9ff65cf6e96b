"""Every form against scipy, every pair of forms there and back, and the places where formulas break."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from rtx.errors import UserError
from rtx.robots import rotations

FORMS = ("rpy", "quat_wxyz", "quat_xyzw", "axis_angle", "rot6d")
RANDOM = Rotation.random(500, random_state=7)
# half turns and identities, where axis, sign or trace formulas lose their digits
HARD = Rotation.from_rotvec(
    [
        [0, 0, 0],
        [np.pi, 0, 0],
        [0, np.pi, 0],
        [0, 0, np.pi],
        [1e-9, 0, 0],
        [0, -3e-6, 1e-6],
        [2.2214, 2.2214, 0],
        [0, 0, 3.1415926],
    ]
)
ALL = Rotation.concatenate([RANDOM, HARD])


def by_scipy(rotation, form):
    if form == "rpy":
        return rotation.as_euler("xyz")  # lower case: about fixed axes, x first, which is Rz Ry Rx
    if form in ("quat_wxyz", "quat_xyzw"):
        return rotation.as_quat(canonical=True, scalar_first=form == "quat_wxyz")
    if form == "axis_angle":
        return rotation.as_rotvec()
    matrix = rotation.as_matrix()
    return np.concatenate([matrix[:, :, 0], matrix[:, :, 1]], -1)


@pytest.mark.parametrize("form", FORMS)
def test_to_matrix_agrees_with_scipy(form):
    np.testing.assert_allclose(rotations.to_matrix(by_scipy(ALL, form), form), ALL.as_matrix(), atol=1e-12)


@pytest.mark.parametrize("form", FORMS)
def test_from_matrix_agrees_with_scipy(form):
    ours = rotations.from_matrix(RANDOM.as_matrix(), form)
    np.testing.assert_allclose(ours, by_scipy(RANDOM, form), atol=1e-9)


@pytest.mark.parametrize("source", FORMS)
@pytest.mark.parametrize("target", FORMS)
def test_there_and_back_is_the_same_rotation(source, target):
    there = rotations.convert(by_scipy(ALL, source), source, target)
    np.testing.assert_allclose(rotations.to_matrix(there, target), ALL.as_matrix(), atol=1e-9)


@pytest.mark.parametrize("pitch", [np.pi / 2, -np.pi / 2])
def test_gimbal_lock_keeps_the_rotation(pitch):
    matrix = rotations.to_matrix([0.3, pitch, -1.1], "rpy")
    rpy = rotations.from_matrix(matrix, "rpy")
    assert rpy[0] == 0
    np.testing.assert_allclose(rotations.to_matrix(rpy, "rpy"), matrix, atol=1e-7)


def test_yaw_of_a_quarter_turn_takes_x_to_y():
    np.testing.assert_allclose(rotations.to_matrix([0, 0, np.pi / 2], "rpy") @ [1, 0, 0], [0, 1, 0], atol=1e-15)


def test_rot6d_is_column_one_then_column_two():
    quarter_yaw = rotations.convert([0, 0, np.pi / 2], "rpy", "rot6d")
    np.testing.assert_allclose(quarter_yaw, [0, 1, 0, -1, 0, 0], atol=1e-15)


def test_any_leading_dimensions():
    quats = by_scipy(RANDOM, "quat_wxyz")
    batched = rotations.convert(quats.reshape(5, 20, 5, 4), "quat_wxyz", "rpy")
    np.testing.assert_array_equal(batched.reshape(500, 3), rotations.convert(quats, "quat_wxyz", "rpy"))


def test_lengths_do_not_matter():
    quats = by_scipy(RANDOM, "quat_wxyz")
    np.testing.assert_allclose(rotations.to_matrix(-3 * quats, "quat_wxyz"), RANDOM.as_matrix(), atol=1e-12)


def test_angle():
    np.testing.assert_allclose(rotations.angle(RANDOM.as_matrix()), RANDOM.magnitude(), atol=1e-9)
    assert rotations.angle(np.eye(3)) == 0


@pytest.mark.parametrize(
    ("value", "form", "message"),
    [
        ([0.0, 0, 0, 0], "quat_wxyz", "length 0"),
        ([1.0, 0, 0, 2, 0, 0], "rot6d", "no direction"),
        ([0.0, np.nan, 0], "rpy", "non-finite"),
        ([0.0, 0, 0], "quat_xyzw", "must be 4"),
    ],
)
def test_refuses_what_is_no_rotation(value, form, message):
    with pytest.raises(UserError, match=message):
        rotations.to_matrix(value, form)
