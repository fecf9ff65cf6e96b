"""Thinking before acting, as text: RT-2's plan in a sentence, and the tags of embodied chain of thought (ECoT).

    plan    Instruction: I'm hungry. Plan: pick rxbar chocolate. Action: 1 128 124 136 121 158 111 255
    ECoT    TASK: ... PLAN: ... VISIBLE OBJECTS: cup [1, 2, 3, 4], ... SUBTASK REASONING: ... SUBTASK: ...
            MOVE REASONING: ... MOVE: ... GRIPPER POSITION: [10, 20, ...] ACTION: 1 128 ...

A plan holds for several control steps; of the ECoT text what stands before the thoughts about the next move does
(`LAST_LASTING`). Texts of data sets are rendered here for training, texts of a model are parsed here, strictly.

Sources: RT-2 (arXiv 2307.15818) section 4.4; ECoT (arXiv 2407.08693) and its release for the order of tags and the part kept.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Collection
from dataclasses import dataclass

import numpy as np

from rtx.errors import UserError, WorldError

INSTRUCTION, PLAN, ACTION = "Instruction:", "Plan:", "Action:"
ECOT_TAGS = (
    "TASK:", "PLAN:", "VISIBLE OBJECTS:", "SUBTASK REASONING:", "SUBTASK:", "MOVE REASONING:", "MOVE:", "GRIPPER POSITION:",
    "ACTION:",
)  # fmt: skip
LAST_LASTING = "MOVE REASONING:"
"""The last words of an ECoT answer that may be said again for the next control steps; what follows is thought anew."""
_NUM_POSITIONS = 5  # now and the next 4 steps
_PLAN_TAG = re.compile(rf"(?:^|(?<=\s))(?:{INSTRUCTION}|{PLAN}|{ACTION})")
_ECOT_TAG = re.compile(rf"(?:^|(?<=\s))(?:{'|'.join(ECOT_TAGS)})")
_OBJECT = re.compile(r"([^\[\],]+) \[(\d{1,5}), (\d{1,5}), (\d{1,5}), (\d{1,5})\]")
_NUMBERS = re.compile(r"\[(\d{1,5}(?:, \d{1,5})*)\]")


class NotAThought(WorldError):
    """A model's text has not the parts that it must have. Nothing may move because of it."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Instruction, plan and what stands after `Action:` ("" where the action follows as tokens)."""

    instruction: str
    plan: str
    action: str = ""

    def render(self) -> str:
        return f"{plan_prompt(self.instruction)} {render_plan(self.plan)} {self.action}".rstrip()


def plan_prompt(instruction: str) -> str:
    """`"I'm hungry"` -> `"Instruction: I'm hungry."`: what a model that plans is asked."""
    return f"{INSTRUCTION} {_sentence(_without_tags(instruction, _PLAN_TAG))}"


def render_plan(plan: str) -> str:
    """`"pick rxbar chocolate"` -> `"Plan: pick rxbar chocolate. Action:"`: what it answers before the action."""
    return f"{PLAN} {_sentence(_without_tags(plan, _PLAN_TAG))} {ACTION}"


def parse_plan(text: str) -> Plan:
    """The parts of `Instruction: ... Plan: ... Action: ...`; an answer alone begins with `Plan:` (its instruction is "").

    Raises NotAThought naming the first part that is missing, empty, or there twice.
    """
    parts = _parts(text, _PLAN_TAG, (INSTRUCTION, PLAN, ACTION), required=(PLAN, ACTION))
    if not parts[PLAN]:
        raise NotAThought(f"no plan after {PLAN!r} in {text[:200]!r}")
    return Plan(
        instruction=parts.get(INSTRUCTION, "").removesuffix("."), plan=parts[PLAN].removesuffix("."), action=parts[ACTION]
    )


@dataclass(frozen=True, kw_only=True)
class SeenObject:
    """An object in the picture. `box`: x1, y1, x2, y2 in pixels."""

    name: str
    box: tuple[int, int, int, int]


@dataclass(frozen=True, kw_only=True)
class EmbodiedThought:
    """The answer of ECoT before the action. None: this part was not labelled, or left out (`thin_out`).

    `gripper`: x, y in pixels, now and in the next 4 steps.
    """

    task: str | None = None
    plan: str | None = None
    objects: tuple[SeenObject, ...] | None = None
    subtask_reasoning: str | None = None
    subtask: str | None = None
    move_reasoning: str | None = None
    move: str | None = None
    gripper: tuple[tuple[int, int], ...] | None = None

    def __post_init__(self) -> None:
        if self.gripper is not None and len(self.gripper) != _NUM_POSITIONS:
            raise UserError(
                f"thought: {len(self.gripper)} gripper positions, expected {_NUM_POSITIONS}: now and the next 4 steps"
            )

    def render(self) -> str:
        """One line that ends with `ACTION:`. Raises UserError for a text that holds a tag, or an odd object."""
        said = [
            f"{tag} {_rendered(value)}".rstrip()
            for tag, value in zip(ECOT_TAGS, _values(self), strict=False)
            if value is not None
        ]
        return " ".join([*said, ECOT_TAGS[-1]])


