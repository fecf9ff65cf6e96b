"""Success rates as inline SVG, beside `rtx.plots`: a dot with whiskers per group and policy."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from html import escape

from rtx.eval.statistics.rates import Rate
from rtx.eval.statistics.seeded import SeededRate
from rtx.plots import RIGHT, WIDTH, Number, line, series, svg, text

_LEFT, _LETTER, _ROW, _LANE, _TOP = 104, 7, 22, 13, 8


def success_plot(rates: Mapping[str, Sequence[Rate | SeededRate]], *, width: int = WIDTH) -> str:
    """`rates[group]` holds one rate per policy, as the legend has them; groups from top to bottom. `width`: the view box's."""
    left = max(_LEFT, 12 + _LETTER * max(map(len, rates)))
    lanes = max(len(of_group) for of_group in rates.values())
    height_of_group = _ROW + _LANE * (lanes - 1)
    bottom = _TOP + height_of_group * len(rates)

    def place(share: float) -> Number:
        return left + (width - left - RIGHT) * share

    parts = []
    for share in (0.0, 0.25, 0.5, 0.75, 1.0):
        x = place(share)
        parts.append(line(x, _TOP, x, bottom, "grid") + text(x, bottom + 15, f"{100 * share:.0f} %", "middle"))
    for row, (group, of_group) in enumerate(rates.items()):
        top = _TOP + row * height_of_group
        middle = top + height_of_group / 2
        parts.append(text(left - 8, middle + 4, group, "end"))
        for lane, rate in enumerate(of_group):
            parts.append(_whisker(rate, place, middle + (lane - (len(of_group) - 1) / 2) * _LANE, lane, group))
    return svg(bottom + 22, "".join(parts), "success rate with 95 % intervals", width=width)


def _whisker(rate: Rate | SeededRate, place: Callable[[float], Number], y: Number, lane: int, group: str) -> str:
    low, high = place(rate.interval.low), place(rate.interval.high)
    marks = (
        line(low, y, high, y, "whisker") + line(low, y - 3, low, y + 3, "whisker") + line(high, y - 3, high, y + 3, "whisker")
    )
    dot = f"<circle cx='{place(rate.value):.1f}' cy='{y:.1f}' r='4.5'/>" if rate.trials else ""
    return f"<g class='{series(lane)}'><title>{escape(f'{group}: {rate}')}</title>{marks}{dot}</g>"
