"""Held-out questions: which are asked, what counts as right, what is kept across kills, and before against after."""

import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from rtx.errors import UserError
from rtx.eval.questions import as_text, ask_all, by_kind, is_right, read_questions, retention, section
from tests.checked_html import check


def write(web: Path, count: int) -> Path:
    (web / "images").mkdir()
    for i in range((count + 1) // 2):
        data = io.BytesIO()
        Image.fromarray(np.full((8, 8, 3), i % 250, np.uint8)).save(data, "PNG")
        (web / "images" / f"{i:06d}.png").write_bytes(data.getvalue())
    rows = [
        {"image": f"images/{i // 2:06d}.png", "prefix": f"is there a {colour} cube?", "suffix": "yes", "kind": colour}
        for i, colour in zip(range(count), ["red", "blue"] * count, strict=False)
    ]
    (web / "val.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return web / "val.jsonl"


class Parrot:
    """Answers the one kind of question, and falls silent after a while if told to."""

    def __init__(self, knows: str, name: str = "parrot", *, breath: int = 1000) -> None:
        self.fingerprint, self._knows, self.breath = name, knows, breath
        self.asked: list[str] = []

    def ask(self, picture: np.ndarray, question: str) -> str:
        assert picture.shape == (8, 8, 3)
        if len(self.asked) == self.breath:
            raise KeyboardInterrupt
        self.asked.append(question)
        return "The yes." if self._knows in question else "no"


def test_as_many_as_there_are(tmp_path):
    asked = read_questions(write(tmp_path, 5), 10)
    assert len({one.key for one in asked}) == len(asked) == 5
    assert asked[3].key == "000001 is there a blue cube?"
    assert asked[3].image == tmp_path / "images" / "000001.png"


def test_some_of_many_from_the_first_to_the_last(tmp_path):
    path = write(tmp_path, 100)
    asked = read_questions(path, 10)
    assert [one.image.stem for one in asked[:: len(asked) - 1]] == ["000000", "000049"]
    assert len(asked) == 10
    assert asked == read_questions(path, 10)


def test_files_that_are_none(tmp_path):
    with pytest.raises(UserError, match="no such file of questions"):
        read_questions(tmp_path / "val.jsonl")
    (tmp_path / "val.jsonl").write_text('{"image": "a.png", "prefix": "what?"}\n')
    with pytest.raises(UserError, match=r"line 1: needs image, prefix and suffix \('suffix'\)"):
        read_questions(tmp_path / "val.jsonl")
    (tmp_path / "val.jsonl").write_text('{"image": "a.png", "prefix": "what?", "suffix": "that"}\n')
    with pytest.raises(UserError, match=r"no such picture: .*a\.png"):
        read_questions(tmp_path / "val.jsonl")


@pytest.mark.parametrize(
    ("kind", "said", "answer", "right"),
    [("", "A red cube.", "the red cube", True), ("", "red", "red cube", False), ("where", "k d", "k e", True)],
)
def test_what_counts_as_right(kind, said, answer, right):
    """Of the house's own kinds a place may be one column off; else case, articles and punctuation do not count."""
    assert is_right(kind, said, answer) is right


def test_interrupted_it_asks_on_where_it_was(tmp_path):
    asked = read_questions(write(tmp_path, 50))
    with pytest.raises(KeyboardInterrupt):
        ask_all(Parrot("red", breath=45), asked, tmp_path / "answers.json")
    rest = Parrot("red")
    answers = ask_all(rest, asked, tmp_path / "answers.json")
    assert len(rest.asked) == 10  # kept: 40, saved by the twenty
    assert {kind: rate.successes for kind, rate in by_kind(answers).items()} == {"blue": 0, "red": 25, "all": 25}
    ask_all(another := Parrot("blue", "other"), asked, tmp_path / "answers.json")
    assert len(another.asked) == 50  # answers of another checkpoint are not its own


def test_before_and_after(tmp_path):
    asked = read_questions(write(tmp_path, 60))
    before = ask_all(Parrot("is there"), asked, tmp_path / "before.json")
    after = ask_all(Parrot("red"), asked, tmp_path / "after.json")
    rows = retention(after, before)
    assert {kind: row.verdict for kind, row in rows.items()} == {
        "blue": "worse", "red": "no difference shown", "all": "worse",
    }  # fmt: skip
    assert "Answered 50 % (30/60" in as_text(after, before)
    assert "Worse (-50 points" in as_text(after, before)
    for page in (section(after, before), section(after, None)):
        assert "Held-out questions" in " ".join(check(page).text)
