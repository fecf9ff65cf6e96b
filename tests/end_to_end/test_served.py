"""From a checkpoint over a socket to simulated arms; and a robot whose connection and server keep dying."""

from __future__ import annotations

import contextlib
import dataclasses
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.disconnects import measure
from rtx.embodiment import CANONICAL
from rtx.errors import UserError
from rtx.eval.checkpoint import evaluate_checkpoint
from rtx.eval.results import Evaluation, load_evaluation
from rtx.eval.served import ServedPolicy
from rtx.robots.sim_arms import SIM_ARMS
from rtx.serve.policy import Policy
from tests import small_policy
from tests.end_to_end.command import COMMAND, environment
from tests.end_to_end.test_quickstart import needs_gl
from tests.eval.point_robot import PointRobot
from tests.saved_policy import save_policy

SEVEN = tuple(SIM_ARMS)


def all_arms_policy() -> Policy:
    """A small network with random weights that knows all seven arms: what it does depends on all that it sees."""
    policy = small_policy.rt1_policy()
    moving = policy.contract.statistics["sim_panda"]
    contract = dataclasses.replace(
        policy.contract,
        embodiments=dict(SIM_ARMS),
        layouts=dict.fromkeys(SEVEN, CANONICAL),
        statistics=dict.fromkeys(SEVEN, moving),
    )
    return Policy(
        model=policy.model, variables=policy._variables, contract=contract, tokenizer=policy.tokenizer, name="seven arms"
    )


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_policy(all_arms_policy(), tmp_path_factory.mktemp("run"))


@contextlib.contextmanager
def served(run_dir: Path) -> Iterator[str]:
    """`rtx serve` as a person starts it, in a process of its own; its URL."""
    command = [*COMMAND, "serve", str(run_dir), "--port", "0", "--max-batch", "1"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment()) as process:
        try:
            assert process.stdout is not None
            ready = re.fullmatch(r"ready: (ws://\S+)\n", process.stdout.readline())
            assert ready
            yield ready[1]
        finally:
            process.kill()


@pytest.fixture(scope="module")
def url(run_dir: Path) -> Iterator[str]:
    with served(run_dir) as url:
        yield url


def alike(evaluation: Evaluation) -> list[bool]:
    """For each scene, whether the episode over sockets ended as the one in this process did, to the last digit."""
    here = {outcome.episode: outcome for outcome in evaluation.select("trained")}
    pairs = [(outcome, here[outcome.episode]) for outcome in evaluation.select("served")]
    return [(a.success, a.steps, a.final_distance_m) == (b.success, b.steps, b.final_distance_m) for a, b in pairs]


def point_robot(arm: str) -> PointRobot:
    return PointRobot(arm)


def test_seven_arms_end_alike_through_the_server_and_in_this_process(run_dir, url, tmp_path):
    """On points instead of simulated arms: conventions, rates, safety filter and sockets are the real ones."""
    text = evaluate_checkpoint(
        run_dir, tmp_path, suite="quick", tasks=["reach"], episodes_per_cell=1, num_workers=1, server=url,
        make_environment=point_robot,
    )  # fmt: skip
    evaluation = load_evaluation(tmp_path)
    assert alike(evaluation) == [True] * 7
    assert "in 7 of 7 episodes: sim_panda 1/1" in text
    ends = {outcome.arm: outcome.final_distance_m for outcome in evaluation.select("served")}
    assert len(set(ends.values())) == 7, "each arm did something of its own"


def test_another_checkpoint_behind_the_server_is_refused(url):
    with pytest.raises(UserError, match=r"contract_fingerprint: .*checkpoint_fingerprint: .*serve the checkpoint"):
        ServedPolicy(url, contract=small_policy.contract(), checkpoint="another")


@pytest.mark.slow
@needs_gl
@pytest.mark.timeout(1800)
def test_seven_simulated_arms_end_alike(run_dir, url, tmp_path):
    evaluate_checkpoint(run_dir, tmp_path, suite="quick", tasks=["reach"], episodes_per_cell=2, num_workers=2, server=url)
    assert alike(load_evaluation(tmp_path)) == [True] * 14


def test_cut_connections_and_a_killed_server_bring_nothing_stale():
    result = measure(cuts=40, kills=1)
    assert (result.cuts, result.kills, result.stale) == (40, 1, 0), result
    assert result.connections == 42, "each was made anew"
    assert result.executed > 20, result
    assert result.repeated > 5, result
    assert result.dropped >= result.repeated / 2, result


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_thousand_cut_connections_bring_nothing_stale():
    result = measure(cuts=1000, kills=10)
    assert (result.cuts, result.kills, result.stale) == (1000, 10, 0), result
    assert result.executed > 500, result
