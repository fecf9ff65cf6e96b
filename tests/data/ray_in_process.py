"""Prepare on a Ray cluster of this machine, in a process of its own (Ray starts servers and leaves threads behind).

    python -m tests.data.ray_in_process killed FOLDER       one node; a worker dies by SIGKILL in the middle of a shard
    python -m tests.data.ray_in_process two_nodes FOLDER    two nodes at work; the same, a bucket, damage, an interrupt

Each check is an assert: the process ends well or with a traceback.
"""

import os
import signal
import sys
import threading
import time
from pathlib import Path

os.environ |= {"RAY_USAGE_STATS_ENABLED": "0", "RAY_AUTH_MODE": "disabled"}  # no report, no token in the home folder
os.environ["PYTHONPATH"] = str(Path(__file__).parents[2])  # for the workers: rtx must be importable on every machine

import pytest
import ray
from ray.cluster_utils import Cluster

from rtx.data.catalogue import find
from rtx.data.prepare import prepare
from rtx.errors import UserError, WorldError
from tests.data.object_server import serve
from tests.data.test_prepare import column_bytes
from tests.fakes import write_widowx

SMALL = {"include_dashboard": False, "object_store_memory": 80 << 20}
USER_FILE = """
import dataclasses, os, signal, time
from pathlib import Path
from rtx.data.simulated import SIMULATED

HERE = Path("{here}")

def standardize(trajectory):
    episode = int(trajectory["_traj_index"][0])
    (HERE / f"{{os.getppid()}}.node").touch()
    while (HERE / "wait_for_two").exists() and len(list(HERE.glob("*.node"))) < 2:
        time.sleep(0.01)
    if (HERE / "bomb").exists() and episode == 5:
        (HERE / "bomb").unlink()
        os.kill(os.getpid(), signal.SIGKILL)
    while (HERE / "hang").exists() and episode == 5:
        (HERE / "hanging").touch()
        time.sleep(0.01)
    return SIMULATED["sim_vx300s"].standardize(trajectory)

MINE = dataclasses.replace(SIMULATED["sim_vx300s"], name="mine", standardize=standardize)
"""


def set_up(folder):
    """(record, source, local result): five shards of two episodes."""
    (folder / "records").mkdir()
    (folder / "records" / "mine.py").write_text(USER_FILE.format(here=folder))
    record = find("mine", folder / "records" / "mine.py")
    source = write_widowx(folder, "mine", shards=(2, 2, 2, 2, 2))
    prepare(record, source, folder / "local", num_workers=1)
    for mark in folder.glob("*.node"):
        mark.unlink()
    return record, source, column_bytes(folder / "local")


def killed(folder):
    record, source, wanted = set_up(folder)
    ray.init(address="local", num_cpus=2, log_to_driver=False, **SMALL)  # its own, whatever runs on this machine
    (folder / "bomb").touch()
    prepare(record, source, folder / "out", cluster="auto")
    assert not (folder / "bomb").exists(), "no worker was killed"
    assert column_bytes(folder / "out") == wanted
    assert ray.is_initialized(), "a connection that was open stays open"


def two_nodes(folder):
    record, source, wanted = set_up(folder)
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, **SMALL})
    cluster.add_node(num_cpus=1, object_store_memory=80 << 20)
    try:
        both_work_and_one_worker_dies(record, source, folder, cluster.address, wanted)
        a_set_in_a_bucket_is_read_there(record, folder, cluster.address, wanted)
        a_damaged_shard_is_named(record, source, folder, cluster.address)
        an_interrupt_keeps_what_is_done(record, source, folder, cluster.address, wanted)
    finally:
        cluster.shutdown()


def both_work_and_one_worker_dies(record, source, folder, address, wanted):
    (folder / "bomb").touch()
    (folder / "wait_for_two").touch()
    prepare(record, source, folder / "both", cluster=address)
    assert len(list(folder.glob("*.node"))) == 2, "one node did all the work"
    assert not (folder / "bomb").exists()
    assert column_bytes(folder / "both") == wanted
    (folder / "wait_for_two").unlink()


def a_set_in_a_bucket_is_read_there(record, folder, address, wanted):
    with serve(folder) as server:
        prepare(record, f"{server.url}/mine/1.0.0", folder / "far", cluster=address)
    assert column_bytes(folder / "far") == wanted


def a_damaged_shard_is_named(record, source, folder, address):
    path = source / "mine-train.tfrecord-00002-of-00005"
    whole = path.read_bytes()
    path.write_bytes(whole[:-5])
    with pytest.raises(WorldError, match="00002-of-00005, byte"):
        prepare(record, source, folder / "damaged", cluster=address)
    path.write_bytes(whole)


def an_interrupt_keeps_what_is_done(record, source, folder, address, wanted):
    (folder / "hang").touch()

    def interrupt():
        parts = folder / "stopped" / "parts"
        while not ((folder / "hanging").exists() and len(list(parts.glob("*.npz"))) == 4):
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=interrupt).start()
    with pytest.raises(KeyboardInterrupt):
        prepare(record, source, folder / "stopped", cluster=address)
    assert not ray.is_initialized()
    (folder / "hang").unlink()
    parts = folder / "stopped" / "parts"
    kept = {path.name: path.stat().st_mtime_ns for path in parts.glob("*.npz")}
    assert len(kept) == 4
    with pytest.raises(UserError, match=r"no Ray cluster at '127\.0\.0\.1:1'.*ray start --head"):
        prepare(record, source, folder / "stopped", cluster="127.0.0.1:1")
    prepare(record, source, folder / "stopped", cluster=address)
    assert column_bytes(folder / "stopped") == wanted


if __name__ == "__main__":
    {"killed": killed, "two_nodes": two_nodes}[sys.argv[1]](Path(sys.argv[2]))
