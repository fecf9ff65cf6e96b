"""The splits of a suite: the scene that a task would have had, with one thing changed that no demonstration shows.

    find_task("lift@distractors")    the task `lift`, four more things on the table
    find_task("lift@seen")           as in the demonstrations; the same as `lift`

As in the generalisation tables of RT-1 and RT-2 (distractors, unseen backgrounds, unseen objects, unseen words). What is
changed is drawn from a generator of its own: everything else is the same, seed for seed, in all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np

from rtx.errors import unknown_name
from rtx.eval.sim.layout import Layout, Placed, Task, pick_form
from rtx.eval.sim.objects import BENCH, BOX, CABINET, CLOTHS, KNOB, PALETTE, PLATES, PROPS, UNSEEN
from rtx.eval.sim.tasks import TASKS, clear_of_push

_NUM_CLUTTER = 4
_CLUTTER_AREA = np.array([0.18, 0.22])  # half extents
_DRAWS = 300  # of a place for each
_KEEP_OFF_M = {BOX: 0.125, **dict.fromkeys(PLATES, 0.095)}  # from the middle of each
_FROM_CUBE_M, _FROM_CLUTTER_M = 0.10, 0.07  # an open hand's room round what it may grasp
_FROM_CABINET_M = 0.13  # to both sides, and to those of the way that its drawer takes


def _seen(layout: Layout, task: Task, rng: np.random.Generator) -> Layout:
    return layout


def _distractors(layout: Layout, task: Task, rng: np.random.Generator) -> Layout:
    """Things of unseen shapes, and props, in colours that nothing else there has; as many as find room."""
    taken = {thing.body for thing in layout.things}
    used = {thing.colour for thing in layout.things}
    bodies = rng.permutation([body for body in (*UNSEEN, *PROPS) if body not in taken])[:_NUM_CLUTTER].tolist()
    colours = rng.permutation([colour for colour in PALETTE if colour not in used]).tolist()
    for number, body in enumerate(bodies):
        places = (rng.uniform(-_CLUTTER_AREA, _CLUTTER_AREA) for _ in range(_DRAWS))
        free = next((place for place in places if _is_free(place, layout)), None)
        if free is not None:
            colour, yaw = colours[number % len(colours)] if body in UNSEEN else "", float(rng.uniform(-np.pi, np.pi))
            thing = Placed(body=body, xy=(float(free[0]), float(free[1])), yaw=yaw, colour=colour)
            layout = replace(layout, clutter=(*layout.clutter, thing))
    return layout


def _is_free(place: np.ndarray, layout: Layout) -> bool:
    """Whether something there is in nobody's way."""
    pushed = np.array(layout.target_cube.xy) if layout.target is not None and layout.direction is not None else None
    if pushed is not None and not clear_of_push(place - pushed, np.array(layout.direction)):
        return False
    clutter = [thing.body for thing in layout.clutter]
    for thing in layout.things:
        offset = place - np.array(thing.xy)
        if thing.body == CABINET:
            near = abs(offset[1]) < _FROM_CABINET_M
        else:
            keep_off = _FROM_CLUTTER_M if thing.body in clutter else _KEEP_OFF_M.get(thing.body, _FROM_CUBE_M)
            near = float(np.linalg.norm(offset)) < keep_off
        if near:
            return False
    return True


def _unseen_objects(layout: Layout, task: Task, rng: np.random.Generator) -> Layout:
    """Something else of the same colour in the target's place, called by its name; a drawer of other make."""
    if layout.target is None:
        return replace(layout, handle=KNOB)
    body = str(rng.permutation(UNSEEN)[0])
    cubes = list(layout.cubes)
    cubes[layout.target] = replace(layout.target_cube, body=body)
    return replace(layout, cubes=tuple(cubes), words={**layout.words, "noun": body})


def _unseen_backgrounds(layout: Layout, task: Task, rng: np.random.Generator) -> Layout:
    """A tablecloth, another floor, other light."""
    return replace(layout, cloth=str(rng.permutation(CLOTHS)[0]))


def _unseen_instructions(layout: Layout, task: Task, rng: np.random.Generator) -> Layout:
    """The same in words that demonstrations do not use."""
    return replace(layout, form=pick_form(rng, task.unseen_forms))


SPLITS: Mapping[str, Callable[[Layout, Task, np.random.Generator], Layout]] = {
    "seen": _seen,
    "distractors": _distractors,
    "unseen_objects": _unseen_objects,
    "unseen_backgrounds": _unseen_backgrounds,
    "unseen_instructions": _unseen_instructions,
}
_NEED_THE_BENCH = ("distractors", "unseen_objects", "unseen_backgrounds")


def find_task(name: str) -> Task:
    """A task of `TASKS`, or one of its splits. Raises UserError with the nearest names."""
    base, _, split = name.partition("@")
    if base not in TASKS:
        raise unknown_name("task", base, TASKS)
    if split not in SPLITS:
        if "@" not in name:
            return TASKS[base]
        raise unknown_name(f"split of task {base!r}", split, SPLITS)
    task, change = TASKS[base], SPLITS[split]

    def sample(rng: np.random.Generator) -> Layout:
        (own,) = rng.spawn(1)
        return change(task.sample(rng), task, own)

    return replace(task, name=name, sample=sample, table=BENCH if split in _NEED_THE_BENCH else task.table)
