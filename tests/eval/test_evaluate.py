"""A whole evaluation: results, verdicts, what is refused; killed in the middle and run again it gives the same table."""

import dataclasses
import io
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from rich.console import Console

from rtx.errors import UserError
from rtx.eval.evaluate import evaluate
from rtx.eval.play import Settings
from rtx.eval.report.page import write_report
from rtx.eval.results import load_evaluation
from rtx.eval.suite import Suite, episodes
from tests.eval.point_robot import ARMS, GoalPolicy, PointRobot, contract

SUITE = Suite(name="points", arms=ARMS[:2], tasks=("go",), episodes_per_cell=4, max_seconds=12.0)
HERE = Path(__file__).resolve().parent


def policies():
    return {"good": GoalPolicy(contract()), "lazy": GoalPolicy(contract(), speed=0.0)}


def run(out, suite=SUITE, *, chosen=None, video_per_cell=0, **more):
    return evaluate(
        chosen or policies(), suite, out, num_workers=2, video_per_cell=video_per_cell, make_environment=PointRobot, **more
    )


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    return run(tmp_path_factory.mktemp("eval"))


def test_rates_and_verdicts(finished):
    assert (finished.rate("good").successes, finished.rate("good").trials) == (8, 8)
    assert finished.rate("lazy", arm="sim_panda").successes == 0
    assert finished.compare("lazy").verdict == "better"
    assert finished.compare("lazy", arm="sim_panda").verdict == "no difference shown"  # 4 to 0: p = 0.125


def test_the_table_has_every_arm_and_policy(finished):
    screen = io.StringIO()
    Console(file=screen, width=160).print(finished.table())
    for text in ("sim_panda", "sim_kinova3", "all", "go", "good", "lazy", "100 % (68..100, n=8)", "no difference shown"):
        assert text in screen.getvalue()


def test_results_are_written_and_read_back(finished):
    data = json.loads((finished.out / "results.json").read_text())
    assert data["overall"]["good"]["successes"] == 8
    whole = data["comparisons"][0]
    assert (whole["against"], whole["arm"], whole["verdict"], whole["corrected_for"]) == ("lazy", None, "better", 1)
    assert (whole["only_first"], whole["only_second"], whole["difference"], whole["intervals_overlap"]) == (8, 0, 1.0, False)
    rows = [row["arm"] or row["task"] for row in data["comparisons"][1:]]
    assert rows == ["sim_panda", "sim_kinova3", "go"]
    assert data["interquartile_mean"]["lazy"]["value"] == 0.0
    assert load_evaluation(finished.out) == finished


def test_a_second_run_plays_nothing(finished):
    before = (finished.out / "episodes.jsonl").read_bytes()
    assert run(finished.out) == finished
    assert (finished.out / "episodes.jsonl").read_bytes() == before


def test_a_larger_suite_plays_only_what_is_new(tmp_path):
    small = run(tmp_path, dataclasses.replace(SUITE, episodes_per_cell=1))
    large = run(tmp_path, dataclasses.replace(SUITE, episodes_per_cell=2))
    assert all(outcome in large.outcomes for outcome in small.outcomes)
    assert len((tmp_path / "episodes.jsonl").read_text().splitlines()) == 8


def test_other_settings_or_weights_are_played_anew(tmp_path):
    one = dataclasses.replace(SUITE, arms=ARMS[:1], episodes_per_cell=1)
    run(tmp_path, one, chosen={"p": GoalPolicy(contract())})
    run(tmp_path, one, chosen={"p": GoalPolicy(contract())}, settings=Settings(replan=3))
    run(tmp_path, one, chosen={"p": GoalPolicy(contract(), speed=0.9)})
    assert len((tmp_path / "episodes.jsonl").read_text().splitlines()) == 3


def test_results_of_another_look_are_not_taken_over(tmp_path, monkeypatch):
    one = dataclasses.replace(SUITE, arms=ARMS[:1], episodes_per_cell=1, environment="metaworld")
    for look, played in (("fast", 1), ("own", 2), ("fast", 2)):
        monkeypatch.setenv("RTX_SUITE_LOOK", look)
        run(tmp_path, one, chosen={"p": GoalPolicy(contract())})
        assert len((tmp_path / "episodes.jsonl").read_text().splitlines()) == played


def test_a_policy_of_another_robot_is_refused_before_anything_starts(tmp_path):
    stranger = GoalPolicy(contract(arms=["sim_panda"]))
    with pytest.raises(UserError, match=r"'p' does not know sim_kinova3 of suite 'points'.*--arms sim_panda"):
        run(tmp_path, chosen={"p": stranger})
    assert not list(tmp_path.iterdir())


def test_videos_are_recorded_per_cell_and_played_again_only_when_lost(tmp_path):
    suite = dataclasses.replace(SUITE, episodes_per_cell=2)
    first = run(tmp_path, suite, video_per_cell=1)
    recorded = {outcome.episode: outcome.video for outcome in first.select("good") if outcome.video}
    assert set(recorded) == {"sim_panda/go/0", "sim_kinova3/go/0"}
    assert [outcome.episode for outcome in first.select("lazy") if outcome.video] == ["sim_panda/go/0"]
    lines = (tmp_path / "episodes.jsonl").read_text().splitlines()
    (first.videos / recorded["sim_panda/go/0"]).unlink()
    again = run(tmp_path, suite, video_per_cell=1)
    assert (again.videos / recorded["sim_panda/go/0"]).exists()
    assert len((tmp_path / "episodes.jsonl").read_text().splitlines()) == len(lines) + 1


