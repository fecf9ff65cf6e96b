"""A table of instruction vectors: found whatever the case, refused with the nearest, the same after JSON."""

from __future__ import annotations

import json

import numpy as np
import pytest

from rtx.errors import UserError
from rtx.models.sentences import SentenceTable, instructions_from_json
from rtx.models.text import InstructionEncoder, WordTokenizer

TABLE = SentenceTable(("pick rxbar", "close  Drawer"), np.arange(6, dtype=np.float32).reshape(2, 3), encoder="an encoder")


def test_vectors_by_text() -> None:
    assert isinstance(TABLE, InstructionEncoder)
    rows = TABLE.encode(["close drawer", "", " Pick RXBar "])
    assert rows.dtype == np.float32
    assert rows.tolist() == [[3, 4, 5], [0, 0, 0], [0, 1, 2]]
    assert TABLE.doubts("") == ["empty instruction: the policy is given a vector of zeros"]
    assert TABLE.doubts("pick rxbar") == []


def test_an_unknown_text_is_refused_with_the_nearest() -> None:
    with pytest.raises(UserError, match=r"'pick rxbars'; did you mean 'pick rxbar'.*an encoder\) to its sentence table"):
        TABLE.check("pick rxbars")
    with pytest.raises(UserError, match="unknown instruction"):
        TABLE.encode(["fly"])


def test_json_keeps_every_bit() -> None:
    values = np.random.default_rng(0).standard_normal((2, 5), np.float32)
    again = instructions_from_json(json.loads(json.dumps(SentenceTable(("a", "b"), values, encoder="e").to_json())))
    assert isinstance(again, SentenceTable)
    assert (again.texts, again.encoder) == (("a", "b"), "e")
    np.testing.assert_array_equal(again.vectors, values)
    words = WordTokenizer.from_texts(["push the cube"])
    assert instructions_from_json(words.to_json()) == words


def test_what_is_wrong_with_a_table() -> None:
    with pytest.raises(UserError, match="2 texts but vectors"):
        SentenceTable(("a", "b"), np.zeros((1, 3), np.float32), encoder="e")
    with pytest.raises(UserError, match="given twice"):
        SentenceTable(("a", "A"), np.zeros((2, 3), np.float32), encoder="e")
    data = SentenceTable(("a",), np.zeros((1, 4), np.float32), encoder="e").to_json()
    with pytest.raises(UserError, match="4 numbers for 1 texts of 3"):
        SentenceTable.from_json(data | {"width": 3})
    with pytest.raises(UserError, match="expected kind 'sentences'"):
        SentenceTable.from_json({"kind": "words"})
