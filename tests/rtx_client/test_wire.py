"""Everything that may be sent arrives as it was; bytes from a stranger are a message or a WireError, nothing else."""

import msgpack
import numpy as np
import pytest

from rtx_client.wire import DTYPES, WireError, pack, unpack


@pytest.mark.parametrize("dtype", sorted(DTYPES))
@pytest.mark.parametrize("shape", [(), (0,), (3,), (2, 0, 3), (2, 3, 4, 3)])
def test_arrays_arrive_as_they_were(dtype, shape):
    array = (np.random.default_rng(1).uniform(0, 2, shape)).astype(dtype)
    back = unpack(pack({"a": array}))["a"]
    assert (back.dtype, back.shape) == (array.dtype, array.shape)
    np.testing.assert_array_equal(back, array)


def test_layout_and_byte_order_do_not_matter():
    array = np.arange(24, dtype=">f4").reshape(2, 3, 4)[:, ::-1, ::2]
    np.testing.assert_array_equal(unpack(pack(array)), array)


def test_plain_values_arrive_as_they_were():
    message = {"text": "h\u00e9", "number": -(2**62), "float": 0.1, "none": None, "bytes": b"\xff", "list": [1, {"x": True}]}
    assert unpack(pack(message)) == message
    assert unpack(pack({"numpy": np.float32(0.5)})) == {"numpy": 0.5}


@pytest.mark.parametrize("value", [object(), np.array([object()]), np.array(["text"]), np.array([1j]), {1, 2}, 2**70])
def test_refuses_to_send_what_is_no_data(value):
    with pytest.raises(WireError, match="cannot be sent"):
        pack({"value": value})


def array_map(**changes):
    good = {b"__ndarray__": True, b"dtype": "<f4", b"shape": [2], b"data": bytes(8)}
    return {k: v for k, v in {**good, **{key.encode(): v for key, v in changes.items()}}.items() if v is not None}


def test_the_map_that_the_next_test_spoils_is_good():
    np.testing.assert_array_equal(unpack(msgpack.packb(array_map())), np.zeros(2, np.float32))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"dtype": "|O"}, "dtype"),
        ({"dtype": ">f4"}, "dtype"),
        ({"dtype": "float32"}, "dtype"),
        ({"dtype": 7}, "dtype"),
        ({"dtype": None}, "dtype"),
        ({"shape": [3]}, "8 bytes"),
        ({"shape": [-2]}, "shape"),
        ({"shape": [True, 2]}, "shape"),
        ({"shape": [1] * 9}, "shape"),
        ({"shape": 2}, "shape"),
        ({"shape": [2**40, 2**40]}, "8 bytes"),
        ({"data": "text"}, "no bytes"),
        ({"data": None}, "no bytes"),
        ({"dtype": "|b1", "shape": [8], "data": bytes([0, 1, 2, 0, 0, 0, 0, 0])}, "neither 0 nor 1"),
    ],
)
def test_refuses_arrays_that_do_not_add_up(changes, message):
    with pytest.raises(WireError, match=message):
        unpack(msgpack.packb(array_map(**changes)))


@pytest.mark.parametrize(
    "data", [b"", b"\xc1", b"\x93\x01", b"\x81\x01\x01", b"\x91" * 5000, b"\x01\x02", b"\xdf\xff\xff\xff\xff"]
)
def test_refuses_bytes_that_are_no_message(data):
    with pytest.raises(WireError, match="not a msgpack message"):
        unpack(data)


def test_refuses_more_bytes_than_agreed():
    with pytest.raises(WireError, match="11 bytes, at most 10"):
        unpack(bytes(11), max_bytes=10)


def test_random_bytes_are_a_value_or_a_wire_error():
    rng = np.random.default_rng(17)
    whole = pack({"images": {"primary": np.zeros((4, 4, 3), np.uint8)}, "proprio": np.zeros(10), "id": 3})
    refused = 0
    for _ in range(3000):
        data = bytearray(whole)
        for place in rng.integers(0, len(data), rng.integers(1, 4)):
            data[place] = rng.integers(256)
        try:
            unpack(bytes(data[: rng.integers(1, len(data) + 1)]))
        except WireError:
            refused += 1
    assert 1000 < refused < 3000  # most are broken, and some bytes are free to change
