"""A file is whole or absent, and a full or read-only disk is one sentence."""

import errno
import os
from pathlib import Path

import pytest

from rtx import files
from rtx.errors import UserError, WorldError


def test_a_file_appears_only_when_the_block_ends_well(tmp_path):
    target = tmp_path / "deep" / "x.bin"
    with files.atomic(target) as file:
        file.write(b"one")
        assert not target.exists()
    with pytest.raises(ZeroDivisionError), files.atomic(target) as file:
        file.write(b"two" * (1 // 0))
    assert target.read_bytes() == b"one"
    assert os.listdir(target.parent) == ["x.bin"]


def test_no_space_is_a_sentence():
    full = Path("/dev/full")  # every write to it says: no space left
    with full.open("wb", buffering=0) as file, pytest.raises(WorldError, match="the disk is full"), files.disk_errors(full):
        file.write(b"x")


def test_other_errors_pass_unchanged(tmp_path):
    with pytest.raises(OSError, match="Interrupted") as caught, files.disk_errors(tmp_path):
        raise OSError(errno.EINTR, "Interrupted system call")
    assert caught.value.errno == errno.EINTR


def test_json_round_trip_and_its_errors(tmp_path):
    path = tmp_path / "a.json"
    files.write_json(path, {"a": [1, None]})
    assert files.read_json(path) == {"a": [1, None]}
    with pytest.raises(UserError, match="no such file"):
        files.read_json(tmp_path / "b.json")
    path.write_text("{")
    with pytest.raises(WorldError, match="is damaged"):
        files.read_json(path)
