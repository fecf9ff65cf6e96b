"""Figures of a run: means that merge, and `metrics.jsonl`, one JSON object a line, true to the run that is kept.

A line is {"step": ..., "kind": "train" | "val" | "event", "wall_s": seconds since 1970, ...}. When a run resumes from step s,
lines of later steps (and a line cut by a kill) are removed first: the file reads as if nothing had happened. What is written
here goes on to the run's `sinks`.
"""

from __future__ import annotations

import contextlib
import errno
import json
import logging
import os
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, runtime_checkable

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


@runtime_checkable
class Sink(Protocol):
    """Takes the lines of `metrics.jsonl` as they are written."""

    name: str

    def write(self, line: Mapping[str, Any]) -> None: ...

    def close(self) -> None: ...


class MetricsFile:
    """`metrics.jsonl` of a run, opened to go on after `step`. A line that cannot be written is reported and dropped whole.

    Any thread may write. A sink that fails is reported once and gone: it never stops a training.
    """

    def __init__(self, path: Path, *, step: int) -> None:
        self.path = path
        with disk_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = open(path, "ab", buffering=0)  # noqa: SIM115 (open for as long as the run)
            self._end = _length_up_to(path, step)
            self._file.truncate(self._end)
        self._lock = threading.Lock()
        self._sinks: list[Sink] = []

    def write(self, *, step: int, kind: str, **values: Any) -> None:
        record = {"step": step, "kind": kind, "wall_s": round(time.time(), 3), **_plain(values)}
        with self._lock:
            self._write_line(record)
            for sink in tuple(self._sinks):
                self._pass_on(sink, record)

    def add(self, *sinks: Sink) -> MetricsFile:
        """These too get what is written from now on, and are closed with the file. Returns itself."""
        self._sinks += sinks
        return self

    def _write_line(self, record: Mapping[str, Any]) -> None:
        line = json.dumps(record).encode() + b"\n"
        try:
            with disk_errors(self.path):
                self._file.truncate(self._end)  # what a failed write may have left
                if self._file.write(line) != len(line):  # unbuffered: a full disk takes a part and says so
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except WorldError as error:
            log.error("metrics line lost: step=%d %s", record["step"], error)
            return
        self._end += len(line)

    def _pass_on(self, sink: Sink, record: Mapping[str, Any]) -> None:
        try:
            sink.write(record)
        except Exception as error:  # disks, networks and other people's code
            self._sinks.remove(sink)
            with contextlib.suppress(Exception):
                sink.close()
            reason = report_failure(sink.name, error)
            self._write_line({"step": record["step"], "kind": "event", "event": "sink failed", "reason": reason})

    def __enter__(self) -> MetricsFile:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._file.close()
        for sink in self._sinks:
            try:
                sink.close()
            except Exception as raised:
                report_failure(sink.name, raised)


class NoMetrics(MetricsFile):
    """Of a process that is not the first of its run: the first writes for all."""

    def __init__(self) -> None:
        pass

    def write(self, *, step: int, kind: str, **values: Any) -> None:
        pass

    def add(self, *sinks: Sink) -> MetricsFile:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        pass


def report_failure(name: str, error: Exception) -> str:
    """Says loudly that a sink is gone, and returns what was said."""
    text = f"{name} switched off until the next start, training goes on: {type(error).__name__}: {error}"
    log.error("%s", text)
    return text


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
