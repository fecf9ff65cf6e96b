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
    root = tmp_path_factory.mktemp("hosts") / "written"
    two_processes.run("write", root)
    return root


@pytest.fixture(scope="module")
def later(written):
    """(folder, logs) of two other processes: they read `written` and what `one` process wrote, find a file `damaged` that
    only one of them reads back, and one cannot write its part when they save to `failing`."""
    folder = written.parent
    mesh = hosts_at_work.mesh(1, 1)
    checkpoint.save(folder / "one", step=3, state=hosts_at_work.state(mesh, 3), side=SIDE)
    for name in ("damaged", "failing"):
        shutil.copytree(written, folder / name)
    flip(folder / "damaged" / "3" / part_of_second(written))
    return folder, two_processes.run("later", folder)


def part_of_second(root):
    return next(name for name in read_json(root / "3" / "manifest.json")["files"] if "process_1/d/" in name)


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


def test_two_processes_read_what_they_and_what_one_wrote(later):
    assert all("read: written one" in log for log in later[1])


def test_damage_that_one_process_sees_is_damage_to_both(later):
    folder, logs = later
    path = folder / "damaged" / "3" / part_of_second(folder / "written")
    assert all(f"damaged checkpoint passed over: step=3 problem={path}: contents differ" in log for log in logs)


def test_a_failure_of_one_process_is_a_failure_of_both(later):
    folder, logs = later
    assert sorted(entry.name for entry in (folder / "failing").iterdir()) == ["3", "5"]
    assert "not saved: process 1 of 2: cannot write" in logs[0]
    assert "not saved: cannot write" in logs[1]
