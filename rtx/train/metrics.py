"""Figures of a run: means that merge, and `metrics.jsonl`, one JSON object a line, true to the run that is kept.

A line is {"step": ..., "kind": "train" | "val" | "event", ...}. When a run resumes from step s, lines of later steps
(and a line cut by a kill) are removed first: the file reads as if nothing had happened.
"""

from __future__ import annotations

import errno
import json
import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from rtx.errors import WorldError
from rtx.files import disk_errors

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Mean:
    """A mean that can be merged with another's: of steps, of data sets, of hosts."""

    total: float = 0.0
    weight: float = 0.0

    def merge(self, other: Mean) -> Mean:
        return Mean(total=self.total + other.total, weight=self.weight + other.weight)

    @property
    def value(self) -> float:
        return self.total / self.weight if self.weight else float("nan")


def merge_means(left: Mapping[str, Mean], right: Mapping[str, Mean]) -> dict[str, Mean]:
    return {name: left.get(name, Mean()).merge(right.get(name, Mean())) for name in dict.fromkeys([*left, *right])}


class MetricsFile:
    """`metrics.jsonl` of a run, opened to go on after `step`. A line that cannot be written is reported and dropped whole."""

    def __init__(self, path: Path, *, step: int) -> None:
        self.path = path
        with disk_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = open(path, "ab", buffering=0)  # noqa: SIM115 (open for as long as the run)
            self._end = _length_up_to(path, step)
            self._file.truncate(self._end)

    def write(self, *, step: int, kind: str, **values: Any) -> None:
        record = {"step": step, "kind": kind, **_plain(values)}
        line = json.dumps(record).encode() + b"\n"
        try:
            with disk_errors(self.path):
                self._file.truncate(self._end)  # what a failed write may have left
                if self._file.write(line) != len(line):  # unbuffered: a full disk takes a part and says so
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except WorldError as error:
            log.error("metrics line lost: step=%d %s", step, error)
            return
        self._end += len(line)

    def __enter__(self) -> MetricsFile:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._file.close()


def _length_up_to(path: Path, step: int) -> int:
    """Bytes of the whole lines of steps up to `step`."""
    length = 0
    with open(path, "rb") as file:
        for line in file:
            try:
                if not line.endswith(b"\n") or json.loads(line)["step"] > step:
                    break
            except (ValueError, KeyError, TypeError):
                break
            length += len(line)
    return length


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """The whole lines of a metrics file, in order."""
    with open(path, "rb") as file:
        return [json.loads(line) for line in file if line.endswith(b"\n")]


def _plain(value: Any) -> Any:
    """Six digits are enough for a curve. JSON has no NaN: null."""
    if isinstance(value, Mapping):
        return {name: _plain(one) for name, one in value.items()}
    if isinstance(value, float | np.floating):
        return float(f"{value:.6g}") if np.isfinite(value) else None
    return value.item() if isinstance(value, np.generic) else value
