"""Questions about the robot's own table: where things are, which way they lie, what is what. No simulator in here.

    Sight (cubes with colour, place in the picture and on the table; the gripper) --ask(kind)--> question, true answer

Places in the picture are two letters, row then column, of a grid over the picture: as PaliGemma's location tokens, but of
one piece each in any vocabulary. "left" and "right" are the robot's own, as in the instructions of `rtx.eval.sim.tasks`.
"""

from __future__ import annotations

import string
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from rtx.eval.sim.objects import PALETTE

GRID = string.ascii_lowercase[:16]  # the first letter is the upper row or the left column
QUESTIONS = 4  # about each sight, of different kinds
_NEAR_M = 0.03  # closer than this in one direction is neither left nor right, neither away nor closer
_APART_M = 0.04  # between two cubes of which one is said to be further left


@dataclass(frozen=True, kw_only=True)
class Seen:
    """One thing: `row` and `column` of its middle in the picture, 0 to 1 from the upper left; `xy` m, base frame."""

    row: float
    column: float
    xy: tuple[float, float]
    colour: str = ""


@dataclass(frozen=True, kw_only=True)
class Sight:
    """`cubes` are of different colours."""

    cubes: tuple[Seen, ...]
    gripper: Seen


@dataclass(frozen=True, kw_only=True)
class Question:
    kind: str
    question: str
    answer: str


def ask_all(sight: Sight, turn: int, rng: np.random.Generator) -> tuple[Question, ...]:
    """`QUESTIONS` of them: what lies where, which tells most, and of the other kinds the first, counted from the `turn`-th on,
    of which something can be asked."""
    others = [kind for kind in KINDS if kind != "all"]
    in_turn = ["all", *(others[(turn + place) % len(others)] for place in range(len(others)))]
    asked = [question for kind in in_turn if (question := ask(kind, sight, rng)) is not None]
    return tuple(asked[:QUESTIONS])


def ask(kind: str, sight: Sight, rng: np.random.Generator) -> Question | None:
    """None where this sight allows no such question."""
    asked = KINDS[kind](sight, rng)
    return None if asked is None else Question(kind=kind, question=asked[0], answer=asked[1])


def is_right(kind: str, said: str, answer: str) -> bool:
    """Word for word; a place may be one row and one column off, as it can lie on the border between two."""
    if kind not in ("where", "all"):
        return said == answer
    given, wanted = said.split(), answer.split()
    return len(given) == len(wanted) and all(_is_alike(one, other) for one, other in zip(given, wanted, strict=True))


def _is_alike(word: str, wanted: str) -> bool:
    if len(wanted) > 1:  # a colour
        return word == wanted
    return len(word) == 1 and abs(ord(word) - ord(wanted)) <= 1


def place(seen: Seen) -> str:
    """`"k d"`: row, column."""
    row, column = (min(max(int(len(GRID) * share), 0), len(GRID) - 1) for share in (seen.row, seen.column))
    return f"{GRID[row]} {GRID[column]}"


def way(gripper: Seen, thing: Seen) -> str:
    """`"left"`, `"left away"`, ..., `"here"`: from the gripper to the thing over the table, as the robot sees it."""
    away, left = thing.xy[0] - gripper.xy[0], thing.xy[1] - gripper.xy[1]
    words = ["left" if left > 0 else "right"] if abs(left) > _NEAR_M else []
    words += ["away" if away > 0 else "closer"] if abs(away) > _NEAR_M else []
    return " ".join(words) or "here"


_Asked = tuple[str, str] | None


def _some(sight: Sight, rng: np.random.Generator) -> Seen:
    return sight.cubes[int(rng.integers(len(sight.cubes)))]


def _all(sight: Sight, rng: np.random.Generator) -> _Asked:
    """From left to right in the picture."""
    order = sorted(sight.cubes, key=lambda cube: cube.column)
    return "what lies where?", " ".join(f"{cube.colour} {place(cube)}" for cube in order)


def _where(sight: Sight, rng: np.random.Generator) -> _Asked:
    cube = _some(sight, rng)
    return f"where is the {cube.colour} cube?", place(cube)


def _way(sight: Sight, rng: np.random.Generator) -> _Asked:
    cube = _some(sight, rng)
    return f"which way is the {cube.colour} cube?", way(sight.gripper, cube)


def _colour(sight: Sight, rng: np.random.Generator) -> _Asked:
    cube = _some(sight, rng)
    return f"what colour is the cube at {place(cube)}?", cube.colour


def _exists(sight: Sight, rng: np.random.Generator) -> _Asked:
    there = {cube.colour for cube in sight.cubes}
    absent = [colour for colour in PALETTE if colour not in there]
    if rng.random() < 0.5:
        return f"is there a {_some(sight, rng).colour} cube?", "yes"
    return f"is there a {absent[int(rng.integers(len(absent)))]} cube?", "no"


def _side(sight: Sight, rng: np.random.Generator) -> _Asked:
    if len(sight.cubes) < 2:
        return None
    i, j = rng.permutation(len(sight.cubes))[:2].tolist()
    one, other = sight.cubes[i], sight.cubes[j]
    if abs(one.xy[1] - other.xy[1]) < _APART_M:
        return None
    question = f"is the {one.colour} cube to the left or to the right of the {other.colour} cube?"
    return question, "left" if one.xy[1] > other.xy[1] else "right"


def _outermost(sight: Sight, rng: np.random.Generator) -> _Asked:
    order = sorted(sight.cubes, key=lambda cube: cube.xy[1])
    if len(order) < 2 or order[-1].xy[1] - order[-2].xy[1] < _APART_M or order[1].xy[1] - order[0].xy[1] < _APART_M:
        return None
    word, cube = ("leftmost", order[-1]) if rng.random() < 0.5 else ("rightmost", order[0])
    return f"what colour is the {word} cube?", cube.colour


KINDS: Mapping[str, Callable[[Sight, np.random.Generator], _Asked]] = {
    "all": _all, "where": _where, "way": _way, "colour": _colour, "exists": _exists, "side": _side, "outermost": _outermost
}  # fmt: skip
