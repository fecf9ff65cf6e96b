"""Frames: neighbours in one read, each picture decoded once and put where it is wanted."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from rtx.data import frames as module
from rtx.data.frames import Frames, ShardFiles, _reads
from tests.data.tiny_sets import picture, tiny_set


def test_neighbours_are_one_read_and_gaps_files_and_size_part_them():
    far, large = module._MAX_GAP_BYTES + 1, module._MAX_READ_BYTES
    assert list(_reads([0, 0, 0], [30, 10, 20], [5, 5, 5])) == [[1, 2, 0]]
    assert list(_reads([0, 0], [0, 5 + far], [5, 5])) == [[0], [1]]
    assert list(_reads([0, 0], [0, 4 + far], [5, 5])) == [[0, 1]]
    assert list(_reads([1, 0], [0, 6], [5, 5])) == [[1], [0]]
    assert list(_reads([0, 0, 0], [0, 10, large - 9], [10, large - 20, 10])) == [[0, 1], [2]]
    assert list(_reads([0, 0, 0], [0, 7, 9], [7, 0, 5])) == [[0, 2]]
    assert list(_reads([], [], [])) == []


@pytest.mark.parametrize("keep", [False, True])
def test_a_picture_goes_to_every_place_that_wants_it(tmp_path: Path, keep: bool):
    prepared = tiny_set(tmp_path / "s", name="one", absent=[("wrist", 2)])
    frames = Frames(prepared.split("train"), "wrist", size=(8, 6), files=ShardFiles(), label="one", keep=keep)
    for _ in range(2):  # the second time from memory, if kept
        images = np.full((6, 8, 6, 3), 9, np.uint8)
        frames.fill(np.array([11, 2, 5]), images, [[0, 4], [3], [1]])
        for place, step in ((0, 11), (4, 11), (1, 5)):
            np.testing.assert_array_equal(images[place], picture("one", "wrist", step))
        assert not images[3].any(), "an absent picture is black"
        assert (images[[2, 5]] == 9).all(), "nobody else is touched"


def test_few_files_stay_open(tmp_path: Path):
    files = ShardFiles(max_open=2)
    for i in range(5):
        (tmp_path / str(i)).write_bytes(bytes([i] * 10))
    assert [files.read(tmp_path / str(i), 3, 2) for i in (0, 1, 2, 3, 4, 0)] == [bytes([i] * 2) for i in (0, 1, 2, 3, 4, 0)]
    assert len(files._open) == 2
