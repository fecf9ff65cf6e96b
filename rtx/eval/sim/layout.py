"""What a task is, and the scene it is set in: things on a table, a sentence, and how far the state is from what it asks for.

    Task.sample(rng) -> Layout (cubes, props, furniture, which of them is meant, the sentence)
    Task.missing(Layout, State) -> metres to go, 0 = done

Positions are on the table, relative to the middle of the working area, in the base frame's directions: x away from the
arm, y to its left. "left" and "right" are the robot's own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from rtx.eval.sim.objects import BAR, NUM_CUBES, PROPS, TABLE, THINGS

AREA_M = np.array([0.12, 0.15])  # half extents of where things lie
APART_M = 0.115  # an open gripper fits between
MAX_YAW = np.radians(8)
REACH_M = 0.04  # from the gripper point to the middle of the target's top


@dataclass(frozen=True, kw_only=True)
class Placed:
    """One object on the table."""

    body: str
    xy: tuple[float, float]  # m, from the middle of the working area
    yaw: float  # rad
    colour: str = ""  # where it has one of the palette


@dataclass(frozen=True, kw_only=True)
class Layout:
    """One scene and what is wanted in it: `form`, filled with `words`, is what is said.

    `target` is an index into `cubes`, which in the splits of unseen objects hold something else in its place; None means
    the drawer.
    """

    cubes: tuple[Placed, ...]
    props: tuple[Placed, ...]
    target: int | None
    form: str = ""
    words: Mapping[str, str] = field(default_factory=dict)
    direction: tuple[float, float] | None = None  # of a push
    furniture: tuple[Placed, ...] = ()
    goal: str = ""  # body that the target goes on or into
    handle: str = BAR  # which of the two the drawer has
    drawer_m: float = 0.0  # how far it is out at the start
    clutter: tuple[Placed, ...] = ()  # of the split of distractors
    cloth: str = ""  # of the split of unseen backgrounds

    @property
    def instruction(self) -> str:
        return self.form.format(**self.words)

    @property
    def target_cube(self) -> Placed:
        """Of tasks with cubes."""
        assert self.target is not None, "the drawer is meant"
        return self.cubes[self.target]

    @property
    def target_body(self) -> str:
        return self.handle if self.target is None else self.target_cube.body

    @property
    def things(self) -> tuple[Placed, ...]:
        return (*self.cubes, *self.props, *self.furniture, *self.clutter)


@dataclass(frozen=True, kw_only=True)
class State:
    """What success is measured on, base frame, metres. "cube" is whatever is to be moved: in drawer tasks, the handle."""

    gripper: np.ndarray  # [3] the point between the fingertips
    cube: np.ndarray  # [3] middle of the target
    cube_start: np.ndarray  # [3]
    goal: np.ndarray | None = None  # [3] middle of what the target goes on or into
    let_go: bool = False  # the hand does not touch the target, and it lies still


@dataclass(frozen=True, kw_only=True)
class Task:
    """`missing` says how far from done a state is, in metres; 0 is done.

    `forms` are what demonstrations say, `unseen_forms` the same in words that they never use.
    """

    name: str
    max_seconds: float  # robot time a policy gets; the experts need less than half
    sample: Callable[[np.random.Generator], Layout]
    missing: Callable[[Layout, State], float]
    skill: str  # the expert that can do it
    scenes: str  # tasks of the same word here are set in the same scenes, seed for seed
    forms: tuple[str, ...]
    unseen_forms: tuple[str, ...]
    table: str = TABLE  # or BENCH


def scatter(rng: np.random.Generator, count: int, first: np.ndarray | None = None) -> np.ndarray:
    """`count` places that keep their distance, `[count, 2]`; starts over until they do."""
    while True:
        places = [] if first is None else [first]
        for _ in range(60):
            if len(places) == count:
                return np.array(places)
            place = rng.uniform(-AREA_M, AREA_M)
            if all(np.linalg.norm(place - other) >= APART_M for other in places):
                places.append(place)


def furnish(
    rng: np.random.Generator, places: np.ndarray, colours: Sequence[str]
) -> tuple[tuple[Placed, ...], tuple[Placed, ...]]:
    """Cubes of these colours at the first places `[n, 2]`, distinct props at the others."""
    num_cubes = len(colours)
    slots = rng.permutation(NUM_CUBES)
    shapes = rng.permutation(len(PROPS))
    yaws = rng.uniform(-MAX_YAW, MAX_YAW, len(places))
    spots = [(float(x), float(y)) for x, y in places]
    cubes = tuple(
        Placed(body=f"cube{slots[i]}", xy=spots[i], yaw=float(yaws[i]), colour=str(colours[i])) for i in range(num_cubes)
    )
    props = tuple(
        Placed(body=PROPS[shapes[i - num_cubes]], xy=spots[i], yaw=float(3 * yaws[i])) for i in range(num_cubes, len(places))
    )
    return cubes, props


def pick_form(rng: np.random.Generator, forms: Sequence[str]) -> str:
    return forms[int(rng.integers(len(forms)))]


def missing_reach(layout: Layout, state: State) -> float:
    top = state.cube + np.array([0, 0, THINGS[layout.target_body].half_m])
    return max(0.0, float(np.linalg.norm(state.gripper - top)) - REACH_M)
