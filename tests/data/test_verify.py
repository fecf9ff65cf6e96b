"""Verify finds what changed, in a prepared set and in a TFDS folder, and says where."""

import re

import numpy as np
import pytest

from rtx.data import verify as verify_module
from rtx.data.features import open_source
from rtx.data.prepare import prepare
from rtx.data.simulated import SIMULATED
from rtx.data.verify import verify, verify_source, verify_text
from rtx.errors import UserError, WorldError
from tests.fakes import WIDOWX_FEATURES, encode_example, encode_record, widowx_episode, write_rlds, write_widowx

VX300S = SIMULATED["sim_vx300s"]  # keeps every step


@pytest.fixture
def made(tmp_path):
    source = write_widowx(tmp_path, "sim_vx300s", shards=(3, 3))
    return source, prepare(VX300S, source, tmp_path / "out", num_workers=1)


def test_what_is_whole_passes(made):
    source, prepared = made
    steps = sum(s["num_steps"] for s in prepared.splits.values())
    assert verify_text(prepared.path) == f"2 shards, 6 episodes and {2 * steps:,} pictures checked: all good"
    assert re.fullmatch(r"2 shards, 6 episodes and \d+ pictures checked: all good", verify_text(source))
    (source / "nothing").mkdir()
    with pytest.raises(UserError, match="holds no TFDS data set"):
        verify_text(source / "nothing")


@pytest.mark.parametrize("where", ["data", "tail", "gone"])
def test_a_shard_that_changed_is_named(made, where):
    source, prepared = made
    path = sorted(source.glob("*tfrecord*"))[1]
    data = bytearray(path.read_bytes())
    if where == "data":
        data[len(data) // 2] ^= 1
    path.write_bytes(data[:-40] if where == "tail" else data)
    if where == "gone":
        path.unlink()
    message = {"data": "checksum of the record's", "tail": r"\d+ when it was prepared", "gone": "No such file"}[where]
    with pytest.raises(WorldError, match=rf"(?s)problems.*00001-of-00002.*{message}"):
        verify_text(prepared.path)
    message = {"data": "checksum of the record's", "tail": "truncated", "gone": "No such file"}[where]
    with pytest.raises(WorldError, match=rf"(?s)1 problems.*00001-of-00002.*{message}"):
        verify_text(source)


def test_a_damaged_column_is_named(made):
    _, prepared = made
    path = prepared.path / "train" / "action.npy"
    data = bytearray(path.read_bytes())
    data[-3] ^= 1
    path.write_bytes(data)
    with pytest.raises(WorldError, match=r"train/action\.npy: its bytes are not those prepare wrote"):
        verify_text(prepared.path)


def test_a_place_that_holds_no_picture_is_named(made, monkeypatch):
    """As after a shard with the same records in other bytes: the column's own checksum cannot tell."""
    _, prepared = made
    path = prepared.path / "train" / "primary_offset.npy"
    np.save(path, np.load(path) + 5)
    monkeypatch.setattr(verify_module, "_verify_columns", lambda *_: None)
    found = verify(prepared)
    assert found.num_problems == len(np.load(path))
    assert re.search(r"byte \d+ \(record 0\): camera 'primary' of split 'train', episode 0, step 0: damaged", found.problems[0])


def write_with(root, change):
    """One shard of three episodes; `change` takes the leaves of the second."""
    rng = np.random.default_rng(0)
    episodes = [widowx_episode(rng, 4) for _ in range(3)]
    change(episodes[1])
    return write_rlds(root, "sim_vx300s", WIDOWX_FEATURES, {"train": [episodes], "val": [[]]})


def damage_picture(episode):
    """In the middle: it starts as a JPEG, and its record's checksum is right."""
    data = bytearray(episode["steps/observation/image_1"][2])
    data[-300:-30] = bytes(270)
    episode["steps/observation/image_1"][2] = bytes(data)


def test_a_picture_damaged_before_it_was_recorded_is_named_with_its_step(tmp_path):
    source = write_with(tmp_path, damage_picture)
    prepared = prepare(VX300S, source, tmp_path / "out", num_workers=1)  # its bytes are as they were recorded
    (problem,) = verify(prepared).problems
    assert re.search(
        r"00000-of-00001, byte \d+ \(record 1\): camera '\w+' of split 'train', episode 1, step 2: damaged", problem
    )
    (problem,) = verify_source(open_source(source)).problems
    assert re.search(r"episode 1 of 'train', key 'steps/observation/image_1', step 2, byte \d+: damaged", problem)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda e: e.update({"steps/language_instruction": [b"\xff\xfe"] * 4}), "not UTF-8"),
        (lambda e: e.update({"steps/action": np.zeros((3, 7))}), "different numbers of steps"),
        (lambda e: e.update({"steps/action": np.zeros((4, 7), np.int64)}), "holds a int64 list, expected float"),
        (lambda e: e.pop("steps/is_last"), "the key 'steps/is_last' is missing"),
        (lambda e: e.update({"steps/observation/image_0": [b"raw"] * 4}), "damaged picture"),
    ],
)
def test_records_that_are_not_as_described_are_named_before_prepare(tmp_path, change, message):
    source = write_with(tmp_path, change)
    found = verify_source(open_source(source))
    assert found.num_problems
    assert all(re.search(rf"(?s)00000-of-00001, episode 1 of 'train'.*{message}", text) for text in found.problems)


def test_too_few_records_are_found_and_many_problems_are_counted(tmp_path):
    rng = np.random.default_rng(0)
    source = write_rlds(tmp_path, "sim_vx300s", WIDOWX_FEATURES, {"train": [[widowx_episode(rng, 2) for _ in range(4)]]})
    path = next(source.glob("*tfrecord*"))
    path.write_bytes(encode_record(encode_example(widowx_episode(rng, 2))) * 3)
    assert verify_source(open_source(source)).problems == [f"{path}: 3 records, dataset_info.json lists 4"]
    path.write_bytes(encode_record(encode_example({"steps/action": np.zeros(7)})) * 4)
    found = verify_source(open_source(source))
    assert found.num_problems == 4 * (len(WIDOWX_FEATURES) - 1)
    assert len(found.problems) == 20
    assert found.text().endswith(f"... {found.num_problems - 20} more")


def test_moved_shards_are_followed(made, tmp_path):
    source, prepared = made
    source.parent.rename(tmp_path / "moved")
    with pytest.raises(WorldError, match="No such file"):
        verify_text(prepared.path)
    assert "all good" in verify_text(prepared.path, source=tmp_path / "moved")
