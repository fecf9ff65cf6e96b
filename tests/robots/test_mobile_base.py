"""A base's displacement as velocities and back; arcs against integration in small steps."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rtx.embodiment import ActionField
from rtx.robots.fields import base_delta
from rtx.robots.mobile_base import base_problems, command_for, driven, pose_of, then, twist_to

POSES = st.tuples(st.floats(-2, 2), st.floats(-2, 2), st.floats(-3, 3)).map(np.array)


def velocity(name, width, unit):
    return ActionField(name=name, width=width, kind="base_vel", unit=unit, frame="base")


OMNI = (velocity("base_vel", 2, "m/s"), velocity("base_turn_vel", 1, "deg/s"))
ALOHA = (velocity("base_vel", 1, "m/s"), velocity("base_turn_vel", 1, "rad/s"))


@given(POSES)
def test_a_displacement_as_a_twist_and_back(pose):
    np.testing.assert_allclose(driven(twist_to(pose)), pose, atol=1e-12)


@settings(max_examples=20)
@given(POSES)
def test_an_arc_is_many_small_steps(twist):
    steps, here = 1000, np.zeros(3)
    for _ in range(steps):
        here = then(here, twist / steps)  # straight, then turn: exact in the limit
    np.testing.assert_allclose(driven(twist), here, atol=1e-2)


@pytest.mark.parametrize("fields", [base_delta(), OMNI])
@given(pose=POSES)
def test_there_and_back_in_each_form(fields, pose):
    command = command_for(fields, pose, 0.02)
    assert {field.name: field.width for field in fields} == {name: value.shape[-1] for name, value in command.items()}
    np.testing.assert_allclose(pose_of(fields, command, 0.02), pose, atol=1e-9)


def test_aloha_s_wheels_by_hand():
    # a quarter turn to the left around a circle of 1 m, in 1/50 s: 25 pi m/s forward and 25 pi rad/s
    command = command_for(ALOHA, np.array([1.0, 1.0, np.pi / 2]), 1 / 50)
    np.testing.assert_allclose([command["base_vel"][0], command["base_turn_vel"][0]], [25 * np.pi, 25 * np.pi])
    np.testing.assert_allclose(pose_of(ALOHA, command, 1 / 50), [1, 1, np.pi / 2], atol=1e-12)
    sideways = command_for(ALOHA, np.array([0.3, 0.2, 0.0]), 1.0)
    assert sideways["base_vel"][0] == pytest.approx(0.3)  # wheels cannot slide


def test_what_is_no_base():
    assert base_problems(ALOHA) == []
    assert base_problems(OMNI) == []
    assert "unit 'm'" in base_problems((velocity("base_vel", 1, "m"),))[0]
    assert "width 3" in base_problems((velocity("base_vel", 3, "m/s"),))[0]
    assert "one field that drives and one that turns" in base_problems((*ALOHA, *base_delta()))[0]
