"""RUN/starts.jsonl: one line for each time the run was started, never cut. What `metrics.jsonl` forgets when a run goes back to
its checkpoint is kept here: when, where and from which step it went on, with which versions."""

from __future__ import annotations

import json
import logging
import platform
import time
from pathlib import Path
from typing import Any

import jax

from rtx.files import disk_errors
from rtx.train import pytree
from rtx.train.config import TrainConfig, fingerprint
from rtx.train.inputs import Inputs, describe
from rtx.train.state import TrainState
from rtx.versions import machine, versions

log = logging.getLogger(__name__)

STARTS = "starts.jsonl"


def note(run_dir: Path, *, step: int, config: TrainConfig, inputs: Inputs, state: TrainState, mesh: dict[str, int]) -> None:
    """Writes the line; `step` steps are done already. A disk that cannot be written is reported and stops nothing here."""
    device = jax.devices()[0]
    line = {
        "step": step,
        "wall_s": round(time.time(), 3),
        "host": platform.node(),
        "machine": machine(),
        "versions": versions(),
        "devices": {"platform": device.platform, "kind": device.device_kind, "count": jax.device_count()},
        "hosts": jax.process_count(),
        "mesh": mesh,
        "fingerprint": fingerprint(config),
        "parameters": pytree.num_elements(state.variables["params"]),
        "sets": describe(inputs),
    }
    try:
        with disk_errors(run_dir / STARTS), open(run_dir / STARTS, "a") as file:
            file.write(json.dumps(line) + "\n")
    except Exception as error:  # a note is no reason to stop a training
        log.error("start not noted in %s: %s", run_dir / STARTS, error)


def read_starts(run_dir: Path) -> list[dict[str, Any]]:
    """The whole lines, oldest first; none where none could be written."""
    path = run_dir / STARTS
    if not path.exists():
        return []
    with open(path, "rb") as file:
        return [json.loads(line) for line in file if line.endswith(b"\n")]
