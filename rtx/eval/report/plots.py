"""Success rates as inline SVG, beside `rtx.plots`: a dot with whiskers per group and policy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

from rtx.eval.statistics.rates import Rate
from rtx.plots import RIGHT, WIDTH, Number, line, series, svg, text

_LEFT, _ROW, _LANE, _TOP = 104, 22, 13, 8


def success_plot(rates: Mapping[str, Sequence[Rate]]) -> str:
    """`rates[group]` holds one rate per policy, in the order of the legend; groups from top to bottom."""
    lanes = max(len(of_group) for of_group in rates.values())
    height_of_group = _ROW + _LANE * (lanes - 1)
    bottom = _TOP + height_of_group * len(rates)
    parts = [line(_x(p), _TOP, _x(p), bottom, "grid") + text(_x(p), bottom + 15, f"{p} %", "middle") for p in range(0, 101, 25)]
    for row, (group, of_group) in enumerate(rates.items()):
        top = _TOP + row * height_of_group
        middle = top + height_of_group / 2
        parts.append(text(_LEFT - 8, middle + 4, group, "end"))
        for lane, rate in enumerate(of_group):
            parts.append(_whisker(rate, middle + (lane - (len(of_group) - 1) / 2) * _LANE, lane, group))
    return svg(bottom + 22, "".join(parts), "success rate with 95 % intervals")


def _whisker(rate: Rate, y: Number, lane: int, group: str) -> str:
    low, high = _x(100 * rate.interval.low), _x(100 * rate.interval.high)
    marks = (
        line(low, y, high, y, "whisker") + line(low, y - 3, low, y + 3, "whisker") + line(high, y - 3, high, y + 3, "whisker")
    )
    dot = f"<circle cx='{_x(100 * rate.value):.1f}' cy='{y:.1f}' r='4.5'/>" if rate.trials else ""
    return f"<g class='{series(lane)}'><title>{escape(f'{group}: {rate}')}</title>{marks}{dot}</g>"


def _x(percent: Number) -> Number:
    return _LEFT + (WIDTH - _LEFT - RIGHT) * percent / 100
