"""What a newcomer gets wrong first: each gives one message that says what to do, never a traceback."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.end_to_end.command import refused, rtx
from tests.real_data import bridge_dir


def test_a_missing_folder(tmp_path):
    message = refused(rtx("data", "prepare", "bridge_dataset", tmp_path / "nowhere", tmp_path / "out"))
    assert str(tmp_path / "nowhere") in message
    assert not (tmp_path / "out").exists()


def test_a_wrong_data_set_name():
    message = refused(rtx("data", "info", "brige_dataset"))
    assert "did you mean 'bridge_dataset'" in message


def test_a_wrong_verb():
    assert "did you mean 'prepare'" in refused(rtx("data", "prepair"))


def test_an_unknown_config_key(tmp_path):
    message = refused(rtx("train", "configs/tiny.py:bridge", "--run", tmp_path / "run", "--set", "train.lrr=1e-3"))
    assert "train.lrr" in message
    assert "train.lr" in message
    assert not (tmp_path / "run").exists()


def test_a_config_that_is_not_there():
    assert "configs/nope.py" in refused(rtx("train", "configs/nope.py"))


def test_no_checkpoint_where_one_was_named(tmp_path):
    (tmp_path / "notes.txt").write_text("hello")
    for verb in (["serve"], ["ckpt", "info"], ["ckpt", "verify"]):
        message = refused(rtx(*verb, tmp_path))
        assert "expected a run folder" in message
        assert "notes.txt" in message


def with_missing_camera(folder: Path) -> Path:
    """The real shards' folder, its features.json without the camera image_0."""
    target = folder / "bridge_dataset" / "1.0.0"
    shutil.copytree(bridge_dir() / "bridge_dataset" / "1.0.0", target)
    for path in target.iterdir():
        path.chmod(0o644)
    text = (target / "features.json").read_text()
    assert '"image_0"' in text
    (target / "features.json").write_text(text.replace('"image_0"', '"image_9"'))
    return target


def test_a_set_without_the_camera_the_record_names(tmp_path):
    target = with_missing_camera(tmp_path)
    message = refused(rtx("data", "prepare", "bridge_dataset", target, tmp_path / "out"))
    assert "image_0" in message
    assert "image_9" in message  # what there is instead


def test_an_unknown_preset(tmp_path):
    assert "did you mean 'small'" in refused(rtx("quickstart", "--out", tmp_path, "--preset", "smal"))


def test_a_folder_of_another_preset_is_left_alone(tmp_path):
    (tmp_path / "quickstart.json").write_text(json.dumps({"preset": "full"}))
    assert "choose another folder" in refused(rtx("quickstart", "--out", tmp_path, "--preset", "smoke"))
    assert [p.name for p in tmp_path.iterdir()] == ["quickstart.json"]


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 1 MB, where this process may make one."""
    folder = tmp_path / "disk"
    folder.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)], capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"no right to mount a small file system: {done.stderr.strip()}")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_no_space_left_to_train(tmp_path, small_disk):
    source = bridge_dir()
    done = rtx(
        "train", "configs/tiny.py:bridge", "--run", small_disk / "run", "--set", f"data.sets.0.source={source}",
        "--set", f"data.sets.0.prepared={tmp_path / 'prepared'}", "--set", "train.num_steps=2", "--set", "train.warmup_steps=1",
    )  # fmt: skip
    assert "the disk is full" in refused(done)
