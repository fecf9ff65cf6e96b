"""What `rtx eval --language` found, as a section of the report and as lines to print."""

from __future__ import annotations

from html import escape

from rtx.eval.language import CHANGES, PLAIN, Listening
from rtx.eval.report.rate_tables import rate_cell, verdict_cell
from rtx.eval.statistics.across import corrected
from rtx.eval.statistics.comparison import Comparison, compare
from rtx.tables import html_table, text_table

_OUGHT = {"swap": "fall", "negate": "fall", "paraphrase": "stay", "blank": "fall"}
_NOTE = (
    "Every state of the episodes played as given was asked with each wording: how far the actions of the chunk move, by part "
    "and as a share of the spread (standard deviations) of the actions it was trained on. Success is at the first instruction, "
    "on the same scenes; verdicts are those of the changed wording against the given one, p corrected for four of them. A "
    "policy that goes by the picture alone shows zeros and no difference anywhere."
)


def against_plain(found: Listening) -> dict[str, Comparison]:
    """Success with each change against success as given; "worse" means that it fell."""
    given = {outcome.episode: outcome.success for outcome in found.evaluation.select(PLAIN)}
    return corrected(
        {
            name: compare({outcome.episode: outcome.success for outcome in found.evaluation.select(name)}, given)
            for name in CHANGES
        }
    )


def section(found: Listening) -> str:
    """HTML."""
    rows, fields = against_plain(found), list(next(iter(found.actions.values())))
    example = next(iter(found.wordings["swap"]))
    body = [["as given", example, *["-"] * (len(fields) + 1), rate_cell(found.evaluation.rate(PLAIN)), "-", "-"]]
    for name, row in rows.items():
        moved = [f"{found.actions[name][field]:.3g}" for field in fields]
        body.append(
            [
                name,
                found.wordings[name][example],
                *moved,
                _share(found, name),
                rate_cell(row.first),
                _OUGHT[name],
                verdict_cell(row),
            ]
        )
    head = [
        "wording",
        "for example",
        *(f"change of {field}" for field in fields),
        "of the spread",
        "success",
        "ought to",
        "and does",
    ]
    note = f"{_NOTE} {found.states} states."
    return f"<h2>Language</h2>{html_table(head, body)}<p class='note'>{escape(note)}</p>"


def _share(found: Listening, change: str) -> str:
    share = found.shares[change]
    return "-" if share is None else f"{100 * share:.0f} %"


def as_text(found: Listening) -> str:
    rows = against_plain(found)
    body = [["as given", "-", f"{100 * found.evaluation.rate(PLAIN).value:.0f} %", "-"]]
    body += [
        [
            name,
            f"{_share(found, name)} of the spread",
            f"{100 * row.first.value:.0f} %",
            f"{row.gap_text}: {row.verdict}",
        ]
        for name, row in rows.items()
    ]
    return text_table(["wording", f"actions move ({found.states} states)", "success", "against as given"], body)


def to_json(found: Listening) -> dict[str, object]:
    rows = against_plain(found)
    return {
        name: {
            "actions": dict(found.actions[name]), "share_of_spread": found.shares[name], "success": row.first.value,
            "difference": row.gap, "p_value": row.p_value, "verdict": row.verdict, "words": dict(found.wordings[name]),
        }
        for name, row in rows.items()
    } | {"states": found.states}  # fmt: skip
