"""The smallest reproduction: killed before its first evaluation, run again, finished with nothing done twice."""

import pytest

from tests.end_to_end.command import rtx
from tests.end_to_end.test_quickstart import kill_when, needs_gl, snapshot


@needs_gl
@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_killed_before_its_evaluation_it_finishes_with_nothing_done_twice(tmp_path):
    out = tmp_path / "cotraining"
    command = ["reproduce", "rt2-cotraining", "--preset", "smoke", "--out", str(out)]
    kill_when(command, "== evaluation: seed 1")
    done = {name: snapshot(out / name) for name in ("web", "rlds", "prepared", "runs/0", "questions")}

    finished = rtx(*command, timeout=900)
    assert finished.returncode == 0, finished.stderr
    for name, before in done.items():
        now = snapshot(out / name)
        kept = [path for path in before if not path.endswith("lock")]
        assert {path: now[path] for path in kept} == {path: before[path] for path in kept}, name
    assert "2 seeds, 95 % intervals" in finished.stdout
    assert "in the paper." in finished.stdout
    assert (out / "report.txt").read_text() in finished.stdout
    assert "Co-fine-tuning with web data" in (out / "report.html").read_text()
