"""`rtx report` and `rtx train --profile`: the words reach the library. What comes of them is tested in `rtx.train`."""

import pytest

from rtx.cli import EXIT_USER, main

CONFIG = """
from pathlib import Path
from rtx.train.config import TrainConfig
from tests.train.small_run import small_config, write_sets

def small() -> TrainConfig:
    return small_config(write_sets(Path({folder!r}) / "data"))
"""


def test_a_run_that_is_none(tmp_path, capsys):
    with pytest.raises(SystemExit) as exit_:
        main(["report", str(tmp_path / "nowhere"), "--quick"])
    assert exit_.value.code == EXIT_USER
    assert "nowhere is not a run folder" in capsys.readouterr().err


@pytest.mark.parametrize(("words", "number"), [(["--profile", "6"], 6), (["--profile"], 5)])
def test_profile_takes_a_number_or_none(tmp_path, capsys, words, number):
    """Three steps are left out as a warm-up, so that two more than the number are one too few."""
    (tmp_path / "config.py").write_text(CONFIG.format(folder=str(tmp_path)))
    arguments = ["train", str(tmp_path / "config.py"), "--run", str(tmp_path / "run"), "--set", f"train.num_steps={number + 2}"]
    with pytest.raises(SystemExit) as exit_:
        main([*arguments, *words])
    assert exit_.value.code == EXIT_USER
    assert f"--profile {number} needs {number + 3} steps, {number + 2} are left" in capsys.readouterr().err
