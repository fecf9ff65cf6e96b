"""Every answer is what the sight says, worked out again from the words of the question; no answer can be guessed."""

import collections
import re

import numpy as np
import pytest

from rtx.eval.sim.grounding import GRID, KINDS, QUESTIONS, Question, Seen, Sight, ask, ask_all, is_right, place, way
from rtx.eval.sim.objects import PALETTE


def some_sight(rng: np.random.Generator) -> Sight:
    colours = rng.permutation(list(PALETTE))[: rng.integers(2, 4)].tolist()
    things = [
        Seen(row=float(row), column=float(column), xy=(float(x), float(y)), colour=colour)
        for (row, column, x, y), colour in zip(rng.uniform(0, 0.3, (4, 4)), [*colours, ""], strict=False)
    ]
    return Sight(cubes=tuple(things[: len(colours)]), gripper=Seen(row=0.1, column=0.2, xy=(0.15, 0.15)))


def asked(kind: str, count: int = 400) -> list[tuple[Sight, Question]]:
    rng = np.random.default_rng(7)
    sights = [some_sight(rng) for _ in range(count)]
    return [(sight, question) for sight in sights if (question := ask(kind, sight, rng)) is not None]


def cube(sight: Sight, colour: str) -> Seen:
    return next(cube for cube in sight.cubes if cube.colour == colour)


def test_where_and_what_is_there_are_each_others_inverse():
    for sight, question in asked("where"):
        (colour,) = re.fullmatch(r"where is the (\w+) cube\?", question.question).groups()
        row, column = map(GRID.index, question.answer.split())
        assert row == int(16 * cube(sight, colour).row)
        assert column == int(16 * cube(sight, colour).column)
    for sight, question in asked("colour"):
        (at,) = re.fullmatch(r"what colour is the cube at (\w \w)\?", question.question).groups()
        assert place(cube(sight, question.answer)) == at


def test_all_of_them_from_left_to_right():
    for sight, question in asked("all"):
        words = question.answer.split()
        assert question.question == "what lies where?"
        assert {words[i]: " ".join(words[i + 1 : i + 3]) for i in range(0, len(words), 3)} == {
            cube.colour: place(cube) for cube in sight.cubes
        }
        columns = [cube(sight, colour).column for colour in words[::3]]
        assert columns == sorted(columns)


@pytest.mark.parametrize(
    ("kind", "said", "answer", "right"),
    [
        ("where", "c k", "c k", True), ("where", "d j", "c k", True), ("where", "e k", "c k", False),
        ("where", "c", "c k", False), ("where", "", "c k", False), ("where", "red k", "c k", False),
        ("all", "red c k", "red c l", True),
        ("all", "pink c k", "red c k", False), ("all", "red c k", "red c k blue a a", False),
        ("colour", "red", "red", True), ("colour", "red red", "red", False), ("way", "left", "left away", False),
    ],
)  # fmt: skip
def test_an_answer_is_right_word_for_word_and_a_place_to_one_row_and_column(kind, said, answer, right):
    assert is_right(kind, said, answer) == right


def test_places_stay_on_the_grid():
    assert place(Seen(row=-0.1, column=1.2, xy=(0.0, 0.0))) == "a p"


@pytest.mark.parametrize(
    ("xy", "words"), [((0.0, 0.1), "left"), ((0.1, -0.1), "right away"), ((-0.1, 0.02), "closer"), ((0.02, -0.02), "here")]
)
def test_the_way_is_the_robots_own(xy, words):
    assert way(Seen(row=0.0, column=0.0, xy=(0.5, 0.0)), Seen(row=0.0, column=0.0, xy=(0.5 + xy[0], xy[1]))) == words


def test_which_way_names_the_cube():
    for sight, question in asked("way"):
        (colour,) = re.fullmatch(r"which way is the (\w+) cube\?", question.question).groups()
        assert question.answer == way(sight.gripper, cube(sight, colour))


def test_yes_and_no_are_true_and_as_frequent():
    for sight, question in asked("exists"):
        (colour,) = re.fullmatch(r"is there a (\w+) cube\?", question.question).groups()
        assert question.answer == ("yes" if colour in {cube.colour for cube in sight.cubes} else "no")
    counts = collections.Counter(question.answer for _, question in asked("exists"))
    assert 160 < counts["yes"] < 240


def test_left_and_right():
    for sight, question in asked("side"):
        one, other = re.fullmatch(
            r"is the (\w+) cube to the left or to the right of the (\w+) cube\?", question.question
        ).groups()
        assert question.answer == ("left" if cube(sight, one).xy[1] > cube(sight, other).xy[1] else "right")
    for sight, question in asked("outermost"):
        (word,) = re.fullmatch(r"what colour is the (\w+)most cube\?", question.question).groups()
        furthest = {"left": max, "right": min}[word](sight.cubes, key=lambda one: one.xy[1])
        assert question.answer == furthest.colour


def test_every_sight_is_asked_about_in_several_ways_and_every_kind_has_its_turn():
    rng = np.random.default_rng(1)
    kinds = [tuple(question.kind for question in ask_all(some_sight(rng), turn, rng)) for turn in range(120)]
    assert {len(set(four)) for four in kinds} == {QUESTIONS}
    counts = collections.Counter(kind for four in kinds for kind in four)
    assert set(counts) == set(KINDS)
    assert min(counts.values()) > 30
