"""Every number of an RT-1-X with a text encoder in one frozen object."""

from __future__ import annotations

from dataclasses import dataclass

from rtx.models.rt1x.config import RT1XConfig


@dataclass(frozen=True, kw_only=True)
class RT1XWordsConfig(RT1XConfig):
    """An `RT1XConfig` and how a sentence becomes its vector of `sentence_width`."""

    text_length: int = 32  # pieces of a sentence that are read
    text_vocabulary: int = 4096  # rows of the table of pieces; the tokenizer may use fewer
    text_width: int = 256
    text_layers: int = 2
    text_heads: int = 4

    def _problems(self) -> list[str]:
        problems = super()._problems()
        if self.text_width % self.text_heads:
            problems.append(f"text_width {self.text_width} must be a multiple of text_heads {self.text_heads}")
        return problems
