"""Plays jobs in parallel: workers simulate, the parent thinks for whichever of them wait.

                      Agenda: jobs, arm by arm
                          | next job (same arm first: environments are built rarely)
      worker 1 <----------+----------> worker 2
         | Ask                            | Ask
         `--> act_batch (per policy, for those that wait) <--'

A worker that dies (a crash in the driver, the kernel's out-of-memory killer) costs its episode's progress only: the episode
is named, played again by a fresh worker, and the second death on the same episode ends the run with what to do.
"""

from __future__ import annotations

import collections
import logging
import multiprocessing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from multiprocessing.connection import wait
from typing import Protocol, runtime_checkable

from rtx.errors import WorldError
from rtx.eval.outcome import Outcome
from rtx.eval.play import Job, MakeEnvironment
from rtx.eval.worker import Ask, Done, Failed, main, sim_environment
from rtx.spec import ActionChunk, Contract, Observation

_LOG = logging.getLogger(__name__)
_MAX_DEATHS = 5  # of all workers together; a machine this unlucky wants a person
_MAX_DEATHS_PER_JOB = 2
_WORTH_MOVING = 4  # jobs left on somebody else's arm that pay for building a second environment


@runtime_checkable
class Policy(Protocol):
    """What a rollout needs of a policy; `rtx.serve.policy.Policy` and the baselines are such."""

    @property
    def contract(self) -> Contract: ...

    @property
    def fingerprint(self) -> str:
        """Names the weights and all else that decides its actions."""

    def act_batch(self, observations: Sequence[Observation], robots: Sequence[str]) -> list[ActionChunk]: ...


class Agenda:
    """Jobs still to be started, handed out so that each worker changes arms rarely and none is idle for long."""

    def __init__(self, jobs: Sequence[Job]) -> None:
        self._left: dict[str, collections.deque[Job]] = {}
        for job in jobs:
            self._left.setdefault(job.episode.arm, collections.deque()).append(job)

    def next(self, arm: str, *, busy: Sequence[str]) -> Job | None:
        """For a worker that has `arm` built, while the others are on the arms `busy`; None when it may go home."""
        choice = self._choose(arm, set(busy))
        return self._left[choice].popleft() if choice else None

    def put_back(self, job: Job) -> None:
        self._left[job.episode.arm].appendleft(job)

    def _choose(self, arm: str, busy: set[str]) -> str | None:
        left = {name: len(jobs) for name, jobs in self._left.items() if jobs}
        if arm in left:
            return arm
        if free := [name for name in left if name not in busy]:
            return free[0]
        shared = max(left, key=lambda name: left[name], default=None)
        # Once everybody else went home the rest is nobody's but this worker's.
        return shared if shared and (left[shared] >= _WORTH_MOVING or not busy) else None


class _Worker:
    """A process, the pipe to it, and what it is doing."""

    def __init__(self, make_environment: MakeEnvironment) -> None:
        context = multiprocessing.get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(target=main, args=(theirs, make_environment), daemon=True)
        self.process.start()
        theirs.close()  # so that its death is an end of file here
        self.job: Job | None = None
        self.arm = ""

    def start(self, job: Job) -> None:
        self.job, self.arm = job, job.episode.arm
        self.pipe.send(job)

    def finish(self) -> Job:
        """What it was doing; from here on it is free."""
        assert self.job is not None, "an answer without a question"
        job, self.job = self.job, None
        return job

    def close(self) -> None:
        """Hangs up; a worker that plays on regardless is ended."""
        self.pipe.close()
        self.process.join(timeout=5)
        if self.process.is_alive():
            self.process.kill()
            self.process.join()


@dataclass(frozen=True)
class _Question:
    worker: _Worker
    job: Job
    observation: Observation