SCRIPT = """
import sys
from pathlib import Path
from tests.eval.point_robot import GoalPolicy, PointRobot, contract
from rtx.eval.evaluate import evaluate
from rtx.eval.suite import Suite, episodes

if __name__ == "__main__":
    suite = Suite(name="killed", arms=("sim_panda", "sim_kinova3"), tasks=("slow",), episodes_per_cell=4, max_seconds=2.0)
    policies = {"good": GoalPolicy(contract()), "lazy": GoalPolicy(contract(), speed=0.0)}
    evaluate(policies, suite, Path(sys.argv[1]), num_workers=1, make_environment=PointRobot, video_per_cell=0)
"""


def _start(tmp_path, out):
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    paths = os.pathsep.join([str(HERE), str(HERE.parents[1])])
    return subprocess.Popen([sys.executable, script, out], env={**os.environ, "PYTHONPATH": paths}, start_new_session=True)


def _lines(out) -> list[str]:
    path = out / "episodes.jsonl"
    return path.read_text().splitlines() if path.exists() else []


def test_killed_at_random_and_run_again_it_gives_the_same_table_and_repeats_nothing(tmp_path):
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    assert _start(tmp_path, whole).wait(timeout=120) == 0
    rng, seen = random.Random(os.urandom(8)), 0
    for _ in range(2):
        wanted = rng.randint(seen + 1, seen + 6)
        process = _start(tmp_path, killed)
        while len(_lines(killed)) < wanted and process.poll() is None:
            time.sleep(rng.uniform(0.0, 0.04))
        process.send_signal(signal.SIGKILL)
        process.wait()
        kept = _lines(killed)
        assert wanted <= len(kept) < 16, wanted
        assert not (killed / "results.json").exists()
        seen = len(kept)
    assert _start(tmp_path, killed).wait(timeout=120) == 0
    assert _lines(killed)[: len(kept)] == kept
    assert len(_lines(killed)) == 16
    assert (killed / "results.json").read_bytes() == (whole / "results.json").read_bytes()


def test_it_stops_early_after_a_whole_round_that_shows_the_difference(tmp_path):
    suite = dataclasses.replace(SUITE, arms=ARMS[:1], episodes_per_cell=11)
    found = run(tmp_path, suite, stop_early=True)
    assert (found.suite.episodes_per_cell, found.planned, found.stopped_early) == (8, 11, True)  # 8 to 0: e = 28
    assert found.compare("lazy").verdict == "better"
    assert len(_lines(tmp_path)) == 16
    assert "Stopped early, after 8 of 11" in write_report(tmp_path / "r.html", evaluation=found).read_text()
    assert load_evaluation(tmp_path) == found
    table = (tmp_path / "results.json").read_bytes()
    run(tmp_path, suite)  # all of them, for a table of a number fixed in advance
    assert len(_lines(tmp_path)) == 22
    run(tmp_path, suite, stop_early=True)
    assert (tmp_path / "results.json").read_bytes() == table


def test_it_does_not_stop_where_nothing_is_shown(tmp_path):
    suite = dataclasses.replace(SUITE, arms=ARMS[:1], episodes_per_cell=5)
    found = run(
        tmp_path, suite, chosen={"good": GoalPolicy(contract()), "alike": GoalPolicy(contract(), speed=0.9)}, stop_early=True
    )
    assert (found.suite.episodes_per_cell, found.stopped_early) == (5, False)
    with pytest.raises(UserError, match="something to compare with"):
        run(tmp_path, suite, chosen={"good": GoalPolicy(contract())}, stop_early=True)


class FirstOnly(GoalPolicy):
    """Solves the first scene of each robot, and stands still in the others."""

    def __init__(self, suite: Suite) -> None:
        super().__init__(contract())
        robots = {episode.seed: PointRobot(episode.arm) for episode in episodes(suite) if episode.index == 0}
        for seed, robot in robots.items():
            robot.reset(task="go", seed=seed)
        self.known = {robot.instruction for robot in robots.values()}

    def _act(self, observation, robot):
        self.speed = float(observation.instruction in self.known)
        return super()._act(observation, robot)


def test_failures_are_played_again_for_their_video(tmp_path):
    suite = dataclasses.replace(SUITE, episodes_per_cell=2)
    found = run(tmp_path, suite, chosen={"p": FirstOnly(suite)}, video_per_cell=1)
    failed = [outcome for outcome in found.outcomes if not outcome.success]
    assert [outcome.episode for outcome in failed] == ["sim_panda/go/1", "sim_kinova3/go/1"]
    assert all(outcome.video and (found.videos / outcome.video).exists() for outcome in found.outcomes)
    assert run(tmp_path, suite, chosen={"p": FirstOnly(suite)}, video_per_cell=1) == found
    assert len(_lines(tmp_path)) == 6


def test_a_cell_whose_failure_is_recorded_already_is_left_alone(tmp_path):
    found = run(tmp_path, chosen={"p": GoalPolicy(contract(), speed=0.0)}, video_per_cell=1)
    assert [outcome.index for outcome in found.outcomes if outcome.video] == [0, 0]
    assert len(_lines(tmp_path)) == 8
