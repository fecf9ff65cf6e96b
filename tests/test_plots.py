"""Curves are where their points are; ticks are round and few."""

import re

import pytest

from rtx import plots
from tests.checked_html import check


def test_curves_leave_out_what_is_not_finite():
    drawn = plots.curve_plot({"loss <x>": [(0, 3.0), (10, float("nan")), (20, 1.0)]}, x_label="step")
    check(drawn)
    assert len(re.findall(r"points='([^']*)'", drawn)[0].split()) == 2
    assert plots.curve_plot({"loss": [(0, float("nan"))]}, x_label="step") == ""
    check(plots.curve_plot({"one": [(5, 2.0)]}, x_label="step"))


@pytest.mark.parametrize(("low", "high"), [(0, 1), (2.2, 4.4), (0, 2000), (1e-6, 3e-6), (5, 5), (-3, 7), (0, 0)])
def test_ticks_enclose_and_are_few(low, high):
    marks = plots.ticks(low, high)
    assert marks[0] <= low
    assert marks[-1] >= high
    assert 2 <= len(marks) <= 8


def test_many_points_become_means_and_keep_their_ends():
    points = [(x, 2.0 * x) for x in range(10_001)]
    thin = plots.thinned(points)
    assert len(thin) <= 400
    assert all(y == pytest.approx(2 * x) for x, y in thin)
    assert plots.thinned(points[:5]) == points[:5]


def test_marks_stand_at_their_step_and_say_what_they_are():
    drawn = plots.curve_plot({"a": [(0, 0.0), (100, 1.0)]}, x_label="step", marks={"<resumed>": [50, 900]})
    check(drawn)
    (x,) = re.findall(r"<line class='event' x1='([\d.]+)'", drawn)
    left, right = (float(point.split(",")[0]) for point in re.findall(r"points='([^']*)'", drawn)[0].split())
    assert float(x) == pytest.approx((left + right) / 2, abs=0.1)
    assert "&lt;resumed&gt;, step 50" in drawn


@pytest.mark.parametrize(
    ("value", "words"), [(0.002, "0.002"), (350, "350"), (20_000, "20k"), (1_500_000, "1.5M"), (4e12, "4T")]
)
def test_short_numbers(value, words):
    assert plots.short(value) == words


@pytest.mark.parametrize(("low", "high"), [(2.6, 14.7), (0.003, 900.0), (1.0, 10.0), (5.0, 5.0), (0.99, 1.01), (1e-6, 3e-6)])
def test_log_ticks_enclose_and_are_few(low, high):
    marks = plots.log_ticks(low, high)
    assert marks[0] <= low * 1.001
    assert marks[-1] >= high * 0.999
    assert marks == sorted(set(marks))
    assert 2 <= len(marks) <= 9


def test_on_a_log_axis_a_tenth_is_as_far_as_a_hundredth():
    drawn = plots.curve_plot({"loss": [(0, 100.0), (1, 10.0), (2, 1.0)]}, x_label="step", log=True)
    check(drawn)
    ys = [float(point.split(",")[1]) for point in re.findall(r"points='([^']*)'", drawn)[0].split()]
    assert ys[1] - ys[0] == pytest.approx(ys[2] - ys[1], abs=0.2)
    assert plots.curve_plot({"a": [(0, 0.0), (1, 1.0)]}, x_label="step", log=True) == plots.curve_plot(
        {"a": [(0, 0.0), (1, 1.0)]}, x_label="step"
    ), "0 has no place on it"
