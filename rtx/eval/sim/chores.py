"""The tasks on the bench: one thing in relation to another, things put on and into others, a drawer opened and shut.

In each the words decide: of the cubes, plates and ways that are there, any could have been meant.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from rtx.eval.sim.layout import APART_M, Layout, Placed, State, Task, furnish, missing_reach, pick_form, scatter
from rtx.eval.sim.objects import (
    BENCH,
    BOX,
    BOX_HEIGHT_M,
    BOX_INSIDE_M,
    CABINET,
    COLOURS,
    CUBE_HALF_M,
    NUM_CUBES,
    PLATE_RADIUS_M,
    PLATE_TOP_M,
    PLATES,
    TABLE,
    THINGS,
)

STACKED_M = 0.022  # sideways at most, half a cube: further out it falls
OPEN_M, SHUT_M = 0.09, 0.01  # how far a drawer is out at least, at most
_HEIGHT_M = 0.012  # that something may lie higher or lower than it should
_HELD_M = 0.01  # what counts as missing while the hand still holds what is in its place

RELATIONS: Mapping[str, tuple[float, float]] = {
    "left of": (0.0, 1.0),
    "right of": (0.0, -1.0),
    "behind": (1.0, 0.0),
    "in front of": (-1.0, 0.0),
}
_BEYOND_M = 0.05  # what is "left of" something is so far to its left, and nothing else is left of it at all

_PLATE_AREA = np.array([0.12, 0.16])
_RADIUS = {BOX: 0.095, **dict.fromkeys(PLATES, 0.075)}  # what keeps others off; of cubes and props, half of APART_M
_CABINET_X, _CABINET_Y = 0.17, (0.05, 0.08)
_FROM_CABINET_M = 0.125  # sideways; the hand that pulls needs the room before it
_LEFT_OUT_M, _HALF_OUT_M = (0.08, 0.11), (0.03, 0.05)  # how far a drawer is out at the start; half of both tasks begin half-way

# What demonstrations say, and the same in words that they never use.
_RELATED = (
    "reach the {noun} {relation} the {onto} cube",
    "move to the {noun} {relation} the {onto} cube",
    "go to the {noun} {relation} the {onto} cube",
)
_RELATED_UNSEEN = (
    "touch the {noun} that is {relation} the {onto} one",
    "which {noun} lies {relation} the {onto} cube? point at it",
    "bring your hand over to the {noun} {relation} the {onto} one",
)
_STACK = (
    "stack the {name} {noun} on the {onto} cube",
    "put the {name} {noun} on top of the {onto} cube",
    "place the {name} {noun} on the {onto} cube",
)
_STACK_UNSEEN = (
    "build a tower: the {name} {noun} goes on the {onto} cube",
    "set the {name} {noun} down upon the {onto} one",
    "I want the {onto} cube under the {name} {noun}",
)
_PLATE = ("put the {name} {noun} on the plate", "place the {name} {noun} on the plate", "move the {name} {noun} onto the plate")
_PLATE_UNSEEN = (
    "serve the {name} {noun} on the dish",
    "set the {name} {noun} down upon the plate",
    "the {name} {noun} belongs on the plate",
)
_COLOUR = tuple(form.replace("plate", "{onto} plate") for form in _PLATE)
_COLOUR_UNSEEN = (
    "serve the {name} {noun} on the {onto} dish",
    "set the {name} {noun} down upon the {onto} plate",
    "the {onto} plate is where the {name} {noun} belongs",
)
_BOX = ("put the {name} {noun} in the box", "place the {name} {noun} in the box", "move the {name} {noun} into the box")
_BOX_UNSEEN = (
    "drop the {name} {noun} inside the container",
    "clear the {name} {noun} away into the box",
    "the {name} {noun} belongs in the box",
)
_OPEN = ("open the drawer", "pull the drawer open", "pull out the drawer")
_OPEN_UNSEEN = ("I need something from the drawer", "slide the drawer out towards you", "get the drawer open please")
_SHUT = ("close the drawer", "push the drawer shut", "shut the drawer")
_SHUT_UNSEEN = ("the drawer should not be left open", "slide the drawer back in", "get the drawer closed please")


def _sample_related(rng: np.random.Generator) -> Layout:
    """Cubes until one of them is alone on one side of another."""
    while True:
        places = scatter(rng, NUM_CUBES + int(rng.integers(0, 2)))
        cubes, props = furnish(rng, places, _colours(rng, NUM_CUBES))
        relation = list(RELATIONS)[int(rng.integers(len(RELATIONS)))]
        reference = int(rng.integers(NUM_CUBES))
        target = related(cubes, reference, relation)
        if target is not None:
            words = {"noun": "cube", "relation": relation, "onto": cubes[reference].colour}
            return Layout(cubes=cubes, props=props, target=target, form=pick_form(rng, _RELATED), words=words)


def related(cubes: Sequence[Placed], reference: int, relation: str) -> int | None:
    """The one cube that is, say, left of another; None where none is, or it could be doubted which."""
    way, origin = np.array(RELATIONS[relation]), np.array(cubes[reference].xy)
    along = {i: float((np.array(cube.xy) - origin) @ way) for i, cube in enumerate(cubes) if i != reference}
    beyond = [i for i, distance in along.items() if distance > 0.0]
    return beyond[0] if len(beyond) == 1 and along[beyond[0]] >= _BEYOND_M else None


def _sample_stack(rng: np.random.Generator) -> Layout:
    num_cubes = int(rng.integers(2, NUM_CUBES + 1))
    places = scatter(rng, num_cubes + int(rng.integers(0, 2)))
    cubes, props = furnish(rng, places, _colours(rng, num_cubes))
    words = {"name": cubes[0].colour, "noun": "cube", "onto": cubes[1].colour}
    return Layout(cubes=cubes, props=props, target=0, goal=cubes[1].body, form=pick_form(rng, _STACK), words=words)


def _sample_with(rng: np.random.Generator, bodies: Sequence[str], forms: Sequence[str], colours: Sequence[str]) -> Layout:
    """Two cubes, perhaps a prop, and furniture of these colours; the first piece is the goal."""
    num_loose = 2 + int(rng.integers(0, 2))
    radii = [*(_RADIUS[body] for body in bodies), *[APART_M / 2] * num_loose]
    places = _keep_apart(rng, radii, -_PLATE_AREA, _PLATE_AREA)
    cubes, props = furnish(rng, places[len(bodies) :], _colours(rng, 2))
    furniture = tuple(
        Placed(body=body, xy=(float(x), float(y)), yaw=0.0, colour=colour)
        for body, (x, y), colour in zip(bodies, places, colours, strict=False)
    )
    words = {"name": cubes[0].colour, "noun": "cube", "onto": colours[0]}
    return Layout(
        cubes=cubes, props=props, furniture=furniture, target=0, goal=bodies[0], form=pick_form(rng, forms), words=words
    )


def _sample_plate(rng: np.random.Generator) -> Layout:
    return _sample_with(rng, PLATES[:1], _PLATE, ("",))


def _sample_colour(rng: np.random.Generator) -> Layout:
    plates = rng.permutation(PLATES).tolist()
    return _sample_with(rng, plates, _COLOUR, _colours(rng, 2))


def _sample_box(rng: np.random.Generator) -> Layout:
    return _sample_with(rng, (BOX,), _BOX, ("",))


def _sample_drawer(rng: np.random.Generator, forms: Sequence[str], out_m: tuple[float, float]) -> Layout:
    """The cabinet beyond the middle, left or right of it; cubes and perhaps a prop on the other side."""
    side = 1.0 if rng.random() < 0.5 else -1.0
    beside = side * rng.uniform(*_CABINET_Y)
    num_cubes, num_props = int(rng.integers(1, NUM_CUBES)), int(rng.integers(0, 2))
    edge, border = beside - side * _FROM_CABINET_M, -side * _PLATE_AREA[1]
    low, high = np.array([-_PLATE_AREA[0], min(edge, border)]), np.array([_PLATE_AREA[0], max(edge, border)])
    places = _keep_apart(rng, [APART_M / 2] * (num_cubes + num_props), low, high)
    cubes, props = furnish(rng, places, _colours(rng, num_cubes))
    cabinet = Placed(body=CABINET, xy=(_CABINET_X, float(beside)), yaw=0.0)
    drawer_m = float(rng.uniform(*(_HALF_OUT_M if rng.random() < 0.5 else out_m)))
    return Layout(
        cubes=cubes, props=props, furniture=(cabinet,), target=None, form=pick_form(rng, forms), drawer_m=drawer_m,
        direction=(1.0, 0.0),
    )  # fmt: skip


def _sample_open(rng: np.random.Generator) -> Layout:
    return _sample_drawer(rng, _OPEN, (0.0, 0.0))


def _sample_shut(rng: np.random.Generator) -> Layout:
    return _sample_drawer(rng, _SHUT, _LEFT_OUT_M)


def _colours(rng: np.random.Generator, count: int) -> list[str]:
    return [str(colour) for colour in rng.permutation(list(COLOURS))[:count]]


def _keep_apart(rng: np.random.Generator, radii: Sequence[float], low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """Places `[n, 2]` between `low` and `high` of circles that do not overlap; starts over until they fit."""
    while True:
        places: list[np.ndarray] = []
        for _ in range(60):
            if len(places) == len(radii):
                return np.array(places)
            place = rng.uniform(low, high)
            if all(np.linalg.norm(place - other) >= radii[len(places)] + r for other, r in zip(places, radii, strict=False)):
                places.append(place)


# what is missing


def _missing_stack(layout: Layout, state: State) -> float:
    offset = _offset(state)
    sideways = max(0.0, float(np.linalg.norm(offset[:2])) - STACKED_M)
    above = abs(offset[2] - CUBE_HALF_M - THINGS[layout.target_body].middle_m)
    return _unless_held(sideways + max(0.0, above - _HEIGHT_M), state)


def _missing_plate(layout: Layout, state: State) -> float:
    offset = _offset(state)
    sideways = max(0.0, float(np.linalg.norm(offset[:2])) - PLATE_RADIUS_M)
    above = offset[2] - PLATE_TOP_M / 2 - THINGS[layout.target_body].middle_m
    return _unless_held(sideways + max(0.0, above - _HEIGHT_M), state)


def _missing_box(layout: Layout, state: State) -> float:
    """Inside the walls, its middle no higher than a little over them."""
    offset = _offset(state)
    sideways = max(0.0, float(np.abs(offset[:2]).max()) - BOX_INSIDE_M)
    return _unless_held(sideways + max(0.0, offset[2] - BOX_HEIGHT_M / 2 - _HEIGHT_M), state)


def _missing_open(layout: Layout, state: State) -> float:
    return max(0.0, OPEN_M - layout.drawer_m - float(state.cube_start[0] - state.cube[0]))


def _missing_shut(layout: Layout, state: State) -> float:
    return max(0.0, layout.drawer_m - float(state.cube[0] - state.cube_start[0]) - SHUT_M)


def _offset(state: State) -> np.ndarray:
    assert state.goal is not None, "only in tasks with a goal"
    return state.cube - state.goal


def _unless_held(missing: float, state: State) -> float:
    return float(missing) if missing > 0 or state.let_go else _HELD_M


def _chore(
    name: str, max_seconds: float, sample: Callable[[np.random.Generator], Layout],
    missing: Callable[[Layout, State], float], forms: tuple[str, ...], unseen_forms: tuple[str, ...],
    *, skill: str, table: str = BENCH,
) -> Task:  # fmt: skip
    return Task(
        name=name, max_seconds=max_seconds, sample=sample, missing=missing, skill=skill, scenes=name, forms=forms,
        unseen_forms=unseen_forms, table=table,
    )  # fmt: skip


CHORES = (
    _chore("reach_related", 5.0, _sample_related, missing_reach, _RELATED, _RELATED_UNSEEN, skill="reach", table=TABLE),
    _chore("stack", 16.0, _sample_stack, _missing_stack, _STACK, _STACK_UNSEEN, skill="place", table=TABLE),
    _chore("place_on", 16.0, _sample_plate, _missing_plate, _PLATE, _PLATE_UNSEEN, skill="place"),
    _chore("place_on_colour", 16.0, _sample_colour, _missing_plate, _COLOUR, _COLOUR_UNSEEN, skill="place"),
    _chore("place_in", 16.0, _sample_box, _missing_box, _BOX, _BOX_UNSEEN, skill="place"),
    _chore("open_drawer", 12.0, _sample_open, _missing_open, _OPEN, _OPEN_UNSEEN, skill="open"),
    _chore("close_drawer", 8.0, _sample_shut, _missing_shut, _SHUT, _SHUT_UNSEEN, skill="close"),
)