class _Crew:
    def __init__(self, make_environment: MakeEnvironment, agenda: Agenda, size: int) -> None:
        self._make, self._agenda = make_environment, agenda
        self.workers = [_Worker(make_environment) for _ in range(size)]
        self._deaths: collections.Counter[str] = collections.Counter()

    def deaths_at(self, job: Job) -> int:
        return self._deaths[job.key]

    def give_work(self) -> None:
        for worker in list(self.workers):
            if worker.job is None:
                job = self._agenda.next(worker.arm, busy=[w.arm for w in self.workers if w is not worker and w.arm])
                if job is None:
                    self.workers.remove(worker)
                    worker.close()
                else:
                    self._start(worker, job)

    def _start(self, worker: _Worker, job: Job) -> None:
        try:
            worker.start(job)
        except OSError:  # it died while it had nothing to do; the next receive reports it
            _LOG.debug("worker=%s is gone", worker.process.pid)

    def messages(self) -> list[tuple[_Worker, Ask | Done | Failed]]:
        """Waits until some worker says something; the dead are replaced."""
        by_pipe: dict[object, _Worker] = {worker.pipe: worker for worker in self.workers}
        said = []
        for pipe in wait([worker.pipe for worker in self.workers]):
            worker = by_pipe[pipe]
            try:
                said.append((worker, worker.pipe.recv()))
            except (EOFError, OSError):
                self._bury(worker)
        return said

    def _bury(self, worker: _Worker) -> None:
        worker.close()
        self.workers.remove(worker)
        job, code = worker.job, worker.process.exitcode
        assert job is not None, "an idle worker has hung up by itself"
        self._deaths[job.key] += 1
        name, deaths = f"{job.policy} on {job.episode.key}", self._deaths.total()
        _LOG.warning("simulator process died episode=%r exit_code=%s deaths=%d; it is played again", name, code, deaths)
        if self._deaths[job.key] >= _MAX_DEATHS_PER_JOB or deaths > _MAX_DEATHS:
            raise WorldError(
                f"simulator processes died {deaths} times, the last one (exit code {code}: {_explain(code)}) while playing "
                f"{name}, seed {job.episode.seed}. Finished episodes are kept: run the same command again, "
                "with fewer workers if memory was short"
            )
        self._agenda.put_back(job)
        self.workers.append(_Worker(self._make))

    def close(self) -> None:
        for worker in self.workers:
            worker.close()


def _explain(code: int | None) -> str:
    known = {-9: "killed, as the kernel does when memory runs out", -11: "segmentation fault in the simulator or its driver"}
    return known.get(code or 0, "negative means a signal")


def run(
    jobs: Sequence[Job],
    policies: Mapping[str, Policy],
    *,
    num_workers: int,
    on_done: Callable[[Outcome], None],
    make_environment: MakeEnvironment = sim_environment,
) -> None:
    """Plays all jobs, telling `on_done` of each as it finishes, in any order.

    Raises WorldError if workers keep dying or an episode met an error meant for people (with its message), RuntimeError with
    the worker's traceback for any other.
    """
    agenda = Agenda(jobs)
    crew = _Crew(make_environment, agenda, min(num_workers, len(jobs)))
    try:
        crew.give_work()
        while crew.workers:
            waiting = []
            for worker, message in crew.messages():
                if isinstance(message, Ask):
                    assert worker.job is not None, "a question about no episode"
                    waiting.append(_Question(worker, worker.job, message.observation))
                else:
                    on_done(replace(_outcome(message), deaths=crew.deaths_at(worker.finish())))
            _answer(waiting, policies)
            crew.give_work()
    finally:
        crew.close()


def _outcome(message: Done | Failed) -> Outcome:
    if isinstance(message, Done):
        return message.outcome
    if message.advice is not None:
        raise WorldError(message.advice)
    raise RuntimeError(f"an episode failed in its worker:\n{message.trace}")


def _answer(waiting: Sequence[_Question], policies: Mapping[str, Policy]) -> None:
    """Calls each policy for everybody who waits for it, `Settings.batch` at a time."""
    for name, policy in policies.items():
        asked = [question for question in waiting if question.job.policy == name]
        size = asked[0].job.settings.batch if asked else 1
        for start in range(0, len(asked), size):
            _answer_batch(asked[start : start + size], policy, size)


def _answer_batch(asked: Sequence[_Question], policy: Policy, size: int) -> None:
    """One call, filled up to `size` with copies of the last question."""
    filled = [*asked, *[asked[-1]] * (size - len(asked))]
    chunks = policy.act_batch([question.observation for question in filled], [q.job.episode.arm for q in filled])
    for question, chunk in zip(asked, chunks, strict=False):
        try:
            question.worker.pipe.send(chunk)
        except OSError:  # it died waiting; the next receive reports it
            _LOG.debug("worker=%s is gone", question.worker.process.pid)
