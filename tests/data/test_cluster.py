"""Shards on a Ray cluster: a killed worker changes nothing, a machine that misses a folder says so. Ray runs in a process of
its own (`ray_in_process.py`); what a machine does with a task needs no Ray."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from rtx.data import cluster
from rtx.data.catalogue import RECORDS, find
from rtx.data.features import open_source
from rtx.data.prepare import prepare
from rtx.data.record import RecordRef
from rtx.data.shard import ShardTask
from rtx.errors import UserError
from tests.data.test_record import user_file
from tests.fakes import write_widowx

needs_ray = pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="needs the extra `ray`")
ROOT = Path(__file__).parents[2]


def run_script(*arguments):
    command = [sys.executable, "-m", "tests.data.ray_in_process", *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True)


@needs_ray
def test_a_worker_killed_on_a_cluster_leaves_the_result_of_one_process(tmp_path):
    done = run_script("killed", tmp_path)
    assert done.returncode == 0, done.stderr[-4000:]


@needs_ray
@pytest.mark.slow
def test_two_nodes_share_the_work_and_errors_and_interrupts_come_through(tmp_path):
    done = run_script("two_nodes", tmp_path)
    assert done.returncode == 0, done.stderr[-4000:]


@pytest.fixture
def task(tmp_path):
    """One shard of a set whose record lives in a user's file."""
    record = find("mine", user_file(tmp_path))
    source = open_source(write_widowx(tmp_path, "mine", shards=(2,)))
    (shard,) = source.splits["train"]
    (tmp_path / "parts").mkdir()
    (tmp_path / "parts" / ".sign").touch()
    return ShardTask(
        ref=RecordRef.of(record), features=source.features, split="train", path=shard.path, first_episode=0,
        heldout=np.zeros(2, bool), part=tmp_path / "parts" / "a.npz", key="k", quarantine=False,
    )  # fmt: skip


def test_a_users_file_travels_with_the_task(task, tmp_path):
    packed = cluster._packed(task)
    (tmp_path / "mine.py").unlink()  # as on a machine that never had it
    meta = cluster._work(packed, str(tmp_path / "parts" / ".sign"))
    assert meta.languages == ("task 0", "task 1")
    assert task.part.exists()


def test_a_machine_that_misses_a_folder_says_which(task, tmp_path):
    packed = cluster._packed(task)
    with pytest.raises(UserError, match=r"machine .* does not see .*/elsewhere; choose an output folder that all machines"):
        cluster._work(packed, str(tmp_path / "elsewhere" / ".sign"))
    task.path.unlink()
    with pytest.raises(UserError, match=r"machine .* does not see .*00000-of-00001; put the data set where all"):
        cluster._work(packed, str(tmp_path / "parts" / ".sign"))


def test_wrong_requests_are_refused_at_once(tmp_path, monkeypatch):
    record, source = RECORDS["bridge_dataset"], write_widowx(tmp_path, shards=(1,))
    with pytest.raises(UserError, match="num_workers is 2 and a cluster is given; pass one of the two"):
        prepare(record, source, tmp_path / "out", num_workers=2, cluster="auto")
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UserError, match=r"pip install rtx-robotics\[ray\]"):
        prepare(record, source, tmp_path / "out", cluster="auto")
