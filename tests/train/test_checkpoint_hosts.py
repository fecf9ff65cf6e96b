"""Checkpoints that two processes write together, and restores onto other meshes and other numbers of processes."""

import shutil

import pytest

from rtx.files import read_json
from rtx.train import checkpoint
from tests.train import hosts_at_work, two_processes
from tests.train.checkpoints import SIDE, flip


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """Written by two processes, each with two of the four devices of a mesh."""
    root = tmp_path_factory.mktemp("hosts") / "checkpoints"
    two_processes.run("write", root)
    return root


def test_each_process_writes_its_own_and_the_first_removes_what_is_old(written):
    assert sorted(entry.name for entry in written.iterdir()) == ["2", "3"]
    files = read_json(written / "3" / "manifest.json")["files"]
    assert any(name.startswith("state/ocdbt.process_0/") for name in files)
    assert any(name.startswith("state/ocdbt.process_1/") for name in files)
    on_disk = {str(path.relative_to(written / "3")) for path in (written / "3").rglob("*") if path.is_file()}
    assert set(files) | {"manifest.json"} == on_disk
    assert checkpoint.verify(written / "3") == []


def test_one_process_reads_what_two_wrote(written):
    found = checkpoint.restore(written, hosts_at_work.target(hosts_at_work.mesh(1, 1)))
    assert found is not None
    hosts_at_work.check(found, 3)
    assert found.side == SIDE


def test_two_processes_read_what_they_and_what_one_wrote(written, tmp_path):
    two_processes.run("read", written)
    checkpoint.save(tmp_path, step=3, state=hosts_at_work.state(hosts_at_work.mesh(1, 1), 3), side=SIDE)
    two_processes.run("read", tmp_path)


def test_damage_that_one_process_sees_is_damage_to_both(written, tmp_path):
    shutil.copytree(written, tmp_path / "checkpoints")
    names = [name for name in read_json(written / "3" / "manifest.json")["files"] if "process_1/d/" in name]
    flip(tmp_path / "checkpoints" / "3" / names[0])
    for log in two_processes.run("read_damaged", tmp_path / "checkpoints"):
        assert f"damaged checkpoint passed over: step=3 problem={tmp_path / 'checkpoints' / '3' / names[0]}: contents" in log


def test_a_failure_of_one_process_is_a_failure_of_both(written, tmp_path):
    shutil.copytree(written, tmp_path / "checkpoints")
    two_processes.run("fail", tmp_path / "checkpoints")
    assert sorted(entry.name for entry in (tmp_path / "checkpoints").iterdir()) == ["3", "5"]
