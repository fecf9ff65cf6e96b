"""What the tasks on the bench put there, say, and count as done, over many seeds. No simulator."""

from dataclasses import replace

import numpy as np
import pytest

from rtx.eval.sim import chores
from rtx.eval.sim.chores import CHORES, RELATIONS, related
from rtx.eval.sim.layout import APART_M, Layout, Placed, State
from rtx.eval.sim.objects import BOX, BOX_INSIDE_M, CABINET, COLOURS, CUBE_HALF_M, PLATE_TOP_M, PLATES, THINGS
from rtx.eval.sim.tasks import TASKS

_SEEDS = range(60)
_NAMES = [task.name for task in CHORES]


def sampled(task: str) -> list[Layout]:
    return [TASKS[task].sample(np.random.default_rng(seed)) for seed in _SEEDS]


@pytest.mark.parametrize("task", _NAMES)
def test_the_same_seed_gives_the_same_layout_and_every_sentence_occurs(task):
    assert sampled(task) == sampled(task)
    assert {layout.form for layout in sampled(task)} == set(TASKS[task].forms)
    assert not set(TASKS[task].forms) & set(TASKS[task].unseen_forms)
    for layout in sampled(task):
        for form in TASKS[task].unseen_forms:
            assert "{" not in replace(layout, form=form).instruction


@pytest.mark.parametrize("task", _NAMES)
def test_things_keep_their_distance(task):
    for layout in sampled(task):
        loose = np.array([thing.xy for thing in (*layout.cubes, *layout.props)])
        apart = np.linalg.norm(loose[:, None] - loose[None], axis=-1) + np.eye(len(loose))
        assert apart.min() >= APART_M
        assert len({thing.body for thing in layout.things}) == len(layout.things)
        for piece in layout.furniture:
            offset = loose - np.array(piece.xy)
            if piece.body == CABINET:
                assert np.abs(offset[:, 1]).min() >= 0.12
            else:
                assert np.linalg.norm(offset, axis=1).min() >= (0.15 if piece.body == BOX else 0.13)


def test_the_words_pick_one_cube_and_one_place():
    for layout in sampled("stack"):
        onto = next(cube for cube in layout.cubes if cube.body == layout.goal)
        assert layout.target_cube.colour != onto.colour
        assert [c for c in COLOURS if f"{c} cube" in layout.instruction] == sorted(
            {layout.target_cube.colour, onto.colour}, key=list(COLOURS).index
        )
    for layout in sampled("place_on_colour"):
        meant, other = layout.furniture
        assert {meant.body, other.body} == set(PLATES)
        assert layout.goal == meant.body
        assert meant.colour != other.colour
        assert f"{meant.colour} plate" in layout.instruction
        assert f"{layout.target_cube.colour} cube" in layout.instruction
    assert {layout.goal for layout in sampled("place_on_colour")} == set(PLATES)


def test_a_relation_holds_of_the_target_alone():
    said = set()
    for layout in sampled("reach_related"):
        (reference,) = [cube for cube in layout.cubes if cube.colour == layout.words["onto"]]
        way = np.array(RELATIONS[layout.words["relation"]])
        along = [float((np.array(cube.xy) - reference.xy) @ way) for cube in layout.cubes]
        assert along[layout.target] >= 0.05
        assert sum(distance > 0 for distance in along) == 1
        said.add(layout.words["relation"])
    assert said == set(RELATIONS)


def test_where_it_could_be_doubted_there_is_no_relation():
    cubes = [Placed(body=f"cube{i}", xy=(0.0, y), yaw=0.0) for i, y in enumerate((0.0, 0.1, 0.12))]
    assert related(cubes, 0, "left of") is None
    assert related(cubes, 1, "left of") is None, "too near"
    assert related(cubes, 0, "right of") is None
    assert related(cubes[:2], 0, "left of") == 1


def state(cube, *, goal=(0.5, 0.0, 0.0), start=(0.4, 0.1, CUBE_HALF_M), let_go=True) -> State:
    return State(gripper=np.zeros(3), cube=np.array(cube), cube_start=np.array(start), goal=np.array(goal), let_go=let_go)


def first(task: str) -> Layout:
    return TASKS[task].sample(np.random.default_rng(0))


def test_stacked_is_on_top_and_let_go():
    missing, layout, goal = TASKS["stack"].missing, first("stack"), (0.5, 0.0, CUBE_HALF_M)
    assert missing(layout, state((0.51, 0.01, 3 * CUBE_HALF_M), goal=goal)) == 0
    assert missing(layout, state((0.51, 0.01, 3 * CUBE_HALF_M), goal=goal, let_go=False)) > 0
    assert missing(layout, state((0.5, 0.0, 0.12), goal=goal)) > 0, "held over it"
    assert missing(layout, state((0.545, 0.0, CUBE_HALF_M), goal=goal)) > 0, "beside it"
    assert missing(layout, state((0.5, 0.03, 3 * CUBE_HALF_M), goal=goal)) == pytest.approx(0.03 - chores.STACKED_M)


def test_on_the_plate_is_low_and_within_its_rim():
    missing, layout, goal = TASKS["place_on"].missing, first("place_on"), (0.5, 0.0, PLATE_TOP_M / 2)
    assert missing(layout, state((0.53, 0.02, PLATE_TOP_M + CUBE_HALF_M), goal=goal)) == 0
    assert missing(layout, state((0.57, 0.0, CUBE_HALF_M), goal=goal)) > 0
    assert missing(layout, state((0.5, 0.0, 0.1), goal=goal)) > 0


def test_in_the_box_is_between_its_walls_and_below_their_top():
    missing, layout, goal = TASKS["place_in"].missing, first("place_in"), (0.5, 0.0, THINGS[BOX].middle_m)
    assert missing(layout, state((0.53, -0.03, 0.03), goal=goal)) == 0
    assert missing(layout, state((0.5, 0.0, 0.08), goal=goal)) > 0
    assert missing(layout, state((0.5 + BOX_INSIDE_M + 0.02, 0.0, 0.03), goal=goal)) == pytest.approx(0.02)


def test_a_drawer_is_judged_by_how_far_it_is_out():
    opened, shut = TASKS["open_drawer"].missing, TASKS["close_drawer"].missing
    start = np.array([0.5, 0.0, 0.05])
    closed = replace(first("open_drawer"), drawer_m=0.0)
    out = [state(start - [metres, 0, 0], start=start) for metres in (0.0, 0.03, chores.OPEN_M + 0.001)]
    assert [opened(closed, one) for one in out] == pytest.approx([chores.OPEN_M, chores.OPEN_M - 0.03, 0.0])
    assert opened(replace(closed, drawer_m=0.05), out[1]) == pytest.approx(chores.OPEN_M - 0.08)
    layout = first("close_drawer")
    assert shut(layout, state(start, start=start)) == pytest.approx(layout.drawer_m - chores.SHUT_M)
    assert shut(layout, state(start + np.array([layout.drawer_m, 0, 0]), start=start)) == 0
    assert {np.sign(one.furniture[0].xy[1]) for one in sampled("open_drawer")} == {-1.0, 1.0}


def test_half_open_drawers_are_to_be_opened_and_to_be_closed():
    starts = {task: np.array([layout.drawer_m for layout in sampled(task)]) for task in ("open_drawer", "close_drawer")}
    half = {task: (out >= 0.03) & (out <= 0.05) for task, out in starts.items()}
    assert all(0.3 < share.mean() < 0.7 for share in half.values())
    assert set(starts["open_drawer"][~half["open_drawer"]]) == {0.0}
    assert starts["close_drawer"][~half["close_drawer"]].min() >= 0.08
