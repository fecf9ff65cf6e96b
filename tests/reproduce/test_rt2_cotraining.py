"""What the three trainings have in common and what they differ in; and that no word of the experiment falls apart."""

import dataclasses

import pytest

from rtx.errors import UserError
from rtx.eval.sim.tasks import HELD_OUT, TAUGHT
from rtx.models.vla.language import VLATokenizer
from rtx.reproduce import reproduce
from rtx.reproduce.rt2_cotraining import (
    ANSWER_LENGTH,
    FIRST,
    NUM_BINS,
    NUM_PIECES,
    PRESETS,
    RUNS,
    TEXT_LENGTH,
    VLM,
    model_config,
    train_config,
)


@pytest.mark.parametrize("preset", PRESETS)
def test_the_trainings_differ_in_start_and_questions_only(tmp_path, preset):
    plan = PRESETS[preset]
    scratch, robot, both = (train_config(tmp_path, plan, 1, run) for run in RUNS)
    vlm = train_config(tmp_path, plan, 1, VLM)
    assert vlm.train.start == str(tmp_path / "runs" / str(plan.vlm_of(1)) / "first")
    assert not train_config(tmp_path, plan, 1, FIRST).train.start
    assert not scratch.train.start
    assert robot.train.start == both.train.start == str(tmp_path / "runs" / str(plan.vlm_of(1)) / "vlm")
    assert scratch.data == robot.data
    assert dataclasses.replace(both.data, sets=robot.data.sets, batch_size=robot.data.batch_size) == robot.data
    assert len(both.data.sets) == 2
    assert both.data.sets[0].weight == both.data.sets[1].weight
    assert both.data.batch_size == 2 * robot.data.batch_size
    assert {c.train.num_steps for c in (scratch, robot, both)} == {plan.steps}
    assert {c.model for c in (scratch, robot, both)} == {robot.model}
    assert train_config(tmp_path, plan, 2, "both").run.seed != both.run.seed


def test_every_word_is_one_piece_and_every_text_fits():
    colours = (*TAUGHT, *HELD_OUT)
    places = "abcdefghijklmnop"
    texts = [f"{verb} the {colour} cube" for verb in ("reach", "move to", "go to") for colour in colours]
    texts += [f"where is the {colour} cube?" for colour in colours] + [f"which way is the {colour} cube?" for colour in colours]
    texts += [f"is there a {colour} cube?" for colour in colours] + ["what lies where?", "what colour is the leftmost cube?"]
    texts += [f"is the {one} cube to the left or to the right of the {two} cube?" for one in colours for two in colours]
    texts += [f"what colour is the cube at {row} {column}?" for row in places for column in places]
    texts += [f"{row} {column}" for row in places for column in places] + [f"{colour} a b {colour} c d" for colour in colours]
    texts += ["left", "right", "away", "closer", "left away", "right closer", "here", "yes", "no"]
    made = VLATokenizer.from_texts(texts, size=NUM_PIECES, text_length=TEXT_LENGTH, answer_length=ANSWER_LENGTH)
    assert made.size <= NUM_PIECES
    assert model_config(PRESETS["short"]).language.vocab == NUM_PIECES + NUM_BINS
    for kind, longest in (
        ("instruction", "move to the orange cube"),
        ("question", "is the orange cube to the left or to the right of the purple cube?"),
        ("answer", "orange a b purple c d yellow e f"),
    ):
        assert made.cut(kind, [longest]) == ()
    for colour in HELD_OUT:
        ids = made.answers([f"red a b {colour}"])[0]
        assert (ids != 0).sum() == 5, made.decode(ids[None])  # four words and the end


def test_names_that_there_are_not(tmp_path):
    with pytest.raises(UserError, match="unknown experiment 'rt2-cotrainin'"):
        reproduce("rt2-cotrainin", tmp_path)
    with pytest.raises(UserError, match="unknown preset 'shor'"):
        reproduce("rt2-cotraining", tmp_path, preset="shor")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_of_another_size_is_left_alone(tmp_path):
    (tmp_path / "experiment.json").write_text('{"preset": "long"}')
    with pytest.raises(UserError, match="holds a rt2-cotraining of preset 'long'"):
        reproduce("rt2-cotraining", tmp_path, preset="smoke")
