"""What a vision-language-action model reads and writes, as ids: prompts, questions, answers and plans.

    encode     instruction -> BOS  Q: what action should the robot take to push the cube? A:  \\n         Batch.text
    questions  question    -> BOS  what colour is it?  \\n                                                 Batch.text
    answers    answer      -> red  EOS                                                                    Batch.target
    plans      plan        -> Plan: go around the cube. Action:                                           Batch.target

The ids are those of a sentencepiece model: one trained here on the mixture's texts, or the file of public weights (Gemma's
`tokenizer.model`, T5's `spiece.model`), which travels with the checkpoint. A model file without BOS is T5's: its prompts end
with EOS instead of a line break. Action tokens lie outside the pieces or overwrite some (rtx.models.vla.action_tokens).

Sources: RT-2 (arXiv 2307.15818) section 3.2 for the prompt; big_vision for BOS and the separator tokenised on its own.
"""

from __future__ import annotations

import base64
import functools
import io
import string
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from jaxtyping import Int

from rtx.errors import UserError
from rtx.models.subwords import load_sentencepiece
from rtx.models.text import words_of
from rtx.models.vla.thought import ACTION, ECOT_TAGS, LAST_LASTING, parse_thought, plan_prompt, render_plan

Template = Literal["question", "plan", "thought"]
"""How a robot is asked, and what it says before it acts: nothing, RT-2's plan, or ECoT's tags."""

_Kind = Literal["instruction", "question", "answer", "plan"]
_PROMPT = "Q: what action should the robot take to {}? A:"
_SEPARATOR = "\n"
_PAD, _EOS = 0, 1  # of every model
_BOS, _UNKNOWN = 2, 3  # of those that are trained here
_WORD = "the"  # stands before a text of which the ids in mid-sentence are wanted
_ALWAYS = string.ascii_letters + string.digits + "[],.:?"
"""Letters a model can read whatever its texts held: of every template, of boxes in plans, and of the robots that a model of web
data is trained for later, with the same tokenizer."""
_MAX_SHOWN = 200