def parse_thought(text: str, *, required: Collection[str] = ECOT_TAGS) -> EmbodiedThought:
    """The parts of an ECoT answer; what follows `ACTION:` is not looked at.

    Raises NotAThought for tags of `required` that are missing (all are named), tags that repeat or stand in another order,
    objects without a box, or gripper positions that are not 5 pairs.
    """
    parts = _parts(text, _ECOT_TAG, ECOT_TAGS, required=required)
    texts = {tag: parts.get(tag) for tag in ECOT_TAGS}
    seen, gripper = texts["VISIBLE OBJECTS:"], texts["GRIPPER POSITION:"]
    return EmbodiedThought(
        task=texts["TASK:"],
        plan=texts["PLAN:"],
        objects=None if seen is None else _objects(seen),
        subtask_reasoning=texts["SUBTASK REASONING:"],
        subtask=texts["SUBTASK:"],
        move_reasoning=texts["MOVE REASONING:"],
        move=texts["MOVE:"],
        gripper=None if gripper is None else _positions(gripper),
    )


def thin_out(thought: EmbodiedThought, *, probability: float, rng: np.random.Generator) -> EmbodiedThought:
    """The same without parts drawn at random, so that a model learns to do with fewer. TASK stays: answers begin with it."""
    names = [field.name for field in dataclasses.fields(thought) if field.name != "task"]
    dropped = rng.uniform(size=len(names)) < probability
    return dataclasses.replace(thought, **{name: None for name, drop in zip(names, dropped, strict=True) if drop})


def _parts(text: str, tag: re.Pattern[str], order: tuple[str, ...], *, required: Collection[str]) -> dict[str, str]:
    """The text after each tag. The last tag of `order` ends the search: what follows it belongs to it whatever it is."""
    found = [(match.group(), match.start(), match.end()) for match in tag.finditer(text)]
    names = [name for name, _, _ in found]
    if order[-1] in names:
        found = found[: names.index(order[-1]) + 1]
        names = [name for name, _, _ in found]
    missing = [name for name in order if name in required and name not in names]
    if missing or not found:
        raise NotAThought(f"{', '.join(missing or order)} missing in {text[:200]!r}")
    if names != [name for name in order if name in names] or text[: found[0][1]].strip():
        raise NotAThought(f"parts must come once and in order ({' '.join(order)}), got {' '.join(names)} in {text[:200]!r}")
    ends = [*(start for _, start, _ in found[1:]), len(text)]
    return {name: text[start:end].strip() for (name, _, start), end in zip(found, ends, strict=True)}


def _sentence(text: str) -> str:
    return text if text.endswith((".", "!", "?")) else f"{text}."


def _without_tags(text: str, tag: re.Pattern[str]) -> str:
    text = " ".join(text.split())
    if hit := tag.search(text):
        raise UserError(f"the text {text[:80]!r} holds {hit.group()!r}, which marks a part of the answer; rephrase it")
    return text


def _values(thought: EmbodiedThought) -> tuple[object, ...]:
    return tuple(getattr(thought, field.name) for field in dataclasses.fields(thought))


def _rendered(value: object) -> str:
    if isinstance(value, str):
        return _without_tags(value, _ECOT_TAG)
    assert isinstance(value, tuple)
    if value and isinstance(value[0], SeenObject):
        return ", ".join(map(_rendered_object, value))
    return str([number for point in value for number in point]) if value else ""


def _rendered_object(seen: SeenObject) -> str:
    text = f"{_without_tags(seen.name, _ECOT_TAG)} {list(seen.box)}"
    if not _OBJECT.fullmatch(text):
        raise UserError(f"thought: the object {text!r} is not written as `name [x1, y1, x2, y2]` in pixels")
    return text


def _objects(text: str) -> tuple[SeenObject, ...]:
    found = []
    for part in re.split(r"(?<=\]), ", text) if text else []:
        if (match := _OBJECT.fullmatch(part)) is None:
            raise NotAThought(f"the object {part[:80]!r} is not written as `name [x1, y1, x2, y2]`")
        x1, y1, x2, y2 = map(int, match.groups()[1:])
        found.append(SeenObject(name=match.group(1), box=(x1, y1, x2, y2)))
    return tuple(found)


def _positions(text: str) -> tuple[tuple[int, int], ...]:
    match = _NUMBERS.fullmatch(text)
    numbers = [int(number) for number in match.group(1).split(", ")] if match else []
    if len(numbers) != 2 * _NUM_POSITIONS:
        raise NotAThought(f"the gripper positions {text[:80]!r} are not a list of {_NUM_POSITIONS} x, y pairs")
    return tuple(zip(numbers[::2], numbers[1::2], strict=True))
