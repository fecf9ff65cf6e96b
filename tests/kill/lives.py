"""Runs that are killed and go on, and what must hold after each death.

    run = Run(folder, data, num_steps=..., whole=...)     one run folder; each life is the same command, in a new process
    run.live(death); ...; run.live()                      the last life reaches the end
    run.findings                                          what was torn, lost, or unlike the run `whole`

A life is forked from a process that has imported everything and touched no device (the standard library's forkserver): a
process of its own for the kernel, which kills it, without two seconds of imports.
"""

from __future__ import annotations

import json
import multiprocessing
import multiprocessing.connection
import os
import signal
import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from rtx.train import checkpoint
from rtx.train.run_dir import CHECKPOINTS, METRICS
from tests.kill.findings import Findings
from tests.kill.phases import Plan
from tests.kill.remains import curve, unlike_arrays

CONFIG = Path(__file__).with_name("config.py")
TOLERANCE = 1e-6  # of a loss; the same program on the same machine gives the same bits
PATIENCE_S = 1200.0  # for a life, on a machine that is busy with other things; a longer one hangs
GRACE_S = 60.0  # for a process to end after another's death


@dataclass(frozen=True, kw_only=True)
class Death:
    """Of process number `process`, by its `plan`, or by the launcher `after_s` (and at the latest when `at_most` steps are
    taken). The other processes are left to themselves, or `together` the launcher kills them with it."""

    plan: Plan | None = None
    after_s: float = 0.0
    at_most: int = 40
    process: int = 0
    together: bool = False

    def __str__(self) -> str:
        return f"{self.plan.moment} {self.plan.phase}" if self.plan else "at random"


@dataclass(frozen=True, kw_only=True)
class Step:
    """What is known of one step: digests of its rows, loss and random bits."""

    rows: tuple[str, ...]
    loss: float
    draw: int


