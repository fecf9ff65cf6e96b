"""What a vision-language-action model still answers about pictures: questions of a held-out JSONL, word for word.

    val.jsonl --every n-th--> picture, question --Policy.ask--> text --is_right--> answers.json --> rate by kind, with intervals

Lines are those of web data (docs/rt2.md), the answer being "suffix"; "kind" groups them where it is there. Answers are kept as
they come: a killed run asks on where it was.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np

from rtx import images, progress
from rtx.errors import UserError
from rtx.eval.report.rate_tables import comparison_rows, rate_cell
from rtx.eval.sim import grounding
from rtx.eval.statistics.across import corrected
from rtx.eval.statistics.comparison import Comparison, compare
from rtx.eval.statistics.rates import Rate
from rtx.files import read_json, write_json
from rtx.tables import html_table

_SAVE_EVERY = 20
_SMALL_WORDS = {"a", "an", "the"}


@dataclass(frozen=True, kw_only=True)
class Asked:
    """One line of the JSONL: a question of a kind about a picture, and the true answer."""

    image: Path
    kind: str
    question: str
    answer: str

    @property
    def key(self) -> str:
        return f"{self.image.stem} {self.question}"


@runtime_checkable
class Answers(Protocol):
    """`rtx.serve.policy.Policy` of a model that can be asked."""

    @property
    def fingerprint(self) -> str: ...

    def ask(self, picture: np.ndarray, question: str) -> str: ...


def read_questions(path: Path, count: int | None = None) -> list[Asked]:
    """`count` of the questions of a JSONL, evenly spaced; all of them if there are fewer or none is given.

    Raises UserError for a file that is none, or for a line without picture, question or answer.
    """
    if not path.is_file():
        raise UserError(f"no such file of questions: {path}")
    lines = [line for line in path.read_text().splitlines() if line.strip()]
    if not lines:
        raise UserError(f"{path} holds no question")
    chosen = np.unique(np.linspace(0, len(lines) - 1, min(count or len(lines), len(lines))).round().astype(int))
    return [_asked(lines[i], path, i + 1) for i in chosen.tolist()]


def _asked(line: str, path: Path, number: int) -> Asked:
    try:
        row: Mapping[str, Any] = json.loads(line)
        asked = Asked(
            image=path.parent / row["image"], kind=str(row.get("kind", "")), question=row["prefix"], answer=row["suffix"]
        )
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path} line {number}: needs image, prefix and suffix ({error})") from error
    if not asked.image.is_file():
        raise UserError(f"{path} line {number}: no such picture: {asked.image}")
    return asked


def ask_all(policy: Answers, questions: Sequence[Asked], out: Path) -> dict[str, dict[str, Any]]:
    """By key: kind, what it said, whether that is right. Kept in the file `out`, for this checkpoint."""
    kept: dict[str, Any] = read_json(out) if out.exists() else {}
    answers: dict[str, Any] = kept.get("answers", {}) if kept.get("checkpoint") == policy.fingerprint else {}
    todo = [one for one in questions if one.key not in answers]
    with progress.bar("questions", len(questions), done=len(questions) - len(todo)) as advance:
        for number, one in enumerate(todo, 1):
            said = policy.ask(images.decode(one.image.read_bytes()), one.question)
            answers[one.key] = {"kind": one.kind, "said": said, "right": is_right(one.kind, said, one.answer)}
            advance()
            if number % _SAVE_EVERY == 0 or number == len(todo):
                write_json(out, {"checkpoint": policy.fingerprint, "answers": answers})
    return {one.key: answers[one.key] for one in questions}


def is_right(kind: str, said: str, answer: str) -> bool:
    """As `rtx.eval.sim.grounding` judges its own kinds; else the same words, but for case, articles and punctuation."""
    if kind in grounding.KINDS:
        return grounding.is_right(kind, said, answer)
    return _words(said) == _words(answer)


def _words(text: str) -> list[str]:
    return [word for word in re.findall(r"[\w-]+", text.lower()) if word not in _SMALL_WORDS]


def by_kind(answers: Mapping[str, Mapping[str, Any]]) -> dict[str, Rate]:
    """Rates of each kind, `all` last."""
    kinds = sorted({answer["kind"] for answer in answers.values()} - {""})
    lots = {kind: [answer["right"] for answer in answers.values() if answer["kind"] == kind] for kind in kinds}
    lots["all"] = [answer["right"] for answer in answers.values()]
    return {kind: Rate(sum(lot), len(lot)) for kind, lot in lots.items()}


def retention(now: Mapping[str, Mapping[str, Any]], before: Mapping[str, Mapping[str, Any]]) -> dict[str, Comparison]:
    """The same questions before and after: by kind, corrected for their number, and `all`."""

    def right(answers: Mapping[str, Mapping[str, Any]], kind: str) -> dict[str, bool]:
        return {key: one["right"] for key, one in answers.items() if kind in (one["kind"], "all")}

    kinds = [kind for kind in by_kind(now) if kind != "all"]
    rows = corrected({kind: compare(right(now, kind), right(before, kind)) for kind in kinds})
    return rows | {"all": compare(right(now, "all"), right(before, "all"))}


def section(now: Mapping[str, Mapping[str, Any]], before: Mapping[str, Mapping[str, Any]] | None) -> str:
    """HTML: the share answered right, beside that of another checkpoint if there is one."""
    if before is not None:
        rows = comparison_rows(retention(now, before))
        table = html_table(["kind of question", "trained", "other", "difference", "p"], rows[:-1], last=rows[-1])
    else:
        *cells, last = ([kind, rate_cell(rate)] for kind, rate in by_kind(now).items())
        table = html_table(["kind of question", "answered right"], cells, last=last)
    note = (
        "Held-out questions about pictures, each answered as written; 95 % intervals. What is kept of what the web data taught."
    )
    return f"<h2>Questions</h2>{table}<p class='note'>{escape(note)}</p>"


def as_text(now: Mapping[str, Mapping[str, Any]], before: Mapping[str, Mapping[str, Any]] | None) -> str:
    whole = by_kind(now)["all"]
    text = f"Answered {whole} of the held-out questions."
    if before is not None:
        change = retention(now, before)["all"]
        text += f" The other: {change.second}. {change.verdict.capitalize()} ({change.reason})."
    return text
