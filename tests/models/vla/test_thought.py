"""Plans and embodied chains of thought: what is rendered is read back; what is missing is named."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtx.errors import UserError
from rtx.models.vla.thought import (
    ECOT_TAGS,
    EmbodiedThought,
    NotAThought,
    Plan,
    SeenObject,
    parse_plan,
    parse_thought,
    plan_prompt,
    render_plan,
    thin_out,
)

SAMPLE = "Instruction: I'm hungry. Plan: pick rxbar chocolate. Action: 1 128 124 136 121 158 111 255"
THOUGHT = EmbodiedThought(
    task="put the carrot on the plate",
    plan="reach, grasp, place.",
    objects=(SeenObject(name="orange carrot", box=(12, 3, 40, 31)), SeenObject(name="plate", box=(60, 61, 99, 80))),
    subtask_reasoning="The carrot is not in the gripper, so it must be reached first.",
    subtask="reach the carrot",
    move_reasoning="The carrot lies to the left.",
    move="move left",
    gripper=((70, 30), (66, 30), (62, 31), (58, 31), (54, 31)),
)
RENDERED = (
    "TASK: put the carrot on the plate PLAN: reach, grasp, place. VISIBLE OBJECTS: orange carrot [12, 3, 40, 31], plate "
    "[60, 61, 99, 80] SUBTASK REASONING: The carrot is not in the gripper, so it must be reached first. SUBTASK: reach the "
    "carrot MOVE REASONING: The carrot lies to the left. MOVE: move left GRIPPER POSITION: [70, 30, 66, 30, 62, 31, 58, 31, "
    "54, 31] ACTION:"
)
TAGS = ("Instruction:", "Plan:", "Action:")
WORDS = st.lists(st.sampled_from(["pick", "it", "up.", "Plan", "TASK:", "why?", *TAGS]), min_size=1, max_size=6).map(" ".join)


def test_the_sample_of_the_paper_both_ways() -> None:
    plan = Plan(instruction="I'm hungry", plan="pick rxbar chocolate", action="1 128 124 136 121 158 111 255")
    assert plan.render() == SAMPLE
    assert parse_plan(SAMPLE) == plan
    assert plan_prompt(" I'm  hungry.") == "Instruction: I'm hungry."
    assert plan_prompt("What now?") == "Instruction: What now?"
    assert render_plan("pick rxbar chocolate") == "Plan: pick rxbar chocolate. Action:"
    assert parse_plan("Plan: pick it up. Action:") == Plan(instruction="", plan="pick it up")


@given(WORDS, WORDS)
def test_any_plan_is_refused_or_read_back(instruction: str, plan: str) -> None:
    try:
        text = Plan(instruction=instruction, plan=plan, action="7").render()
    except UserError:
        assert set(TAGS) & {*instruction.split(), *plan.split()}
        return
    back = parse_plan(text)
    assert (back.instruction, back.plan, back.action) == (instruction.removesuffix("."), plan.removesuffix("."), "7")


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("Instruction: go. Action: 1", "^Plan: missing"), ("Plan: go.", "^Action: missing"), ("", "^Plan:, Action: missing"),
        ("Plan: Action: 1", "no plan after"), ("Action: 1 Plan: go.", "^Plan: missing"),
        ("Plan: a. Plan: b. Action: 1", "once and in order"), ("I think. Plan: a. Action: 1", "once and in order"),
        ("Plan: a. Instruction: b. Action:", "once and in order"), ("plan: a. action: 1", "Plan:, Action: missing"),
    ],
)  # fmt: skip
def test_a_plan_that_lacks_a_part(text: str, match: str) -> None:
    with pytest.raises(NotAThought, match=match):
        parse_plan(text)


def test_ecot_both_ways() -> None:
    assert THOUGHT.render() == RENDERED
    assert parse_thought(RENDERED + " 1 128 MOVE: 3") == THOUGHT
    positions = [RENDERED.index(tag) for tag in ECOT_TAGS if tag != "SUBTASK:"]
    assert positions == sorted(positions)


def test_missing_tags_are_all_named() -> None:
    short = dataclasses.replace(THOUGHT, objects=None, move=None)
    with pytest.raises(NotAThought, match=r"^VISIBLE OBJECTS:, MOVE: missing"):
        parse_thought(short.render())
    assert parse_thought(short.render(), required=("TASK:", "ACTION:")) == short
    with pytest.raises(NotAThought, match=r"^ACTION: missing"):
        parse_thought(RENDERED.removesuffix("ACTION:"))
    with pytest.raises(NotAThought, match="TASK:, PLAN:"):
        parse_thought("I do not know")
    with pytest.raises(NotAThought, match=r"TASK:.* missing"):
        parse_thought("I do not know", required=())


@pytest.mark.parametrize(
    ("old", "new", "match"),
    [
        ("[12, 3, 40, 31]", "[12, 3, 40]", "object 'orange carrot"), ("[12, 3, 40, 31]", "", "the object 'orange carrot"),
        (", 54, 31]", "]", "5 x, y pairs"), ("[70, 30", "[70.5, 30", "5 x, y pairs"),
        ("MOVE: move left", "MOVE: a MOVE: b", "once"),
        ("PLAN: reach, grasp, place. VISIBLE OBJECTS:", "VISIBLE OBJECTS: PLAN: a", "in order"),
    ],
)  # fmt: skip
def test_a_thought_that_is_malformed(old: str, new: str, match: str) -> None:
    assert old in RENDERED
    with pytest.raises(NotAThought, match=match):
        parse_thought(RENDERED.replace(old, new))


def test_texts_that_cannot_be_rendered() -> None:
    with pytest.raises(UserError, match="holds 'MOVE:'"):
        dataclasses.replace(THOUGHT, plan="then MOVE: left").render()
    with pytest.raises(UserError, match="x1, y1, x2, y2"):
        dataclasses.replace(THOUGHT, objects=(SeenObject(name="a, b", box=(1, 2, 3, 4)),)).render()
    with pytest.raises(UserError, match="4 gripper positions"):
        dataclasses.replace(THOUGHT, gripper=((1, 2),) * 4)
    assert parse_thought(dataclasses.replace(THOUGHT, objects=()).render()).objects == ()


def test_parts_are_left_out_at_random_but_never_the_task() -> None:
    rng = np.random.default_rng(0)
    thinned = [thin_out(THOUGHT, probability=0.3, rng=rng) for _ in range(300)]
    assert all(thought.task == THOUGHT.task for thought in thinned)
    for name in ("plan", "objects", "subtask_reasoning", "subtask", "move_reasoning", "move", "gripper"):
        assert 55 < sum(getattr(thought, name) is None for thought in thinned) < 125  # 90 expected, 4 standard deviations
    assert thin_out(THOUGHT, probability=0.0, rng=rng) == THOUGHT
    assert parse_thought(thin_out(THOUGHT, probability=1.0, rng=rng).render(), required=()) == EmbodiedThought(
        task=THOUGHT.task
    )
