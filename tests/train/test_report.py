"""The page of a run: whole, closed, and true to the run folder, also while it trains, was killed, or is damaged."""

import json
import re
import shutil

import pytest

from rtx.errors import UserError
from rtx.train import loop, report
from rtx.train.metrics import MetricsFile
from tests.checked_html import check, check_closed
from tests.train.small_run import small_config, write_sets


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Of 6 steps, the last two after a resume; with an event of each kind."""
    folder = tmp_path_factory.mktemp("report")
    config = small_config(write_sets(folder / "data"), num_steps=6)
    loop.train(config, folder / "run <1>")
    shutil.rmtree(folder / "run <1>" / "checkpoints" / "6")
    loop.train(config, folder / "run <1>")
    with MetricsFile(folder / "run <1>" / "metrics.jsonl", step=6) as metrics:
        metrics.write(step=5, kind="event", event="update skipped", reason="samples 16..19")
        metrics.write(step=6, kind="event", event="save failed", reason="the disk is <full>")
    return folder / "run <1>"


@pytest.fixture(scope="module")
def page(run):
    path = report.write_report(run)
    assert path == run / "report.html"
    return path.read_text()


def text_of(page):
    return " ".join(" ".join(check(page).text).split())


def test_it_nests_is_closed_and_says_what_happened(page):
    check_closed(page)
    text = text_of(page)
    for words in (
        "run <1>", "6 of 6", "Loss", "Learning rate", "Gradient norm", "Samples a second", "Share of time waited for data",
        "Operations a second", "first", "second", "66.7 %", "resumed", "update skipped", "samples 16..19", "the disk is <full>",
        "sound", "every file against its size and sha256", "delta_pos", "data.batch_size", "fingerprint", "jax",
    ):  # fmt: skip
        assert words in text, words


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
    path.write_text(path.read_text().replace('"first"', '"worst"', 1))  # as long as it was
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
