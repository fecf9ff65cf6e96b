"""What is written is what any RLDS tool reads back; it appears whole or not at all; wrong episodes get a sentence."""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from rtx.data.write import RldsFeatures, TensorFeature, write_rlds
from rtx.errors import UserError

_SCRIPT = Path(__file__).with_name("write_in_process.py")
_ROOT = Path(__file__).resolve().parents[2]
_FLAGS = {key: TensorFeature(dtype="bool") for key in ("is_first", "is_last", "is_terminal")}
_SMALL = RldsFeatures(steps={**_FLAGS, "observation": {"x": TensorFeature()}, "action": TensorFeature(shape=(2,))}, episode={})


def _process(verb: str, folder: Path, **env: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(_SCRIPT), verb, str(folder)]
    path = os.pathsep.join(filter(None, [str(_ROOT), os.environ.get("PYTHONPATH")]))
    return subprocess.run(command, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": path, **env}, check=False)


def _run(verb: str, folder: Path, **env: str) -> dict:
    done = _process(verb, folder, **env)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout)  # so nothing else was printed


def test_written_whole_after_a_kill_and_read_back_by_tensorflow_datasets(tmp_path: Path) -> None:
    assert _process("kill", tmp_path).returncode == -signal.SIGKILL
    assert not (tmp_path / "my_set_2").exists()

    written = _run("good", tmp_path)
    assert written["path"] == str(tmp_path / "my_set_2" / "1.0.0")
    assert written["num_written"] == 5
    assert written["order_free"], "the same episodes in another order gave other bytes"
    assert written["left"] == ["my_set_2", "reversed"]
    assert written["read"] == {"episodes": [0, 1, 2, 3], "val": 1, "metadata": {"recipe": {"seed": 3}}, "decoded": [24, 32, 3]}


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path | None]:
    """A file system of 100 kB, where this user may mount one."""
    folder = tmp_path / "tiny"
    folder.mkdir()
    mounted = shutil.which("mount") and not subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=100k", "none", str(folder)], capture_output=True, check=False
    ).returncode  # fmt: skip
    yield folder if mounted else None
    if mounted:
        subprocess.run(["umount", str(folder)], check=True)


def test_what_does_not_fit_is_named_and_nothing_stays(tmp_path: Path, tiny_disk: Path | None) -> None:
    out = tmp_path / "out"
    answers = _run("bad", out, **({"TINY_DISK": str(tiny_disk)} if tiny_disk else {}))
    for word, message in answers["answers"]:
        assert word in message
    assert len(answers["answers"]) == (9 if tiny_disk else 8)
    assert answers["left"] == []
    assert answers["left_on_tiny"] == []


@pytest.mark.parametrize(("name", "version", "word"), [("My-Set", "1.0.0", "My-Set"), ("my_set", "1.0", "1.0")])
def test_names_tensorflow_datasets_cannot_hold_are_refused(tmp_path: Path, name: str, version: str, word: str) -> None:
    with pytest.raises(UserError, match=word):
        write_rlds(tmp_path, name=name, version=version, features=_SMALL, splits={"train": list})


def test_an_existing_version_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "my_set" / "1.0.0").mkdir(parents=True)
    with pytest.raises(UserError, match="exists already"):
        write_rlds(tmp_path, name="my_set", features=_SMALL, splits={"train": list})


def test_a_file_where_a_folder_is_expected_is_named(tmp_path: Path) -> None:
    (tmp_path / "out").touch()
    with pytest.raises(UserError, match="is a file"):
        write_rlds(tmp_path / "out", name="my_set", features=_SMALL, splits={"train": list})


def test_steps_without_the_flags_of_rlds_are_refused() -> None:
    with pytest.raises(UserError, match="is_last, is_terminal"):
        RldsFeatures(steps={"is_first": TensorFeature(), "observation": {}, "action": TensorFeature()}, episode={})
