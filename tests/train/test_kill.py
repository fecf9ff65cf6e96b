"""SIGKILL a real training process, run the same command: the batches and the parameters are those of an uninterrupted run."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import jax
import numpy as np
import pytest

from rtx.train import checkpoint
from rtx.train.config import config_to_json
from rtx.train.metrics import read_metrics
from tests.train.small_run import small_config, write_sets

CHILD = Path(__file__).parent / "small_run.py"
NUM_STEPS = 8  # as in the loop's tests: the same program, compiled once


class Run:
    def __init__(self, folder: Path, config: dict) -> None:
        folder.mkdir(parents=True)
        self.dir, self.digests = folder / "run", folder / "digests"
        (folder / "config.json").write_text(json.dumps(config))
        self.command = [
            sys.executable,
            "-W",
            "error",
            str(CHILD),
            str(folder / "config.json"),
            str(self.dir),
            str(self.digests),
        ]

    def start(self) -> subprocess.Popen:
        env = {**os.environ, "PYTHONPATH": str(CHILD.parents[2])}
        return subprocess.Popen(self.command, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)

    def finish(self) -> None:
        process = self.start()
        _, errors = process.communicate()
        assert process.returncode == 0, errors[-3000:]

    def kill_when(self, is_time) -> None:
        process = self.start()
        try:
            while not is_time():
                assert process.poll() is None, process.stderr.read()[-3000:]
                time.sleep(0.002)
        finally:
            process.send_signal(signal.SIGKILL)
            process.communicate()

    def lines(self) -> list[str]:
        return self.digests.read_text().splitlines() if self.digests.exists() else []

    def batches(self) -> dict[int, str]:
        """First sample number -> digest; a batch seen twice must have been the same."""
        seen: dict[int, str] = {}
        for line in self.lines():
            number, digest = line.split()
            assert seen.setdefault(int(number), digest) == digest
        return seen


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    folder = tmp_path_factory.mktemp("kill")
    config = small_config(write_sets(folder / "data"), num_steps=NUM_STEPS, save_every=2)
    run = Run(folder / "whole", config_to_json(config))
    run.finish()
    return config_to_json(config), run


def test_killed_between_and_during_saves(uninterrupted, tmp_path):
    config, whole = uninterrupted
    run = Run(tmp_path / "killed", config)
    run.kill_when(lambda: len(run.lines()) >= 3)  # after the save of step 2
    run.kill_when(lambda: any((run.dir / "checkpoints").glob(".saving-[68]")))  # in the middle of a later save
    run.finish()
    assert run.batches() == whole.batches()
    assert len(run.batches()) == NUM_STEPS
    assert len(run.lines()) > NUM_STEPS  # it was killed after all
    ours, theirs = (checkpoint.open_checkpoint(r.dir, NUM_STEPS).variables for r in (run, whole))
    jax.tree.map(np.testing.assert_array_equal, ours, theirs)
    curves = [[(x["step"], x["kind"], x["loss"]) for x in read_metrics(r.dir / "metrics.jsonl")] for r in (run, whole)]
    assert curves[0] == curves[1]
    assert not list((run.dir / "checkpoints").glob(".*"))
