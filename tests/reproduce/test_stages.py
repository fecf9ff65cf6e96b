"""A folder belongs to one experiment of one size; seconds add up over calls, also of a stage that fails."""

import json
import subprocess
import sys

import pytest

from rtx.errors import UserError
from rtx.reproduce.stages import Stages, claim


def test_a_folder_is_claimed_once(tmp_path):
    path = tmp_path / "new" / "experiment.json"
    claim(path, "demo", {"preset": "small", "arms": ("a", "b"), "steps": 3})
    claim(path, "demo", {"preset": "small", "arms": ("a", "b"), "steps": 3})
    with pytest.raises(UserError, match=r"holds a demo of preset 'small' with other sizes than 'large' has now"):
        claim(path, "demo", {"preset": "large", "arms": ("a",), "steps": 3})
    assert json.loads(path.read_text())["arms"] == ["a", "b"]


def test_seconds_add_up_over_calls_and_failures(tmp_path, capsys):
    path = tmp_path / "stages.json"
    path.write_text('{"training": 100.0, "report": 1.0}')
    stages = Stages(path)
    with pytest.raises(ValueError, match="stop"), stages.stage("training", "again"):
        raise ValueError("stop")
    assert stages.seconds["training"] >= 100.0
    with stages.stage("data", "first"):
        pass
    with stages.stage("data", "work of a process of its own"):
        subprocess.run([sys.executable, "-S", "-c", "sum(range(10_000_000))"], check=True)
    assert set(Stages(path).seconds) == {"training", "report", "data"}
    cpu = Stages(path).cpu_seconds
    assert set(cpu) == {"training", "data"}
    assert cpu["data"] > 0.0
    assert capsys.readouterr().err.splitlines() == [
        "== training: again",
        "== data: first",
        "== data: work of a process of its own",
    ]
