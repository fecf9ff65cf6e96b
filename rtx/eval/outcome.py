"""What one played episode gave, and the ledger that keeps every one of them across kills.

    Outcome --append, flush, fsync--> episodes.jsonl --open--> {key: Outcome}     a torn last line is cut off

`Outcome.key` hashes all that could change the result (policy weights, scene, seed, rollout settings): what it names need
not be played again, and a changed checkpoint or setting never meets old results.
"""

from __future__ import annotations

import dataclasses
import fcntl
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from rtx.errors import UserError, WorldError
from rtx.eval.suite import Episode
from rtx.files import disk_errors


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """One episode of one policy. Times: `seconds` is robot time, `wall_s` the clock's."""

    key: str
    policy: str
    arm: str
    task: str
    index: int
    seed: int
    instruction: str
    success: bool
    steps: int
    seconds: float
    wall_s: float
    policy_calls: int
    refusals: Mapping[str, int]  # the safety filter's, by reason
    final_distance_m: float | None  # to the goal, where the simulator tells
    video: str | None  # file name in the folder of videos
    deaths: int = 0  # simulator processes that died at it before it was finished
    split: str = ""  # in suites that have splits

    @property
    def episode(self) -> str:
        """Names the scene: the same for every policy that played it."""
        return Episode(arm=self.arm, task=self.task, index=self.index, seed=self.seed, split=self.split).key


class Ledger:
    """Append-only file of outcomes, one JSON object a line; one process writes at a time.

    Raises UserError if another evaluation writes the same file, WorldError where a line is damaged.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        with disk_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = open(path, "a+b")  # noqa: SIM115 (held open for the life of the ledger)
        try:
            self._lock()
            self._outcomes = {outcome.key: outcome for outcome in self._read_whole_lines()}
        except BaseException:
            self._file.close()
            raise

    @property
    def outcomes(self) -> Mapping[str, Outcome]:
        return MappingProxyType(self._outcomes)

    def append(self, outcome: Outcome) -> None:
        """On disk when this returns; the last one counts if a key comes twice."""
        line = json.dumps(dataclasses.asdict(outcome)).encode() + b"\n"
        with disk_errors(self.path):
            self._file.write(line)
            self._file.flush()
            os.fsync(self._file.fileno())
        self._outcomes[outcome.key] = outcome

    def close(self) -> None:
        self._file.close()

    def __enter__(self) -> Ledger:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _lock(self) -> None:
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise UserError(f"{self.path}: another evaluation is writing here; wait for it or choose another folder") from error

    def _read_whole_lines(self) -> list[Outcome]:
        self._file.seek(0)
        data = self._file.read()
        whole = data.rfind(b"\n") + 1
        if whole < len(data):  # the last run died while it wrote this line: the episode is played again
            self._file.truncate(whole)
        lines = data[:whole].decode(errors="replace").splitlines()
        return [_parse(line, f"{self.path} line {number}") for number, line in enumerate(lines, 1)]


def _parse(line: str, where: str) -> Outcome:
    try:
        data: dict[str, Any] = json.loads(line)
        return Outcome(**data)
    except (ValueError, TypeError) as error:
        raise WorldError(f"{where} is damaged ({error}); delete that line and run the same command again") from error
