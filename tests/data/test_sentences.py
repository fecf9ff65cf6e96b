import numpy as np
import pytest

from rtx.data.sentences import CLEARLY, SentenceVectors, check_finite
from rtx.errors import WorldError


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
