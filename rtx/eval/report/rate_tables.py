"""Rates and verdicts as HTML: tables whose rows are robots, tasks or splits, and the plots above them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape

from rtx import plots
from rtx.eval.report.plots import success_plot
from rtx.eval.results import Evaluation, Group
from rtx.eval.statistics.comparison import Comparison
from rtx.eval.statistics.rates import Interval, Rate
from rtx.tables import Cell, html_table

TITLES: Mapping[Group, str] = {"arm": "robot", "task": "task", "split": "split"}
NOTE = (
    "Intervals of rates are Wilson's, of differences Agresti and Min's, both 95 %. A verdict other than <i>no difference "
    "shown</i> needs both: an interval of the difference without 0, and an exact McNemar test on the same scenes with p below "
    "0.05. In tables p is corrected for the number of rows (Holm): all of them together raise a false alarm once in 20 times."
)


def plots_section(evaluation: Evaluation) -> str:
    """Success by robot, task and split, drawn."""
    names = list(evaluation.policies)
    figures = []
    for by, what in TITLES.items():
        if groups := evaluation.groups(by):
            rates = {in_words(group): [evaluation.rate(name, **{by: group}) for name in names] for group in groups}
            figures.append(plots.figure(f"Success by {what}, with 95 % intervals", success_plot(rates), names))
    return f"<h2>Success</h2><div class='plots'>{''.join(figures)}</div>"


def group_section(evaluation: Evaluation, by: Group) -> str:
    """One row per robot, task or split; nothing where there are none."""
    if not evaluation.groups(by):
        return ""
    each = {other: evaluation.compare_each(other, by) for other in evaluation.others}
    rows = [
        _row(
            in_words(group),
            [evaluation.rate(policy, **{by: group}) for policy in evaluation.policies],
            [each[other][group] for other in evaluation.others],
        )
        for group in evaluation.groups(by)
    ]
    whole = _row(
        "all",
        [evaluation.rate(policy) for policy in evaluation.policies],
        [evaluation.compare(other) for other in evaluation.others],
    )
    head = [TITLES[by], *evaluation.policies, *(f"{evaluation.main} against {other}" for other in evaluation.others)]
    return f"<h2>By {TITLES[by]}</h2>{html_table(head, rows, last=whole)}"


def in_words(name: str) -> str:
    return name.replace("_", " ") if not name.startswith("sim_") else name


def comparison_rows(rows: Mapping[str, Comparison]) -> list[list[str]]:
    """Name, both rates, difference and verdict, p."""
    return [
        [*_row(in_words(name), [row.first, row.second], [row]), f"{row.p_value:.2g}" if row.first.trials else "-"]
        for name, row in rows.items()
    ]


def _row(name: str, rates: Sequence[Rate], comparisons: Sequence[Comparison]) -> list[str]:
    return [name, *(rate_cell(rate) for rate in rates), *(verdict_cell(comparison) for comparison in comparisons)]


def rate_cell(rate: Rate) -> Cell:
    small = f"{_range(rate.interval)} %, {rate.successes}/{rate.trials}"
    return Cell(f"<td class='rate'>{percent(rate.value)} %<small>{small}</small></td>")


def verdict_cell(comparison: Comparison) -> Cell:
    """The verdict with the difference in points; why, when pointed at."""
    reason = escape(comparison.reason, quote=True)
    if not comparison.first.trials or not comparison.second.trials:
        return Cell("<td>no episodes</td>")
    low, high = 100 * comparison.difference.low, 100 * comparison.difference.high
    small = f"{100 * comparison.gap:+.0f} points, {low:+.0f} to {high:+.0f}"
    return Cell(f"<td class='rate' title='{reason}'>{verdict(comparison)}<small>{small}</small></td>")


def verdict(comparison: Comparison) -> str:
    kind = comparison.verdict if comparison.verdict in ("better", "worse") else "same"
    return f"<span class='{kind}'>{comparison.verdict}</span>"


def percent(value: float) -> str:
    return "-" if math.isnan(value) else f"{100 * value:.0f}"


def _range(interval: Interval) -> str:
    return f"{percent(interval.low)} to {percent(interval.high)}"