@dataclass(frozen=True, kw_only=True)
class VLATokenizer:
    """`model`: the serialized sentencepiece model. `text_length`, `answer_length`: widths of prompts and of answers, in ids."""

    model: bytes
    text_length: int
    answer_length: int
    template: Template = "question"

    def __post_init__(self) -> None:
        if self.template not in get_args(Template):
            raise UserError(f"language: template {self.template!r} is unknown; templates are {', '.join(get_args(Template))}")
        pad, end = self._pieces.pad_id(), self._pieces.eos_id()
        if (pad, end) != (_PAD, _EOS):
            raise UserError(
                f"language: this sentencepiece model has padding {pad} and end of text {end}, expected {_PAD} and {_EOS}: "
                "Gemma's or T5's file"
            )
        if odd := [text for text in _frames(self.template) if self._pieces.unk_id() in self._text(text)]:
            raise UserError(f"language: this sentencepiece model lacks letters of the template {odd[0]!r}; use a larger one")
        least = len(self._ids("instruction", "x"))
        if self.text_length < least:
            raise UserError(f"language: text_length {self.text_length} holds no prompt; it takes at least {least}")
        least = 1 + len(self.plan_end)
        if self.answer_length < least:
            raise UserError(f"language: answer_length {self.answer_length} holds no answer; it takes at least {least}")

    @classmethod
    def from_texts(
        cls, texts: Iterable[str], *, size: int, text_length: int, answer_length: int, template: Template = "question"
    ) -> VLATokenizer:
        """A BPE model of at most `size` pieces, trained on every text once: instructions, questions, answers and plans.

        The same texts in any order give the same bytes. Pieces do not cross spaces; digits stand alone. Raises UserError where
        there is no text, or more different letters than `size`.
        """
        return cls(
            model=_trained(texts, size, template), text_length=text_length, answer_length=answer_length, template=template
        )

    @classmethod
    def from_file(cls, path: Path, *, text_length: int, answer_length: int, template: Template = "question") -> VLATokenizer:
        """Around the sentencepiece model of public weights. Raises UserError where there is no such file."""
        if not path.is_file():
            raise UserError(f"{path} is not a file; expected Gemma's tokenizer.model or T5's spiece.model")
        return cls(model=path.read_bytes(), text_length=text_length, answer_length=answer_length, template=template)

    @functools.cached_property
    def _pieces(self) -> Any:
        try:
            return load_sentencepiece().SentencePieceProcessor(model_proto=self.model)
        except RuntimeError as error:
            raise UserError(f"language: these {len(self.model):,} bytes are no sentencepiece model ({error})") from error

    @property
    def size(self) -> int:
        """Number of pieces. For a tokenizer trained here the ids of actions begin at or after this."""
        return int(self._pieces.get_piece_size())

    @property
    def pieces(self) -> tuple[str, ...]:
        """Every piece as sentencepiece spells it, by id: for `action_tokens.integer_ids`."""
        return tuple(self._pieces.id_to_piece(list(range(self.size))))

    @property
    def scores(self) -> tuple[float, ...]:
        """By id: for `action_tokens.rarest_ids`."""
        return tuple(float(score) for score in self._pieces.get_score(list(range(self.size))))

    @property
    def special_ids(self) -> frozenset[int]:
        """Padding, beginning, end, unknown, and bytes: ids that must stay what they are."""
        p = self._pieces
        return frozenset(i for i in range(self.size) if p.is_control(i) or p.is_unknown(i) or p.is_byte(i))

    @property
    def plan_start(self) -> tuple[int, ...]:
        """Ids an answer with a plan begins with (`Plan:` or `TASK:`); () for the template without."""
        first = {"question": "", "plan": "Plan:", "thought": ECOT_TAGS[0]}[self.template]
        return tuple(self._text(first))

    @functools.cached_property
    def plan_end(self) -> tuple[int, ...]:
        """Ids that end a plan (`Action:`): after them the action follows. () for the template without plans."""
        last = {"question": "", "plan": f" {ACTION}", "thought": f" {ECOT_TAGS[-1]}"}[self.template]
        return tuple(self._inside(last))

    @functools.cached_property
    def plan_lasting(self) -> tuple[int, ...]:
        """Ids that end the part of a plan that is kept for some steps (`MOVE REASONING:`); () where all of it is."""
        return tuple(self._inside(f" {LAST_LASTING}")) if self.template == "thought" else ()

    def encode(self, texts: Sequence[str]) -> Int[np.ndarray, "n l"]:
        """Prompts for a robot, int32 `[n, text_length]`, 0 = padding. Long instructions are cut (`cut`, `doubts`), the
        template around them is not."""
        return self._rows("instruction", texts)

    def questions(self, texts: Sequence[str]) -> Int[np.ndarray, "n l"]:
        """Prompts as they are (web data), int32 `[n, text_length]`, 0 = padding. "" asks for nothing: a caption."""
        return self._rows("question", texts)

    def answers(self, texts: Sequence[str]) -> Int[np.ndarray, "n m"]:
        """Answers and EOS, int32 `[n, answer_length]`, 0 = padding; "" gives padding only. One that is cut has no EOS: the
        model is not to learn that it ends there."""
        return self._rows("answer", texts)

    def plans(self, texts: Sequence[str]) -> Int[np.ndarray, "n m"]:
        """What a robot says before it acts, without EOS, int32 `[n, answer_length]`, 0 = padding; "" gives padding only.

        `texts`: the plan alone ("pick rxbar chocolate") for the template "plan"; the tags of ECoT for "thought". A long plan is
        cut before its `Action:`. Raises UserError for a template without plans, NotAThought for damaged tags.
        """
        return self._rows("plan", texts)

    def decode(self, ids: Int[np.ndarray, "n m"]) -> list[str]:
        """The text of each row up to EOS. Padding, BOS and ids above the pieces (actions) are left out."""
        return [self._pieces.decode(self._up_to_the_end(row.tolist())) for row in np.asarray(ids)]

    def cut(self, kind: _Kind, texts: Iterable[str]) -> tuple[str, ...]:
        """The texts that are too long as a "instruction", "question", "answer" or "plan", each once, in order."""
        return tuple(dict.fromkeys(text for text in texts if len(self._ids(kind, text)) > self._width(kind)))

    def check(self, text: str) -> None:
        """Raises UserError for a text without words."""
        if not words_of(text):
            raise UserError(f"the instruction {text!r} has no words; say what to do")

    def doubts(self, text: str) -> list[str]:
        """Letters that the model never read, and whether the text is too long."""
        ids = self._ids("instruction", text)
        unread = self._pieces.unk_id() in ids
        lines = [f"letters never seen in training: instruction={text[:_MAX_SHOWN]!r}"] if unread else []
        if len(ids) > self.text_length:
            lines.append(f"instruction cut: max_pieces={self.text_length} needed={len(ids)} instruction={text[:_MAX_SHOWN]!r}")
        return lines

    def to_json(self) -> dict[str, Any]:
        return {
            "kind": "vla", "template": self.template, "text_length": self.text_length, "answer_length": self.answer_length,
            "model": base64.b64encode(self.model).decode(),
        }  # fmt: skip

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> VLATokenizer:
        """Inverse of `to_json`. Raises UserError for data of another kind."""
        missing = [name for name in ("template", "text_length", "answer_length", "model") if name not in data]
        if data.get("kind") != "vla" or missing:
            raise UserError(f"not a VLA tokenizer: kind {data.get('kind')!r}, keys {sorted(data)}; expected kind 'vla'")
        return cls(
            model=base64.b64decode(data["model"]), text_length=int(data["text_length"]),
            answer_length=int(data["answer_length"]), template=data["template"],
        )  # fmt: skip

    def _rows(self, kind: _Kind, texts: Sequence[str]) -> Int[np.ndarray, "n w"]:
        width, last = self._width(kind), self._last(kind)
        rows = np.zeros((len(texts), width), np.int32)
        for row, text in zip(rows, texts, strict=True):
            ids = self._ids(kind, text)
            if len(ids) > width:
                ids = ids[: width - len(last)] + last
            row[: len(ids)] = ids
        return rows

    def _width(self, kind: _Kind) -> int:
        return self.text_length if kind in ("instruction", "question") else self.answer_length

    def _ids(self, kind: _Kind, text: str) -> list[int]:
        """All of them, however many."""
        if kind == "instruction":
            return [*self._first, *self._text(self._asked(text)), *self._separator]
        if kind == "question":
            return [*self._first, *self._text(text), *self._separator]
        if not text:
            return []
        return [*self._text(text), _EOS] if kind == "answer" else self._text(self._planned(text))

    def _last(self, kind: _Kind) -> list[int]:
        """What a text ends with, also one that is cut."""
        if kind == "instruction":
            return [*self._inside("." if self.template == "plan" else _PROMPT.split("{}")[1]), *self._separator]
        return {"question": [*self._separator], "answer": [], "plan": [*self.plan_end]}[kind]

    def _asked(self, instruction: str) -> str:
        if self.template == "plan":
            return plan_prompt(instruction)
        return _PROMPT.format(" ".join(instruction.split()).rstrip(" .!?"))

    def _planned(self, text: str) -> str:
        if self.template == "question":
            raise UserError(
                f"language: there is a plan ({text[:80]!r}), but the template 'question' has none; use 'plan' or 'thought'"
            )
        if self.template == "plan":
            return render_plan(text)
        last = ECOT_TAGS[-1]
        return parse_thought(text if text.endswith(last) else f"{text} {last}", required=(last,)).render()

    @functools.cached_property
    def _first(self) -> tuple[int, ...]:
        return () if (begin := self._pieces.bos_id()) < 0 else (int(begin),)

    @functools.cached_property
    def _separator(self) -> tuple[int, ...]:
        return (int(self._pieces.piece_to_id(_SEPARATOR)),) if self._first else (_EOS,)

    def _text(self, text: str) -> list[int]:
        return [int(i) for i in self._pieces.encode(text)]

    def _inside(self, text: str) -> list[int]:
        """The ids of a text that does not begin a line."""
        return self._text(_WORD + text)[len(self._text(_WORD)) :]

    def _up_to_the_end(self, ids: list[int]) -> list[int]:
        ids = ids[: ids.index(_EOS)] if _EOS in ids else ids
        return [i for i in ids if 0 <= i < self.size and not self._pieces.is_control(i)]


