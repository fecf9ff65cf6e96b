"""What the data verbs print, and that verify finds what changed."""

import numpy as np
import pytest

from rtx.data import catalogue
from rtx.data.catalogue import RECORDS, find, info_text, list_text, stats_text, summary_text, verify_text
from rtx.data.prepare import prepare
from rtx.errors import WorldError
from tests.fakes import write_widowx


@pytest.fixture
def made(tmp_path):
    source = write_widowx(tmp_path, shards=(3, 3))
    return source, prepare(RECORDS["bridge_dataset"], source, tmp_path / "out", num_workers=1)


def test_list_has_a_line_for_every_record():
    lines = list_text().splitlines()
    assert len(lines) == 2 + len(RECORDS)
    assert lines[0].split() == ["name", "robot", "hz", "cameras", "action", "title"]
    assert "sim_iiwa" in list_text()


@pytest.mark.parametrize("name", RECORDS)
def test_info_tells_a_record_whole(name):
    record = find(name)
    text = info_text(record)
    for part in (name, record.embodiment.name, *record.keys, *(key.path for key in record.images.values()), *record.notes):
        assert part in text
    if name == "sim_ur5e":
        assert "cm, frame base" in text
        assert "hand_image (bgr)" in text


def test_stats_and_summary(made):
    _, prepared = made
    text = stats_text(prepared.path)
    assert f"{prepared.statistics.action.count:,} steps" in text
    assert "terminate (masked)" in text
    assert f"{prepared.statistics.proprio.mean[0]:.5g}" in text
    summary = summary_text(prepared)
    assert "source split 'train': 6 episodes read, left out: nothing; 1 held out for validation" in summary


def test_verify_passes_what_is_whole(made):
    _, prepared = made
    steps = sum(s["num_steps"] for s in prepared.splits.values())
    assert verify_text(prepared.path) == f"2 shards and {2 * steps:,} image places checked: all good"


@pytest.mark.parametrize("where", ["data", "tail", "gone"])
def test_verify_names_a_shard_that_changed(made, where):
    source, prepared = made
    path = sorted(source.glob("*tfrecord*"))[1]
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    if where == "gone":
        path.unlink()
    else:
        path.write_bytes(data if where == "data" else data[:-40])
    message = {"data": "checksum of the record's", "tail": r"\d+ when it was prepared", "gone": "No such file"}[where]
    with pytest.raises(WorldError, match=rf"(?s)problems.*00001-of-00002.*{message}"):
        verify_text(prepared.path)


def test_verify_names_a_damaged_column(made):
    _, prepared = made
    path = prepared.path / "train" / "action.npy"
    data = bytearray(path.read_bytes())
    data[-3] ^= 1
    path.write_bytes(data)
    with pytest.raises(WorldError, match=r"train/action\.npy: its bytes are not those prepare wrote"):
        verify_text(prepared.path)


def test_verify_names_an_image_place_that_holds_no_picture(made):
    """As after a shard with the same records in other bytes; the column's checksum is made to fit, so only this can tell."""
    _, prepared = made
    folder = prepared.path / "train"
    np.save(folder / "primary_offset.npy", np.load(folder / "primary_offset.npy") + 5)
    found = catalogue.Verification()
    places = catalogue._image_places(prepared)
    shard = prepared.shards[0]
    catalogue._verify_shard(prepared.source / shard["file"], shard, places[0], found, lambda *_: None)
    assert found.num_problems > 0
    assert "no JPEG or PNG of" in found.problems[0]


def test_verify_follows_moved_shards(made, tmp_path):
    source, prepared = made
    source.parent.rename(tmp_path / "moved")
    with pytest.raises(WorldError, match="No such file"):
        verify_text(prepared.path)
    assert "all good" in verify_text(prepared.path, source=tmp_path / "moved")
