"""Frames belong to their rows, in both versions and from the middle of shared files; what does not fit is named."""

import json
from pathlib import Path

import av
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from rtx.data.lerobot.meta import open_lerobot
from rtx.data.lerobot.read import read_recording
from rtx.errors import UserError, WorldError
from rtx.images import decode
from tests.data.lerobot.small_sets import (
    EMBEDDED,
    LENGTHS,
    TASKS,
    VIDEO,
    action_of,
    embedded_picture,
    number_in,
    number_of,
    write_set,
)

VERSIONS = ("v2.1", "v3.0")


@pytest.mark.parametrize(("version", "codec"), [("v2.1", "libx264"), ("v3.0", "libx264"), ("v3.0", "libsvtav1")])
def test_every_frame_is_that_of_its_row(tmp_path: Path, version: str, codec: str):
    """AV1 is what LeRobot writes."""
    if codec not in av.codecs_available:
        pytest.skip(f"this PyAV has no {codec}")
    found = open_lerobot(write_set(tmp_path / "s", version, codec=codec))
    assert (found.version, found.fps, found.robot) == (version, 10.0, "So-100")
    assert {f.key: f.shape for f in found.pictures} == {VIDEO: (48, 64, 3), EMBEDDED: (8, 8, 3)}
    for episode in found.episodes:
        e, got = episode.index, read_recording(found, episode)
        steps = range(LENGTHS[e])
        assert [number_in(decode(data)) for data in got.pictures[VIDEO]] == [number_of(e, s) for s in steps]
        assert list(got.pictures[EMBEDDED]) == [embedded_picture(e, s) for s in steps], "bytes changed"
        np.testing.assert_array_equal(got.columns["action"], np.stack([action_of(e, s) for s in steps]))
        assert set(got.instructions) == {TASKS[e % 2]}


@pytest.mark.parametrize(("version", "lacking", "message"), [
    ("v2.1", (1, 11), r"episode 1: 11 frames for 12 rows"),
    ("v2.1", (1, 4), r"episode 1: frame 4 is 100.0 ms late against its row"),
    ("v3.0", (1, 0), r"episode 1: frame 0 is 100.0 ms late"),
    ("v3.0", (0, 6), r"episode 0: 6 frames for 7 rows"),
])  # fmt: skip
def test_a_frame_that_was_dropped_is_no_shift(tmp_path: Path, version: str, lacking: tuple[int, int], message: str):
    found = open_lerobot(write_set(tmp_path / "s", version, frames_lacking=[lacking]))
    with pytest.raises(WorldError, match=message):
        read_recording(found, found.episodes[lacking[0]])


def test_more_frames_than_rows(tmp_path: Path):
    root = write_set(tmp_path / "s", "v2.1")
    found = open_lerobot(root)
    clip = found.episodes[0].clips[VIDEO].path
    clip.write_bytes(found.episodes[1].clips[VIDEO].path.read_bytes())
    with pytest.raises(WorldError, match="12 frames for 7 rows"):
        read_recording(found, found.episodes[0])


@pytest.mark.parametrize("version", VERSIONS)
def test_a_missing_and_a_damaged_video(tmp_path: Path, version: str):
    found = open_lerobot(write_set(tmp_path / "s", version))
    path = found.episodes[0].clips[VIDEO].path
    path.write_bytes(b"version https://git-lfs.github.com/spec/v1\n")
    with pytest.raises(WorldError, match="Git LFS pointer"):
        read_recording(found, found.episodes[0])
    path.unlink()
    with pytest.raises(WorldError, match=r"mp4, episode 0: the video is missing"):
        read_recording(found, found.episodes[0])


def test_rows_that_do_not_fit(tmp_path: Path):
    found = open_lerobot(write_set(tmp_path / "s", "v2.1"))
    path = found.episodes[2].data
    table = pq.read_table(path)
    for column, message in (
        ("timestamp", r"row 4 has timestamp 0.450000 s, expected 0.400000 s at 10 frames a second"),
        ("frame_index", r"row 4 has frame_index 9"),
    ):
        values = table[column].to_pylist()
        values[4] = 0.45 if column == "timestamp" else 9
        at = table.column_names.index(column)
        pq.write_table(table.set_column(at, column, [np.asarray(values, table[column].to_numpy().dtype)]), path)
        with pytest.raises(WorldError, match=message):
            read_recording(found, found.episodes[2])
    pq.write_table(table.slice(0, 5), path)
    with pytest.raises(WorldError, match="5 rows, the list of episodes says 9"):
        read_recording(found, found.episodes[2])


def test_sets_we_cannot_read_say_why(tmp_path: Path):
    with pytest.raises(UserError, match=r"meta/info.json is missing"):
        open_lerobot(tmp_path)
    root = write_set(tmp_path / "s", "v2.1")
    info = json.loads((root / "meta" / "info.json").read_text())
    for change, error, message in (
        ({"codebase_version": "v1.6"}, UserError, "version v1.6, rtx reads v2.0, v2.1, v3.0"),
        ({"total_episodes": 5}, WorldError, "counts 5 episodes, the list of episodes holds 3"),
        ({"features": {k: v for k, v in info["features"].items() if k != "action"}}, UserError, "no feature 'action'"),
        ({"fps": None}, WorldError, "not the description of a LeRobot v2.1 data set"),
    ):
        (root / "meta" / "info.json").write_text(json.dumps({**info, **change}))
        with pytest.raises(error, match=message):
            open_lerobot(root)


def test_pictures_beside_the_parquet_file_and_none_from_elsewhere(tmp_path: Path):
    root = write_set(tmp_path / "s", "v2.1")
    found = open_lerobot(root)
    path = found.episodes[2].data
    table = pq.read_table(path)
    at, rows = table.column_names.index(EMBEDDED), table[EMBEDDED].to_pylist()
    (root / "images").mkdir()
    (root / "images" / "3.png").write_bytes(rows[3]["bytes"])
    for name, error in (("images/3.png", ""), ("../3.png", "lies outside of it"), ("images/none.png", "row 3: no picture of")):
        (tmp_path / "3.png").write_bytes(rows[3]["bytes"])
        cells = [{"bytes": None, "path": name} if i == 3 else cell for i, cell in enumerate(rows)]
        pq.write_table(table.set_column(at, EMBEDDED, pa.array(cells, table[EMBEDDED].type)), path)
        if error:
            with pytest.raises(WorldError, match=error):
                read_recording(found, found.episodes[2])
        else:
            assert read_recording(found, found.episodes[2]).pictures[EMBEDDED][3] == embedded_picture(2, 3)
    info = json.loads((root / "meta" / "info.json").read_text())
    (root / "meta" / "info.json").write_text(json.dumps({**info, "video_path": "/etc/{video_key}"}))
    with pytest.raises(WorldError, match="lies outside of it"):
        open_lerobot(root)


@pytest.mark.parametrize(("told", "found"), [
    ({"train": "0:2", "val": "2:3"}, {"train": range(2), "val": range(2, 3)}),
    ({"train": "0:3", "test": "3:3"}, {"train": range(3)}),
    ({"train": "80%", "val": "20%"}, {"train": range(3)}),
])  # fmt: skip
def test_splits_are_ranges_of_episodes(tmp_path: Path, told: dict[str, str], found: dict[str, range]):
    root = write_set(tmp_path / "s", "v2.1")
    info = json.loads((root / "meta" / "info.json").read_text())
    (root / "meta" / "info.json").write_text(json.dumps({**info, "splits": told}))
    assert open_lerobot(root).splits == found
