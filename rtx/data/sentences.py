"""Sentence vectors: many data sets store one beside each instruction (Universal Sentence Encoder, 512 numbers). One per text.

    step: text, vector --SentenceVectors--> text -> vector, the first one found --merge--> sentences.npy beside languages.json

The same text should have the same vector everywhere; where it clearly has not, the first stays and the text is counted. A
vector of zeros is how sets say that they have none.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float32

from rtx.errors import WorldError

CLEARLY = 0.1
"""Two vectors differ clearly if their distance is more than this share of the first's length: rounding and versions of one
encoder stay far below it, other sentences far above."""


@dataclass
class SentenceVectors:
    """`clashes`: texts that came with clearly different vectors, in the order found."""

    vectors: dict[str, np.ndarray] = field(default_factory=dict)
    clashes: dict[str, None] = field(default_factory=dict)

    def add(self, texts: Sequence[str], vectors: Float32[np.ndarray, "n d"]) -> None:
        """Of rows of a data set."""
        for text in dict.fromkeys(texts):
            of_text = vectors[[one == text for one in texts]]
            there = of_text[np.any(of_text != 0, axis=-1)]
            if not len(there):
                continue
            first = self.vectors.setdefault(text, np.array(there[0], np.float32))
            distance = np.linalg.norm(there - first, axis=-1)
            if np.any(distance > CLEARLY * np.linalg.norm(first)):
                self.clashes[text] = None

    def update(self, vectors: Mapping[str, np.ndarray], clashes: Iterable[str]) -> None:
        """Takes in what another part found."""
        for text, vector in vectors.items():
            self.add([text], vector[None])
        self.clashes |= dict.fromkeys(clashes)

    def table(self, texts: Sequence[str], width: int) -> Float32[np.ndarray, "n d"]:
        """Row i is of `texts[i]`; NaN where there is none."""
        rows = np.full((len(texts), width), np.nan, np.float32)
        for row, text in zip(rows, texts, strict=True):
            if text in self.vectors:
                row[:] = self.vectors[text]
        return rows


def check_finite(vectors: Float32[np.ndarray, "n d"], where: str) -> None:
    """Raises WorldError naming the step."""
    bad = np.flatnonzero(~np.isfinite(vectors).all(axis=-1))
    if len(bad):
        raise WorldError(f"{where}, step {bad[0]}: the sentence vector holds a number that is not finite")
