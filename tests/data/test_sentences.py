import dataclasses

import numpy as np
import pytest

from rtx.data.catalogue import summary_text
from rtx.data.sentences import CLEARLY, SentenceVectors, check_finite
from rtx.data.shard import _Rows, _sentence_arrays, part_sentences
from rtx.errors import WorldError
from tests.data.tiny_sets import tiny_set


def rows(*values):
    return np.array(values, np.float32)


def test_the_first_vector_of_a_text_stays_and_a_clearly_different_one_is_counted():
    found = SentenceVectors()
    found.add(["push", "push", "lift"], rows([1, 0], [1, 0.5 * CLEARLY], [0, 1]))
    assert not found.clashes
    found.add(["push", "lift"], rows([0, 1], [0, 1]))
    assert list(found.clashes) == ["push"]
    np.testing.assert_array_equal(found.table(["lift", "push"], 2), rows([0, 1], [1, 0]))


def test_zeros_are_no_vector_and_a_text_without_one_is_nan():
    found = SentenceVectors()
    found.add(["push", "push", "lift"], rows([0, 0], [3, 4], [0, 0]))
    table = found.table(["lift", "push"], 2)
    assert np.isnan(table[0]).all()
    assert table[1].tolist() == [3, 4]
    assert not found.clashes


def test_parts_join_in_order_and_bring_their_clashes():
    first, second = SentenceVectors(), SentenceVectors()
    first.add(["push"], rows([1, 0]))
    second.add(["push", "lift"], rows([-1, 0], [0, 1]))
    second.clashes["lift"] = None
    first.update(second.vectors, second.clashes)
    assert list(first.clashes) == ["push", "lift"]
    assert first.vectors["push"].tolist() == [1, 0]


def test_a_number_that_is_not_finite_is_an_error_that_names_the_step():
    with pytest.raises(WorldError, match=r"shard 3, step 1: .*not finite"):
        check_finite(rows([1, 0], [np.inf, 0]), "shard 3")


def test_a_part_keeps_vectors_and_clashes():
    shard = _Rows(languages={"": 0, "push": 1, "lift": 2})
    shard.sentences.add(["lift", "push", "lift"], rows([0, 1], [1, 0], [0, -1]))
    back = part_sentences(_sentence_arrays(shard), tuple(shard.languages))
    assert {text: vector.tolist() for text, vector in back.vectors.items()} == {"lift": [0, 1], "push": [1, 0]}
    assert list(back.clashes) == ["lift"]
    nothing = part_sentences(_sentence_arrays(_Rows()), ())
    assert not nothing.vectors
    assert not nothing.clashes


def test_prepare_says_how_many_texts_have_a_vector(tmp_path):
    prepared = tiny_set(tmp_path / "a")
    assert "sentence vectors" not in summary_text(prepared)
    counts = {"width": 512, "rows": 3, "missing": 1, "clashes": 0, "examples": []}
    told = dataclasses.replace(prepared, sentence_counts=counts)
    assert summary_text(told).splitlines()[-1] == "  sentence vectors of 512 numbers: 2 of 3 texts"
    told = dataclasses.replace(prepared, sentence_counts=counts | {"clashes": 1, "examples": ["do tiny"]})
    assert "; 1 came with clearly different ones, the first was kept: 'do tiny'" in summary_text(told)
