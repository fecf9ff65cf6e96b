"""What `rtx finetune` prints at its end."""

from __future__ import annotations

from pathlib import Path

from rtx.files import read_json
from rtx.finetune.openloop import HEAD
from rtx.tables import text_table


def closing(run_dir: Path, robot: str) -> str:
    """Errors of each dimension, and what to do next; `robot` as the user named it."""
    path = run_dir / "errors.json"
    lines = []
    if path.exists():
        errors = read_json(path)
        columns = (errors["names"], errors["units"], *(errors[key] for key in ("first", "chunk", "always_mean", "span")))
        rows = [(name, unit, *(f"{v:.4g}" for v in values)) for name, unit, *values in zip(*columns, strict=True)]
        held_out = f"{errors['num_samples']} moments of {errors['num_episodes']} held-out episodes"
        lines = [f"Open-loop error, {held_out}:", text_table(HEAD, rows)]
    return "\n".join(
        [
            *lines,
            f"Report: {(run_dir / 'report.html').resolve()}",
            "Next:",
            f"  rtx eval {run_dir} --robot {robot}   play it in simulation",
            f"  rtx serve {run_dir}   answer the robot over a socket",
        ]
    )
