"""The suites themselves, each in a process of its own. Those that run in another Python are skipped with their install line
where their variable is not set.

The whole replays take many minutes: pytest -m slow tests/eval/public
"""

import dataclasses
import importlib.util
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from rtx.errors import UserError
from rtx.eval.baselines import RandomPolicy
from rtx.eval.evaluate import evaluate
from rtx.eval.public.process import python_of
from rtx.eval.public.registry import find_public
from rtx.eval.suite import find_suite
from rtx.robots.public_arms import PUBLIC_ARMS
from rtx.spec import Contract, Statistics
from tests.small_policy import statistics

ROOT = Path(__file__).resolve().parents[3]
_PACKAGES = {"metaworld": "metaworld", "robosuite": "robosuite", "gym-aloha": "gym_aloha"}


def needs(name):
    """Skips where the suite is not installed; the reason says how it is."""
    suite = find_public(name)
    if name in _PACKAGES:
        if importlib.util.find_spec(_PACKAGES[name]) is None:
            pytest.skip(f"{name}: {suite.install}")
        return suite
    try:
        python_of(suite)
    except UserError as error:
        pytest.skip(str(error))
    return suite


def run(*words, timeout=280):
    done = subprocess.run(
        [sys.executable, *words], cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True,
        timeout=timeout,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize(
    ("name", "task"), [("metaworld", "drawer-open-v3"), ("robosuite", "Stack"), ("gym-aloha", "transfer_cube")]
)
def test_scenes_follow_from_their_seeds_and_are_seen(name, task):
    needs(name)
    seen = json.loads(run(str(Path(__file__).with_name("play_in_process.py")), name, task).splitlines()[-1])
    assert seen["same"]
    assert seen["differs"]
    assert seen["moved"] > 1e-3
    assert seen["through"] < 1e-4  # six steps by way of the canonical action end where the native ones do
    assert seen["refusals"] == {}
    assert seen["images"] == {role: [256, 256, 3] for role in seen["roles"]}
    assert seen["blind"] == 0
    assert seen["width"] == 0
    assert seen["view"][:3] == [64, 64, 3]
    assert seen["view"][3] > 5  # a picture, not a plain
    assert seen["instruction"] == find_public(name).tasks[task]


@pytest.mark.parametrize(
    ("name", "task"),
    [
        ("metaworld", "button-press-v3"), ("robosuite", "Lift"), ("maniskill", "PickCube-v1"),
        ("simpler-widowx", "widowx_stack_cube"), ("simpler-google", "google_robot_move_near"),
    ],
)  # fmt: skip
def test_the_expert_solves_it_natively_and_through_rtx(name, task):
    needs(name)
    text = run("-m", "rtx.cli", "suite", "replay", name, "--tasks", task, "--episodes", "1")
    assert re.search(rf"{task} +native +1/1 +through rtx +1/1", text), text
    assert "safety filter changed: 0" in text


def test_a_policy_is_evaluated_in_meta_world(tmp_path):
    """The whole way: worker process, pictures, ledger, video, table. The policy throws dice."""
    needs("metaworld")
    robot, layout = PUBLIC_ARMS["metaworld_sawyer"]
    contract = Contract(
        roles=("primary",), image_size=(32, 32), history=1, chunk=4, embodiments={robot.name: robot},
        layouts={robot.name: layout},
        statistics={
            robot.name: Statistics(
                action=statistics(-0.01, 0.01, 8), proprio=statistics(-1, 1, 10), num_episodes=2, source="a test"
            )
        },
    )  # fmt: skip
    suite = dataclasses.replace(find_suite("metaworld", tasks=["reach-v3"], episodes_per_cell=1), max_seconds=8 / 80)
    evaluation = evaluate({"random": RandomPolicy(contract)}, suite, tmp_path, num_workers=1)
    (outcome,) = evaluation.outcomes
    assert (outcome.arm, outcome.task, outcome.steps) == ("metaworld_sawyer", "reach-v3", 8)
    assert outcome.instruction == "reach the goal"
    assert outcome.refusals == {}
    assert (tmp_path / "videos" / outcome.video).stat().st_size > 1000


RATES = {
    "metaworld": (10, 0.97),
    "robosuite": (20, 0.95),
    "gym-aloha": (20, 0.4),
    "maniskill": (10, 0.9),
    "language-table": (3, 0.9),
    "libero": (2, 0.9),
    "simpler-widowx": (10, 0.95),
    "simpler-google": (10, 0.8),
}
"""Episodes of each task, and the least share of them that the expert solves (docs/public_suites.md has what it did)."""


@pytest.mark.slow
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("name", RATES)
def test_rates_through_rtx_are_the_suites_own(name):
    needs(name)
    episodes, least = RATES[name]
    text = run("-m", "rtx.cli", "suite", "replay", name, "--episodes", str(episodes), timeout=7000)
    native, through = (
        np.array(re.search(rf"^{which}: .*\((\d+)/(\d+),", text, re.MULTILINE).groups(), float)
        for which in ("native", "through rtx")
    )
    assert native[0] / native[1] >= least
    assert abs(native[0] - through[0]) <= 0.02 * native[1]
