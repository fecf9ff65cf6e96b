"""Evaluations as they lie on the disk, of outcomes that are made up."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from rtx.eval.outcome import Ledger, Outcome
from rtx.eval.play import Settings
from rtx.eval.results import Evaluation
from rtx.eval.suite import Suite
from rtx.files import write_json


def write_evaluation(folder: Path, arm: str, solved: Mapping[str, Mapping[str, int]], *, episodes: int) -> None:
    """`solved[task][policy]`: the first so many of the `episodes` of each task are solved."""
    policies = tuple(next(iter(solved.values())))
    suite = Suite(name="made", arms=(arm,), tasks=tuple(solved), episodes_per_cell=episodes)
    outcomes = [
        _outcome(policy, arm, task, i, i < solved[task][policy])
        for task in suite.tasks
        for policy in policies
        for i in range(episodes)
    ]
    evaluation = Evaluation(
        suite=suite, settings=Settings(), policies={name: name for name in policies}, outcomes=tuple(outcomes), out=folder
    )
    folder.mkdir(parents=True)
    write_json(folder / "results.json", evaluation.to_json())
    with Ledger(folder / "episodes.jsonl") as ledger:
        for one in outcomes:
            ledger.append(one)


def _outcome(policy: str, arm: str, task: str, index: int, success: bool) -> Outcome:
    return Outcome(
        key=f"{policy}{arm}{task}{index}", policy=policy, arm=arm, task=task, index=index, seed=index, instruction="reach",
        success=success, steps=3, seconds=0.6, wall_s=0.1, policy_calls=2, refusals={}, final_distance_m=0.0, video=None,
    )  # fmt: skip
