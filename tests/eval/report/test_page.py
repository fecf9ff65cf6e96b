"""The report is one file: whole, escaped, without a way to the network, with videos that play; and its plots are right."""

import base64
import dataclasses
import io
import json
import re

import av
import numpy as np
import pytest
from PIL import Image

from rtx.eval.evaluate import evaluate
from rtx.eval.report import films
from rtx.eval.report.page import convention, write_report
from rtx.eval.report.plots import success_plot
from rtx.eval.statistics.rates import Rate
from rtx.eval.suite import Suite
from rtx.robots.sim_arms import SIM_ARMS
from tests.checked_html import check, reaches
from tests.eval.point_robot import ARMS, GoalPolicy, PointRobot, contract

SUITE = Suite(name="points & <more>", arms=ARMS[:2], tasks=("go",), episodes_per_cell=2, max_seconds=3.0)


@pytest.fixture(scope="module")
def evaluation(tmp_path_factory):
    policies = {"trained <1>": GoalPolicy(contract()), "random": GoalPolicy(contract(), speed=0.0)}
    out = tmp_path_factory.mktemp("report")
    done = evaluate(policies, SUITE, out, num_workers=1, make_environment=PointRobot)
    return dataclasses.replace(done, outcomes=tuple(dataclasses.replace(o, instruction="<i>go</i>") for o in done.outcomes))


@pytest.fixture(scope="module")
def page(evaluation):
    metrics = evaluation.out / "metrics.jsonl"
    lines = [{"step": s, "kind": "train", "loss": 3 - s / 100} for s in range(0, 100, 10)]
    lines += [{"step": 50, "kind": "val", "loss": 2.7}, {"step": 60, "kind": "train", "loss": None}]
    metrics.write_text("\n".join(json.dumps(line) for line in lines) + '\n{"step": 7')
    path = write_report(
        evaluation.out / "r.html", evaluation=evaluation, training_metrics=metrics, stage_seconds={"training": 200.0},
        facts={"note": "a & b"},
    )  # fmt: skip
    return path.read_text()


def test_it_nests_and_says_what_was_found(page, evaluation):
    checker = check(page)
    text = " ".join(checker.text)
    assert "trained <1>" in text  # as text: it was escaped
    assert "<i>go</i>" in text
    for name in ("trained <1>", "random"):
        rate = evaluation.rate(name)
        assert f"{rate.successes} of {rate.trials} episodes solved" in text
    for words in ("no difference shown", "sim_panda", "3.3 min", "a & b", "seeds", "2.7 at step 50", "safety filter"):
        assert words in text


def test_nothing_is_fetched_and_nothing_runs(page):
    assert reaches(page) == []


def test_its_videos_play(page, evaluation):
    urls = [attributes["src"] for tag, attributes in check(page).tags if tag == "video"]
    assert len(urls) == sum(outcome.video is not None for outcome in evaluation.outcomes) == 3
    for url in urls:
        data = base64.b64decode(url.removeprefix("data:video/mp4;base64,"))
        with av.open(io.BytesIO(data)) as container:
            assert sum(1 for _ in container.decode(video=0)) > 5


def test_failures_come_first_and_baselines_last(page):
    marks = re.findall(r"class='mark \w+'>([a-z ]+)<.*?class='dim'>([^,]+),", page)
    assert [policy for _, policy in marks] == ["trained &lt;1&gt;"] * 2 + ["random"]


def test_every_film_has_a_strip_from_its_first_frame_to_its_last(page, evaluation):
    strips = [attributes["src"] for tag, attributes in check(page).tags if tag == "img"]
    assert len(strips) == sum(outcome.video is not None for outcome in evaluation.outcomes)
    picture = np.array(Image.open(io.BytesIO(base64.b64decode(strips[0].removeprefix("data:image/jpeg;base64,")))))
    assert picture.shape == (100, 600, 3)
    assert picture[50, 550].mean() > picture[50, 50].mean() + 20  # the point robot's view brightens step by step


def test_where_no_video_has_room_the_strips_are_shown(evaluation, tmp_path, monkeypatch):
    monkeypatch.setattr(films, "_STRIP_RESERVE", films.MAX_BYTES)
    text = write_report(tmp_path / "r.html", evaluation=evaluation).read_text()
    assert "<video" not in text
    assert text.count("<img") == 3
    assert "in the folder of videos" not in text


def test_too_many_videos_are_left_in_their_folder_and_counted(evaluation, tmp_path, monkeypatch):
    monkeypatch.setattr(films, "MAX_BYTES", 1)
    text = write_report(tmp_path / "r.html", evaluation=evaluation).read_text()
    assert "<video" not in text
    assert "3 more are in the folder of videos" in text


@pytest.mark.parametrize(
    ("arm", "words"),
    [
        (
            "sim_ur5e",
            "change of position (cm, base frame); change of rotation (axis_angle, rad, base frame); gripper closed 1, open 0",
        ),
        ("sim_iiwa", "absolute position (m, base frame); absolute rotation (quat_wxyz, base frame); gripper closed 1, open 0"),
        ("sim_kinova3", "change of position (m, tool frame); change of rotation (axis_angle, rad, tool frame)"),
    ],
)
def test_conventions_in_words(arm, words):
    assert convention(SIM_ARMS[arm]).startswith(words)


def test_a_rate_is_drawn_where_it_is():
    drawn = success_plot({"a": [Rate(0, 10), Rate(10, 10)], "b": [Rate(5, 10), Rate(0, 0)]})
    check(drawn)
    xs = [float(x) for x in re.findall(r"<circle cx='([\d.]+)'", drawn)]
    left, right, middle = xs
    assert middle == pytest.approx((left + right) / 2, abs=0.1)
    assert drawn.count("<circle") == 3  # no dot without episodes, but its whole whisker