def _frames(template: Template) -> list[str]:
    """What the template itself says."""
    if template == "plan":
        return [plan_prompt(_WORD), render_plan(_WORD)]
    return [_PROMPT.format(_WORD), *([" ".join(ECOT_TAGS)] if template == "thought" else [])]


def _trained(texts: Iterable[str], size: int, template: Template) -> bytes:
    given = {line for text in texts for line in text.split("\n")} - {""}
    if not given:
        raise UserError("no text in the data to train a tokenizer on; use data sets with instructions")
    # As often as there are texts: every prompt holds the words of the template, they deserve whole pieces.
    lines = sorted([*given, *_frames(template) * len(given)])
    out = io.BytesIO()
    try:
        load_sentencepiece().SentencePieceTrainer.train(
            sentence_iterator=iter(lines), model_writer=out, vocab_size=size, hard_vocab_limit=False, model_type="bpe",
            character_coverage=1.0, pad_id=_PAD, eos_id=_EOS, bos_id=_BOS, unk_id=_UNKNOWN, normalization_rule_name="identity",
            remove_extra_whitespaces=False, split_digits=True, required_chars=_ALWAYS, user_defined_symbols=[_SEPARATOR],
            max_sentence_length=1 + max(len(line.encode()) for line in lines), num_threads=1, minloglevel=2,
        )  # fmt: skip
    except RuntimeError as error:
        letters = len(set("".join(lines)))
        raise UserError(
            f"language: no tokenizer of {size} pieces for {len(lines):,} texts with {letters} different letters; each letter "
            f"needs a piece: raise the vocabulary ({error})"
        ) from error
    return out.getvalue()
