"""Plots as inline SVG: no plotting package, no network, colours and fonts from the page they stand in (`report.css`).

`success_plot` is a dot with whiskers per group and policy; `curve_plot` is lines over steps. All text is escaped.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape

from rtx.eval.statistics import Rate

_WIDTH = 460  # of the view box: readable at 1:1 on a phone
_LEFT, _RIGHT, _ROW, _LANE, _TOP = 104, 22, 22, 13, 8

Number = int | float
Points = Sequence[tuple[Number, Number]]


def success_plot(rates: Mapping[str, Sequence[Rate]]) -> str:
    """`rates[group]` holds one rate per policy, in the order of the legend; groups from top to bottom."""
    lanes = max(len(of_group) for of_group in rates.values())
    height_of_group = _ROW + _LANE * (lanes - 1)
    bottom = _TOP + height_of_group * len(rates)
    parts = [
        _line(_x(p), _TOP, _x(p), bottom, "grid") + _text(_x(p), bottom + 15, f"{p} %", "middle") for p in range(0, 101, 25)
    ]
    for row, (group, of_group) in enumerate(rates.items()):
        top = _TOP + row * height_of_group
        middle = top + height_of_group / 2
        parts.append(_text(_LEFT - 8, middle + 4, group, "end"))
        for lane, rate in enumerate(of_group):
            parts.append(_whisker(rate, middle + (lane - (len(of_group) - 1) / 2) * _LANE, lane, group))
    return _svg(bottom + 22, "".join(parts), "success rate with 95 % intervals")


def _whisker(rate: Rate, y: Number, lane: int, group: str) -> str:
    low, high = _x(100 * rate.interval.low), _x(100 * rate.interval.high)
    marks = (
        _line(low, y, high, y, "whisker")
        + _line(low, y - 3, low, y + 3, "whisker")
        + _line(high, y - 3, high, y + 3, "whisker")
    )
    dot = f"<circle cx='{_x(100 * rate.value):.1f}' cy='{y:.1f}' r='4.5'/>" if rate.trials else ""
    return f"<g class='{series(lane)}'><title>{escape(f'{group}: {rate}')}</title>{marks}{dot}</g>"


def _x(percent: Number) -> Number:
    return _LEFT + (_WIDTH - _LEFT - _RIGHT) * percent / 100


def curve_plot(curves: Mapping[str, Points], *, x_label: str) -> str:
    """Lines through (x, y), one per name, in the order of the legend; non-finite points are left out."""
    kept = [[(x, y) for x, y in points if math.isfinite(y)] for points in curves.values()]
    every = [point for points in kept for point in points]
    if not every:
        return ""
    left, top, bottom = 46, 10, 200
    xs, ys = [x for x, _ in every], [y for _, y in every]
    x_ticks, y_ticks = ticks(min(xs), max(xs)), ticks(min(ys), max(ys))
    (x0, x1), (y0, y1) = (min(xs), max(max(xs), min(xs) + 1)), (y_ticks[0], y_ticks[-1])

    def place(x: Number, y: Number) -> tuple[Number, Number]:
        return left + (_WIDTH - left - _RIGHT) * (x - x0) / (x1 - x0), bottom - (bottom - top) * (y - y0) / (y1 - y0)

    parts = []
    for tick in y_ticks:
        y = place(x0, tick)[1]
        parts.append(_line(left, y, _WIDTH - _RIGHT, y, "grid") + _text(left - 6, y + 4, f"{tick:g}", "end"))
    parts += [_text(place(tick, y0)[0], bottom + 16, f"{tick:g}", "middle") for tick in x_ticks if x0 <= tick <= x1]
    parts.append(_text((left + _WIDTH) / 2, bottom + 32, x_label, "middle"))
    for lane, points in enumerate(kept):
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in (place(*point) for point in points))
        dots = (
            "".join(f"<circle cx='{x:.1f}' cy='{y:.1f}' r='3'/>" for x, y in (place(*p) for p in points))
            if len(points) < 40
            else ""
        )
        parts.append(f"<g class='{series(lane)}'><polyline class='curve' points='{path}'/>{dots}</g>")
    return _svg(bottom + 38, "".join(parts), "curves over " + x_label)


def ticks(low: Number, high: Number, *, about: int = 5) -> list[Number]:
    """Round numbers that enclose [low, high]."""
    span = high - low if high > low else max(abs(low), 1.0)
    raw = span / about
    power = 10 ** math.floor(math.log10(raw))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= raw * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(i * step, 12) for i in range(first, max(last, first + 1) + 1)]


def series(number: int) -> str:
    """The class that gives a policy or curve its colour; colours repeat after four."""
    return f"series{number % 4}"


def legend(names: Sequence[str]) -> str:
    """Which colour is whose, as HTML."""
    return (
        "<p class='legend'>"
        + "".join(f"<span class='{series(i)}'><i></i>{escape(name)}</span>" for i, name in enumerate(names))
        + "</p>"
    )


def _svg(height: Number, content: str, label: str) -> str:
    return f"<svg viewBox='0 0 {_WIDTH} {height:.0f}' role='img' aria-label='{escape(label)}'>{content}</svg>"


def _line(x1: Number, y1: Number, x2: Number, y2: Number, kind: str) -> str:
    return f"<line class='{kind}' x1='{x1:.1f}' y1='{y1:.1f}' x2='{x2:.1f}' y2='{y2:.1f}'/>"


def _text(x: Number, y: Number, text: str, anchor: str) -> str:
    return f"<text x='{x:.1f}' y='{y:.1f}' text-anchor='{anchor}'>{escape(text)}</text>"
