import numpy as np
import pytest

from rtx.errors import UserError
from rtx.models.sentences import instructions_from_json
from rtx.models.subwords import SubwordTokenizer
from rtx.models.text import InstructionEncoder

TEXTS = ("push the red cube", "Stack the blue block on the tray!", "open the drawer", "")


@pytest.fixture(scope="module")
def tokenizer():
    return SubwordTokenizer.from_texts(TEXTS, size=64, max_length=24)


def test_equal_texts_give_an_equal_tokenizer_in_any_order(tokenizer):
    again = SubwordTokenizer.from_texts([*reversed(TEXTS), TEXTS[0].upper()], size=64, max_length=24)
    assert again == tokenizer
    assert isinstance(tokenizer, InstructionEncoder)


def test_new_words_are_spelled_and_padding_is_zero(tokenizer):
    ids = tokenizer.encode(["unstack the drawer", "open", ""])
    assert (ids.dtype, ids.shape) == (np.int32, (3, 24))
    assert 1 not in ids[0]  # every letter of it was seen
    assert not ids[2].any()
    used = np.count_nonzero(ids[1])
    assert ids[1, :used].all()
    assert not ids[1, used:].any()
    assert ids.max() < tokenizer.size <= 64
    np.testing.assert_array_equal(tokenizer.encode(["OPEN the  drawer."]), tokenizer.encode(["open the drawer"]))


def test_different_sentences_get_different_ids(tokenizer):
    ids = tokenizer.encode(["push the red cube", "push the blue cube", "the red cube push"])
    assert len({row.tobytes() for row in ids}) == 3


def test_it_comes_back_from_json(tokenizer):
    data = tokenizer.to_json()
    assert instructions_from_json(data) == tokenizer
    with pytest.raises(UserError, match="kind 'words'"):
        SubwordTokenizer.from_json({"kind": "words"})


def test_doubts_and_refusals(tokenizer):
    assert tokenizer.doubts("open the drawer") == []
    assert "letters never seen" in tokenizer.doubts("open the jar")[0]
    assert "instruction cut" in tokenizer.doubts("the " * 20)[-1]
    with pytest.raises(UserError, match="has no words"):
        tokenizer.check(" ?! ")
    with pytest.raises(UserError, match="no instruction in the data"):
        SubwordTokenizer.from_texts(["", "!"], size=64)