class Run:
    """A run folder with its lives so far."""

    def __init__(
        self,
        folder: Path,
        data: Sequence[Path],
        *,
        num_steps: int,
        settings: Sequence[str] = (),
        whole: Run | None = None,
        findings: Findings | None = None,
    ) -> None:
        """`whole`: the run that nobody killed, to compare with."""
        folder.mkdir(parents=True)
        self.folder, self.dir, self.num_steps = folder, folder / "run", num_steps
        self.findings = findings or Findings()
        self.newest = 0  # step of the newest sound checkpoint that the last life left
        self._whole, self._expected = whole, whole.steps() if whole else {}
        self._num_processes: list[int] = []  # of each life
        self._num_committed = 0
        self._deaths: list[int] = []  # `newest` after each
        changes = [
            *(f"data.sets.{i}.prepared={path}" for i, path in enumerate(data)),
            f"train.num_steps={num_steps}",
            *settings,
        ]
        self.command = ["train", str(CONFIG), "--run", str(self.dir), *(f"--set={change}" for change in changes)]

    def live(self, death: Death | None = None, *, num_processes: int = 1) -> bool:
        """One life, and the checks after it. Returns whether it reached the end of the run.

        Raises AssertionError for a process that ended otherwise than asked.
        """
        began, before = time.monotonic(), self.newest
        port = _free_port()
        self._num_processes.append(num_processes)
        processes = [self._start(i, num_processes, death, port) for i in range(num_processes)]
        try:
            self._wait(processes, death)
            self._check_ends(processes, death)
        finally:
            for process in processes:
                process.kill()
                process.join()
        has_ended = all(process.exitcode == 0 for process in processes)
        assert has_ended or death, f"ended with {[process.exitcode for process in processes]}:\n{self.tail()}"
        self._check_disk()
        self._check_journal(before)
        if death and not has_ended:
            self.findings.kills[str(death)] += 1
            self.findings.killed_s += time.monotonic() - began
            self._deaths.append(self.newest)
        if has_ended and self._whole:
            self._check_end(self._whole)
        return has_ended

    def steps(self) -> dict[int, Step]:
        """All steps of all lives; of one taken twice, the last."""
        found: dict[int, Step] = {}
        for life in range(len(self._num_processes)):
            rows = self._rows(life)
            for line in self._journal(life):
                if "loss" in line:
                    found[line["step"]] = Step(rows=rows.get(line["step"], ()), loss=line["loss"], draw=line["draw"])
        return found

    def seconds_until(self, step: int) -> float:
        """From the start of the first life to that step."""
        return next(line["after_s"] for line in self._journal(0) if line.get("step") == step and "loss" in line)

    def tail(self) -> str:
        """The end of what the processes of the last life said."""
        return "\n".join(path.read_text()[-3000:] for path in sorted(self.folder.glob(f"log-{self._life}-*")))

    @property
    def _life(self) -> int:
        return len(self._num_processes) - 1

    @property
    def _name(self) -> str:
        return f"{self.folder.name} life {self._life}"

    # one life

    def _start(self, index: int, count: int, death: Death | None, port: int) -> BaseProcess:
        plan = death.plan if death and death.process == index else None
        torchrun = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "RANK": str(index), "WORLD_SIZE": str(count)}
        process: BaseProcess = _forks().Process(
            target=_live,
            args=(self.command, torchrun if count > 1 else {}, self._file("journal", index), self._log(index), plan),
        )
        process.start()
        return process

    def _file(self, what: str, index: int) -> Path:
        return self.folder / f"{what}-{self._life}-{index}"

    def _log(self, index: int) -> Path:
        return self._file("log", index)

    def _wait(self, processes: Sequence[BaseProcess], death: Death | None) -> None:
        """Until all have ended; those that outlive the death of one are given time, or killed."""
        end = time.monotonic() + PATIENCE_S
        if death and not death.plan:
            self._kill_at_random(processes, death)
        while any(p.exitcode is None for p in processes) and not any(p.exitcode for p in processes):
            assert time.monotonic() < end, f"{self._name} hangs:\n{self.tail()}"
            multiprocessing.connection.wait([p.sentinel for p in processes if p.exitcode is None], timeout=1.0)
        died = time.monotonic()
        for i, process in enumerate(processes):
            process.join(0.0 if death and death.together else max(died + GRACE_S - time.monotonic(), 0.0))
            if process.exitcode is None:
                if not (death and death.together):
                    self.findings.hung.append(f"{self._name} process {i}")
                process.kill()
                process.join()
        if death and not death.together:
            self.findings.outlived_s = max(self.findings.outlived_s, time.monotonic() - died)

    def _kill_at_random(self, processes: Sequence[BaseProcess], death: Death) -> None:
        end = time.monotonic() + death.after_s
        while time.monotonic() < end and all(p.exitcode is None for p in processes):
            if sum("loss" in line for line in _lines(self._file("journal", 0))) >= death.at_most:
                break
            time.sleep(min(0.02, max(end - time.monotonic(), 0.0)))
        for i, process in enumerate(processes):
            if (death.together or death.process == i) and process.exitcode is None:
                os.kill(process.pid or 0, signal.SIGKILL)
                process.join()

    def _check_ends(self, processes: Sequence[BaseProcess], death: Death | None) -> None:
        for i, process in enumerate(processes):
            if death and death.process == i:
                assert process.exitcode in (0, -signal.SIGKILL), f"exit code {process.exitcode}:\n{self.tail()}"
                was_planned = any("killing" in line for line in _lines(self._file("journal", i)))
                assert not death.plan or was_planned == (process.exitcode != 0), f"not where it was planned:\n{self.tail()}"
            elif process.exitcode not in (0, -signal.SIGKILL) and not said_why(self._log(i)):
                self.findings.silent.append(f"{self._name} process {i}: exit code {process.exitcode}")

    # what must hold after it

    def _check_disk(self) -> None:
        root = self.dir / CHECKPOINTS
        visible = checkpoint.steps(root)
        problems = {step: checkpoint.verify(root / str(step)) for step in visible}
        self.findings.torn += [f"{self._name}: {lines[0]}" for lines in problems.values() if lines]
        sound = [step for step in visible if not problems[step]]
        committed = [line["committed"] for line in self._journal(self._life) if "committed" in line]
        self._num_committed += len(committed)
        floor = max([self.newest, *committed])
        self.newest = max(sound, default=0)
        if self.newest < floor:
            self.findings.lost.append(f"{self._name}: step {floor} was committed, the newest sound one is {self.newest}")
        if len(sound) < min(2, self._num_committed):
            self.findings.lost.append(f"{self._name}: {self._num_committed} commits, {len(sound)} sound of {visible}")

    def _check_journal(self, newest: int) -> None:
        rows = self._rows(self._life)
        for line in self._journal(self._life):
            if line.get("start", newest) != newest:
                self.findings.lost.append(f"{self._name}: went on from {line['start']}, the newest was {newest}")
            if "loss" in line and self._expected:
                self._compare(line, rows.get(line["step"], ()))

    def _compare(self, line: dict[str, Any], rows: tuple[str, ...]) -> None:
        step = line["step"]
        expected = self._expected[step]
        difference = abs(line["loss"] - expected.loss)
        self.findings.compared += 1
        self.findings.largest_difference = max(self.findings.largest_difference, difference)
        if rows != expected.rows:
            self.findings.mismatches.append(f"{self._name}: step {step} had another batch")
        if line["draw"] != expected.draw:
            self.findings.mismatches.append(f"{self._name}: step {step} drew other random numbers")
        if not difference <= TOLERANCE:
            self.findings.mismatches.append(f"{self._name}: step {step} loss {line['loss']}, expected {expected.loss}")

    def _check_end(self, whole: Run) -> None:
        """Against the uninterrupted run: no step left out; with as many processes as that, every array of the last checkpoint
        bit for bit, and the log."""
        taken = self.steps().keys()
        if taken != set(range(1, self.num_steps + 1)):
            self.findings.mismatches.append(f"{self._name}: {len(taken)} of {self.num_steps} steps were taken")
        if {*self._num_processes} == {*whole._num_processes}:
            if unlike := unlike_arrays(self.dir, whole.dir):
                self.findings.mismatches.append(f"{self._name}: other arrays in the last checkpoint: {unlike[:5]}")
            if curve(self.dir) != curve(whole.dir):
                self.findings.mismatches.append(f"{self._name}: other curves in {METRICS}")
        if left := list((self.dir / CHECKPOINTS).glob(".*")):
            self.findings.mismatches.append(f"{self._name}: left behind: {left}")
        for step in self._deaths:
            self.findings.follow(self.num_steps - step)

    # journals

    def _journal(self, life: int) -> list[dict[str, Any]]:
        return [line for path in sorted(self.folder.glob(f"journal-{life}-*")) for line in _lines(path)]

    def _rows(self, life: int) -> dict[int, tuple[str, ...]]:
        """Step -> rows of its batch, those of all processes one after the other."""
        found: dict[int, tuple[str, ...]] = {}
        for line in self._journal(life):
            if "rows" in line:
                found[line["step"]] = (*found.get(line["step"], ()), *line["rows"])
        return found


def said_why(log: Path) -> bool:
    """Whether a process that lost another said so: rtx, or jax where its own thread noticed first."""
    return any(text in log.read_text() for text in ("another process of this run", "another task died"))


def _lines(path: Path) -> list[dict[str, Any]]:
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text().splitlines(keepends=True) if line.endswith("\n")]


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@cache
def _forks() -> Any:
    os.environ.setdefault("JAX_PLATFORMS", "cpu")  # looking for accelerators takes a second; two processes cannot share one
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["pytest", "tests.kill.child"])
    return context


def _live(*arguments: Any) -> None:
    """In the child; the parent need not import what a run imports."""
    from tests.kill.child import live

    live(*arguments)
