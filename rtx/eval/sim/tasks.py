"""The language-conditioned tasks on the plain table, and the table of all tasks. No simulator in here.

Three of them belong together, to measure what a policy makes of words it was never taught to act on: `reach_taught` shows and
names cubes of `TAUGHT` colours only; `reach_seen` and `reach_unseen` are set in the same scenes, where cubes of `HELD_OUT`
colours lie beside them, and name one of the former and one of the latter.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from rtx.eval.sim.chores import CHORES
from rtx.eval.sim.layout import Layout, Placed, State, Task, furnish, missing_reach, pick_form, scatter
from rtx.eval.sim.objects import COLOURS, NUM_CUBES, PALETTE

HELD_OUT = ("blue", "orange", "pink")
TAUGHT = tuple(colour for colour in PALETTE if colour not in HELD_OUT)
DIRECTIONS: Mapping[str, tuple[float, float]] = {
    "to the left": (0.0, 1.0),
    "to the right": (0.0, -1.0),
    "away": (1.0, 0.0),
    "closer": (-1.0, 0.0),
}

PUSH_M = 0.06
PUSH_CONE = 0.7  # sideways per forward at most: 35 degrees
LIFT_M = 0.05

_PUSH_AREA = np.array([0.08, 0.10])  # room for the gripper behind the cube and for the cube ahead
_BEHIND_M, _AHEAD_M, _CORRIDOR_M = 0.11, 0.12, 0.075
_REACH_FORMS = ("reach the {name} {noun}", "move to the {name} {noun}", "go to the {name} {noun}")
_REACH_UNSEEN = (
    "touch the {name} {noun}",
    "bring your hand over to the {name} {noun}",
    "where is the {name} {noun}? point at it",
)
_PUSH_FORMS = (
    "push the {name} {noun} {direction}",
    "slide the {name} {noun} {direction}",
    "shove the {name} {noun} {direction}",
)
_PUSH_UNSEEN = (
    "nudge the {name} {noun} {direction}", "make the {name} {noun} go {direction}", "I want the {name} {noun} moved {direction}"
)  # fmt: skip
_LIFT_FORMS = ("lift the {name} {noun}", "pick up the {name} {noun}", "raise the {name} {noun}")
_LIFT_UNSEEN = (
    "grab the {name} {noun} and hold it up", "take the {name} {noun} off the table", "fetch me the {name} {noun}"
)  # fmt: skip
_BY_PLACE = 0.2  # share of "reach" that names the cube by its place


def _furnish(rng: np.random.Generator, places: np.ndarray, num_cubes: int) -> tuple[tuple[Placed, ...], tuple[Placed, ...]]:
    return furnish(rng, places, rng.permutation(list(COLOURS))[:num_cubes].tolist())


def _counts(rng: np.random.Generator) -> tuple[int, int]:
    """Cubes, and all objects: two or three cubes, half of the time a prop."""
    num_cubes = int(rng.integers(2, NUM_CUBES + 1))
    return num_cubes, num_cubes + int(rng.integers(0, 2))


def _named(
    rng: np.random.Generator, cubes: tuple[Placed, ...], props: tuple[Placed, ...], target: int, forms: Sequence[str],
    name: str = "", direction: str = "",
) -> Layout:  # fmt: skip
    """Its colour is the target's name unless another is given."""
    words = {"name": name or cubes[target].colour, "noun": "cube", "direction": direction}
    return Layout(cubes=cubes, props=props, target=target, form=pick_form(rng, forms), words=words)


def _sample_reach(rng: np.random.Generator) -> Layout:
    num_cubes, count = _counts(rng)
    cubes, props = _furnish(rng, scatter(rng, count), num_cubes)
    target = int(rng.integers(num_cubes))
    name = ""
    order = sorted(range(num_cubes), key=lambda i: cubes[i].xy[1])
    left = rng.random() < 0.5
    first, second = (order[-1], order[-2]) if left else (order[0], order[1])
    if rng.random() < _BY_PLACE and abs(cubes[first].xy[1] - cubes[second].xy[1]) > 0.06:
        target, name = first, "leftmost" if left else "rightmost"
    return _named(rng, cubes, props, target, _REACH_FORMS, name)


def _sample_taught(rng: np.random.Generator) -> Layout:
    num_cubes, count = _counts(rng)
    cubes, props = furnish(rng, scatter(rng, count), rng.permutation(TAUGHT)[:num_cubes].tolist())
    target = int(rng.integers(num_cubes))
    return _named(rng, cubes, props, target, _REACH_FORMS)


