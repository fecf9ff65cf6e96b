"""`rtx data record` and `rtx data import hdf5`: what is wrong is one sentence; what is right says what comes next."""

from pathlib import Path

import h5py
import pytest

from rtx.cli import main
from tests.data.episodes.small_sets import write_aloha


@pytest.mark.parametrize(("arguments", "message"), [
    (["record", "OUT", "--robot", "sim_panda", "--driver", "sims"], "unknown driver 'sims'; did you mean 'sim'?"),
    (["record", "OUT", "--robot", "franka_droid", "--driver", "sim"], "driver 'sim' has no model of 'franka_droid'"),
    (["record", "OUT", "--robot", "sim_panda", "--driver", "sim:?task=dance", "--expert", "1"], "unknown task 'dance'"),
    (["import", "hdf5", "OUT", "OUT"], "OUT does not exist; pass a file or a folder of them"),
    (["import", "zarr", ".", "OUT"], "holds no Zarr store (.zgroup, zarr.json or .zarr.zip)"),
    (["import", "hdf5", "SET", "OUT", "--name", "My Cups"], "data set name 'My Cups': expected lower-case letters"),
    (["import", "hdf5", "SET", "OUT", "--robot", "my_robot.py"], "no Python file at"),
])  # fmt: skip
def test_wrong_input_is_one_sentence(arguments, message: str, tmp_path: Path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    write_aloha(tmp_path / "SET", episodes=1)
    with pytest.raises(SystemExit, match="2"):
        main(["data", *arguments])
    assert message in capsys.readouterr().err
    assert not (tmp_path / "OUT").exists()


def test_the_expert_records_what_the_next_command_takes(tmp_path: Path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    arguments = ["--robot", "sim_panda", "--driver", "sim:?task=reach&image_size=32&seed=2", "--expert", "2"]
    main(["data", "record", "demos", *arguments])
    out = capsys.readouterr().out
    assert "2 episodes kept" in out
    assert "next: rtx finetune CHECKPOINT --robot sim_panda --data demos" in out
    files = sorted((tmp_path / "demos").iterdir())
    assert [file.name for file in files] == ["episode_000000.hdf5", "episode_000001.hdf5"]
    with h5py.File(files[0]) as first, h5py.File(files[1]) as second:
        assert first["observations/state"][0].tolist() != second["observations/state"][0].tolist(), "a scene of its own"


@pytest.mark.slow
def test_an_import_with_a_robots_file_prepares(tmp_path: Path, monkeypatch, capsys):
    """python -m pytest -m slow tests/cli/test_record.py: TensorFlow writes one set."""
    monkeypatch.chdir(tmp_path)
    write_aloha(tmp_path / "demos", compressed=True)
    lines = ["from rtx.data.robot_keys import DataKeys", "from tests.data.episodes.small_sets import ROBOT"]
    Path("my_robot.py").write_text("\n".join([*lines, 'DATA = DataKeys(state=("observations/qpos",))\n']))
    main(["data", "import", "hdf5", "demos", "out", "--name", "cups", "--robot", "my_robot.py"])
    said = capsys.readouterr().out.splitlines()
    assert "left out: compress_len (episode_0.hdf5: shape [2, 5], the action has 5 rows)" in said[1]
    assert said[-1] == "next: rtx data prepare cups out PREPARED --records out/record.py"
    main(["data", "prepare", "cups", "out", "ready", "--records", "out/record.py"])
    assert "stack the cups" in Path("ready/languages.json").read_text()
    main(["data", "info", "cups", "--records", "out/record.py"])
    assert "by_adapter" in capsys.readouterr().out
