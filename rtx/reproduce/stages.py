"""Long commands of several stages: whose folder it is, which stage runs, how long each took. Interrupted, they carry on.

    claim(OUT/experiment.json, {"preset": ..., sizes})     a folder belongs to one experiment of one size
    with stages.stage("training", "2000 steps"): ...       announced; its seconds add up in OUT/stages.json over all calls,
                                                           those of the CPUs in OUT/stages_cpu.json

Seconds by the clock depend on what else the machine does, seconds of CPU hardly. A stage carries on from what an earlier call
left: that is its own business, here nothing is skipped.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from rtx.errors import UserError
from rtx.files import disk_errors, read_json, write_json


def claim(path: Path, what: str, mine: Mapping[str, Any]) -> None:
    """Writes `mine` to the file `path`, or finds it there. Two sizes of `what` never mix in one folder.

    Raises UserError where the file says something else.
    """
    mine = json.loads(json.dumps(mine))
    if not path.exists():
        with disk_errors(path.parent):
            path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, mine)
    elif (theirs := read_json(path)) != mine:
        raise UserError(
            f"{path.parent} holds a {what} of preset {theirs.get('preset')!r} with other sizes than {mine.get('preset')!r} has "
            "now; choose another folder (--out) or delete that one"
        )


class Stages:
    """Announces stages, and adds up the seconds each took over all calls: by the clock, and of all CPUs, with those of
    processes that it started and that have ended."""

    def __init__(self, path: Path) -> None:
        self._path, self._cpu_path = path, path.with_name(f"{path.stem}_cpu.json")
        self.seconds: dict[str, float] = _read(self._path)
        self.cpu_seconds: dict[str, float] = _read(self._cpu_path)

    @contextlib.contextmanager
    def stage(self, name: str, what: str) -> Iterator[None]:
        """Counts what is done under it, also if it fails or is interrupted."""
        print(f"== {name}: {what}", file=sys.stderr, flush=True)
        start, cpu_start = time.monotonic(), _cpu_s()
        try:
            yield
        finally:
            for path, seconds, spent in (
                (self._path, self.seconds, time.monotonic() - start),
                (self._cpu_path, self.cpu_seconds, _cpu_s() - cpu_start),
            ):
                seconds[name] = round(seconds.get(name, 0.0) + spent, 1)
                write_json(path, seconds)


def _read(path: Path) -> dict[str, float]:
    return read_json(path) if path.exists() else {}


def _cpu_s() -> float:
    return sum(os.times()[:4])
