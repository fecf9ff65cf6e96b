"""What the tasks put on the table and say about it, over many seeds."""

import numpy as np
import pytest

from rtx.eval.sim.tasks import (
    COLOURS,
    CUBE_HALF_M,
    DIRECTIONS,
    LIFT_M,
    NUM_CUBES,
    PROPS,
    PUSH_M,
    REACH_M,
    TASKS,
    Layout,
    Placed,
    State,
)

_SEEDS = range(150)


def sampled(task: str) -> list[Layout]:
    return [TASKS[task].sample(np.random.default_rng(seed)) for seed in _SEEDS]


@pytest.mark.parametrize("task", TASKS)
def test_the_same_seed_gives_the_same_layout(task):
    assert sampled(task) == sampled(task)
    assert len({layout.instruction for layout in sampled(task)}) > 10


@pytest.mark.parametrize("task", TASKS)
def test_objects_are_distinct_and_keep_their_distance(task):
    for layout in sampled(task):
        things = [*layout.cubes, *layout.props]
        assert 2 <= len(layout.cubes) <= NUM_CUBES
        assert len({cube.colour for cube in layout.cubes}) == len(layout.cubes)
        assert {cube.colour for cube in layout.cubes} <= set(COLOURS)
        assert {prop.body for prop in layout.props} <= set(PROPS)
        assert len({thing.body for thing in things}) == len(things)
        places = np.array([thing.xy for thing in things])
        apart = np.linalg.norm(places[:, None] - places[None], axis=-1) + np.eye(len(places))
        assert apart.min() >= 0.115
        assert np.all(np.abs(places) <= [0.12, 0.15])


@pytest.mark.parametrize("task", TASKS)
def test_the_sentence_names_the_target_and_no_other_cube(task):
    for layout in sampled(task):
        target = layout.target_cube
        left = [cube.xy[1] for cube in layout.cubes]
        if "leftmost" in layout.instruction:
            assert target.xy[1] == max(left)
        elif "rightmost" in layout.instruction:
            assert target.xy[1] == min(left)
        else:
            named = [colour for colour in COLOURS if colour in layout.instruction.split()]
            assert named == [target.colour]


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
    return Layout(cubes=(cube,), props=(), target=0, instruction="", direction=direction)


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