def _sample_mixed(rng: np.random.Generator, names: Sequence[str]) -> Layout:
    """Three cubes, one or two of them of held-out colours; the target is one of those whose colour is in `names`.

    Everything is drawn whatever the `names` are, so that both tasks find the same scene.
    """
    num_held_out = int(rng.integers(1, NUM_CUBES))
    held_out, taught = rng.permutation(HELD_OUT), rng.permutation(TAUGHT)
    colours = rng.permutation([*held_out[:num_held_out], *taught[: NUM_CUBES - num_held_out]]).tolist()
    cubes, props = furnish(rng, scatter(rng, NUM_CUBES + int(rng.integers(0, 2))), colours)
    choice, form = rng.random(), int(rng.integers(len(_REACH_FORMS)))
    candidates = [i for i, colour in enumerate(colours) if colour in names]
    target = candidates[int(choice * len(candidates))]
    return Layout(
        cubes=cubes, props=props, target=target, form=_REACH_FORMS[form], words={"name": colours[target], "noun": "cube"}
    )  # fmt: skip


def _sample_seen(rng: np.random.Generator) -> Layout:
    return _sample_mixed(rng, TAUGHT)


def _sample_unseen(rng: np.random.Generator) -> Layout:
    return _sample_mixed(rng, HELD_OUT)


def _sample_lift(rng: np.random.Generator) -> Layout:
    num_cubes, count = _counts(rng)
    cubes, props = _furnish(rng, scatter(rng, count), num_cubes)
    return _named(rng, cubes, props, 0, _LIFT_FORMS)


def _sample_push(rng: np.random.Generator) -> Layout:
    """The target comes first: it needs room behind it for the gripper and ahead of it to go."""
    num_cubes, count = _counts(rng)
    word = list(DIRECTIONS)[int(rng.integers(len(DIRECTIONS)))]
    direction = np.array(DIRECTIONS[word])
    while True:
        start = rng.uniform(-_PUSH_AREA, _PUSH_AREA) - 0.03 * direction
        places = scatter(rng, count, first=start)
        if all(clear_of_push(place - start, direction) for place in places[1:]):
            break
    cubes, props = _furnish(rng, places, num_cubes)
    layout = _named(rng, cubes, props, 0, _PUSH_FORMS, direction=word)
    return replace(layout, direction=(float(direction[0]), float(direction[1])))


def clear_of_push(offset: np.ndarray, direction: np.ndarray) -> bool:
    """Whether something lies so far (m) from what is pushed that it is in nobody's way."""
    along = float(offset @ direction)
    sideways = float(np.linalg.norm(offset - along * direction))
    return sideways > _CORRIDOR_M or not -_BEHIND_M - _CORRIDOR_M < along < _AHEAD_M + _CORRIDOR_M


def _missing_push(layout: Layout, state: State) -> float:
    assert layout.direction is not None
    direction = np.array(layout.direction)
    moved = (state.cube - state.cube_start)[:2]
    along = float(moved @ direction)
    sideways = float(np.linalg.norm(moved - along * direction))
    return max(0.0, PUSH_M - along, sideways - PUSH_CONE * max(along, PUSH_M))


def _missing_lift(layout: Layout, state: State) -> float:
    return max(0.0, LIFT_M - float(state.cube[2] - state.cube_start[2]))


def _task(
    name: str, max_seconds: float, sample: Callable[[np.random.Generator], Layout],
    missing: Callable[[Layout, State], float], forms: tuple[str, ...], unseen_forms: tuple[str, ...],
    *, skill: str = "", scenes: str = "",
) -> Task:  # fmt: skip
    """A skill and scenes of its own where none are given."""
    return Task(
        name=name, max_seconds=max_seconds, sample=sample, missing=missing, skill=skill or name, scenes=scenes or name,
        forms=forms, unseen_forms=unseen_forms,
    )  # fmt: skip


def _reach(name: str, sample: Callable[[np.random.Generator], Layout], scenes: str = "") -> Task:
    return _task(name, 5.0, sample, missing_reach, _REACH_FORMS, _REACH_UNSEEN, skill="reach", scenes=scenes)


TASKS: Mapping[str, Task] = {
    task.name: task
    for task in (
        _reach("reach", _sample_reach),
        _task("push", 8.0, _sample_push, _missing_push, _PUSH_FORMS, _PUSH_UNSEEN),
        _task("lift", 8.0, _sample_lift, _missing_lift, _LIFT_FORMS, _LIFT_UNSEEN),
        _reach("reach_taught", _sample_taught),
        _reach("reach_seen", _sample_seen, scenes="reach_mixed"),
        _reach("reach_unseen", _sample_unseen, scenes="reach_mixed"),
        *CHORES,
    )
}
