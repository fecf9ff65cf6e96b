"""Which validation was the best so far, and when to stop waiting for a better one (`run.patience`).

All of it follows from the run's validation lines, so a run that is killed and resumed stops where it would have stopped.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rtx.train.config import RunConfig
from rtx.train.metrics import read_metrics
from rtx.train.run_dir import METRICS


class Best:
    """The validations of one run. `step` is that of the best, -1 before the first."""

    def __init__(self, config: RunConfig) -> None:
        self._patience, self._watch = config.patience, config.watch
        self.step, self.figure = -1, float("inf")
        self._since = 0

    @classmethod
    def of_run(cls, run_dir: Path, config: RunConfig, *, up_to: int | None = None) -> Best:
        """Of what the run has written up to a step; None: all of it."""
        best = cls(config)
        path = run_dir / METRICS
        for line in read_metrics(path) if path.exists() else []:
            if line["kind"] == "val" and (up_to is None or line["step"] <= up_to):
                best.add(line["step"], line)
        return best

    def add(self, step: int, line: Mapping[str, Any]) -> None:
        """A validation line as `metrics.jsonl` has it; nothing where there was no validation."""
        found = figure(line, self._watch)
        if found is None:
            return
        if found < self.figure:
            self.step, self.figure, self._since = step, found, 0
        else:
            self._since += 1

    @property
    def is_over(self) -> bool:
        """Whether nothing better came for as long as the run was to wait."""
        return 0 < self._patience <= self._since

    @property
    def pinned(self) -> int:
        """The checkpoint that must stay; -1 where all are alike."""
        return self.step if self._patience else -1


def figure(line: Mapping[str, Any], watch: str = "") -> float | None:
    """What is compared: the error of actions where the model tells one, else the loss; of the data set `watch`, or of all.

    Rounded as the file is, so that a resumed run compares the same numbers.
    """
    of_set = line.get("sets", {}).get(watch, line) if watch else line
    value = of_set.get("l1", of_set.get("loss"))
    return None if value is None or value != value else float(f"{value:.6g}")
