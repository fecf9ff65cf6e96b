"""Line plots and histograms as inline SVG: a few lines of text instead of a plotting library and its pictures."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

COLOURS = ("#c0392b", "#27864a", "#2f6fb3", "#8e5ea2", "#c77d0a", "#1f9aa8", "#7a5230")  # x red, y green, z blue, as anywhere
_LEFT, _TOP = 46, 16  # pixels for the axis numbers and the title


@dataclass(frozen=True, kw_only=True)
class Line:
    """One curve over the steps; NaN leaves a gap."""

    name: str  # "" stays out of the legend
    values: np.ndarray  # float [n]
    colour: str
    dashed: bool = False


def plot(title: str, lines: Sequence[Line], *, width: int = 320, height: int = 120) -> str:
    """Curves over a common step axis, with the range of the values and a legend."""
    stacked = np.concatenate([np.asarray(line.values, np.float64) for line in lines])
    finite = stacked[np.isfinite(stacked)]
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 1.0)
    if high - low < 1e-9:
        low, high = low - 0.5, high + 0.5
    n = max(len(line.values) for line in lines)
    xs = _LEFT + np.arange(n) * (width - _LEFT - 4) / max(n - 1, 1)

    def y(value: np.ndarray | float) -> np.ndarray:
        return np.asarray(_TOP + (high - np.asarray(value, np.float64)) / (high - low) * (height - _TOP - 6))

    parts = [
        _text(4.0, 11.0, title, bold=True),
        _text(2.0, float(y(high)) + 8, _short(high)),
        _text(2.0, float(y(low)), _short(low)),
    ]
    if low < 0 < high:
        parts.append(f'<line x1="{_LEFT}" x2="{width}" y1="{y(0.0):.1f}" y2="{y(0.0):.1f}" stroke="#ccc"/>')
    parts += [_polyline(xs, y(line.values), line) for line in lines]
    return _figure("".join(parts), width, height) + _legend(lines)


def histogram(
    values: np.ndarray,
    *,
    marks: Mapping[str, float],
    bounds: Sequence[float] = (),
    width: int = 180,
    height: int = 44,
    bins: int = 45,
) -> str:
    """Counts of `values`, log-scaled so that rare values show; red lines at `marks`, blue ones at `bounds`.

    The axis is widened to show a bound that lies no further out than the values are wide.
    """
    values = np.asarray(values, np.float64)  # a narrow range has too few float32 numbers for the bins' edges
    low, high = float(np.min(values)), float(np.max(values))
    if high - low < 1e-9:
        low, high = low - 0.5, high + 0.5
    near = [b for b in bounds if low - (high - low) <= b <= high + (high - low)]
    low, high = min([low, *near]), max([high, *near])
    counts, _ = np.histogram(values, bins=bins, range=(low, high))
    tall = np.log1p(counts) / np.log1p(counts.max()) * (height - 4)
    bar = width / bins
    parts = [
        f'<rect x="{i * bar:.1f}" y="{height - h:.1f}" width="{bar - 0.5:.1f}" height="{h:.1f}" fill="#7f8c9b"/>'
        for i, h in enumerate(tall)
        if h > 0
    ]
    lines = [(name, value, COLOURS[0]) for name, value in marks.items()] + [("bound", value, COLOURS[2]) for value in near]
    for name, value, colour in lines:
        x = (value - low) / (high - low) * width
        tip = html.escape(f"{name} {_short(value)}")
        parts.append(f'<line x1="{x:.1f}" x2="{x:.1f}" y1="0" y2="{height}" stroke="{colour}"><title>{tip}</title></line>')
    return _figure("".join(parts), width, height)


def _polyline(xs: np.ndarray, ys: np.ndarray, line: Line) -> str:
    dash = ' stroke-dasharray="4 3"' if line.dashed else ""
    gaps = np.flatnonzero(~np.isfinite(ys))
    pieces = (piece[np.isfinite(ys[piece])] for piece in np.split(np.arange(len(ys)), gaps))
    points = (" ".join(f"{xs[i]:.1f},{ys[i]:.1f}" for i in piece) for piece in pieces if len(piece))
    style = f'fill="none" stroke="{line.colour}" stroke-width="1.3"{dash}'
    return "".join(f'<polyline points="{p}" {style}/>' for p in points)


def _legend(lines: Sequence[Line]) -> str:
    items = (
        f'<span style="color:{line.colour}">{"- -" if line.dashed else "&mdash;"} {html.escape(line.name)}</span>'
        for line in lines
        if line.name
    )
    return f'<div class="legend">{" ".join(items)}</div>'


def _figure(body: str, width: int, height: int) -> str:
    return f'<svg width="{width}" height="{height}" viewBox="0 0 {width} {height}">{body}</svg>'


def _text(x: float, y: float, text: str, *, bold: bool = False) -> str:
    weight = ' font-weight="bold"' if bold else ""
    return f'<text x="{x:.0f}" y="{y:.0f}" font-size="10" fill="#444"{weight}>{html.escape(text)}</text>'


def _short(value: float) -> str:
    return f"{value:.3g}"
