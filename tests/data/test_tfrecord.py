"""TFRecord framing: what was written comes back with its place in the file, and no damage passes."""

import io

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rtx.data.tfrecord import RecordReader, count_records, file_crc32c
from rtx.errors import WorldError
from tests.fakes import encode_record

PAYLOADS = st.lists(st.binary(max_size=40), max_size=5)


def read_all(data: bytes, **kwargs):
    reader = RecordReader(io.BytesIO(data), "a.tfrecord", **kwargs)
    return list(reader), reader


@settings(max_examples=50)
@given(payloads=PAYLOADS)
def test_payloads_come_back_with_their_place_and_the_files_checksum(payloads):
    data = b"".join(map(encode_record, payloads))
    records, reader = read_all(data)
    assert [bytes(r.payload) for r in records] == payloads
    assert [data[r.offset : r.offset + len(r.payload)] for r in records] == payloads
    assert [r.number for r in records] == list(range(len(payloads)))
    assert reader.crc32c == file_crc32c(io.BytesIO(data))


@settings(max_examples=50)
@given(payloads=PAYLOADS.filter(bool), data=st.data())
def test_any_changed_byte_is_found(payloads, data):
    whole = bytearray(b"".join(map(encode_record, payloads)))
    at = data.draw(st.integers(0, len(whole) - 1))
    whole[at] ^= data.draw(st.integers(1, 255))
    with pytest.raises(WorldError, match=r"a\.tfrecord, byte \d+ \(record \d+\)"):
        read_all(bytes(whole))


@settings(max_examples=50)
@given(payloads=PAYLOADS.filter(bool), data=st.data())
def test_a_cut_file_is_found_unless_it_ends_with_a_record(payloads, data):
    records = list(map(encode_record, payloads))
    whole = b"".join(records)
    ends = {sum(map(len, records[:i])) for i in range(len(records) + 1)}
    cut = data.draw(st.integers(0, len(whole)).filter(lambda n: n not in ends))
    with pytest.raises(WorldError, match=r"truncated|ends inside a record header"):
        read_all(whole[:cut])


@settings(max_examples=50)
@given(payloads=PAYLOADS, tail=st.integers(0, 11))
def test_records_are_counted_by_their_headers_and_a_tail_counts_as_one(payloads, tail):
    data = b"".join(map(encode_record, payloads))
    assert count_records(io.BytesIO(data)) == len(payloads)
    assert count_records(io.BytesIO(data + bytes(tail))) == len(payloads) + (tail > 0)
    if payloads:
        assert count_records(io.BytesIO(data[:-1])) == len(payloads)


def test_a_damaged_payload_is_left_out_on_request_and_the_rest_read():
    bad = bytearray(encode_record(b"two"))
    bad[13] ^= 1
    found = []
    records, _ = read_all(
        encode_record(b"one") + bytes(bad) + encode_record(b"three"), on_damage=lambda i, error: found.append((i, str(error)))
    )
    assert [bytes(r.payload) for r in records] == [b"one", b"three"]
    assert [r.number for r in records] == [0, 2]
    assert found[0][0] == 1
    assert "byte 31 (record 1)" in found[0][1]
