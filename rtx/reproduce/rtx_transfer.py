"""`rtx reproduce rtx-transfer`: what an arm gains from other arms' data (Open X-Embodiment, arXiv 2310.08864), small.

    OUT/rlds/many/<arm>               demonstrations of the arms that have many                     (record_sim)
    OUT/rlds/few-<seed>/<arm>         of the arms that have few, drawn anew for each seed
    OUT/rlds/new-<n>-<seed>/<arm>     n demonstrations of an arm that the mixture never holds, likewise
    OUT/prepared/...                  the same, as the trainer reads them                           (prepare)
    OUT/runs/<seed>/mixture           one policy on all these arms, equal shares
    OUT/runs/<seed>/<arm>             a policy of its own for each arm, on the same demonstrations of it
    OUT/runs/<seed>/tuned-<n>         the mixture's policy, fine-tuned on n demonstrations of the new arm
    OUT/runs/<seed>/scratch-<n>       the same steps on the same demonstrations, from fresh parameters
    OUT/eval/<seed>/<arm>             the two (of the new arm: four) of them on the same scenes
    OUT/report.html, report.txt       rates over seeds with intervals, and which differences they show; anew after each seed

The mixture and each arm's own policy are the same network, trained for as many steps of as many samples: of its own arm, a
policy of one arm sees as many times more samples as the mixture has arms. So what the mixture gains comes of other arms' data
and not of more training, and what it loses may come of having to share its parameters and steps. The other rule, as many
samples of each arm, would leave the policies of one arm with a fraction of the steps. The last parameters count for all
(held-out error is a poor judge of when to stop: Mandlekar et al. 2021); the report has the held-out errors along the way.

A mixture of 900 demonstrations is about the least from which this network learns to find what is named (the quickstart's: 75 %
solved); with 350 it only learns them by heart.

Time of `default` on two idle cores: (1 + 4) x 1300 + 4 x 400 steps a seed at 140 ms are 57 minutes for three seeds, starts
and compilation of 27 trainings 5; 1440 episodes at 0.5 to 1 s 12 to 24; 1340 demonstrations 4. `short`: half the steps (28
minutes), 860 episodes (8 to 14). Every stage carries on from what an interrupted call left.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rtx.errors import look_up
from rtx.eval.suite import Suite
from rtx.files import atomic
from rtx.reproduce.stages import Stages, claim
from rtx.reproduce.transfer_report import as_text, collect, write_page

if TYPE_CHECKING:
    from rtx.train.config import TrainConfig

NAME = "rtx-transfer"
FEW = ("sim_panda", "sim_ur5e")
MANY = ("sim_sawyer", "sim_iiwa")
NEW = "sim_vx300s"
TASKS = ("reach", "lift")
MIXTURE = "mixture"


@dataclass(frozen=True, kw_only=True)
class Preset:
    """How much of everything. Of demonstrations 5 %, at least one of a set, are held out to measure errors on."""

    seeds: int  # trainings of everything, each with few and new demonstrations and scenes of its own
    few: int  # demonstrations of each of `few_arms`
    many: int  # and of `many_arms`
    new: tuple[int, ...]  # and of the new arm, one experiment each
    steps: int  # of the mixture, and of each arm's own policy
    new_steps: int  # on the new arm, fine-tuned and from scratch
    episodes: int  # of each seed, for each arm and task
    few_arms: tuple[str, ...] = FEW
    many_arms: tuple[str, ...] = MANY
    batch_size: int = 64
    lr: float = 2e-3
    image_size: int = 64  # pixels fed to the model; recorded at twice that

    @property
    def arms(self) -> tuple[str, ...]:
        """Of the mixture."""
        return (*self.few_arms, *self.many_arms)

    def demonstrations(self, seed: int) -> dict[str, tuple[int, dict[str, int]]]:
        """By folder, of what this seed learns from: the recorder's seed, and how many of each arm."""
        many, few = dict.fromkeys(self.many_arms, self.many), dict.fromkeys(self.few_arms, self.few)
        return {"many": (0, many), f"few-{seed}": (1 + seed, few)} | {
            _new(count, seed): (1 + seed, {NEW: count}) for count in self.new
        }


PRESETS: Mapping[str, Preset] = {
    "smoke": Preset(
        seeds=2, few=2, many=3, new=(2,), steps=4, new_steps=4, episodes=1, few_arms=FEW[:1], many_arms=MANY[:1], batch_size=8,
    ),
    "short": Preset(seeds=3, few=60, many=400, new=(10, 50), steps=650, new_steps=200, episodes=12),
    "default": Preset(seeds=3, few=60, many=400, new=(10, 50), steps=1300, new_steps=400, episodes=20),
    "long": Preset(
        seeds=5, few=60, many=2000, new=(10, 50, 200), steps=40_000, new_steps=4000, episodes=100,
        few_arms=(*FEW, "sim_kinova3"), many_arms=(*MANY, "sim_jaco"), batch_size=128,
    ),
}  # fmt: skip


