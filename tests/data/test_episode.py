"""Episodes that are no plain RLDS: single examples with answers; instructions of the whole episode, or made of numbers."""

import dataclasses

import numpy as np
import pytest

from rtx.data.catalogue import RECORDS
from rtx.data.loader import one_pass
from rtx.data.mixture import Mixture, MixtureEntry
from rtx.data.prepare import prepare
from rtx.data.record import NO_ACTION, DatasetRecord, ImageKey
from rtx.embodiment import Camera
from rtx.errors import UserError, WorldError
from tests.data.tiny_sets import LETTERS
from tests.fakes import WIDOWX_FEATURES, feature, jpeg, listed, widowx_episode, write_rlds

VX300S = RECORDS["sim_vx300s"]
ROBOT = dataclasses.replace(VX300S.embodiment, cameras=(Camera(role="primary", resolution=(16, 16)),))
VQA = DatasetRecord(
    name="questions",
    embodiment=ROBOT,
    images={"primary": ImageKey(path="image")},
    instructions=("question/text",),
    targets=("answers/raw", "caption"),
    keys={},
    standardize=None,
    layout=NO_ACTION,
    entries="examples",
)
VQA_FEATURES = {
    "image": feature("image", (16, 16, 3)),
    "question/text": feature("text"),
    "answers/raw": listed(feature("text")),
    "caption": feature("text"),
}


def example(number, answers):
    return {
        "image": [jpeg((40 * number, 0, 9))],
        "question/text": [f"how many {number}?".encode()],
        "answers/raw": [text.encode() for text in answers],
        "caption": [b"a picture"],
    }


def write_questions(root, *, last=("x",)):
    answers = [("one", "two", "two"), ("red",), (), ("no", "yes"), last]
    return write_rlds(root, "questions", VQA_FEATURES, {"train": [[example(i, a) for i, a in enumerate(answers)]], "val": [[]]})


def test_examples_become_one_step_episodes_with_a_target(tmp_path):
    prepared = prepare(VQA, write_questions(tmp_path), tmp_path / "out", num_workers=1)
    train = prepared.split("train")
    assert train.episode_start.tolist() == [0, 1, 2, 3, 4, 5]
    assert prepared.targets == ("answers/raw", "caption")
    said = [[prepared.languages[i] for i in row] for row in train.target_id.tolist()]
    assert said == [[answer, "a picture"] for answer in ("two", "red", "", "no", "x")]
    assert [prepared.languages[i] for i in train.language_id[:, 0]] == [f"how many {i}?" for i in range(5)]
    assert not train.action.any()
    assert not any(prepared.layout.action_mask)


def test_a_mixture_of_questions_alone_loads_with_nothing_known_of_actions(tmp_path):
    prepared = prepare(VQA, write_questions(tmp_path), tmp_path / "out", num_workers=1)
    mixture = Mixture(entries=(MixtureEntry(prepared=prepared),))
    options = {"history": 1, "chunk": 2, "roles": ("primary",), "image_size": (16, 16), "tokenizers": LETTERS}
    (batch,) = one_pass(mixture, split="train", batch_size=5, **options)
    assert not batch.action_mask.any()
    assert np.isfinite(batch.action).all()
    red = batch.images["primary"][:, 0, 8, 8, 0]
    assert (red / 40).round().tolist() == [0, 1, 2, 3, 4]


def test_records_and_data_of_the_other_kind_are_told_apart(tmp_path):
    source = write_questions(tmp_path)
    with pytest.raises(UserError, match=r"is for episodes, but it has no steps/"):
        prepare(dataclasses.replace(VQA, entries="episodes"), source, tmp_path / "out")
    with pytest.raises(UserError, match=r"target: unknown key 'answer'"):
        prepare(dataclasses.replace(VQA, targets=("answer",)), source, tmp_path / "out")
    with pytest.raises(UserError, match="pass layout=NO_ACTION"):
        dataclasses.replace(VQA, layout=VX300S.layout)


def code_points(text, num_steps, length=32):
    row = [*map(ord, text), *[0] * (length - len(text))]
    return np.tile(np.array(row, np.int64), (num_steps, 1))


FEATURES = {
    **{path: leaf for path, leaf in WIDOWX_FEATURES.items() if path != "steps/language_instruction"},
    "steps/instruction": feature("tensor", (32,), dtype="int32"),
    "episode_metadata/task": feature("text"),
}
SPELLED = dataclasses.replace(VX300S, instructions=("instruction", "episode_metadata/task"))


def spelled_episode(num_steps, text):
    plain = widowx_episode(np.random.default_rng(1), num_steps)
    del plain["steps/language_instruction"]
    return {**plain, "steps/instruction": code_points(text, num_steps), "episode_metadata/task": [b"the task"]}


def test_instructions_may_be_numbers_or_belong_to_the_episode(tmp_path):
    episodes = [spelled_episode(4, "push the moon"), spelled_episode(3, "")]
    source = write_rlds(tmp_path, "sim_vx300s", FEATURES, {"train": [episodes], "val": [[]]})
    prepared = prepare(SPELLED, source, tmp_path / "out", num_workers=1)
    said = [[prepared.languages[i] for i in row] for row in prepared.split("train").language_id.tolist()]
    assert said == [["push the moon", "the task"]] * 4 + [["", "the task"]] * 3


def test_numbers_that_spell_nothing_are_named_with_their_place(tmp_path):
    bad = spelled_episode(4, "push")
    bad["steps/instruction"][2, 1] = 0x110000
    source = write_rlds(tmp_path, "sim_vx300s", FEATURES, {"train": [[bad]], "val": [[]]})
    with pytest.raises(WorldError, match=r"episode 0 of 'train', key 'instruction': .*neither UTF-8 bytes nor code points"):
        prepare(SPELLED, source, tmp_path / "out", num_workers=1)
