"""The folder of one run, claimed by one process and one configuration.

run/config.json   run/metrics.jsonl   run/checkpoints/<step>/   run/.lock (held while a process trains here)
"""

from __future__ import annotations

import contextlib
import fcntl
from collections.abc import Iterator
from pathlib import Path

from rtx.errors import UserError
from rtx.files import disk_errors, read_json, write_json
from rtx.train.config import TrainConfig, changed_leaves, config_to_json

CHECKPOINTS, CONFIG, METRICS = "checkpoints", "config.json", "metrics.jsonl"


@contextlib.contextmanager
def claim(run_dir: Path, config: TrainConfig) -> Iterator[None]:
    """Makes or reopens a run folder and holds it. The kernel drops the claim however the process ends.

    Raises UserError for a folder of something else, of another configuration, or held by another process; WorldError
    where it cannot be written.
    """
    _refuse_foreign(run_dir)
    with disk_errors(run_dir):
        run_dir.mkdir(parents=True, exist_ok=True)
        lock = open(run_dir / ".lock", "w")  # noqa: SIM115 (held for the whole block)
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError(
                f"another process is training in {run_dir}; wait for it, stop it, or choose another folder"
            ) from None
        _check_config(run_dir, config)
        write_json(run_dir / CONFIG, config_to_json(config))
        yield


def _refuse_foreign(run_dir: Path) -> None:
    if run_dir.exists() and not run_dir.is_dir():
        raise UserError(f"{run_dir} is a file; choose a new or empty folder for the run")
    if not run_dir.is_dir() or (run_dir / CONFIG).exists():
        return
    names = sorted(entry.name for entry in run_dir.iterdir() if entry.name != ".lock")
    if names:
        listed = ", ".join(names[:8]) + (", ..." if len(names) > 8 else "")
        raise UserError(f"{run_dir} is not a run folder (no {CONFIG}); it holds {listed}. Choose a new or empty folder")


def _check_config(run_dir: Path, config: TrainConfig) -> None:
    if not (run_dir / CONFIG).exists():
        return
    if changes := changed_leaves(read_json(run_dir / CONFIG), config_to_json(config)):
        lines = "\n".join(f"  {line}" for line in changes)
        raise UserError(
            f"{run_dir} holds a run of another configuration; old -> new:\n{lines}\n"
            "Set these back to resume it, or choose another folder for a new run"
        )
