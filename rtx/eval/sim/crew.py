"""The processes behind `record_sim`: simulators that stage demonstrations, and the writer that makes RLDS of them.

                    parent
      StagedJob ->  /     \\  <- Done | error          both kinds are spawned: a simulator never imports TensorFlow,
           simulator .. simulator   writer             the writer never imports the simulator (they crash each other)

A child whose parent dies, even by SIGKILL, ends at once: nothing goes on writing behind the back of the next run.
"""

from __future__ import annotations

import collections
import contextlib
import functools
import multiprocessing
import os
import signal
import threading
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

from rtx.data.write import RldsEpisode, write_rlds
from rtx.errors import UserError, WorldError
from rtx.eval.sim import demonstration
from rtx.eval.sim.conventions import features
from rtx.eval.sim.demonstration import Job

_WORTH_SHARING = 4  # jobs left on somebody else's arm that pay for loading it a second time (2 to 7 s)


@dataclass(frozen=True, kw_only=True)
class StagedJob:
    """A demonstration and the file it goes to."""

    job: Job
    path: Path


@dataclass(frozen=True, kw_only=True)
class Done:
    job: Job
    num_failed: int


@dataclass(frozen=True, kw_only=True)
class WriteRequest:
    """One arm's staged files, split by split, and the set to make of them."""

    arm: str
    out: Path
    version: str
    image_size: int
    description: str
    metadata: Mapping[str, Any]
    splits: Mapping[str, tuple[Path, ...]]


def check_tasks(tasks: Sequence[str]) -> None:
    """Raises UserError for a task that does not exist, or none."""
    from rtx.eval.sim.splits import find_task
    from rtx.eval.sim.tasks import TASKS

    if not tasks:
        raise UserError(f"no task given; tasks are {', '.join(TASKS)}")
    for task in tasks:
        find_task(task)


def simulate(jobs: Sequence[StagedJob], *, num_workers: int, image_size: int) -> Iterator[Done]:
    """Stages every job, in whatever order they finish. Raises what a worker raised, WorldError if one died."""
    agenda = Agenda(jobs)
    children = [_Child(simulator, image_size) for _ in range(min(num_workers, len(jobs)))]
    try:
        idle = list(children)
        while True:
            for child in idle:
                others = [other.arm for other in children if other is not child]
                child.give(agenda.next(child.arm, busy=others))
            children = [child for child in children if child.busy]
            if not children:
                return
            idle = _ready(children)
            for child in idle:
                yield child.take()
    finally:
        for child in children:
            child.end()


def write(requests: Sequence[WriteRequest]) -> Iterator[str]:
    """Writes one set after the other in a process of its own; yields the name of each arm that is done."""
    child = _Child(writer)
    try:
        for request in requests:
            child.give(request)
            yield child.take()
    finally:
        child.end()


class Agenda:
    """Jobs still to be started, handed out so that workers change arms rarely and none is idle for long."""

    def __init__(self, jobs: Sequence[StagedJob]) -> None:
        self._left: dict[str, collections.deque[StagedJob]] = collections.defaultdict(collections.deque)
        for staged in jobs:
            self._left[staged.job.arm].append(staged)

    def next(self, arm: str | None, *, busy: Sequence[str | None]) -> StagedJob | None:
        """For a worker that has `arm` loaded while the others are at `busy`; None when it may go home."""
        left = {name: len(jobs) for name, jobs in self._left.items() if jobs}
        if arm not in left:
            free = [name for name in left if name not in busy]
            shared = [name for name in left if left[name] >= _WORTH_SHARING]
            arm = max(free or shared, key=lambda name: left[name], default=None)
        return self._left[arm].popleft() if arm else None


class _Child:
    """A spawned process that answers what it is given, one at a time."""

    def __init__(self, target: Callable[..., Any], *args: Any) -> None:
        context = multiprocessing.get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, target, args), daemon=True)
        self._process.start()
        theirs.close()  # so that its death is an end of file here
        self.arm: str | None = None
        self.busy = False

    def give(self, work: Any) -> None:
        """None sends it home."""
        self.busy = work is not None
        if isinstance(work, StagedJob):
            self.arm = work.job.arm
        try:
            self.pipe.send(work)
        except OSError:
            self._died()

    def take(self) -> Any:
        try:
            answer = self.pipe.recv()
        except (EOFError, OSError):
            self._died()
        if isinstance(answer, BaseException):
            raise answer
        return answer

    def _died(self) -> None:
        self._process.join(timeout=5)
        raise WorldError(
            f"a worker process died (exit code {self._process.exitcode}; -9 is usually the memory running out, -11 a crash in "
            "the OpenGL driver); what is finished is kept: run the same command again, with fewer workers if memory was short"
        )

    def end(self) -> None:
        self.pipe.close()
        self._process.terminate()
        self._process.join()


def _ready(children: Sequence[_Child]) -> list[_Child]:
    by_pipe = {child.pipe: child for child in children}
    return [by_pipe[pipe] for pipe in wait(list(by_pipe)) if isinstance(pipe, Connection)]


def _serve(pipe: Connection, target: Callable[..., Callable[[Any], Any]], args: tuple[Any, ...]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's business; it ends its children
    threading.Thread(target=_die_with_parent, daemon=True).start()
    with contextlib.suppress(EOFError, BrokenPipeError, ConnectionResetError):  # the parent hung up
        answer = target(*args)
        while (work := pipe.recv()) is not None:
            pipe.send(_outcome(answer, work))


def _outcome(answer: Callable[[Any], Any], work: Any) -> Any:
    try:
        return answer(work)
    except (UserError, WorldError) as error:
        return error
    except Exception:  # the edge of a process: raised again in the parent
        return RuntimeError("in a worker process:\n" + traceback.format_exc())


def _die_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None, "runs in children only"
    wait([parent.sentinel])
    os._exit(1)


def simulator(image_size: int) -> Callable[[StagedJob], Done]:
    """Stages one job after the other, keeping the environment while the arm stays the same."""
    from rtx.eval.sim.env import SimEnv

    env: SimEnv | None = None

    def stage(staged: StagedJob) -> Done:
        nonlocal env
        if env is None or env.embodiment.name != staged.job.arm:
            if env is not None:
                env.close()
            env = SimEnv(staged.job.arm, image_size=image_size)
        done = demonstration.demonstrate(env, staged.job)
        demonstration.save(done, staged.path)
        return Done(job=staged.job, num_failed=done.num_failed)

    return stage


def _episodes(paths: Sequence[Path]) -> Iterator[RldsEpisode]:
    return (demonstration.load(path).rlds() for path in paths)


def writer() -> Callable[[WriteRequest], str]:
    """Makes one set after the other."""

    def write_set(request: WriteRequest) -> str:
        num_failed = sum(demonstration.load(path).num_failed for paths in request.splits.values() for path in paths)
        write_rlds(
            request.out,
            name=request.arm,
            version=request.version,
            features=features(request.arm, image_size=request.image_size),
            splits={split: functools.partial(_episodes, paths) for split, paths in request.splits.items()},
            description=request.description,
            metadata={**request.metadata, "num_failed": num_failed},
        )
        return request.arm

    return write_set
