"""Where the figures of a run go besides `metrics.jsonl`: TensorBoard (`run.tensorboard`), Weights & Biases (`run.wandb`).

    metrics.jsonl, true to the run that is kept --replayed at each start--> RUN/tensorboard/, RUN/wandb/ --then line by line

Both begin anew from the file: a resumed run has no step twice, and one that is switched on later has all of the past. Neither
needs a network: W&B without a login writes a folder for `wandb sync`. One that fails is reported once and switched off.
"""

from __future__ import annotations

import logging
import os
import secrets
import shutil
import socket
import time
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from rtx.errors import UserError
from rtx.files import atomic
from rtx.train import event_file
from rtx.train.config import TrainConfig, config_to_json
from rtx.train.metrics import MetricsFile, Sink, read_metrics, report_failure
from rtx.train.run_dir import METRICS

log = logging.getLogger(__name__)

_FINISH_S = 300.0  # for what is left to upload at the end; what is not is in the run folder, for `wandb sync`

Line = Mapping[str, Any]
"""One line of `metrics.jsonl`."""


def scalars(line: Line) -> dict[str, float]:
    """Tags and values: `train/loss`, and of data sets `train_loss/NAME`, so that one figure of all of them is one chart."""
    return {tag: float(value) for tag, value in _tagged(line) if isinstance(value, int | float)}


def _tagged(line: Line) -> Iterator[tuple[str, Any]]:
    kind = line["kind"]
    for name, value in line.items():
        if name not in ("step", "kind", "wall_s", "sets"):
            yield f"{kind}/{name}", value
    for of_set, values in line.get("sets", {}).items():
        for name, value in values.items():
            yield f"{kind}_{name}/{of_set}", value


def open_metrics(run_dir: Path, config: TrainConfig, *, step: int) -> MetricsFile:
    """`metrics.jsonl` of a run that goes on after `step`, and behind it the sinks that the configuration asks for.

    Raises UserError where a sink's package is missing; what else goes wrong with one is reported, and it is left out.
    """
    if config.run.wandb:
        _wandb_package()
    metrics = MetricsFile(run_dir / METRICS, step=step)
    for name, open_sink in (("tensorboard", _tensorboard), ("wandb", _wandb)):
        try:
            metrics.add(*open_sink(run_dir, config))
        except Exception as error:  # other people's code, disks and networks: none of it may stop a training
            report_failure(name, error)
    return metrics


def _tensorboard(run_dir: Path, config: TrainConfig) -> list[Sink]:
    return [TensorBoard(run_dir / "tensorboard", read_metrics(run_dir / METRICS))] if config.run.tensorboard else []


def _wandb(run_dir: Path, config: TrainConfig) -> list[Sink]:
    if not config.run.wandb:
        return []
    return [WandB(run_dir, read_metrics(run_dir / METRICS), project=config.run.wandb, config=config_to_json(config))]


class TensorBoard:
    """One event file in `folder`, written anew. Look at it with `tensorboard --logdir RUN`."""

    name = "tensorboard"

    def __init__(self, folder: Path, past: Sequence[Line]) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        old = list(folder.glob("*.rtx"))
        path = folder / f"events.out.tfevents.{int(time.time())}.{socket.gethostname()}.{os.getpid()}.rtx"
        with atomic(path) as file:
            file.write(event_file.beginning(time.time()))
            file.writelines(map(_record, past))
        for other in old:
            if other != path:
                other.unlink(missing_ok=True)
        self._file = open(path, "ab", buffering=0)  # noqa: SIM115 (open for as long as the run)

    def write(self, line: Line) -> None:
        self._file.write(_record(line))

    def close(self) -> None:
        self._file.close()


def _record(line: Line) -> bytes:
    values = scalars(line)
    return event_file.scalars(values, step=line["step"], wall_s=line["wall_s"]) if values else b""


class WandB:
    """A run of W&B with the same id at every start. With a login (`wandb login`, WANDB_API_KEY) it is live; without one, or
    with WANDB_MODE=offline, it is a folder RUN/wandb/offline-run-* for `wandb sync`."""

    name = "wandb"

    def __init__(self, run_dir: Path, past: Sequence[Line], *, project: str, config: Mapping[str, Any]) -> None:
        wandb = _wandb_package()
        mode: Any = os.environ.get("WANDB_MODE") or ("online" if wandb.login(prompt=False, verify=False) else "offline")
        run_id = _kept_id(run_dir / "wandb")
        for old in (run_dir / "wandb").glob(f"offline-run-*-{run_id}"):
            shutil.rmtree(old)
        start = partial(
            wandb.init, project=project, id=run_id, name=run_dir.resolve().name, dir=run_dir, config=dict(config),
            settings=wandb.Settings(silent=True, console="off", save_code=False, finish_timeout=_FINISH_S),
        )  # fmt: skip
        try:
            self._run = start(mode=mode, resume=None if mode == "offline" else "allow")
        except wandb.errors.CommError as error:
            log.error("wandb: no connection, writing for `wandb sync` instead: %s", error)
            wandb.teardown()  # its server process still holds the id
            mode, self._run = "offline", start(mode="offline")
        log.info("wandb: mode=%s project=%s id=%s folder=%s", mode, project, run_id, self._run.dir)
        for line in past:
            self.write(line)

    def write(self, line: Line) -> None:
        """Steps that a resumed run online has already are left out."""
        if line["step"] >= self._run.step and (values := scalars(line)):
            self._run.log(values, step=line["step"])

    def close(self) -> None:
        self._run.finish()


def _wandb_package() -> Any:
    try:
        import wandb
    except ImportError as error:
        raise UserError("run.wandb needs Weights & Biases: pip install rtx-robotics[wandb]") from error
    return wandb


def _kept_id(folder: Path) -> str:
    """The same for all starts of a run, and no other's."""
    path = folder / "rtx-id"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        path.write_text(secrets.token_hex(6))
    return path.read_text()
