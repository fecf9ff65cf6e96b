"""What a VLA reads and writes: templates by hand, widths, and the id conventions of Gemma and T5."""

from __future__ import annotations

import io
import json
import pickle

import numpy as np
import pytest
import sentencepiece

from rtx.errors import UserError
from rtx.models.sentences import instructions_from_json
from rtx.models.text import InstructionEncoder
from rtx.models.vla.action_tokens import integer_ids, rarest_ids, tail_ids
from rtx.models.vla.language import VLATokenizer
from rtx.models.vla.thought import NotAThought, parse_plan

TEXTS = (
    "push the Red cube", "stack the blue block on the tray!", "what colour is the cube?", "red", "", "a blue block\non a tray",
    "caption en", "reach left, then 12 cm down.", "  two  spaces",
)  # fmt: skip


def trained(**changes) -> VLATokenizer:
    return VLATokenizer.from_texts(TEXTS, **({"size": 400, "text_length": 24, "answer_length": 12} | changes))


def spelled(tokenizer: VLATokenizer, ids: np.ndarray) -> str:
    """All pieces, special ones included."""
    return "".join(tokenizer.pieces[i] for i in ids if i)


def public(kind: str) -> bytes:
    """A small sentencepiece model with the ids of Gemma's or of T5's file; Gemma's digits are pieces, T5's has numbers."""
    out = io.BytesIO()
    ids = {"gemma": {"bos_id": 2, "unk_id": 3, "add_dummy_prefix": False}, "t5": {"bos_id": -1, "unk_id": 2}}[kind]
    lines = [*TEXTS, "Q: what action should the robot take to the? A:", "Plan: the. Action:", "12 129 12 129 0 1 2 9"]
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter([line for line in lines if line and "\n" not in line]), model_writer=out, vocab_size=150,
        hard_vocab_limit=False, model_type="bpe", character_coverage=1.0, pad_id=0, eos_id=1, minloglevel=2, num_threads=1,
        normalization_rule_name="identity", user_defined_symbols=["\n"] if kind == "gemma" else [], **ids,
    )  # fmt: skip
    return out.getvalue()


@pytest.fixture(scope="module")
def tokenizer() -> VLATokenizer:
    return trained()


def test_equal_texts_give_an_equal_tokenizer_in_any_order(tokenizer: VLATokenizer) -> None:
    again = VLATokenizer.from_texts([*reversed(TEXTS), TEXTS[0]], size=400, text_length=24, answer_length=12)
    assert again == tokenizer
    assert isinstance(tokenizer, InstructionEncoder)
    assert tokenizer.pieces[:5] == ("<pad>", "</s>", "<s>", "<unk>", "\n")
    assert tokenizer.size == len(tokenizer.pieces) == len(tokenizer.scores) <= 400
    assert min(tail_ids(tokenizer.size + 256, 256)) == tokenizer.size


def test_prompts_by_hand(tokenizer: VLATokenizer) -> None:
    rows = tokenizer.encode(["push the Red  cube."])
    assert (rows.dtype, rows.shape) == (np.int32, (1, 24))
    blank = "\N{LOWER ONE EIGHTH BLOCK}"
    expected = " Q: what action should the robot take to push the Red cube? A:".replace(" ", blank)
    assert spelled(tokenizer, rows[0]) == f"<s>{expected}\n"
    assert spelled(tokenizer, tokenizer.questions(["what colour is  it?"])[0]) == "<s> what colour is  it?\n".replace(
        " ", blank
    )
    assert tokenizer.questions([""])[0, :3].tolist() == [2, 4, 0]
    assert spelled(tokenizer, tokenizer.answers(["red"])[0]) == f"{blank}red</s>"
    assert not tokenizer.answers([""]).any()
    for row in rows:
        used = np.count_nonzero(row)
        assert row[:used].all()


def test_texts_come_back_with_case_digits_and_spaces(tokenizer: VLATokenizer) -> None:
    texts = ["Red 129", "  two  spaces", "a blue block\non a tray", "reach left, then 1 cm down."]
    wide = trained(answer_length=40)
    assert wide.decode(wide.answers(texts)) == texts
    ids = wide.answers(texts[:1])
    with_actions = np.concatenate([ids[:, :2], [[wide.size, wide.size + 255]], ids[:, 2:]], axis=1)
    assert wide.decode(with_actions) == texts[:1]  # ids of actions are not text
    after = np.concatenate([ids, ids], axis=1)
    assert wide.decode(after) == texts[:1]  # nothing counts after the end


def test_a_long_instruction_is_cut_inside_the_template(tokenizer: VLATokenizer) -> None:
    long = "push the Red cube " * 9
    row = tokenizer.encode([long])[0]
    assert row.all()
    text = tokenizer.decode(row[None])[0]
    assert text.startswith("Q: what action should the robot take to push the Red cube push")
    assert text.endswith("? A:\n")
    assert tokenizer.cut("instruction", [long, "push", long]) == (long,)
    assert "instruction cut: max_pieces=24 needed=" in tokenizer.doubts(long)[-1]
    assert tokenizer.doubts("push the cube") == []
    assert "letters never seen" in tokenizer.doubts("push the \N{SNOWMAN}")[0]


def test_a_cut_answer_has_no_end(tokenizer: VLATokenizer) -> None:
    long = "red red red red red red red red red red red red red"
    row = tokenizer.answers([long, "red"])
    assert row[0].all()
    assert 1 not in row[0]
    assert 1 in row[1]
    assert tokenizer.cut("answer", [long, "red"]) == (long,)
    assert tokenizer.questions(["cube " * 40])[0, -1] == 4