def rtx_transfer(out: Path, *, preset: str = "default", num_workers: int = 2) -> str:
    """Runs what is not done yet and returns the table and where the page is.

    Raises UserError if `out` holds the experiment in another size, WorldError as the stages do.
    """
    plan = look_up("preset", preset, PRESETS)
    claim(out / "experiment.json", NAME, {"preset": preset, **dataclasses.asdict(plan)})
    stages = Stages(out / "stages.json")
    text = ""
    for seed in range(plan.seeds):
        _record(out, plan, seed, stages, num_workers)
        _train(out, plan, seed, MIXTURE, stages)
        for arm in plan.arms:
            _train(out, plan, seed, arm, stages)
            _evaluate(out, plan, seed, arm, {MIXTURE: MIXTURE, "alone": arm}, stages, num_workers)
        on_new = [run for count in plan.new for run in (f"tuned-{count}", f"scratch-{count}")]
        for run in on_new:
            _train(out, plan, seed, run, stages)
        _evaluate(out, plan, seed, NEW, {run: run for run in on_new}, stages, num_workers)
        text = _report(out, plan, seed + 1, stages)
    return text


def _new(count: int | str, seed: int) -> str:
    return f"new-{count}-{seed}"


def _record(out: Path, plan: Preset, seed: int, stages: Stages, num_workers: int) -> None:
    from rtx.data import catalogue
    from rtx.data.prepare import prepare
    from rtx.eval.sim.record import record_sim

    for folder, (first, counts) in plan.demonstrations(seed).items():
        what = ", ".join(f"{count} of {arm}" for arm, count in counts.items())
        with stages.stage("demonstrations", f"seed {seed + 1} of {plan.seeds}, {what}"):
            recorded = record_sim(
                out / "rlds" / folder, arms=tuple(counts), episodes_per_arm=counts, tasks=TASKS, seed=first,
                num_workers=num_workers, image_size=2 * plan.image_size,
            )  # fmt: skip
            for arm, source in zip(counts, recorded, strict=True):
                prepare(catalogue.find(arm), source, out / "prepared" / folder / arm, num_workers=num_workers)


def _course(plan: Preset, seed: int, run: str) -> tuple[Sequence[str], int, str]:
    """Of a training: its prepared sets, its steps, and the training whose parameters it begins with."""
    of_arm = {arm: f"{folder}/{arm}" for folder, (_, arms) in plan.demonstrations(seed).items() for arm in arms if arm != NEW}
    if run == MIXTURE:
        return [of_arm[arm] for arm in plan.arms], plan.steps, ""
    if run in of_arm:
        return [of_arm[run]], plan.steps, ""
    kind, _, count = run.partition("-")
    return [f"{_new(count, seed)}/{NEW}"], plan.new_steps, MIXTURE if kind == "tuned" else ""


def train_config(out: Path, plan: Preset, seed: int, run: str) -> TrainConfig:
    """Of one of the trainings: the mixture, an arm's own, `tuned-<n>` or `scratch-<n>`."""
    from rtx.models.rt1.config import tiny
    from rtx.train.config import DataConfig, DataSet, OptimizationConfig, RunConfig, TrainConfig

    sets, num_steps, start = _course(plan, seed, run)
    return TrainConfig(
        data=DataConfig(
            sets=tuple(DataSet(prepared=str(out / "prepared" / one)) for one in sets), roles=("primary", "wrist"),
            image_size=(plan.image_size, plan.image_size), chunk=4, batch_size=plan.batch_size, seed=seed,
            cache_bytes=1 << 29,
        ),
        model=tiny(),
        train=OptimizationConfig(
            num_steps=num_steps, lr=plan.lr, warmup_steps=min(100, num_steps // 10), ema=0.99,
            # The new arm is none of those that the mixture knows: it comes after them, with a place of its own in the network.
            start=str(out / "runs" / str(seed) / start) if start else "", keep_robots=bool(start),
        ),
        run=RunConfig(seed=seed, eval_every=max(1, num_steps // 4), save_every=max(10, num_steps // 2)),
    )  # fmt: skip


def _train(out: Path, plan: Preset, seed: int, run: str, stages: Stages) -> None:
    from rtx.train.loop import train

    config = train_config(out, plan, seed, run)
    kind = "one arm" if run in plan.arms else run
    what = f"{run}, {config.train.num_steps} steps of {plan.batch_size} samples"
    with stages.stage(f"training {kind}", f"seed {seed + 1} of {plan.seeds}, {what}"):
        train(config, out / "runs" / str(seed) / run)


def _evaluate(out: Path, plan: Preset, seed: int, arm: str, runs: Mapping[str, str], stages: Stages, num_workers: int) -> None:
    """`runs`: the name of each policy in the evaluation, and its training."""
    from rtx.eval.evaluate import evaluate
    from rtx.serve.policy import load_policy

    suite = Suite(name=f"{NAME}-{seed}", arms=(arm,), tasks=TASKS, episodes_per_cell=plan.episodes)
    what = f"seed {seed + 1} of {plan.seeds}, {arm}, {suite.num_episodes} episodes for each of {len(runs)}"
    with stages.stage("evaluation", what):
        policies = {name: load_policy(out / "runs" / str(seed) / run) for name, run in runs.items()}
        evaluate(policies, suite, out / "eval" / str(seed) / arm, num_workers=num_workers, video_per_cell=int(seed == 0))


def _report(out: Path, plan: Preset, num_seeds: int, stages: Stages) -> str:
    """Writes the page and the table of the seeds that are done; returns the table and where they are."""
    with stages.stage("report", f"{num_seeds} of {plan.seeds} seeds: one page, and the same as text"):
        findings = collect(out, num_seeds, few=plan.few_arms, many=plan.many_arms, new=NEW, new_counts=plan.new)
        text = as_text(findings, planned=plan.seeds)
        write_page(out / "report.html", findings, plan=dataclasses.asdict(plan), stages=stages)
        with atomic(out / "report.txt") as file:
            file.write(text.encode())
    return f"{text}\nReport: {(out / 'report.html').resolve()}"
