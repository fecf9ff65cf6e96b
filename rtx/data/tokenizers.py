"""Which text of a sample becomes which numbers, by what kind of row it is.

    robots (sets with actions)     instruction --instructions--> Batch.text    its plan --plans----> Batch.target
    web data (sets without)        question ----questions------> Batch.text    answer ----answers--> Batch.target

Numbers are made by somebody else's functions, so that data need no model: each text goes through its function once.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from rtx.data.mixture import Mixture
from rtx.data.prepared import PreparedSet
from rtx.errors import UserError

Tokenize = Callable[[Sequence[str]], np.ndarray]
"""Texts to rows, as wide always: int32 [n, l], 0 = padding, or float32 [n, s] (`rtx.models.text`)."""
_MAX_TEXTS = 1 << 16  # tokenized texts that are kept, a few MB


@dataclass(frozen=True, kw_only=True)
class Tokenizers:
    """`instructions` and `questions` make rows of one width, `answers` and `plans` int32 rows of another.

    Without `plans` robots have nothing to answer: the texts that some of their data sets have as targets are not used.
    """

    instructions: Tokenize
    questions: Tokenize
    answers: Tokenize
    plans: Tokenize | None = None

    @classmethod
    def alike(cls, tokenize: Tokenize) -> Tokenizers:
        """One function for every text, and no plans: of models that know no difference."""
        return cls(instructions=tokenize, questions=tokenize, answers=tokenize)


class Texts:
    """The tokenizers of one mixture. Threads may share it."""

    def __init__(self, tokenizers: Tokenizers, mixture: Mixture) -> None:
        """Raises UserError for functions that give something else than they should, as far as one text of each kind tells."""
        sets = [entry.prepared for entry in mixture.entries]
        kinds = [prepared.is_robot for prepared in sets]
        self._read = {True: _Known("instructions", tokenizers.instructions), False: _Known("questions", tokenizers.questions)}
        self._answered = {False: _Known("answers", tokenizers.answers)}
        if tokenizers.plans is not None:
            self._answered[True] = _Known("plans", tokenizers.plans)
        self._text = _like([self._read[kind].tokens(_some(sets, kind)) for kind in dict.fromkeys(kinds)])
        asked = [prepared for prepared in sets if prepared.targets and prepared.is_robot in self._answered]
        answers = dict.fromkeys(self._answered[prepared.is_robot] for prepared in asked)
        if asked and self._text.dtype != np.int32:
            names = ", ".join(prepared.name for prepared in asked)
            raise UserError(f"{names} have answers to be spelled, and this model's tokenizer makes vectors; use a model that "
                            "reads words, or leave those data sets out")  # fmt: skip
        self._target = _like([known.tokens([""]) for known in answers]) if answers else None

    def answers(self, robot: bool) -> bool:
        """Whether rows of robots, or those of web data, have a target at all."""
        return self._target is not None and robot in self._answered

    def empty_text(self, num_rows: int) -> np.ndarray:
        """`Batch.text` of nothing."""
        return np.zeros((num_rows, *self._text.shape[1:]), self._text.dtype)

    def empty_target(self, num_rows: int) -> np.ndarray | None:
        """`Batch.target` of nothing; None where no data set has any."""
        return None if self._target is None else np.zeros((num_rows, *self._target.shape[1:]), np.int32)

    def text(self, texts: Sequence[str], *, robot: bool) -> np.ndarray:
        """Rows of `Batch.text`."""
        return self._read[robot].tokens(texts)

    def target(self, texts: Sequence[str], *, robot: bool) -> np.ndarray:
        """Rows of `Batch.target`; that of an empty text is empty."""
        rows = self.empty_target(len(texts))
        assert rows is not None
        if said := [i for i, text in enumerate(texts) if text]:
            rows[said] = self._answered[robot].tokens([texts[i] for i in said])
        return rows


def _some(sets: Sequence[PreparedSet], robot: bool) -> tuple[str, ...]:
    """One text to read that a tokenizer for this kind of set should know."""
    return next((p.languages[:1] for p in sets if p.is_robot == robot and p.languages), ("",))


def _like(rows: Sequence[np.ndarray]) -> np.ndarray:
    if len(found := dict.fromkeys((row.dtype, row.shape[1:]) for row in rows)) > 1:
        raise UserError(f"the texts of robots and those of web data become rows of different kinds: {list(found)}")
    return rows[0][:1]


class _Known:
    """Tokens of texts of one kind. Robots hear the same few sentences over and over: each goes through `tokenize` once. Of web
    data every text is another one, so only so many are kept."""

    def __init__(self, what: str, tokenize: Tokenize) -> None:
        self._what, self._tokenize = what, tokenize
        self._known: dict[str, np.ndarray] = {}
        self._lock = threading.Lock()

    def tokens(self, texts: Sequence[str]) -> np.ndarray:
        """int32 or float32 [n, l]. Raises UserError if `tokenize` gives anything else."""
        with self._lock:
            new = [text for text in dict.fromkeys(texts) if text not in self._known]
            if new:
                rows = np.asarray(self._tokenize(new))
                if rows.ndim != 2 or len(rows) != len(new) or rows.dtype not in (np.int32, np.float32):
                    raise UserError(
                        f"the tokenizer of {self._what} gave {rows.dtype}{list(rows.shape)} for {len(new)} texts, expected "
                        f"int32[{len(new)}, l], or float32[{len(new)}, s]"
                    )
                if len(self._known) + len(new) > _MAX_TEXTS:
                    self._known = {text: self._known[text] for text in texts if text in self._known}
                self._known.update(zip(new, rows, strict=True))
            return np.stack([self._known[text] for text in texts])
