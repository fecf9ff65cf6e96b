"""Words to ids and back through JSON."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtx.errors import UserError
from rtx.models.text import WordTokenizer, words_of

TEXTS = ("Push the BLUE cube to the left!", "reach the red cube.", "Lift the green cube")


def test_words() -> None:
    assert words_of("Push the Blue_cube, to  the left!") == ["push", "the", "blue", "cube", "to", "the", "left"]
    assert words_of("don't  n\N{LATIN SMALL LETTER I WITH ACUTE} 7") == ["don't", "n\N{LATIN SMALL LETTER I WITH ACUTE}", "7"]
    assert words_of(" ?! ") == []


def test_encode_pads_and_marks_unknown_words() -> None:
    tokenizer = WordTokenizer(("blue", "cube", "push"), max_length=5)
    assert tokenizer.encode(["Push, the blue cube", "", "cube"]).tolist() == [[4, 1, 2, 3, 0], [0] * 5, [3, 0, 0, 0, 0]]
    assert tokenizer.unknown_words(["Push the cube on the table"]) == ("the", "on", "table")
    assert tokenizer.size == 5


def test_case_and_punctuation_do_not_matter() -> None:
    tokenizer = WordTokenizer.from_texts(TEXTS)
    assert tokenizer.encode(["PUSH the blue cube to the left"]).tolist() == tokenizer.encode([TEXTS[0]]).tolist()


def test_vocabulary_is_stable_and_capped_by_frequency() -> None:
    assert WordTokenizer.from_texts(TEXTS) == WordTokenizer.from_texts(reversed(TEXTS))
    assert WordTokenizer.from_texts(TEXTS, max_words=2).vocabulary == ("cube", "the")


def test_truncation_is_reported() -> None:
    tokenizer = WordTokenizer.from_texts(TEXTS, max_length=4)
    assert tokenizer.encode([TEXTS[0]]).shape == (1, 4)
    assert tokenizer.truncated([*TEXTS, TEXTS[0]]) == (TEXTS[0],)
    assert WordTokenizer.from_texts(TEXTS).truncated(TEXTS) == ()


@given(st.lists(st.text(max_size=30), max_size=4))
def test_any_text_is_encoded_and_json_keeps_the_tokenizer(texts: list[str]) -> None:
    tokenizer = WordTokenizer.from_texts(texts, max_length=6)
    again = WordTokenizer.from_json(json.loads(json.dumps(tokenizer.to_json())))
    assert again == tokenizer
    ids = tokenizer.encode(texts)
    assert (again.encode(texts) == ids).all()
    assert ids.shape == (len(texts), 6)
    assert not (ids == 1).any()  # every word was seen
    assert ids.max(initial=0) < tokenizer.size


def test_refuses_nonsense() -> None:
    with pytest.raises(UserError, match="repeats"):
        WordTokenizer(("cube", "cube"))
    with pytest.raises(UserError, match="single lower-case words"):
        WordTokenizer(("Cube",))
    with pytest.raises(UserError, match="max_length"):
        WordTokenizer((), max_length=0)
    with pytest.raises(UserError, match="not a word tokenizer"):
        WordTokenizer.from_json({"kind": "sentencepiece"})
