"""How processes find each other, and two real ones that train together."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from rtx.errors import UserError
from rtx.train import checkpoint, loop
from rtx.train.metrics import read_metrics
from rtx.train.overrides import load_config
from rtx.train.parallel.hosts import Launch, find_launch, shares
from rtx.train.preemption import EXIT_PREEMPTED
from tests.train.small_run import poisoned, write_sets

ROOT = Path(__file__).resolve().parents[3]
BAD = 7  # this sample's robot state is NaN: the last row of the second batch, which the second host reads
TORCHRUN = {"MASTER_ADDR": "node0", "MASTER_PORT": "29500", "RANK": "3", "WORLD_SIZE": "8"}
SLURM = {
    "SLURM_JOB_ID": "7", "SLURM_STEP_NODELIST": "node[0-3]", "SLURM_PROCID": "1", "SLURM_LOCALID": "0", "SLURM_NTASKS": "4",
    "SLURM_STEP_TASKS_PER_NODE": "1(x4)", "SLURM_GPUS_ON_NODE": "8",
}  # fmt: skip


def test_nothing_of_the_kind_is_one_process():
    assert find_launch({}) is None
    assert find_launch({"MASTER_ADDR": "node0", "MASTER_PORT": "1"}) is None
    assert find_launch({**SLURM, "SLURM_NTASKS": "1"}) is None
    assert find_launch({name: SLURM[name] for name in ("SLURM_JOB_ID", "SLURM_NTASKS")}) is None, "no step of srun"


def test_flags_come_first():
    launch = find_launch(TORCHRUN | SLURM, "10.0.0.1:1234", 0, 2, has_tpu=True)
    assert launch == Launch(how="flags", coordinator="10.0.0.1:1234", process_id=0, num_processes=2)
    assert find_launch(TORCHRUN | SLURM).how == "torchrun's variables"
    assert find_launch(SLURM, has_tpu=True).how == "SLURM"
    assert find_launch({}, has_tpu=True) == Launch(how="TPU")


def test_torchrun():
    launch = find_launch(TORCHRUN)
    assert (launch.coordinator, launch.process_id, launch.num_processes, launch.local_devices) == ("node0:29500", 3, 8, ())
    under = find_launch(TORCHRUN | {"TORCHELASTIC_RUN_ID": "x", "LOCAL_WORLD_SIZE": "4", "LOCAL_RANK": "3"})
    assert (under.coordinator, under.local_devices) == ("node0:29501", (3,)), "torchrun listens at its own port"


def test_a_slurm_task_alone_on_its_host_has_all_gpus():
    assert find_launch(SLURM).local_devices == tuple(range(8))
    assert find_launch(SLURM | {"SLURM_STEP_TASKS_PER_NODE": "8(x4)"}).local_devices == ()


@pytest.mark.parametrize(
    ("environment", "flags", "message"),
    [
        ({}, ("host:1", None, 2), "--process-id is missing"),
        ({}, ("host", 0, 2), "expected HOST:PORT"),
        ({}, ("host:1", 2, 2), "process 2 of 2"),
        ({"RANK": "0", "WORLD_SIZE": "2"}, (), "MASTER_ADDR, MASTER_PORT is not"),
        (TORCHRUN | {"RANK": "one"}, (), "RANK='one' is not a number"),
    ],
)
def test_half_a_description_is_refused(environment, flags, message):
    with pytest.raises(UserError, match=message):
        find_launch(environment, *flags)


@pytest.mark.parametrize(
    ("processes", "expected"),
    [
        ([[0, 0]], {0: (0, 1)}),
        ([[0], [0], [1], [1]], {0: (0, 2), 1: (1, 2)}),
        ([[0], [1], [0], [1]], {0: (0, 2), 1: (1, 2)}),  # as the torus has them
        ([[0, 1], [2, 3]], {0: (0, 2), 1: (0, 2), 2: (1, 2), 3: (1, 2)}),  # "tensor" over two hosts
        ([[0, 1], [0, 1]], {0: (0, 1), 1: (0, 1)}),
        ([[0, 0], [0, 1], [1, 1]], None),
        ([[0], [0], [1]], None),
    ],
)
def test_each_process_reads_the_rows_its_devices_hold(processes, expected):
    assert shares(processes) == expected


def train_on_two_hosts(config: Path, run: Path, *, stop_second_with: int) -> list[int]:
    """Exit codes."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        address = f"localhost:{free.getsockname()[1]}"
    flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count=2"
    env = os.environ | {"PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu", "XLA_FLAGS": flags}

    def command(i: int) -> list[str]:
        hosts = ["--coordinator", address, "--process-id", str(i), "--num-processes", "2"]
        stop = stop_second_with if i == 1 else 0
        train = ["train", str(config), "--run", str(run), "--set", "run.mesh.fsdp=4", *hosts]
        return [sys.executable, "-m", "tests.train.parallel.host", str(stop), str(BAD), *train]

    logs = [run.with_name(f"log-{i}") for i in range(2)]
    with contextlib.ExitStack() as stack:
        files = [stack.enter_context(log.open("w")) for log in logs]
        processes = [
            subprocess.Popen(command(i), cwd=ROOT, env=env, stderr=file, stdout=subprocess.DEVNULL)
            for i, file in enumerate(files)
        ]
        try:
            codes = [process.wait(timeout=900) for process in processes]
        finally:
            for process in processes:
                process.kill()
    assert set(codes) <= {0, EXIT_PREEMPTED}, "\n".join(log.read_text()[-2500:] for log in logs)
    assert "loss" not in logs[1].read_text(), "the first says it for all"
    return codes


def curve(run: Path) -> dict[tuple[int, str], float]:
    """Losses; of a step that was skipped there is none."""
    lines = read_metrics(run / "metrics.jsonl")
    return {(line["step"], line["kind"]): line["loss"] for line in lines if line.get("loss") is not None}


@pytest.mark.timeout(1000)  # seconds; two processes compile beside each other
def test_two_hosts_train_as_one_and_stop_together(tmp_path):
    """Four devices on two hosts; a NaN and a SIGTERM reach the second host only, and the run is ended by one process on one
    device."""
    sets = write_sets(tmp_path / "data")
    text = f"""
from rtx.train.config import DataSet, TrainConfig
from tests.train.small_run import small_config

def small() -> TrainConfig:
    return small_config({sets!r}, log_every=1)
"""
    (tmp_path / "config.py").write_text(text)
    config = load_config(str(tmp_path / "config.py"))
    with poisoned(BAD):
        loop.train(config, tmp_path / "alone")
    assert train_on_two_hosts(tmp_path / "config.py", tmp_path / "run", stop_second_with=4) == [EXIT_PREEMPTED] * 2
    stopped = checkpoint.open_checkpoint(tmp_path / "run")
    assert stopped.step == 5, "behind the step after the one that carried the flag"
    loop.train(config, tmp_path / "run")
    alone, together = curve(tmp_path / "alone"), curve(tmp_path / "run")
    assert list(together) == list(alone)
    assert len(alone) == 9
    for run in ("alone", "run"):
        skipped = [line for line in read_metrics(tmp_path / run / "metrics.jsonl") if line.get("event") == "update skipped"]
        assert [(line["step"], line["reason"]) for line in skipped] == [(2, "samples 4..7")]
    np.testing.assert_allclose([*together.values()], [*alone.values()], rtol=1e-5)
