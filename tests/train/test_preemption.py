"""SIGTERM to a real process while a save is under way: it is waited for, the state is saved, the code is 75. A second SIGTERM
ends the process at once, and leaves nothing that could be taken for a checkpoint."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from rtx.train import checkpoint
from rtx.train.config import config_to_json
from rtx.train.preemption import EXIT_PREEMPTED
from tests.train.small_run import small_config, write_sets

CHILD = Path(__file__).parent / "held_run.py"


@pytest.fixture
def held(tmp_path):
    """A run that waits for its storage in the save of step 3, with a signal on its way."""
    config = small_config(write_sets(tmp_path / "data"), eval_samples=0)  # compiled by the tests of the loop
    (tmp_path / "config.json").write_text(json.dumps(config_to_json(config)))
    command = [sys.executable, "-W", "error", str(CHILD), str(tmp_path / "config.json"), str(tmp_path / "run")]
    env = {**os.environ, "PYTHONPATH": str(CHILD.parents[2])}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, env=env, text=True, **pipes) as process:
        try:
            assert process.stdout.readline() == "held 3\n", process.stderr.read()[-3000:]
            process.send_signal(signal.SIGTERM)
            wait_for(process, "SIGTERM: saving after this step")
            yield process
        finally:
            process.kill()


def wait_for(process: subprocess.Popen, text: str) -> None:
    for line in process.stderr:
        if text in line:
            return
    raise AssertionError(f"the process ended without {text!r}")


def test_the_save_under_way_is_waited_for_and_another_made(held, tmp_path):
    held.stdin.write("go on\n")
    held.stdin.flush()
    _, rest = held.communicate(timeout=120)
    assert held.returncode == EXIT_PREEMPTED == 75, rest[-3000:]
    root = tmp_path / "run" / "checkpoints"
    last, *before = checkpoint.steps(root)
    assert before
    assert last > before[0] >= 3
    assert [checkpoint.verify(root / str(step)) for step in (last, *before)] == [[]] * (1 + len(before))
    assert sorted(entry.name for entry in root.iterdir()) == sorted(map(str, (last, *before)))


def test_a_second_signal_ends_it_at_once(held, tmp_path):
    """The storage still stands still, so an orderly end would never come."""
    held.send_signal(signal.SIGTERM)
    assert held.wait(timeout=120) == -signal.SIGTERM
    root = tmp_path / "run" / "checkpoints"
    assert [entry.name for entry in root.iterdir()] == [".saving-3"]
    assert checkpoint.steps(root) == []
