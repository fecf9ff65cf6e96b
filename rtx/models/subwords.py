"""Instructions as pieces of words: a small sentencepiece model trained on the mixture's own instructions.

Unlike a vocabulary of words it spells what it has never seen ("unstack" -> "un" "stack"). 0 is padding, 1 an unknown letter.
The whole tokenizer is some kilobytes and travels with the checkpoint.
"""

from __future__ import annotations

import base64
import functools
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Int

from rtx.errors import UserError
from rtx.models.text import words_of

_UNKNOWN = 1


@dataclass(frozen=True)
class SubwordTokenizer:
    """`model`: the serialized sentencepiece model. `max_length`: the fixed width of what `encode` returns."""

    model: bytes
    max_length: int

    @classmethod
    def from_texts(cls, texts: Iterable[str], *, size: int, max_length: int = 32) -> SubwordTokenizer:
        """Trained on `texts`, each once and in alphabetical order, so that equal texts give equal bytes; at most `size` pieces.

        Raises UserError if there is no text at all.
        """
        lines = sorted({" ".join(words_of(text)) for text in texts} - {""})
        if not lines:
            raise UserError("no instruction in the data to train a tokenizer on; use data sets with instructions")
        out = io.BytesIO()
        load_sentencepiece().SentencePieceTrainer.train(
            sentence_iterator=iter(lines), model_writer=out, vocab_size=size, hard_vocab_limit=False, model_type="unigram",
            character_coverage=1.0, pad_id=0, unk_id=_UNKNOWN, bos_id=-1, eos_id=-1, normalization_rule_name="identity",
            num_threads=1, minloglevel=2,
        )  # fmt: skip
        return cls(out.getvalue(), max_length)

    @functools.cached_property
    def _pieces(self) -> Any:
        return load_sentencepiece().SentencePieceProcessor(model_proto=self.model)

    @property
    def size(self) -> int:
        """Number of ids: rows an embedding table needs."""
        return int(self._pieces.get_piece_size())

    def encode(self, texts: Sequence[str]) -> Int[np.ndarray, "n l"]:
        """Ids int32 `[n, max_length]`, padded with 0 at the end. Longer texts are cut (`doubts`)."""
        ids = np.zeros((len(texts), self.max_length), np.int32)
        for row, text in zip(ids, texts, strict=True):
            found = self._ids(text)[: self.max_length]
            row[: len(found)] = found
        return ids

    def _ids(self, text: str) -> list[int]:
        return [int(i) for i in self._pieces.encode(" ".join(words_of(text)))]

    def check(self, text: str) -> None:
        """Raises UserError for a text without words."""
        if not words_of(text):
            raise UserError(f"the instruction {text!r} has no words; say what to do")

    def doubts(self, text: str) -> list[str]:
        """Letters that were never seen, and whether the text is too long."""
        ids = self._ids(text)
        lines = [f"letters never seen in training: instruction={text[:200]!r}"] if _UNKNOWN in ids else []
        if len(ids) > self.max_length:
            lines.append(f"instruction cut: max_pieces={self.max_length} instruction={text[:200]!r}")
        return lines

    def to_json(self) -> dict[str, Any]:
        return {"kind": "subwords", "max_length": self.max_length, "model": base64.b64encode(self.model).decode()}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> SubwordTokenizer:
        """Inverse of `to_json`. Raises UserError for data of another kind."""
        if data.get("kind") != "subwords" or "model" not in data or "max_length" not in data:
            raise UserError(
                f"not a subword tokenizer: kind {data.get('kind')!r}, keys {sorted(data)}; expected kind 'subwords'"
            )
        return cls(base64.b64decode(data["model"]), int(data["max_length"]))


def load_sentencepiece() -> Any:
    """The package. Raises UserError, naming the extra, where it is not installed."""
    try:
        import sentencepiece
    except ImportError as error:
        raise UserError("this model reads pieces of words: pip install rtx-robotics[language]") from error
    return sentencepiece
