"""Rows under a head: as text with aligned columns, what the listing commands print, and as HTML for pages."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence


class Cell(str):
    """A finished `<td>` with all it holds, for `html_table`."""


def text_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """`head`, a rule, then `rows`; every row as long as the head."""
    widths = [max(len(row[i]) for row in [head, *rows]) for i in range(len(head))]
    lines = ["  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip() for row in [head, *rows]]
    lines.insert(1, "  ".join("-" * w for w in widths))
    return "\n".join(lines)


def html_table(head: Sequence[str], rows: Iterable[Sequence[str]], *, last: Sequence[str] = ()) -> str:
    """Texts are escaped and stand in a cell of their own, a `Cell` stays as it is. `last` is a row of sums."""
    top = "".join(f"<th>{html.escape(name)}</th>" for name in head)
    body = "".join(_row(row) for row in rows)
    foot = _row(last, " class='sum'") if last else ""
    start = f"<thead><tr>{top}</tr></thead>" if top else ""
    return f"<div class='wide'><table>{start}<tbody>{body}{foot}</tbody></table></div>"


def _row(cells: Sequence[str], attribute: str = "") -> str:
    return f"<tr{attribute}>{''.join(c if isinstance(c, Cell) else f'<td>{html.escape(c)}</td>' for c in cells)}</tr>"
