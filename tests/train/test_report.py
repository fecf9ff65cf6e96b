"""The page of a run: whole, closed, and true to the run folder, also while it trains, was killed, or is damaged."""

import json
import re
import shutil

import pytest

from rtx.errors import UserError
from rtx.files import write_json
from rtx.train import report
from rtx.train.config import DataSet, config_to_json
from rtx.train.metrics import MetricsFile
from tests.browser import check_page
from tests.checked_html import check, reaches
from tests.train import checkpoints
from tests.train.small_run import small_config

STARTED = {
    "wall_s": 1.8e9, "host": "node-1", "machine": "Linux", "versions": {"jax": "0.10.2"}, "hosts": 1, "mesh": {"data": 1},
    "devices": {"platform": "cpu", "kind": "cpu", "count": 1}, "fingerprint": "0123456789abcdef", "parameters": 12345,
    "sets": [
        {"name": "first", "share": 1 / 3, "episodes": 3, "steps": 14},
        {"name": "second", "share": 2 / 3, "episodes": 3, "steps": 15},
    ],
}  # fmt: skip


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run folder as the loop leaves it after a resume, with an event of each kind: its own files, by their own writers. The
    page of a run that was trained is looked at in `test_loop`."""
    run = tmp_path_factory.mktemp("report") / "run <1>"
    write_json(run / "config.json", config_to_json(small_config((DataSet(prepared="unused"),), num_steps=6)))
    (run / "starts.jsonl").write_text("".join(json.dumps(STARTED | {"step": step}) + "\n" for step in (0, 3)))
    with MetricsFile(run / "metrics.jsonl", step=0) as metrics:
        for step in range(1, 7):
            sets = {name: {"loss": 2.0 / step, "accuracy": step / 10} for name in ("first", "second")}
            figures = {"loss": 2.0 / step, "accuracy": step / 10, "lr": 1e-3, "grad_norm": 1.0, "nonfinite": 0}
            speed = {"samples_per_s": 64.0, "step_s": 0.5, "flops_per_s": 4e12, "data_wait": 0.02}
            metrics.write(step=step, kind="train", **figures, **speed, sets=sets)
            if step % 2 == 0:
                metrics.write(step=step, kind="val", loss=2.5 / step, accuracy=step / 11, sets=sets)
        metrics.write(step=5, kind="event", event="update skipped", reason="samples 16..19")
        metrics.write(step=6, kind="event", event="save failed", reason="the disk is <full>")
    checkpoints.save(run / "checkpoints", 3, 6)
    return run


@pytest.fixture(scope="module")
def page(run):
    path = report.write_report(run)
    assert path == run / "report.html"
    return path.read_text()


def text_of(page):
    return " ".join(" ".join(check(page).text).split())


def test_it_nests_is_closed_and_says_what_happened(page):
    assert reaches(page) == []
    text = text_of(page)
    for words in (
        "run <1>", "6 of 6", "Loss", "Learning rate", "Gradient norm", "Samples a second", "Share of time waited for data",
        "Operations a second", "first", "second", "66.7 %", "resumed", "update skipped", "samples 16..19", "the disk is <full>",
        "sound", "every file against its size and sha256", "delta_pos", "data.batch_size", "fingerprint", "jax",
    ):  # fmt: skip
        assert words in text, words


def test_a_browser_opens_it_without_complaint(page, run):
    assert check_page(run / "report.html") == []


def test_resumes_and_events_stand_in_the_curves(page):
    for tip in ("resumed, step 3", "update skipped, step 5", "save failed, step 6"):
        assert f"<title>{tip}</title>" in page


def test_each_set_has_its_curves_in_training_and_held_out(page):
    for name in ("first", "second"):
        assert f"<figcaption>{name}: loss</figcaption>" in page
        (drawn,) = re.findall(rf"<figcaption>{name}: loss</figcaption>(.*?)</figure>", page)
        assert all(len(points.split()) for points in re.findall("points='([^']*)'", drawn))
        assert drawn.count("<polyline") == 2


def test_a_damaged_checkpoint_is_shown(run, tmp_path):
    shutil.copytree(run, tmp_path / "run")
    with open(tmp_path / "run" / "checkpoints" / "6" / "contract.json", "a") as file:
        file.write(" ")
    text = text_of(report.write_report(tmp_path / "run", tmp_path / "r.html").read_text())
    assert "damaged" in text
    assert "contract.json" in text
    assert "delta_pos" in text, "the contract of the sound one, or of the damaged one while it can be read"


def test_contents_may_be_left_unread(run, tmp_path):
    shutil.copytree(run, tmp_path / "run")
    path = tmp_path / "run" / "checkpoints" / "6" / "contract.json"
    path.write_text(path.read_text().replace('"sim_panda"', '"sim_pandx"', 1))  # as long as it was
    quick = text_of(report.write_report(tmp_path / "run", tmp_path / "q.html", hashes=False).read_text())
    assert "damaged" not in quick
    assert "against its size only" in quick
    assert "damaged" in text_of(report.write_report(tmp_path / "run", tmp_path / "r.html").read_text())


def test_a_run_that_has_just_begun(run, tmp_path):
    shutil.copy(run / "config.json", tmp_path / "config.json")
    (tmp_path / "metrics.jsonl").write_text('{"step": 2, "ki')
    text = text_of(report.write_report(tmp_path).read_text())
    assert "no step is logged yet" in text
    assert "None yet" in text


def test_lines_of_runs_from_before_have_fewer_figures(run, tmp_path):
    shutil.copy(run / "config.json", tmp_path / "config.json")
    lines = [{"step": s, "kind": "train", "loss": 1.0, "lr": 0.1, "samples_per_s": 9.0, "data_wait": 0.1} for s in (1, 2)]
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert "2 of 6" in text_of(report.write_report(tmp_path).read_text())


def test_what_is_no_run_is_told(tmp_path):
    with pytest.raises(UserError, match=r"is not a run folder \(no config.json\)"):
        report.write_report(tmp_path)
