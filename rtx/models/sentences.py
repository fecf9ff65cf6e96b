"""Instructions as vectors that were computed beforehand: a table from text to what a sentence encoder made of it.

The released RT-1-X reads an instruction as one 512-d vector of the Universal Sentence Encoder. Data sets ship these vectors;
a robot that is told one of a few dozen things needs no encoder, only their vectors. Texts are compared in lower case with
single spaces. The empty text is known to every table: zeros, as in SIMPLER's runner of RT-1-X.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Float

from rtx.errors import UserError, unknown_name
from rtx.models.subwords import SubwordTokenizer
from rtx.models.text import InstructionEncoder, WordTokenizer
from rtx.models.vla.language import VLATokenizer


def spoken(text: str) -> str:
    """As texts are compared: lower case, single spaces."""
    return " ".join(text.lower().split())


@dataclass(frozen=True, eq=False)
class SentenceTable:
    """`vectors[i]` float32 belongs to `texts[i]`. `encoder` names what computed them, for people and for comparison."""

    texts: tuple[str, ...]
    vectors: Float[np.ndarray, "n s"]
    encoder: str = field(kw_only=True)
    _rows: Mapping[str, int] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        if self.vectors.ndim != 2 or len(self.vectors) != len(self.texts) or not np.all(np.isfinite(self.vectors)):
            raise UserError(
                f"sentence table: {len(self.texts)} texts but vectors {list(self.vectors.shape)}, or not all finite"
            )
        object.__setattr__(self, "_rows", {spoken(text): i for i, text in enumerate(self.texts)})
        if len(self._rows) != len(self.texts):
            raise UserError("sentence table: a text is given twice (upper and lower case count as the same)")

    @property
    def width(self) -> int:
        return self.vectors.shape[1]

    def encode(self, texts: Sequence[str]) -> Float[np.ndarray, "n s"]:
        """Raises UserError for a text that is not in the table, naming the nearest that are."""
        found = np.zeros((len(texts), self.width), np.float32)
        for row, text in zip(found, texts, strict=True):
            if spoken(text):
                row[:] = self.vectors[self._row(text)]
        return found

    def _row(self, text: str) -> int:
        if (key := spoken(text)) not in self._rows:
            hint = (
                f"This policy has no sentence encoder; add the text and its vector ({self.encoder}) to its sentence table "
                "(rtx ckpt teach)"
            )
            raise unknown_name("instruction", text, self._rows, hint=hint)
        return self._rows[key]

    def check(self, text: str) -> None:
        """Raises UserError for a text that is not in the table."""
        if spoken(text):
            self._row(text)

    def doubts(self, text: str) -> list[str]:
        return [] if spoken(text) else ["empty instruction: the policy is given a vector of zeros"]

    def to_json(self) -> dict[str, Any]:
        data = base64.b64encode(np.ascontiguousarray(self.vectors, "<f4").tobytes()).decode()
        return {"kind": "sentences", "encoder": self.encoder, "width": self.width, "texts": list(self.texts), "vectors": data}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> SentenceTable:
        """Inverse of `to_json`. Raises UserError for data of another kind or size."""
        missing = [name for name in ("encoder", "width", "texts", "vectors") if name not in data]
        if data.get("kind") != "sentences" or missing:
            raise UserError(f"not a sentence table: kind {data.get('kind')!r}, keys {sorted(data)}; expected kind 'sentences'")
        numbers = np.frombuffer(base64.b64decode(data["vectors"]), "<f4")
        if numbers.size != len(data["texts"]) * data["width"]:
            raise UserError(f"sentence table: {numbers.size} numbers for {len(data['texts'])} texts of {data['width']}")
        vectors = numbers.reshape(len(data["texts"]), data["width"]).astype(np.float32)
        return cls(tuple(data["texts"]), vectors, encoder=data["encoder"])


def instructions_from_json(data: Mapping[str, Any]) -> InstructionEncoder:
    """What a checkpoint's tokenizer.json describes. Raises UserError for a kind that is not known."""
    if data.get("kind") == "subwords":
        return SubwordTokenizer.from_json(data)
    if data.get("kind") == "vla":
        return VLATokenizer.from_json(data)
    return SentenceTable.from_json(data) if data.get("kind") == "sentences" else WordTokenizer.from_json(data)
