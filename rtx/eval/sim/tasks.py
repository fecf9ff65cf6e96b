"""The language-conditioned tasks: what lies on the table, what is said, when it is done. No simulator in here.

    Task.sample(rng) -> Layout (cubes, props, which cube, which way, the sentence)
    Task.missing(Layout, State) -> metres to go, 0 = done

Three of them belong together, to measure what a policy makes of words it was never taught to act on: `reach_taught` shows and
names cubes of `TAUGHT` colours only; `reach_seen` and `reach_unseen` are set in the same scenes, where cubes of `HELD_OUT`
colours lie beside them, and name one of the former and one of the latter.

Positions are on the table, relative to the middle of the working area, in the base frame's directions: x away from the
arm, y to its left. "left" and "right" are the robot's own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

CUBE_HALF_M = 0.0225
NUM_CUBES = 3  # at most in a scene
PROPS = ("cylinder", "ball", "slab")  # distractor shapes of dull colours, never named
COLOURS: Mapping[str, tuple[float, float, float]] = {
    "red": (0.85, 0.08, 0.08),
    "green": (0.08, 0.62, 0.12),
    "blue": (0.08, 0.20, 0.85),
    "yellow": (0.95, 0.80, 0.05),
}
PALETTE: Mapping[str, tuple[float, float, float]] = {
    **COLOURS,
    "orange": (0.95, 0.40, 0.03),
    "purple": (0.42, 0.08, 0.62),
    "cyan": (0.05, 0.72, 0.80),
    "pink": (0.95, 0.45, 0.68),
}
HELD_OUT = ("blue", "orange", "pink")
TAUGHT = tuple(colour for colour in PALETTE if colour not in HELD_OUT)
DIRECTIONS: Mapping[str, tuple[float, float]] = {
    "to the left": (0.0, 1.0),
    "to the right": (0.0, -1.0),
    "away": (1.0, 0.0),
    "closer": (-1.0, 0.0),
}

REACH_M = 0.04  # from the gripper point to the middle of the cube's top
PUSH_M = 0.06
PUSH_CONE = 0.7  # sideways per forward at most: 35 degrees
LIFT_M = 0.05

_AREA = np.array([0.12, 0.15])  # half extents of where things lie
_APART_M = 0.115  # an open gripper fits between
_PUSH_AREA = np.array([0.08, 0.10])  # room for the gripper behind the cube and for the cube ahead
_BEHIND_M, _AHEAD_M, _CORRIDOR_M = 0.11, 0.12, 0.075
_MAX_YAW = np.radians(8)
_REACH_FORMS = ("reach the {name}", "move to the {name}", "go to the {name}")
_BY_PLACE = 0.2  # share of "reach" that names the cube by its place


@dataclass(frozen=True, kw_only=True)
class Placed:
    """One object on the table."""

    body: str
    xy: tuple[float, float]  # m, from the middle of the working area
    yaw: float  # rad
    colour: str = ""  # of cubes


@dataclass(frozen=True, kw_only=True)
class Layout:
    """One scene and what is wanted in it. `target` is an index into `cubes`."""

    cubes: tuple[Placed, ...]
    props: tuple[Placed, ...]
    target: int
    instruction: str
    direction: tuple[float, float] | None = None  # of a push

    @property
    def target_cube(self) -> Placed:
        return self.cubes[self.target]


@dataclass(frozen=True, kw_only=True)
class State:
    """What success is measured on, base frame, metres."""

    gripper: np.ndarray  # [3] the point between the fingertips
    cube: np.ndarray  # [3] middle of the target
    cube_start: np.ndarray  # [3]


@dataclass(frozen=True, kw_only=True)
class Task:
    """`missing` says how far from done a state is, in metres; 0 is done."""

    name: str
    max_seconds: float  # robot time a policy gets; the experts need less than half
    sample: Callable[[np.random.Generator], Layout]
    missing: Callable[[Layout, State], float]
    skill: str  # the expert that can do it
    scenes: str  # tasks of the same word here are set in the same scenes, seed for seed


def scatter(rng: np.random.Generator, count: int, first: np.ndarray | None = None) -> np.ndarray:
    """`count` places that keep their distance, `[count, 2]`; starts over until they do."""
    while True:
        places = [] if first is None else [first]
        for _ in range(60):
            if len(places) == count:
                return np.array(places)
            place = rng.uniform(-_AREA, _AREA)
            if all(np.linalg.norm(place - other) >= _APART_M for other in places):
                places.append(place)


def _furnish(rng: np.random.Generator, places: np.ndarray, num_cubes: int) -> tuple[tuple[Placed, ...], tuple[Placed, ...]]:
    return furnish(rng, places, rng.permutation(list(COLOURS))[:num_cubes].tolist())


def furnish(
    rng: np.random.Generator, places: np.ndarray, colours: Sequence[str]
) -> tuple[tuple[Placed, ...], tuple[Placed, ...]]:
    """Cubes of these colours at the first places `[n, 2]`, distinct props at the others."""
    num_cubes = len(colours)
    slots = rng.permutation(NUM_CUBES)
    shapes = rng.permutation(len(PROPS))
    yaws = rng.uniform(-_MAX_YAW, _MAX_YAW, len(places))
    spots = [(float(x), float(y)) for x, y in places]
    cubes = tuple(
        Placed(body=f"cube{slots[i]}", xy=spots[i], yaw=float(yaws[i]), colour=str(colours[i])) for i in range(num_cubes)
    )
    props = tuple(
        Placed(body=PROPS[shapes[i - num_cubes]], xy=spots[i], yaw=float(3 * yaws[i])) for i in range(num_cubes, len(places))
    )
    return cubes, props


def _counts(rng: np.random.Generator) -> tuple[int, int]:
    """Cubes, and all objects: two or three cubes, half of the time a prop."""
    num_cubes = int(rng.integers(2, NUM_CUBES + 1))
    return num_cubes, num_cubes + int(rng.integers(0, 2))


def _sentence(rng: np.random.Generator, forms: tuple[str, ...], name: str, direction: str = "") -> str:
    return forms[int(rng.integers(len(forms)))].format(name=name, direction=direction)


def _sample_reach(rng: np.random.Generator) -> Layout:
    num_cubes, count = _counts(rng)
    cubes, props = _furnish(rng, scatter(rng, count), num_cubes)
    target = int(rng.integers(num_cubes))
    name = f"{cubes[target].colour} cube"
    order = sorted(range(num_cubes), key=lambda i: cubes[i].xy[1])
    left = rng.random() < 0.5
    first, second = (order[-1], order[-2]) if left else (order[0], order[1])
    if rng.random() < _BY_PLACE and abs(cubes[first].xy[1] - cubes[second].xy[1]) > 0.06:
        target, name = first, f"{'leftmost' if left else 'rightmost'} cube"
    sentence = _sentence(rng, _REACH_FORMS, name)
    return Layout(cubes=cubes, props=props, target=target, instruction=sentence)


def _sample_taught(rng: np.random.Generator) -> Layout:
    num_cubes, count = _counts(rng)
    cubes, props = furnish(rng, scatter(rng, count), rng.permutation(TAUGHT)[:num_cubes].tolist())
    target = int(rng.integers(num_cubes))
    sentence = _sentence(rng, _REACH_FORMS, f"{cubes[target].colour} cube")
    return Layout(cubes=cubes, props=props, target=target, instruction=sentence)


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
    sentence = _REACH_FORMS[form].format(name=f"{colours[target]} cube")
    return Layout(cubes=cubes, props=props, target=target, instruction=sentence)


def _sample_seen(rng: np.random.Generator) -> Layout:
    return _sample_mixed(rng, TAUGHT)


def _sample_unseen(rng: np.random.Generator) -> Layout:
    return _sample_mixed(rng, HELD_OUT)


def _sample_lift(rng: np.random.Generator) -> Layout:
    num_cubes, count = _counts(rng)
    cubes, props = _furnish(rng, scatter(rng, count), num_cubes)
    sentence = _sentence(rng, ("lift the {name}", "pick up the {name}", "raise the {name}"), f"{cubes[0].colour} cube")
    return Layout(cubes=cubes, props=props, target=0, instruction=sentence)


def _sample_push(rng: np.random.Generator) -> Layout:
    """The target comes first: it needs room behind it for the gripper and ahead of it to go."""
    num_cubes, count = _counts(rng)
    word = list(DIRECTIONS)[int(rng.integers(len(DIRECTIONS)))]
    direction = np.array(DIRECTIONS[word])
    while True:
        start = rng.uniform(-_PUSH_AREA, _PUSH_AREA) - 0.03 * direction
        places = scatter(rng, count, first=start)
        if all(_clear(place - start, direction) for place in places[1:]):
            break
    cubes, props = _furnish(rng, places, num_cubes)
    forms = ("push the {name} {direction}", "slide the {name} {direction}", "shove the {name} {direction}")
    sentence = _sentence(rng, forms, f"{cubes[0].colour} cube", word)
    return Layout(
        cubes=cubes, props=props, target=0, instruction=sentence, direction=(float(direction[0]), float(direction[1]))
    )


def _clear(offset: np.ndarray, direction: np.ndarray) -> bool:
    along = float(offset @ direction)
    sideways = float(np.linalg.norm(offset - along * direction))
    return sideways > _CORRIDOR_M or not -_BEHIND_M - _CORRIDOR_M < along < _AHEAD_M + _CORRIDOR_M


def _missing_reach(layout: Layout, state: State) -> float:
    top = state.cube + np.array([0, 0, CUBE_HALF_M])
    return max(0.0, float(np.linalg.norm(state.gripper - top)) - REACH_M)


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
    missing: Callable[[Layout, State], float], *, skill: str = "", scenes: str = "",
) -> Task:  # fmt: skip
    """A skill and scenes of its own where none are given."""
    return Task(
        name=name, max_seconds=max_seconds, sample=sample, missing=missing, skill=skill or name, scenes=scenes or name
    )  # fmt: skip


TASKS: Mapping[str, Task] = {
    task.name: task
    for task in (
        _task("reach", 5.0, _sample_reach, _missing_reach),
        _task("push", 8.0, _sample_push, _missing_push),
        _task("lift", 8.0, _sample_lift, _missing_lift),
        _task("reach_taught", 5.0, _sample_taught, _missing_reach, skill="reach"),
        _task("reach_seen", 5.0, _sample_seen, _missing_reach, skill="reach", scenes="reach_mixed"),
        _task("reach_unseen", 5.0, _sample_unseen, _missing_reach, skill="reach", scenes="reach_mixed"),
    )
}
