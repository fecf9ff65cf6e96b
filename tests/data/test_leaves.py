"""Leaves whose bytes do not hold what features.json says. What TFDS writes well is read in test_tfds_layout.py."""

import dataclasses
import zlib

import numpy as np
import pytest

from rtx.data.example import Example
from rtx.data.features import FeatureSpec
from rtx.data.leaves import decode_leaf
from rtx.errors import WorldError
from tests.fakes import encode_example

PLAIN = FeatureSpec(names=("steps", "a"), kind="tensor", dtype="float32", shape=(3,), encoding="none")
ZLIB = dataclasses.replace(PLAIN, encoding="zlib")
LIST = dataclasses.replace(PLAIN, shape=(None, 3), num_sequences=1)
FLAT, LENGTHS = "steps/a/ragged_flat_values", "steps/a/ragged_row_lengths_0"


def read(spec, leaves):
    return decode_leaf(Example(memoryview(encode_example(leaves)), where="episode 4"), spec, "episode 4")


def test_lists_of_any_length_and_of_one():
    numbers = np.arange(9, dtype=np.float32)
    value = read(LIST, {FLAT: numbers, LENGTHS: np.array([2, 0, 1])})
    assert [row.tolist() for row in value] == [[[0, 1, 2], [3, 4, 5]], [], [[6, 7, 8]]]
    fixed = dataclasses.replace(LIST, shape=(2, 3))
    value = read(fixed, {FLAT: np.arange(12, dtype=np.float32), LENGTHS: np.array([2, 2])})
    assert value.shape == (2, 2, 3)


@pytest.mark.parametrize(
    ("spec", "leaves", "message"),
    [
        (PLAIN, {"steps/b": np.zeros(3)}, "the key 'steps/a' is missing"),
        (PLAIN, {"steps/a": np.zeros(4)}, "4 numbers are not a whole number of steps"),
        (PLAIN, {"steps/a": np.zeros(3, np.int64)}, "holds a int64 list, expected float"),
        (dataclasses.replace(PLAIN, shape=(None, 3)), {"steps/a": np.zeros(3)}, "stored without its shape"),
        (dataclasses.replace(PLAIN, kind="other", dtype="Audio"), {"steps/a": [b""]}, "features of kind Audio cannot be read"),
        (ZLIB, {"steps/a": [zlib.compress(bytes(12))[:-3]]}, "a compressed tensor does not decompress"),
        (ZLIB, {"steps/a": [zlib.compress(bytes(11))]}, "11 bytes are not one tensor of"),
        (LIST, {FLAT: np.zeros(6)}, "the key 'steps/a/ragged_row_lengths_0' is missing"),
        (LIST, {FLAT: np.zeros(6), LENGTHS: np.array([1, 2])}, "its row lengths add up to 3, it has 2 rows"),
        (LIST, {FLAT: np.zeros(6), LENGTHS: np.array([3, -1])}, "a negative length"),
    ],
)
def test_what_does_not_fit_is_named_with_its_key(spec, leaves, message):
    with pytest.raises(WorldError, match=f"episode 4.*{message}"):
        read(spec, leaves)
