"""`rtx quickstart`: the whole path at small size, from nothing to a report one can look at.

    OUT/rlds/<arm>/1.0.0      demonstrations of scripted experts, as TFDS writes RLDS      (record_sim)
    OUT/prepared/<arm>        step table, statistics, byte index                           (prepare)
    OUT/run                   one policy on all arms' data, checkpoints, metrics           (train)
    OUT/eval                  that policy, random and untrained on the same seeds          (evaluate)
    OUT/report.html           success with intervals, curves, videos                       (write_report)

Each stage carries on from what an earlier, interrupted call left and is skipped when it is done; `OUT/stages.json` keeps
how long each took. TensorFlow lives in the recorder's writer process alone, simulators in worker processes.
"""

from __future__ import annotations

import dataclasses
import os
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rtx.errors import look_up
from rtx.eval.suite import Suite
from rtx.reproduce.stages import Stages, claim

if TYPE_CHECKING:
    from rtx.data.prepared import PreparedSet
    from rtx.eval.results import Evaluation
    from rtx.eval.rollout import Policy
    from rtx.train.config import TrainConfig

ARMS = ("sim_panda", "sim_sawyer", "sim_ur5e", "sim_iiwa", "sim_kinova3", "sim_jaco")
ROLES = ("primary", "wrist")


@dataclass(frozen=True, kw_only=True)
class Preset:
    """How much of everything. Times are for 2 CPU cores."""

    arms: tuple[str, ...]
    tasks: tuple[str, ...]
    episodes_per_arm: int
    num_steps: int  # of training
    episodes_per_cell: int  # evaluation episodes of one arm with one task
    batch_size: int = 64
    lr: float = 2e-3
    image_size: int = 64  # pixels fed to the model; recorded at twice that

    def suite(self, name: str) -> Suite:
        return Suite(name=name, arms=self.arms, tasks=self.tasks, episodes_per_cell=self.episodes_per_cell)


PRESETS: Mapping[str, Preset] = {
    "smoke": Preset(
        arms=ARMS[:2], tasks=("reach",), episodes_per_arm=4, num_steps=20, episodes_per_cell=1, batch_size=8
    ),  # a minute or two: does everything run here?
    "small": Preset(
        arms=ARMS, tasks=("reach", "push", "lift"), episodes_per_arm=150, num_steps=2000, episodes_per_cell=8
    ),  # at most 20 minutes
    "full": Preset(
        arms=(*ARMS, "sim_vx300s"), tasks=("reach", "push", "lift"), episodes_per_arm=1000, num_steps=40_000,
        episodes_per_cell=50,
    ),  # overnight
}  # fmt: skip


def quickstart(out: Path, *, preset: str = "small", num_workers: int = 2) -> str:
    """Runs what is not done yet and returns the closing words: where the report is and what to try next.

    Raises UserError if `out` holds a quickstart of another preset, WorldError as the stages do.
    """
    plan = look_up("preset", preset, PRESETS)
    claim(out / "quickstart.json", "quickstart", {"preset": preset, **dataclasses.asdict(plan)})
    stages = Stages(out / "stages.json")
    sets = _record(out, plan, stages, num_workers)
    prepared = _prepare(out, plan, sets, stages, num_workers)
    run_dir = _train(out, plan, stages)
    evaluation = _evaluate(out, plan, preset, run_dir, stages, num_workers)
    report = _report(out, evaluation, prepared, stages)
    return _closing(report, run_dir, prepared, evaluation)


def _record(out: Path, plan: Preset, stages: Stages, num_workers: int) -> list[Path]:
    from rtx.eval.sim.record import record_sim

    total = plan.episodes_per_arm * len(plan.arms)
    with stages.stage("demonstrations", f"{total} episodes of {len(plan.arms)} arms, written as RLDS"):
        return record_sim(
            out / "rlds", arms=plan.arms, episodes_per_arm=plan.episodes_per_arm, tasks=plan.tasks, num_workers=num_workers,
            image_size=2 * plan.image_size,
        )  # fmt: skip


def _prepare(out: Path, plan: Preset, sets: list[Path], stages: Stages, num_workers: int) -> list[PreparedSet]:
    from rtx.data import catalogue
    from rtx.data.prepare import prepare

    with stages.stage("prepare", "step table, statistics and byte index of each set"):
        return [
            prepare(catalogue.find(arm), source, out / "prepared" / arm, num_workers=num_workers)
            for arm, source in zip(plan.arms, sets, strict=True)
        ]


def train_config(out: Path, plan: Preset) -> TrainConfig:
    """The quickstart's experiment: one small RT-1 style policy on all arms, equal shares."""
    from rtx.models.rt1.config import tiny
    from rtx.train.config import DataConfig, DataSet, OptimizationConfig, RunConfig, TrainConfig

    return TrainConfig(
        data=DataConfig(
            sets=tuple(DataSet(prepared=str(out / "prepared" / arm)) for arm in plan.arms),
            roles=ROLES, image_size=(plan.image_size, plan.image_size), history=1, chunk=4, batch_size=plan.batch_size,
            cache_bytes=1 << 30,
        ),
        model=tiny(),
        train=OptimizationConfig(num_steps=plan.num_steps, lr=plan.lr, warmup_steps=min(100, plan.num_steps // 10), ema=0.99),
        run=RunConfig(eval_every=max(1, plan.num_steps // 4), save_every=max(10, plan.num_steps // 10)),
    )  # fmt: skip


def _train(out: Path, plan: Preset, stages: Stages) -> Path:
    from rtx.train.loop import train

    with stages.stage("training", f"{plan.num_steps} steps of {plan.batch_size} samples"):
        train(train_config(out, plan), out / "run")
    return out / "run"


def _evaluate(out: Path, plan: Preset, preset: str, run_dir: Path, stages: Stages, num_workers: int) -> Evaluation:
    from rtx.eval.baselines import RandomPolicy, untrained
    from rtx.eval.evaluate import evaluate
    from rtx.serve.policy import load_policy

    suite = plan.suite(f"quickstart-{preset}")
    with stages.stage("evaluation", f"{suite.num_episodes} episodes each for the trained, an untrained and a random policy"):
        trained = load_policy(run_dir)
        policies: dict[str, Policy] = {
            "trained": trained,
            "untrained": untrained(trained),
            "random": RandomPolicy(trained.contract),
        }
        return evaluate(policies, suite, out / "eval", num_workers=num_workers)


def _report(out: Path, evaluation: Evaluation, prepared: list[PreparedSet], stages: Stages) -> Path:
    from rtx.eval.report.page import write_report

    with stages.stage("report", "one page with rates, curves and videos"):
        return write_report(
            out / "report.html", evaluation=evaluation, training_metrics=out / "run" / "metrics.jsonl", sets=prepared,
            stage_seconds=stages.seconds,
        )  # fmt: skip


def _program() -> str:
    """How to call this command from here: by name where the shell finds it, by path otherwise."""
    return "rtx" if shutil.which("rtx") else os.path.relpath(sys.argv[0])


def _closing(report: Path, run_dir: Path, prepared: list[PreparedSet], evaluation: Evaluation) -> str:
    rate, rtx = evaluation.rate(evaluation.main), _program()
    return (
        f"The trained policy solved {rate}.\n"
        f"Report: {os.path.abspath(report)}\n"
        "Next:\n"
        f"  {rtx} data inspect {report.parent / 'prepared' / prepared[0].name}   look at the data\n"
        f"  {rtx} eval {run_dir} --arms {prepared[0].name} --episodes 20   more episodes of one arm\n"
        f"  {rtx} serve {run_dir}   answer a robot over a socket"
    )
