"""Openings in every unit and both polarities, there and back; a binary gripper does not chatter."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtx.embodiment import Field
from rtx.robots.grippers import Hysteresis, from_unit, to_unit

UNITS = {
    "1": (0.0, 1.0),
    "percent": (100.0, 0.0),
    "m": (0.0, 0.08),
    "mm": (85.0, 0.0),
    "rad": (0.8, 0.0),
    "ticks": (3000.0, 1200.0),
}


def field(unit, closed, opened):
    return Field(name="gripper", width=1, unit=unit, closed=closed, opened=opened)


@pytest.mark.parametrize("unit", UNITS)
@given(opening=st.floats(0, 1))
def test_there_and_back(unit, opening):
    closed, opened = UNITS[unit]
    gripper = field(unit, closed, opened)
    native = to_unit(np.array([opening]), gripper)
    assert min(closed, opened) - 1e-9 <= native[0] <= max(closed, opened) + 1e-9
    finest = 0.5 / abs(opened - closed) if unit == "ticks" else 0.0
    assert from_unit(native, gripper)[0] == pytest.approx(opening, abs=finest + 1e-12)


def test_ticks_are_whole_numbers_and_widths_are_not():
    assert to_unit(np.array([0.30004]), field("ticks", 3000.0, 1200.0))[0] == 2460.0
    assert to_unit(np.array([0.5]), field("m", 0.0, 0.085))[0] == 0.0425


def test_hysteresis_by_hand():
    hand = Hysteresis()
    hand.reset(0.0)
    wanted = np.array([0.5, 0.59, 0.61, 0.5, 0.41, 0.55, 0.39, 0.5, 1.0])[:, None]
    np.testing.assert_array_equal(hand(wanted)[:, 0], [0, 0, 1, 1, 1, 1, 0, 0, 1])
    assert hand.is_open


@given(st.lists(st.floats(0, 1), min_size=1, max_size=50))
def test_the_gripper_changes_only_where_it_is_told_clearly(wanted):
    hand, before = Hysteresis(), 1.0
    for opening in wanted:
        now = float(hand(np.array([opening]))[0])
        assert now == before or (now == 1.0 and opening >= 0.6) or (now == 0.0 and opening <= 0.4)
        assert not (opening >= 0.6 and now == 0.0)
        assert not (opening <= 0.4 and now == 1.0)
        before = now
