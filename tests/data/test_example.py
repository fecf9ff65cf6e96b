"""The Example parser against an independent encoder, and against bytes that are not an Example."""

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rtx.data.example import Example
from rtx.errors import WorldError
from tests.fakes import delimited, encode_example, encode_list, varint

INTS = st.lists(st.integers(-(2**63), 2**63 - 1), max_size=20)
FLOATS = st.lists(st.floats(width=32, allow_nan=False), max_size=20)
STRINGS = st.lists(st.binary(max_size=200), max_size=8)


@settings(max_examples=50)
@given(ints=INTS, floats=FLOATS, strings=STRINGS, packed=st.booleans(), offset=st.integers(0, 10**12))
def test_lists_come_back(ints, floats, strings, packed, offset):
    leaves = {"a/ints": np.array(ints, np.int64), "a/floats": np.array(floats, np.float32), "strings": strings}
    data = encode_example(leaves, packed=packed)
    example = Example(memoryview(data), offset=offset)
    np.testing.assert_array_equal(example.ints("a/ints"), leaves["a/ints"])
    np.testing.assert_array_equal(example.floats("a/floats"), leaves["a/floats"])
    assert example.strings("strings") == strings
    offsets, lengths = example.spans("strings")
    assert [data[o - offset : o - offset + n] for o, n in zip(offsets.tolist(), lengths.tolist(), strict=True)] == strings
    assert set(example.keys()) == set(leaves)


@settings(max_examples=50)
@given(ints=INTS, per_step=st.integers(1, 4), is_float=st.booleans(), offset=st.integers(0, 10**12))
def test_runs_of_numbers_are_found_where_they_lie(ints, per_step, is_float, offset):
    ints = ints[: len(ints) // per_step * per_step]
    data = encode_example({"x": np.array(ints, np.float32 if is_float else np.int64), "y": [b"after"]})
    offsets, lengths = Example(memoryview(data), offset=offset).number_spans("x", per_step)
    runs = [data[o - offset : o - offset + n] for o, n in zip(offsets.tolist(), lengths.tolist(), strict=True)]
    encode = (lambda n: np.float32(n).tobytes()) if is_float else varint
    groups = [ints[i : i + per_step] for i in range(0, len(ints), per_step)]
    assert runs == [b"".join(encode(n) for n in group) for group in groups]


def test_runs_that_are_no_whole_steps_or_lie_scattered_are_named():
    for numbers in (np.arange(7), np.arange(7, dtype=np.float32)):
        with pytest.raises(WorldError, match=r"key 'x', byte \d+: .*not a whole number of steps of 3"):
            Example(memoryview(encode_example({"x": numbers}))).number_spans("x", 3)
        with pytest.raises(WorldError, match="not packed in one run"):
            Example(memoryview(encode_example({"x": numbers}, packed=False))).number_spans("x", 7)
    assert len(Example(memoryview(encode_example({"y": [b""]}))).number_spans("x", 3)[0]) == 0


def test_floats_are_a_view_of_the_payload():
    data = encode_example({"x": np.arange(8, dtype=np.float32)})
    values = Example(memoryview(data)).floats("x")
    assert np.shares_memory(values, np.frombuffer(data, np.uint8))


def test_absent_and_empty_keys_are_empty_lists():
    data = encode_example({"none": np.zeros(0, np.float32)}) + delimited(1, delimited(1, delimited(1, b"bare")))
    example = Example(memoryview(data))
    for key in ("none", "bare", "absent"):
        assert len(example.floats(key)) == 0
    assert example.kind("bare") == "empty"


def test_another_kind_of_list_is_named():
    example = Example(memoryview(encode_example({"x": np.arange(3)})), where="shard 7")
    with pytest.raises(WorldError, match=r"shard 7, key 'x', byte \d+: holds a int64 list, expected float"):
        example.floats("x")


def test_split_lists_merge_and_the_last_entry_wins():
    """Both are legal encodings that protocol buffer writers may produce."""
    two = delimited(1, b"x") + delimited(2, encode_list(np.array([1.0])) + encode_list(np.array([2.0])))
    again = delimited(1, b"y") + delimited(2, encode_list(np.array([1])))
    last = delimited(1, b"y") + delimited(2, encode_list(np.array([5])))
    example = Example(memoryview(delimited(1, b"".join(delimited(1, e) for e in (two, again, last)))))
    assert example.floats("x").tolist() == [1.0, 2.0]
    assert example.ints("y").tolist() == [5]


def test_unknown_fields_are_passed_over():
    unknown = (
        varint(9 << 3) + varint(300) + varint(10 << 3 | 5) + b"abcd" + varint(11 << 3 | 1) + b"12345678" + delimited(12, b"zz")
    )
    strings = delimited(1, delimited(1, b"one") + unknown + delimited(1, b"two"))
    entry = unknown + delimited(1, b"key") + delimited(2, unknown + strings)
    example = Example(memoryview(unknown + delimited(1, unknown + delimited(1, entry))))
    assert example.strings("key") == [b"one", b"two"]


def complaints(data: bytes) -> list[str]:
    """Asks for every key as every kind; what WorldErrors say. Anything else escapes and fails the test."""
    try:
        example = Example(memoryview(data), where="fuzz")
    except WorldError as error:
        return [str(error)]
    found = []
    for key in (*example.keys(), "absent"):
        for read in (example.ints, example.floats, example.spans, example.strings):
            try:
                read(key)
            except WorldError as error:
                found.append(str(error))
    return found


@settings(max_examples=200)
@given(data=st.binary(max_size=80))
def test_arbitrary_bytes_raise_world_error_only(data):
    assert all(re.match(r"fuzz.*, byte \d+: ", text, re.DOTALL) for text in complaints(data))


@settings(max_examples=200)
@given(data=st.data())
def test_damaged_examples_raise_world_error_only(data):
    packed = data.draw(st.booleans())
    leaves = {
        "i": np.array([1, 300, -5]),
        "f": np.arange(3, dtype=np.float32),
        "s": [b"ab", b"c" * 200],
        "b": np.ones(4, np.int64),
    }
    whole = bytearray(encode_example(leaves, packed=packed))
    for _ in range(data.draw(st.integers(0, 4))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    cut = bytes(whole[: data.draw(st.integers(0, len(whole)))])
    assert all(re.match(r"fuzz.*, byte \d+: ", text, re.DOTALL) for text in complaints(cut))
