"""Texts in the three ways data sets store them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtx.data.texts import decode_text
from rtx.errors import WorldError


def padded(numbers, dtype=np.int32):
    return np.array([*numbers, *[0] * (600 - len(numbers))], dtype)


@given(text=st.text(alphabet=st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=100))
def test_strings_and_numbers_give_the_same_text(text):
    assert decode_text(text, "k", "w") == decode_text(text.encode(), "k", "w") == text
    assert decode_text(padded(list(text.encode())), "k", "w") == text
    if all(
        ord(letter) > 255 or ord(letter) < 128 for letter in text
    ):  # Latin-1 letters may also be UTF-8 bytes of another text
        assert decode_text(padded([ord(letter) for letter in text]), "k", "w") == text


def test_latin_letters_as_code_points_are_no_utf8_and_read_as_what_they_are():
    assert decode_text(padded([ord(letter) for letter in "öffne das Fach"]), "k", "w") == "öffne das Fach"


def answers(*texts):
    array = np.empty(len(texts), object)
    array[:] = [text.encode() for text in texts]
    return array


@pytest.mark.parametrize(
    ("given", "taken"), [(("two", "three", "three"), "three"), (("no", "yes", "yes", "no"), "no"), (("a",), "a"), ((), "")]
)
def test_of_several_answers_the_most_frequent_then_the_first(given, taken):
    assert decode_text(answers(*given), "k", "w") == taken


@pytest.mark.parametrize("bad", [b"\xff\xfe", padded([-1]), padded([0xD800]), padded([0x110000]), padded([1 << 40], np.int64)])
def test_what_is_no_text_is_named_with_its_place(bad):
    with pytest.raises(WorldError, match=r"episode 3, key 'instruction': .*(not UTF-8|neither UTF-8 bytes nor code points)"):
        decode_text(bad, "instruction", "episode 3")
