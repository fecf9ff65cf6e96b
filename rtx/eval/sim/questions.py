"""Questions about a scene, and scenes that have a wanted answer: no simulator in here.

    deal(seed, index) -> what is asked and what the answer shall be     every answer of a question equally often
    compose(deal, cubes from left to right) -> colours, question        such that the answer is true

"Left" and "right" are those of the picture.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from rtx.eval.seeds import seed_for
from rtx.eval.sim.objects import COLOURS, NUM_CUBES
from rtx.robots.sim_arms import SIM_ARMS

_LARGER = 1.35  # edge of the larger cube over that of the smaller, at least: seen as such also if it lies further away
_NUMBERS = ("second", "third")


@dataclass(frozen=True, kw_only=True)
class Deal:
    """What scene `index` is to be."""

    index: int
    kind: str
    answer: str
    arm: str
    num_cubes: int


@dataclass(frozen=True, kw_only=True)
class Composed:
    """`colours` of the cubes, from left to right."""

    question: str
    colours: tuple[str, ...]


def deal(seed: int, index: int) -> Deal:
    """Kinds take turns; the answers of each kind, the robots and the numbers of cubes come in shuffled packs."""
    kind = list(_KINDS)[index % len(_KINDS)]
    turn = index // len(_KINDS)
    answer = _dealt(_KINDS[kind].answers, turn, seed, f"{kind} answer")
    arm = answer if kind == "robot" else _dealt([_short(name) for name in SIM_ARMS], turn, seed, f"{kind} robot")
    fewest = _KINDS[kind].fewest_cubes
    counts = [str(n) for n in range(fewest, NUM_CUBES + 1)]
    num_cubes = answer if kind == "count" else _dealt(counts, turn, seed, f"{kind} cubes")
    return Deal(index=index, kind=kind, answer=answer, arm=f"sim_{arm}", num_cubes=int(num_cubes))


def compose(dealt: Deal, halves: Sequence[float], rng: np.random.Generator) -> Composed | None:
    """`halves`: half the edges (m) of the cubes, from left to right. None where such cubes cannot have the answer."""
    return _KINDS[dealt.kind].compose(dealt.answer, halves, rng)


def _dealt(choices: Sequence[str], turn: int, seed: int, what: str) -> str:
    pack, place = divmod(turn, len(choices))
    return choices[np.random.default_rng(seed_for("questions", seed, what, pack)).permutation(len(choices))[place]]


def _short(arm: str) -> str:
    return arm.removeprefix("sim_")


def _colour(answer: str, halves: Sequence[float], rng: np.random.Generator) -> Composed:
    n = len(halves)
    at = int(rng.integers(n))
    colours = [str(c) for c in rng.choice(list(COLOURS), n)]
    colours[at] = answer
    if n == 1:
        which = "cube"
    elif at in (0, n - 1):
        which = f"{'left' if at == 0 else 'right'}most cube in the picture"
    elif rng.random() < 0.5:
        which = f"{_NUMBERS[at - 1]} cube from the left in the picture"
    else:
        which = f"{_NUMBERS[n - at - 2]} cube from the right in the picture"
    return Composed(question=f"what colour is the {which}?", colours=tuple(colours))


def _count(answer: str, halves: Sequence[float], rng: np.random.Generator) -> Composed:
    assert int(answer) == len(halves)
    colours = tuple(str(c) for c in rng.choice(list(COLOURS), len(halves)))
    return Composed(question="how many cubes are on the table?", colours=colours)


def _side(answer: str, halves: Sequence[float], rng: np.random.Generator) -> Composed:
    colours = _different(len(halves), rng)
    first, second = sorted(rng.choice(len(halves), 2, replace=False).tolist())
    if answer == "right":
        first, second = second, first
    question = f"is the {colours[first]} cube to the left or to the right of the {colours[second]} cube in the picture?"
    return Composed(question=question, colours=colours)


def _larger(answer: str, halves: Sequence[float], rng: np.random.Generator) -> Composed | None:
    pairs = [(i, j) for i in range(len(halves)) for j in range(len(halves)) if halves[i] >= _LARGER * halves[j]]
    if not pairs:
        return None
    large, small = pairs[int(rng.integers(len(pairs)))]
    colours = list(_different(len(halves), rng))
    if answer in colours:
        colours[colours.index(answer)] = colours[large]
    colours[large] = answer
    named = [colours[large], colours[small]]
    first, second = named if rng.random() < 0.5 else named[::-1]
    return Composed(question=f"which cube is larger, the {first} or the {second} one?", colours=tuple(colours))


def _robot(answer: str, halves: Sequence[float], rng: np.random.Generator) -> Composed:
    colours = tuple(str(c) for c in rng.choice(list(COLOURS), len(halves)))
    return Composed(question="which robot is this?", colours=colours)


def _exists(answer: str, halves: Sequence[float], rng: np.random.Generator) -> Composed:
    colours = tuple(str(c) for c in rng.choice(list(COLOURS), len(halves)))
    asked = sorted(set(colours) if answer == "yes" else set(COLOURS) - set(colours))
    return Composed(question=f"is there a {rng.choice(asked)} cube on the table?", colours=colours)


def _different(count: int, rng: np.random.Generator) -> tuple[str, ...]:
    return tuple(str(c) for c in rng.permutation(list(COLOURS))[:count])


@dataclass(frozen=True, kw_only=True)
class _Kind:
    answers: tuple[str, ...]
    fewest_cubes: int
    compose: Callable[[str, Sequence[float], np.random.Generator], Composed | None]


_KINDS: Mapping[str, _Kind] = {
    "colour": _Kind(answers=tuple(COLOURS), fewest_cubes=1, compose=_colour),
    "count": _Kind(answers=tuple(str(n) for n in range(NUM_CUBES + 1)), fewest_cubes=0, compose=_count),
    "side": _Kind(answers=("left", "right"), fewest_cubes=2, compose=_side),
    "larger": _Kind(answers=tuple(COLOURS), fewest_cubes=2, compose=_larger),
    "robot": _Kind(answers=tuple(_short(name) for name in SIM_ARMS), fewest_cubes=0, compose=_robot),
    "exists": _Kind(answers=("yes", "no"), fewest_cubes=1, compose=_exists),
}
