"""Instructions as word numbers: the small vocabulary of a policy trained from scratch.

Lower case, punctuation stripped, one id per word; 0 is padding, 1 an unknown word, the vocabulary's words follow from 2.
A policy that must understand free language brings a pretrained language model and its own tokenizer instead.
"""

from __future__ import annotations

import dataclasses
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Int

from rtx.errors import UserError

PADDING, UNKNOWN, FIRST_WORD = 0, 1, 2
_WORD = re.compile(r"[^\W_]+(?:'[^\W_]+)*")  # letters and digits of any script, inner apostrophes kept


@runtime_checkable
class InstructionEncoder(Protocol):
    """What a policy knows of instructions: how they become `Batch.text`, and which it cannot follow."""

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        """One row per text, all of one width: ids int32, or one vector float32."""

    def check(self, text: str) -> None:
        """Raises UserError for an instruction that cannot be encoded."""

    def doubts(self, text: str) -> list[str]:
        """What an operator should know about an instruction that can be: one line each."""

    def to_json(self) -> dict[str, Any]: ...


def words_of(text: str) -> list[str]:
    """`"Push the Blue cube, left!"` -> `["push", "the", "blue", "cube", "left"]`."""
    return _WORD.findall(text.lower().replace("\N{RIGHT SINGLE QUOTATION MARK}", "'"))


@dataclass(frozen=True)
class WordTokenizer:
    """Words to ids. `vocabulary[i]` has id `i + 2`. `max_length` is the fixed width of what `encode` returns."""

    vocabulary: tuple[str, ...]
    max_length: int = field(default=16, kw_only=True)
    _ids: Mapping[str, int] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.max_length < 1:
            raise UserError(f"word tokenizer: max_length {self.max_length} must be at least 1")
        bad = [word for word in self.vocabulary if words_of(word) != [word]]
        if bad:
            raise UserError(f"word tokenizer: vocabulary entries are not single lower-case words: {bad[:5]}")
        if len(set(self.vocabulary)) != len(self.vocabulary):
            twice = [word for word, count in Counter(self.vocabulary).items() if count > 1]
            raise UserError(f"word tokenizer: vocabulary repeats {twice[:5]}")
        object.__setattr__(self, "_ids", {word: FIRST_WORD + i for i, word in enumerate(self.vocabulary)})

    @classmethod
    def from_texts(cls, texts: Iterable[str], *, max_length: int = 16, max_words: int = 510) -> WordTokenizer:
        """The `max_words` most frequent words of the training instructions (ties by alphabet, so the order is stable)."""
        counts = Counter(word for text in texts for word in words_of(text))
        ranked = sorted(counts, key=lambda word: (-counts[word], word))
        return cls(tuple(sorted(ranked[:max_words])), max_length=max_length)

    def with_words(self, texts: Iterable[str], *, max_words: int) -> WordTokenizer:
        """The same ids, and new ones for the words of `texts` that it lacks, most frequent first, as long as there is room."""
        counts = Counter(word for text in texts for word in words_of(text) if word not in self._ids)
        ranked = sorted(counts, key=lambda word: (-counts[word], word))
        new = sorted(ranked[: max(0, max_words - len(self.vocabulary))])
        return dataclasses.replace(self, vocabulary=(*self.vocabulary, *new)) if new else self

    @property
    def size(self) -> int:
        """Number of ids: rows an embedding table needs."""
        return FIRST_WORD + len(self.vocabulary)

    def encode(self, texts: Sequence[str]) -> Int[np.ndarray, "n l"]:
        """Ids int32 `[n, max_length]`, padded with 0 at the end. Longer texts are cut: ask `truncated` which ones."""
        ids = np.zeros((len(texts), self.max_length), np.int32)
        for row, text in zip(ids, texts, strict=True):
            found = [self._ids.get(word, UNKNOWN) for word in words_of(text)[: self.max_length]]
            row[: len(found)] = found
        return ids

    def truncated(self, texts: Iterable[str]) -> tuple[str, ...]:
        """The texts that have more words than `max_length`, each once, in order."""
        return tuple(dict.fromkeys(text for text in texts if len(words_of(text)) > self.max_length))

    def unknown_words(self, texts: Iterable[str]) -> tuple[str, ...]:
        """The words of `texts` outside the vocabulary, each once, in order."""
        return tuple(dict.fromkeys(word for text in texts for word in words_of(text) if word not in self._ids))

    def check(self, text: str) -> None:
        """Raises UserError for a text without words."""
        if not words_of(text):
            raise UserError(f"the instruction {text!r} has no words; say what to do")

    def doubts(self, text: str) -> list[str]:
        """Words that were never learned, and whether the text is too long."""
        lines = [
            f"unknown word: word={word} (the policy was not trained with it and will guess)"
            for word in self.unknown_words([text])
        ]
        if self.truncated([text]):
            lines.append(f"instruction cut: max_words={self.max_length} instruction={text[:200]!r}")
        return lines

    def to_json(self) -> dict[str, Any]:
        return {"kind": "words", "vocabulary": list(self.vocabulary), "max_length": self.max_length}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> WordTokenizer:
        """Inverse of `to_json`. Raises UserError for data of another kind."""
        if data.get("kind") != "words" or "vocabulary" not in data or "max_length" not in data:
            raise UserError(f"not a word tokenizer: kind {data.get('kind')!r}, keys {sorted(data)}; expected kind 'words'")
        return cls(tuple(data["vocabulary"]), max_length=int(data["max_length"]))
