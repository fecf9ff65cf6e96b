"""The smallest reproductions: killed before their first evaluation, run again, finished with nothing done twice."""

from pathlib import Path

import pytest

from tests.end_to_end.command import rtx
from tests.end_to_end.test_quickstart import kill_when, needs_gl, snapshot

pytestmark = [needs_gl, pytest.mark.slow, pytest.mark.timeout(1800)]


def killed_and_finished(name: str, out: Path, kept: tuple[str, ...]) -> str:
    """What the second call prints. `kept`: folders under `out` of which it changes nothing."""
    command = ["reproduce", name, "--preset", "smoke", "--out", str(out)]
    kill_when(command, "== evaluation: seed 1")
    done = {folder: snapshot(out / folder) for folder in kept}

    finished = rtx(*command, timeout=900)
    assert finished.returncode == 0, finished.stderr
    for folder, before in done.items():
        now = snapshot(out / folder)
        paths = [path for path in before if not path.endswith("lock")]
        assert {path: now[path] for path in paths} == {path: before[path] for path in paths}, folder
    assert (out / "report.txt").read_text() in finished.stdout
    return finished.stdout


def test_rt2_cotraining(tmp_path):
    printed = killed_and_finished("rt2-cotraining", tmp_path / "out", ("web", "rlds", "prepared", "runs/0", "questions"))
    assert "2 seeds, 95 % intervals" in printed
    assert "in the paper." in printed
    assert "Co-fine-tuning with web data" in (tmp_path / "out" / "report.html").read_text()


def test_rtx_transfer(tmp_path):
    printed = killed_and_finished("rtx-transfer", tmp_path / "out", ("rlds", "prepared", "runs/0"))
    assert "2 seeds, 95 % intervals" in printed
    assert "sim_vx300s, 2 demonstrations, fine-tuned from the mixture against from scratch: no difference shown." in printed
    assert "What an arm gains" in (tmp_path / "out" / "report.html").read_text()
