"""Curves as inline SVG: no plotting package, no network, colours and fonts from the page they stand in (`page.css`).

All text is escaped.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape

WIDTH, WIDE = 460, 920  # of the view box: readable at 1:1 on a phone; on a page that holds one beside no other
RIGHT = 22
_LEFT, _TOP = 58, 10
_MAX_POINTS = 400  # of a curve: more than one a pixel is only weight
_MAX_DOTS = 40  # points that are few are shown as points

Number = int | float
Points = Sequence[tuple[Number, Number]]


def curve_plot(
    curves: Mapping[str, Points],
    *,
    x_label: str,
    marks: Mapping[str, Sequence[Number]] | None = None,
    width: int = WIDTH,
    height: int = 190,
    log: bool = False,
) -> str:
    """Lines through (x, y), one per name, in the order of the legend; non-finite points are left out, many points averaged.

    `marks`: upright lines at these x, by what they say when pointed at. `log`: powers of ten are as far apart as their
    exponents, where all values are above 0. "" if there is no point.
    """
    kept = [thinned([(x, y) for x, y in points if math.isfinite(y)]) for points in curves.values()]
    xs, ys = [x for points in kept for x, _ in points], [y for points in kept for _, y in points]
    if not ys:
        return ""
    bottom, log = _TOP + height, log and min(ys) > 0
    about = 5 if height > 120 else 2
    x_ticks = ticks(min(xs), max(xs), about=5 if width > 320 else 3)
    y_ticks = log_ticks(min(ys), max(ys)) if log else ticks(min(ys), max(ys), about=about)
    scale = math.log10 if log else float
    (x0, x1), (y0, y1) = (min(xs), max(max(xs), min(xs) + 1)), (scale(y_ticks[0]), scale(y_ticks[-1]))

    def place(x: Number, y: Number) -> tuple[Number, Number]:
        return _LEFT + (width - _LEFT - RIGHT) * (x - x0) / (x1 - x0), bottom - height * (scale(y) - y0) / (y1 - y0)

    parts = []
    for tick in y_ticks:
        y = place(x0, tick)[1]
        parts.append(line(_LEFT, y, width - RIGHT, y, "grid") + text(_LEFT - 6, y + 4, short(tick), "end"))
    parts += [text(place(tick, y_ticks[0])[0], bottom + 16, short(tick), "middle") for tick in x_ticks if x0 <= tick <= x1]
    parts.append(text((_LEFT + width) / 2, bottom + 32, x_label, "middle"))
    for name, places in (marks or {}).items():
        parts += [_mark(place(x, y_ticks[0])[0], bottom, f"{name}, {x_label} {x:g}") for x in places if x0 <= x <= x1]
    parts += [_curve([place(*point) for point in points], lane) for lane, points in enumerate(kept)]
    return svg(bottom + 38, "".join(parts), "curves over " + x_label, width=width)


def thinned(points: Points, most: int = _MAX_POINTS) -> Points:
    """At most `most` points: means of as many neighbours each."""
    if len(points) <= most:
        return points
    size = math.ceil(len(points) / most)
    groups = [points[i : i + size] for i in range(0, len(points), size)]
    return [(sum(x for x, _ in group) / len(group), sum(y for _, y in group) / len(group)) for group in groups]


def _curve(points: Points, lane: int) -> str:
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    dots = "".join(f"<circle cx='{x:.1f}' cy='{y:.1f}' r='3'/>" for x, y in points) if len(points) < _MAX_DOTS else ""
    return f"<g class='{series(lane)}'><polyline class='curve' points='{path}'/>{dots}</g>"


def _mark(x: Number, bottom: Number, tip: str) -> str:
    return f"<g><title>{escape(tip)}</title>{line(x, _TOP, x, bottom, 'event')}</g>"


def ticks(low: Number, high: Number, *, about: int = 5) -> list[Number]:
    """Round numbers that enclose [low, high]."""
    span = high - low if high > low else max(abs(low), 1.0)
    raw = span / about
    power = 10 ** math.floor(math.log10(raw))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= raw * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(i * step, 12) for i in range(first, max(last, first + 1) + 1)]


def log_ticks(low: Number, high: Number) -> list[Number]:
    """One, two and five times powers of ten that enclose [low, high], both above 0; of far ranges the powers alone."""
    first, last = math.floor(math.log10(low) + 1e-9), math.ceil(math.log10(high) - 1e-9)
    factors = (1, 2, 5) if last - first < 3 else (1,)
    every = [float(f"{factor}e{power}") for power in range(first, max(last, first + 1)) for factor in factors]
    every.append(float(f"1e{max(last, first + 1)}"))
    below = [tick for tick in every if tick <= low * (1 + 1e-9)]
    above = [tick for tick in every if tick >= high * (1 - 1e-9)]
    return [tick for tick in every if below[-1] <= tick <= above[0]] if below[-1] < above[0] else [below[-1], above[-1]]


def short(value: Number) -> str:
    """`0.002`, `350`, `20k`, `1.5M`: as wide as an axis has room for."""
    for size, letter in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e4, "k")):
        if abs(value) >= size:
            return f"{value / (1e3 if letter == 'k' else size):g}{letter}"
    return f"{value:g}"


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


def figure(caption: str, drawn: str, names: Sequence[str] = ()) -> str:
    """A plot under its caption, with a legend if there are names; nothing for a plot that is empty."""
    return (
        f"<figure><figcaption>{escape(caption)}</figcaption>{legend(names) if names else ''}{drawn}</figure>" if drawn else ""
    )


def svg(height: Number, content: str, label: str, *, width: int = WIDTH) -> str:
    return f"<svg viewBox='0 0 {width} {height:.0f}' role='img' aria-label='{escape(label)}'>{content}</svg>"


def line(x1: Number, y1: Number, x2: Number, y2: Number, kind: str) -> str:
    return f"<line class='{kind}' x1='{x1:.1f}' y1='{y1:.1f}' x2='{x2:.1f}' y2='{y2:.1f}'/>"


def text(x: Number, y: Number, words: str, anchor: str) -> str:
    return f"<text x='{x:.1f}' y='{y:.1f}' text-anchor='{anchor}'>{escape(words)}</text>"
