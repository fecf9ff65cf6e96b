"""Disks that are full or read-only: the run goes on, loudly, the checkpoint before is whole, and later saves succeed."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

CHILD = Path(__file__).parent / "bad_disks.py"
ENV = {**os.environ, "PYTHONPATH": str(CHILD.parents[2])}


def test_a_write_that_is_cut_short(tmp_path):
    command = [sys.executable, str(CHILD), "limited", str(tmp_path)]
    result = subprocess.run(command, env=ENV, capture_output=True, text=True, timeout=120, check=True)
    whole, reason, after, stopped, again, sound = result.stdout.splitlines()
    assert whole == "1 ['1']"
    assert reason.startswith(f"2 cannot write {tmp_path}/checkpoints: ")
    assert "File too large" in reason
    assert after == "2 ['1']"
    assert stopped.startswith("3 stopped: cannot write")
    assert again == "4 ['1', '4']"
    assert sound == "sound [4, 1]"
    assert "rtx.train.saver checkpoint not saved, the previous one is intact: step=2 cannot write" in result.stderr


@pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("unshare"), reason="mounting a small disk needs root and unshare")
def test_a_disk_that_is_full_and_one_that_is_read_only(tmp_path):
    """In a mount namespace of its own, which ends with the process."""
    mounted = 'mount -t tmpfs -o size=4m tmpfs $0 && exec "$@"'
    command = ["unshare", "--mount", "sh", "-c", mounted, str(tmp_path), sys.executable, str(CHILD), "mounted", str(tmp_path)]
    result = subprocess.run(command, env=ENV, capture_output=True, text=True, timeout=120, check=False)
    if "permission denied" in result.stderr.lower() or "not permitted" in result.stderr.lower():
        pytest.skip("this machine does not allow mounting a small disk")
    assert result.returncode == 0, result.stderr[-3000:]
    whole, full, two, midway, three, read_only, four, stopped, again, sound = result.stdout.splitlines()
    assert whole == "1 ['1']"
    assert "2 cannot write" in full
    assert "the disk is full (0.6 MB free, a checkpoint needs 1.5 MB)" in full
    assert "3 cannot write" in midway
    assert "the disk became full" in midway
    assert "the file system is read-only" in read_only
    assert "5 stopped: " in stopped
    assert "the file system is read-only" in stopped
    assert (two, three, four) == ("2 ['1']", "3 ['1']", "4 ['1']")
    assert again == "6 ['1', '6']"
    assert sound == "sound [6, 1]"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere; the read-only disk stands for it there")
def test_a_folder_that_may_not_be_written(tmp_path):
    from tests.train.bad_disks import Run

    run = Run(tmp_path / "checkpoints")
    run.save()
    (tmp_path / "checkpoints").chmod(0o555)
    run.save()
    run.must_save()
    (tmp_path / "checkpoints").chmod(0o755)
    run.save()
    assert sorted(entry.name for entry in (tmp_path / "checkpoints").iterdir()) == ["1", "4"]