def test_plans() -> None:
    plans = trained(template="plan", answer_length=16, text_length=16)
    assert plans.decode(plans.encode(["push the cube"])) == ["Instruction: push the cube.\n"]
    rows = plans.plans(["reach left", "", "reach left, then 12 cm down, then reach left, then 12 cm down"])
    assert plans.decode(rows[:1]) == ["Plan: reach left. Action:"]
    assert not rows[1].any()
    assert rows[2].all()
    assert parse_plan(plans.decode(rows[2:])[0]).plan.startswith("reach left, then 12 cm")
    for row in rows[[0, 2]]:
        used = row[row != 0].tolist()
        assert tuple(used[: len(plans.plan_start)]) == plans.plan_start
        assert tuple(used[-len(plans.plan_end) :]) == plans.plan_end
        assert 1 not in used
    with pytest.raises(UserError, match="template 'question' has none"):
        trained().plans(["reach left"])
    assert not trained().plans([""]).any()


def test_thoughts_and_the_part_that_is_said_again() -> None:
    thoughts = trained(template="thought", answer_length=200)
    text = "TASK: push PLAN: reach left SUBTASK: reach MOVE REASONING: it is left MOVE: left GRIPPER POSITION: []"
    text = text.replace("[]", "[1, 2, 3, 4, 5, 6, 7, 8, 9, 10]")
    row = thoughts.plans([text])
    assert thoughts.decode(row) == [f"{text} ACTION:"]
    used = row[0][row[0] != 0].tolist()
    assert tuple(used[: len(thoughts.plan_start)]) == thoughts.plan_start
    assert tuple(used[-len(thoughts.plan_end) :]) == thoughts.plan_end
    ends = [i for i in range(len(used)) if tuple(used[: i + 1][-len(thoughts.plan_lasting) :]) == thoughts.plan_lasting]
    assert [thoughts.decode(row[:, : i + 1])[0] for i in ends] == [text[: text.index(" it is left")]]
    assert trained(template="plan").plan_lasting == ()
    with pytest.raises(NotAThought, match="in order"):
        thoughts.plans(["PLAN: reach TASK: push"])


def test_a_file_of_gemma() -> None:
    gemma = VLATokenizer(model=public("gemma"), text_length=60, answer_length=20)
    row = gemma.encode(["push the cube"])[0]
    newline = gemma.pieces.index("\n")
    assert (row[0], row[row != 0][-1]) == (2, newline)
    assert gemma.decode(row[None]) == ["Q: what action should the robot take to push the cube? A:\n"]
    assert gemma.decode(gemma.answers(["red"])) == ["red"]
    assert gemma.special_ids == {0, 1, 2, 3}
    assert not gemma.special_ids & set(rarest_ids(gemma.scores, 20, keep=gemma.special_ids))


def test_a_file_of_t5() -> None:
    t5 = VLATokenizer(model=public("t5"), text_length=60, answer_length=20)
    row = t5.encode(["push the cube"])[0]
    assert row[row != 0][-1] == 1
    assert 2 not in row  # neither unknown nor BOS
    assert t5.decode(row[None]) == ["Q: what action should the robot take to push the cube? A:"]
    assert t5.questions([""])[0, :2].tolist() == [1, 0]
    assert [t5.pieces[i].strip("\N{LOWER ONE EIGHTH BLOCK}") for i in integer_ids(t5.pieces, 3)] == ["0", "1", "2"]


def test_it_comes_back_from_json_and_from_a_file(tokenizer: VLATokenizer, tmp_path) -> None:
    assert instructions_from_json(json.loads(json.dumps(tokenizer.to_json()))) == tokenizer
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(tokenizer)).encode(TEXTS), tokenizer.encode(TEXTS))
    (tmp_path / "tokenizer.model").write_bytes(tokenizer.model)
    assert VLATokenizer.from_file(tmp_path / "tokenizer.model", text_length=24, answer_length=12) == tokenizer
    with pytest.raises(UserError, match=r"spiece\.model"):
        VLATokenizer.from_file(tmp_path / "no.model", text_length=24, answer_length=12)
    with pytest.raises(UserError, match="kind 'words'"):
        VLATokenizer.from_json({"kind": "words"})


def test_what_is_refused(tokenizer: VLATokenizer) -> None:
    with pytest.raises(UserError, match="has no words"):
        tokenizer.check(" ?! ")
    with pytest.raises(UserError, match="no text in the data"):
        VLATokenizer.from_texts(["", "\n"], size=64, text_length=24, answer_length=12)
    with pytest.raises(UserError, match="needs a piece"):
        trained(size=20)
    with pytest.raises(UserError, match="text_length 9 holds no prompt"):
        trained(text_length=9)
    with pytest.raises(UserError, match="answer_length 1 holds no answer"):
        trained(template="plan", answer_length=1)
    foreign = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(TEXTS[:3]), model_writer=foreign, vocab_size=60, hard_vocab_limit=False, minloglevel=2
    )
    with pytest.raises(UserError, match="padding -1 and end of text 2, expected 0 and 1"):
        VLATokenizer(model=foreign.getvalue(), text_length=24, answer_length=12)
    with pytest.raises(UserError, match="lacks letters of the template 'TASK:"):
        VLATokenizer(model=public("t5"), text_length=60, answer_length=20, template="thought")
    with pytest.raises(UserError, match="no sentencepiece model"):
        VLATokenizer(model=b"nonsense", text_length=24, answer_length=12)
