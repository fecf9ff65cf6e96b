"""The whole path at its smallest: killed with SIGKILL in three stages, run again, finished with nothing done twice."""

import json
import os
import signal
import threading
from pathlib import Path

import pytest

from tests.end_to_end.command import rtx, start

STAGES = ("demonstrations", "prepare", "training", "evaluation", "report")
needs_gl = pytest.mark.skipif(
    not any(
        Path(folder).glob("libEGL.so.1*")
        for folder in ("/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu", "/usr/lib64")
    ),
    reason="no software GL: apt-get install -y libegl1 libegl-mesa0 libgl1-mesa-dri",
)


def kill_when(arguments: list[str], sign: str) -> str:
    """Starts rtx, kills its whole process group with SIGKILL when a line with `sign` appears; what it wrote until then."""
    process = start(*arguments)
    assert process.stderr is not None
    guard = threading.Timer(280, lambda: os.killpg(process.pid, signal.SIGKILL))
    guard.start()
    lines = []
    for line in process.stderr:
        lines.append(line)
        if sign in line:
            os.killpg(process.pid, signal.SIGKILL)
            break
    guard.cancel()
    process.wait()
    process.stderr.close()
    text = "".join(lines)
    assert process.returncode == -signal.SIGKILL, text
    assert sign in text, text
    return text


def snapshot(folder: Path) -> dict[str, tuple[int, int]]:
    """Inode and time of every file: an unchanged entry was not written again."""
    return {str(p.relative_to(folder)): (p.stat().st_ino, p.stat().st_mtime_ns) for p in folder.rglob("*") if p.is_file()}


@needs_gl
@pytest.mark.timeout(900)
def test_killed_in_three_stages_it_finishes_with_nothing_done_twice(tmp_path):
    out = tmp_path / "quick"
    command = ["quickstart", "--preset", "smoke", "--out", str(out)]
    kill_when(command, "== prepare")
    sets = snapshot(out / "rlds")
    assert {"sim_panda/1.0.0/features.json", "sim_sawyer/1.0.0/features.json"} <= set(sets)

    kill_when(command, "== evaluation")
    assert snapshot(out / "rlds") == sets
    prepared, checkpoints = snapshot(out / "prepared"), snapshot(out / "run" / "checkpoints")

    kill_when(command, "== report")
    episodes = (out / "eval" / "episodes.jsonl").read_bytes()

    done = rtx(*command)
    assert done.returncode == 0, done.stderr
    assert (snapshot(out / "rlds"), snapshot(out / "prepared")) == (sets, prepared)
    assert snapshot(out / "run" / "checkpoints") == checkpoints
    assert (out / "eval" / "episodes.jsonl").read_bytes() == episodes
    assert str(out / "report.html") in done.stdout
    assert set(json.loads((out / "stages.json").read_text())) == set(STAGES)
    check_report(out / "report.html")
    check_next_commands(out)


def check_report(path: Path) -> None:
    page = path.read_text()
    assert "data:video/mp4;base64," in page
    assert "http://" not in page.replace("http://www.w3.org/", "")
    for name in ("trained", "untrained", "random", "sim_panda", "sim_sawyer"):
        assert name in page


def check_next_commands(out: Path) -> None:
    """What the closing words suggest, and a checkpoint asked for a robot it does not know."""
    page = rtx("data", "inspect", out / "prepared" / "sim_panda")
    assert page.returncode == 0, page.stderr
    assert (out / "prepared" / "sim_panda" / "inspect.html").exists()
    stranger = rtx("eval", out / "run", "--arms", "sim_ur5e", "--episodes", "1", "--out", out / "other")
    assert stranger.returncode == 2
    assert "it was trained on sim_panda, sim_sawyer" in stranger.stderr
    info = rtx("ckpt", "info", out / "run")
    assert info.returncode == 0, info.stderr
    assert "sim_sawyer" in info.stdout
