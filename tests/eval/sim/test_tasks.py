"""What the tasks of the plain table put on it and say about it, over many seeds. The others: test_chores.py."""

import numpy as np
import pytest

from rtx.eval.sim.layout import REACH_M, Layout, Placed, State
from rtx.eval.sim.objects import COLOURS, CUBE_HALF_M, NUM_CUBES, PALETTE, PROPS
from rtx.eval.sim.tasks import DIRECTIONS, HELD_OUT, LIFT_M, PUSH_M, TASKS, TAUGHT

_SEEDS = range(150)
_SPLIT = ("reach_taught", "reach_seen", "reach_unseen")
_PLAIN = ("reach", "push", "lift", *_SPLIT)


def sampled(task: str) -> list[Layout]:
    return [TASKS[task].sample(np.random.default_rng(seed)) for seed in _SEEDS]


@pytest.mark.parametrize("task", _PLAIN)
def test_the_same_seed_gives_the_same_layout(task):
    assert sampled(task) == sampled(task)
    fewest = 3 * len(HELD_OUT)  # forms of a sentence times names, of the task with the fewest
    assert len({layout.instruction for layout in sampled(task)}) >= fewest


@pytest.mark.parametrize("task", _PLAIN)
def test_objects_are_distinct_and_keep_their_distance(task):
    for layout in sampled(task):
        things = [*layout.cubes, *layout.props]
        assert 2 <= len(layout.cubes) <= NUM_CUBES
        assert len({cube.colour for cube in layout.cubes}) == len(layout.cubes)
        assert {cube.colour for cube in layout.cubes} <= set(PALETTE if task in _SPLIT else COLOURS)
        assert {prop.body for prop in layout.props} <= set(PROPS)
        assert len({thing.body for thing in things}) == len(things)
        places = np.array([thing.xy for thing in things])
        apart = np.linalg.norm(places[:, None] - places[None], axis=-1) + np.eye(len(places))
        assert apart.min() >= 0.115
        assert np.all(np.abs(places) <= [0.12, 0.15])


@pytest.mark.parametrize("task", _PLAIN)
def test_the_sentence_names_the_target_and_no_other_cube(task):
    for layout in sampled(task):
        target = layout.target_cube
        left = [cube.xy[1] for cube in layout.cubes]
        if "leftmost" in layout.instruction:
            assert target.xy[1] == max(left)
        elif "rightmost" in layout.instruction:
            assert target.xy[1] == min(left)
        else:
            named = [colour for colour in PALETTE if colour in layout.instruction.split()]
            assert named == [target.colour]


def colours(layout: Layout) -> set[str]:
    return {cube.colour for cube in layout.cubes}


def test_what_is_held_out_is_neither_shown_nor_named_in_demonstrations():
    assert not set(HELD_OUT) & set(TAUGHT)
    assert set(HELD_OUT) | set(TAUGHT) == set(PALETTE)
    taught = sampled("reach_taught")
    assert set().union(*map(colours, taught)) == {layout.target_cube.colour for layout in taught} == set(TAUGHT)


def test_seen_and_unseen_words_are_asked_for_in_the_same_scenes():
    pairs = list(zip(sampled("reach_seen"), sampled("reach_unseen"), strict=True))
    for seen, unseen in pairs:
        assert (seen.cubes, seen.props) == (unseen.cubes, unseen.props)
        assert seen.target_cube.colour in TAUGHT
        assert unseen.target_cube.colour in HELD_OUT
    assert {unseen.target_cube.colour for _, unseen in pairs} == set(HELD_OUT)
    assert {len(colours(seen) & set(HELD_OUT)) for seen, _ in pairs} == {1, 2}
    assert TASKS["reach_seen"].scenes == TASKS["reach_unseen"].scenes


def test_all_places_and_directions_occur():
    said = " | ".join(layout.instruction for layout in sampled("reach") + sampled("push"))
    for word in ("leftmost", "rightmost", *DIRECTIONS):
        assert word in said


def test_a_push_says_where_to_and_has_room():
    for layout in sampled("push"):
        (word,) = [word for word in DIRECTIONS if layout.instruction.endswith(word)]
        assert layout.direction == DIRECTIONS[word]
        direction, start = np.array(layout.direction), np.array(layout.target_cube.xy)
        for thing in (*layout.cubes[1:], *layout.props):
            offset = np.array(thing.xy) - start
            along = offset @ direction
            sideways = np.linalg.norm(offset - along * direction)
            assert sideways > 0.07 or along < -0.15 or along > 0.15


def layout(direction=None) -> Layout:
    cube = Placed(body="cube0", xy=(0.0, 0.0), yaw=0.0, colour="red")
    return Layout(cubes=(cube,), props=(), target=0, direction=direction)


def state(*, gripper=(0, 0, 0.3), moved=(0, 0, 0)) -> State:
    start = np.array([0.5, 0.1, CUBE_HALF_M])
    return State(gripper=start + gripper, cube=start + moved, cube_start=start)


def test_a_reach_is_done_within_its_radius_of_the_top():
    done, missing = TASKS["reach"].missing, layout()
    assert done(missing, state(gripper=(0, REACH_M - 1e-6, CUBE_HALF_M))) == 0
    assert done(missing, state(gripper=(0, 0, CUBE_HALF_M + REACH_M + 0.01))) == pytest.approx(0.01)


@pytest.mark.parametrize("direction", DIRECTIONS.values())
def test_a_push_counts_only_its_own_direction(direction):
    forward = np.array([*direction, 0.0])
    sideways = np.array([-direction[1], direction[0], 0.0])
    missing, task = TASKS["push"].missing, layout(direction)
    assert missing(task, state(moved=(PUSH_M + 1e-6) * forward)) == 0
    assert missing(task, state(moved=-0.2 * forward)) > 0
    assert missing(task, state(moved=0.2 * sideways)) > 0
    assert missing(task, state(moved=0.5 * PUSH_M * forward)) == pytest.approx(0.5 * PUSH_M)
    assert missing(task, state(moved=PUSH_M * forward + 0.9 * PUSH_M * sideways)) > 0


def test_a_lift_is_done_above_its_height():
    missing = TASKS["lift"].missing
    assert missing(layout(), state(moved=(0.3, 0, LIFT_M))) == pytest.approx(0)
    assert missing(layout(), state(moved=(0, 0, 0.01))) == pytest.approx(LIFT_M - 0.01)
