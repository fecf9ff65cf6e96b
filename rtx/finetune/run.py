"""`rtx finetune`: one command from a checkpoint and a robot's demonstrations to a policy; the same command carries on.

    RUN/finetune.json    what was asked, what was chosen and why, the resolved configuration
    RUN/data/            the demonstrations, prepared (where they were not)
    RUN/train/           the training run: metrics, its own checkpoints with the optimizer's state   (rtx.train.loop)
    RUN/checkpoints/N    the best one, for use: adapters merged, averages in place
    RUN/errors.json      open-loop error of each dimension; RUN/report.html shows it

`rtx eval RUN` and `rtx serve RUN` take the folder as it is.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from rtx.embodiment import Embodiment
from rtx.errors import UserError
from rtx.files import read_json, write_json
from rtx.finetune.base import open_base
from rtx.finetune.data import demonstrations, robot_of
from rtx.finetune.openloop import OpenLoop, open_loop
from rtx.finetune.page import write_page
from rtx.finetune.plan import Asked, make_plan
from rtx.models.families import model_from_json
from rtx.spec import to_json
from rtx.train.checkpoint import open_checkpoint, steps
from rtx.train.config import TrainConfig, config_from_json, config_to_json
from rtx.train.early import Best
from rtx.train.export import merge_checkpoint
from rtx.train.loop import train
from rtx.train.metrics import read_metrics
from rtx.train.run_dir import CHECKPOINTS, METRICS

log = logging.getLogger(__name__)
PLAN = "finetune.json"


def finetune(
    checkpoint: Path,
    robot: str | Embodiment,
    data: Path,
    run_dir: Path,
    *,
    mode: str = "auto",
    keep: float = 0.0,
    steps: int | None = None,
    lr: float | None = None,
    from_scratch: bool = False,
    seed: int = 0,
    settings: tuple[str, ...] = (),
    instruction: str = "",
    num_workers: int = 2,
) -> Path:
    """Fine-tunes `checkpoint` (run folder or checkpoint) on `robot`'s demonstrations at `data` into `run_dir`; returns that.

    `robot`: a name of the catalogue, a user's file (my_robot.py) or the robot itself. `mode`: one of `rtx.finetune.modes`, or
    "auto". `keep`: share of the samples that are the checkpoint's own data. `instruction`: of every episode, for data without.
    May be killed at any time and called again.
    Raises UserError for what does not fit, before anything is trained; WorldError for a disk or data that fail.
    """
    asked = Asked(
        mode=mode, keep=keep, steps=steps, lr=lr, from_scratch=from_scratch, seed=seed,
        settings=settings,
    )  # fmt: skip
    config, plan, name = _planned(checkpoint, robot, data, run_dir, asked, instruction, num_workers)
    train(config, run_dir / "train")
    best = Best.of_run(run_dir / "train", config.run).step
    _keep_best(run_dir, config, best)
    errors = _errors(run_dir, config, name)
    write_page(
        run_dir / "report.html", title=f"Fine-tuning {run_dir.resolve().name}", reasons=plan["reasons"],
        lines=read_metrics(run_dir / "train" / METRICS), watch=name, best=_served_step(run_dir), errors=errors,
        contract=open_checkpoint(run_dir).contract,
    )  # fmt: skip
    return run_dir


def _planned(
    checkpoint: Path, robot: str | Embodiment, data: Path, run_dir: Path, asked: Asked, instruction: str, num_workers: int
) -> tuple[TrainConfig, dict[str, Any], str]:
    """The configuration, the plan as JSON and the data set's name: of the earlier call, where there was one."""
    request = to_json(asked) | {
        "robot": robot_of(robot).name, "data": str(data), "checkpoint": str(checkpoint), "instruction": instruction,
    }  # fmt: skip
    path = run_dir / PLAN
    if path.exists():
        plan = read_json(path)
        before = plan["request"]
        if changed := [f"{key}: {before.get(key)} -> {value}" for key, value in request.items() if before.get(key) != value]:
            raise UserError(
                f"{run_dir} holds a fine-tuning that was asked for otherwise ({'; '.join(changed)}); choose another folder "
                "(--run), or give the same command to carry on"
            )
        return config_from_json(plan["config"]), plan, plan["name"]
    if run_dir.exists() and any(entry.name != "data" for entry in run_dir.iterdir()):
        raise UserError(f"{run_dir} is there already and holds no fine-tuning; choose another folder (--run)")
    base = open_base(checkpoint)
    prepared = demonstrations(robot, data, run_dir / "data", instruction=instruction, num_workers=num_workers)
    made = make_plan(base, prepared, asked)
    for line in made.text().splitlines():
        log.info("%s", line)
    plan = {
        "request": request, "name": prepared.name, "mode": made.mode, "reasons": dict(made.reasons),
        "config": config_to_json(made.config),
    }  # fmt: skip
    run_dir.mkdir(parents=True, exist_ok=True)
    write_json(path, plan)
    return made.config, plan, prepared.name


def _keep_best(run_dir: Path, config: TrainConfig, best: int) -> None:
    """The best step's checkpoint (the last, where nothing was held out) in RUN/checkpoints, for use."""
    chosen = best if best in steps(run_dir / "train" / CHECKPOINTS) and config.run.patience else None
    chosen = steps(run_dir / "train" / CHECKPOINTS)[0] if chosen is None else chosen
    if chosen not in steps(run_dir / CHECKPOINTS):
        merge_checkpoint(run_dir / "train", run_dir, step=chosen)
    log.info("kept: step=%d of %d", chosen, config.train.num_steps)


def _served_step(run_dir: Path) -> int:
    return steps(run_dir / CHECKPOINTS)[0]


def _errors(run_dir: Path, config: TrainConfig, name: str) -> OpenLoop | None:
    opened = open_checkpoint(run_dir)
    errors = open_loop(config, run_dir / "train", name, model=model_from_json(opened.model), variables=opened.variables)
    if errors is not None:
        write_json(run_dir / "errors.json", to_json(errors))
    return errors
