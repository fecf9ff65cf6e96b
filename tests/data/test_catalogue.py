"""What the data verbs print."""

import pytest

from rtx.data.catalogue import RECORDS, find, info_text, list_text, stats_text, summary_text
from rtx.data.prepare import prepare
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
