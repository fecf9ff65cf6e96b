"""ArrayRecord files, whole and damaged. That TFDS's own are read: test_tfds_layout.py."""

import json
import sys

import numpy as np
import pytest

from rtx.data.arrayrecord import ArrayRecordReader, count_array_records, unpack
from rtx.data.features import open_source
from rtx.data.prepare import prepare
from rtx.data.prepared import PreparedSet
from rtx.data.simulated import SIMULATED
from rtx.data.tfrecord import RecordReader
from rtx.data.verify import verify, verify_source
from rtx.errors import UserError, WorldError
from tests.fakes import WIDOWX_FEATURES, encode_example, widowx_episode, write_rlds

array_record_module = pytest.importorskip("array_record.python.array_record_module")
RECORD = SIMULATED["sim_vx300s"]
SHARD = "sim_vx300s-train.array_record-00001-of-00002"


def write(path, payloads):
    writer = array_record_module.ArrayRecordWriter(str(path), "group_size:1")  # as TFDS does
    for payload in payloads:
        writer.write(payload)
    writer.close()
    return path


def spoil(path, number, count):
    """Flips one bit so that this record, and no other, is damaged."""
    whole = path.read_bytes()
    for byte in range(100, len(whole), 50):
        data = bytearray(whole)
        data[byte] ^= 1
        path.write_bytes(data)
        if broken(path, count) == [number]:
            return path
    raise AssertionError("no byte belongs to that record alone")


def broken(path, count):
    reader = array_record_module.ArrayRecordReader(str(path))
    found = []
    for number in range(count if reader.ok() else 0):
        try:
            reader.read([number])
        except RuntimeError:
            found.append(number)
    reader.close()
    return found


PAYLOADS = [np.random.default_rng(i).bytes(900 + i) for i in range(4)]


def test_records_come_back_and_unpack(tmp_path):
    path = write(tmp_path / "a", PAYLOADS)
    assert [bytes(record.payload) for record in ArrayRecordReader(path)] == PAYLOADS
    assert count_array_records(path) == 4
    unpack(path, tmp_path / "b")
    with open(tmp_path / "b", "rb") as file:
        assert [bytes(record.payload) for record in RecordReader(file, "b")] == PAYLOADS
    assert count_array_records(write(tmp_path / "none", [])) == 0


def test_a_damaged_record_is_named_or_left_empty(tmp_path):
    path = spoil(write(tmp_path / "a", PAYLOADS), 2, 4)
    with pytest.raises(WorldError, match=r"/a, byte \d+ \(record 2\): damaged .*fetch this file again"):
        list(ArrayRecordReader(path))
    found = {}
    unpack(path, tmp_path / "b", on_damage=found.__setitem__)
    assert list(found) == [2]
    with open(tmp_path / "b", "rb") as file:
        payloads = [bytes(record.payload) for record in RecordReader(file, "b")]
    assert payloads == [*PAYLOADS[:2], b"", PAYLOADS[3]]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda data: data[:-100], "cut short or damaged"),
        (lambda data: b"", "empty"),
        (lambda data: b"version https://git-lfs.github.com/spec/v1\noid sha256:00\n", "git lfs pull"),
        (lambda data: bytes(70_000), "cut short or damaged"),
    ],
)
def test_files_that_cannot_be_opened_say_why(tmp_path, change, message):
    path = write(tmp_path / "a", PAYLOADS)
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(WorldError, match=f"/a: .*{message}"):
        count_array_records(path)


def test_without_the_package_the_extra_is_named(tmp_path, monkeypatch):
    path = write(tmp_path / "a", PAYLOADS)
    monkeypatch.setitem(sys.modules, "array_record.python", None)
    with pytest.raises(UserError, match=r"pip install 'rtx-robotics\[arrayrecord\]'"):
        count_array_records(path)


def write_set(root):
    rng = np.random.default_rng(0)
    episodes = [widowx_episode(rng, 4) for _ in range(6)]
    folder = write_rlds(root, RECORD.name, WIDOWX_FEATURES, {"train": [[], []], "val": [[]]})
    for path in folder.glob("*tfrecord*"):
        path.unlink()
    for i, three in enumerate((episodes[:3], episodes[3:])):
        write(folder / f"{RECORD.name}-train.array_record-{i:05d}-of-00002", [encode_example(one) for one in three])
    write(folder / f"{RECORD.name}-val.array_record-00000-of-00001", [])
    info = json.loads((folder / "dataset_info.json").read_text()) | {"fileFormat": "array_record"}
    info["splits"] = [{"name": "train", "shardLengths": ["3", "3"]}, {"name": "val", "numShards": "1"}]
    (folder / "dataset_info.json").write_text(json.dumps(info))
    return folder


@pytest.mark.parametrize(("damage", "lost"), [("record", 1), ("file", 3)])
def test_damage_stops_prepare_or_is_quarantined(tmp_path, damage, lost):
    source = write_set(tmp_path)
    path = source / SHARD
    if damage == "file":
        path.write_bytes(path.read_bytes()[:-100])
    else:
        spoil(path, 1, 3)
    message = rf"{SHARD}(, byte \d+ \(record 1\): damaged|: no whole ArrayRecord file)"
    with pytest.raises(WorldError, match=message):
        prepare(RECORD, source, tmp_path / "out", num_workers=1)
    found = verify_source(open_source(source))
    assert any(SHARD in problem for problem in found.problems)
    prepared = prepare(RECORD, source, tmp_path / "out", num_workers=1, quarantine=True, max_quarantined=0.5)
    assert prepared.counts["train"]["quarantined"] == lost
    assert SHARD in prepared.counts["train"]["reasons"][0]
    assert prepared.split("train").num_episodes == 6 - lost
    assert "all good" in verify(prepared).text()


def test_packs_are_made_once_and_missed_when_gone(tmp_path):
    source = write_set(tmp_path)
    prepare(RECORD, source, tmp_path / "out", num_workers=1)
    packs = sorted((tmp_path / "out").glob("packs/*"))
    assert [path.name for path in packs] == [
        "train-00000-of-00002.tfrecord", "train-00001-of-00002.tfrecord", "val-00000-of-00001.tfrecord",
    ]  # fmt: skip
    written = [path.stat().st_mtime_ns for path in packs]
    prepare(RECORD, source, tmp_path / "out", num_workers=1)
    assert [path.stat().st_mtime_ns for path in packs] == written
    packs[0].unlink()
    (tmp_path / "out" / "packs" / "train-00002-of-00003.tfrecord").touch()  # of a version that had more
    with pytest.raises(UserError, match="1 of 3 shards are not at"):
        PreparedSet.open(tmp_path / "out").split("train")
    assert prepare(RECORD, source, tmp_path / "out", num_workers=1).split("train").num_episodes == 6
    assert sorted((tmp_path / "out").glob("packs/*")) == packs
