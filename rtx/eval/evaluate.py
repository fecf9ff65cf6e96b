"""Evaluates policies on a suite: every policy plays every episode, every result is kept, every rate has its interval.

    policies x episodes(suite) = jobs --minus those in episodes.jsonl--> rollout --> episodes.jsonl, videos/*.mp4
                                                                             `--> Evaluation --> results.json, table

The first policy is the one in question; the others are what it is compared with, on the same scenes. Stopping early looks
at whole rounds of episodes only, in their order, so that a kill or the number of workers changes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from rtx.errors import UserError, unknown_name
from rtx.eval import rollout
from rtx.eval.outcome import Ledger, Outcome
from rtx.eval.play import STANDARD, Job, MakeEnvironment, Settings
from rtx.eval.results import Evaluation
from rtx.eval.suite import Suite, episodes
from rtx.eval.worker import environment_of
from rtx.files import write_json
from rtx.progress import bar

if TYPE_CHECKING:
    from rtx.eval.public.suite import PublicSuite

LOOK_EVERY = 4
"""Episodes of each cell between two looks at whether to stop: arms are built anew for each."""
_MOST_FILMED = 12  # failures played again for their video


def evaluate(
    policies: Mapping[str, rollout.Policy],
    suite: Suite,
    out: Path,
    *,
    num_workers: int = 2,
    video_per_cell: int = 1,
    stop_early: bool = False,
    settings: Settings = STANDARD,
    make_environment: MakeEnvironment | None = None,
) -> Evaluation:
    """Plays what is not yet in `out/episodes.jsonl`, then writes `out/results.json`.

    `video_per_cell` episodes of each cell are recorded for the first policy, and the very first episode for the others; of
    cells where nothing recorded failed, one failure is played again for its video. With `stop_early` it looks after every
    `LOOK_EVERY` episodes of all cells whether the first policy is shown to differ from each other one, and then stops.
    May be killed at any time and called again. Raises UserError if a policy does not know an arm of the suite, WorldError if
    the simulator keeps dying.
    """
    _check(policies, suite, num_workers)
    if stop_early and len(policies) < 2:
        raise UserError("stopping early needs something to compare with; leave the baselines in")
    jobs = _jobs(policies, suite, settings, out / "videos", video_per_cell)
    with Ledger(out / "episodes.jsonl") as ledger:
        sitting = _Sitting(policies, suite, ledger, settings, num_workers, make_environment or environment_of(suite))
        for part in _looks(suite, LOOK_EVERY if stop_early else suite.episodes_per_cell):
            kept = [job for job in jobs if job.episode.index < part.episodes_per_cell]
            sitting.play(kept)
            evaluation = sitting.evaluation(kept, part, planned=suite.episodes_per_cell if stop_early else None)
            if stop_early and all(evaluation.compare(other).verdict != "no difference shown" for other in evaluation.others):
                break
        if video_per_cell and (failures := _worth_filming(kept, evaluation)):
            sitting.play(failures)
            evaluation = sitting.evaluation(kept, evaluation.suite, planned=evaluation.planned)
    write_json(out / "results.json", evaluation.to_json())
    return evaluation


@dataclass(frozen=True)
class _Sitting:
    """What stays the same while jobs are played, and the ledger they go to."""

    policies: Mapping[str, rollout.Policy]
    suite: Suite
    ledger: Ledger
    settings: Settings
    num_workers: int
    make_environment: MakeEnvironment

    def play(self, jobs: Sequence[Job]) -> None:
        """Those of them that have not been played yet."""
        todo = {job.key: job for job in jobs if not _is_done(job, self.ledger)}
        with bar(f"evaluate {self.suite.name}", len(jobs), done=len(jobs) - len(todo)) as advance:

            def on_done(outcome: Outcome) -> None:
                self.ledger.append(outcome)
                advance(note=f"{outcome.policy} {outcome.episode} {'solved' if outcome.success else 'not solved'}")

            rollout.run(
                list(todo.values()), self.policies, num_workers=self.num_workers, on_done=on_done,
                make_environment=self.make_environment,
            )  # fmt: skip

    def evaluation(self, jobs: Sequence[Job], suite: Suite, *, planned: int | None) -> Evaluation:
        in_order = sorted(jobs, key=lambda job: list(self.policies).index(job.policy))
        return Evaluation(
            suite=suite, settings=self.settings, out=self.ledger.path.parent, planned=planned,
            policies={name: policy.fingerprint for name, policy in self.policies.items()},
            outcomes=tuple(replace(self.ledger.outcomes[job.key], policy=job.policy) for job in in_order),
        )  # fmt: skip


def _looks(suite: Suite, every: int) -> list[Suite]:
    """The suite with the first `every` episodes of each cell, with twice as many, and so on to all of them."""
    counts = [*range(every, suite.episodes_per_cell, every), suite.episodes_per_cell]
    return [replace(suite, episodes_per_cell=count) for count in counts]


def _check(policies: Mapping[str, rollout.Policy], suite: Suite, num_workers: int) -> None:
    if not policies:
        raise UserError("nothing to evaluate: pass at least one policy")
    if num_workers < 1:
        raise UserError(f"num_workers {num_workers} must be at least 1")
    for name, policy in policies.items():
        known = policy.contract.embodiments
        if strangers := [arm for arm in suite.arms if arm not in known]:
            raise UserError(
                f"policy {name!r} does not know {', '.join(strangers)} of suite {suite.name!r}; it was trained on "
                f"{', '.join(known)}. Leave the others out (--arms {','.join(a for a in suite.arms if a in known) or '...'})"
            )


def _jobs(
    policies: Mapping[str, rollout.Policy], suite: Suite, settings: Settings, videos: Path, video_per_cell: int
) -> list[Job]:
    """Every episode for every policy, side by side: a part of the list compares the policies as fairly as the whole."""
    main, public = next(iter(policies)), _public(suite)
    look = "" if public is None else public.look
    jobs = []
    for number, episode in enumerate(episodes(suite)):
        for name, policy in policies.items():
            cameras = policy.contract.embodiments[episode.arm].roles
            job = Job(
                policy=name, fingerprint=policy.fingerprint, episode=episode, max_seconds=_max_seconds(suite, episode.task),
                settings=settings, history=policy.contract.history, video=None, layout=policy.contract.layouts[episode.arm],
                roles=tuple(role for role in policy.contract.roles if role in cameras), look=look,
            )  # fmt: skip
            recorded = episode.index < video_per_cell if name == main else number == 0 and video_per_cell > 0
            jobs.append(replace(job, video=videos / _video_name(job)) if recorded else job)
    return jobs


def _worth_filming(jobs: Sequence[Job], evaluation: Evaluation) -> list[Job]:
    """Of each cell of which no failure was recorded, the first policy's first failure, to be played once more."""
    failed = {outcome.key: outcome for outcome in evaluation.select(evaluation.main) if not outcome.success}
    shown, chosen = {_cell(job) for job in jobs if job.key in failed and job.video is not None}, list[Job]()
    for job in jobs:
        if job.key in failed and job.policy == evaluation.main and _cell(job) not in shown and len(chosen) < _MOST_FILMED:
            shown.add(_cell(job))
            chosen.append(replace(job, video=evaluation.videos / _video_name(job)))
    return chosen


def _cell(job: Job) -> tuple[str, str]:
    return job.episode.arm, job.episode.scene


def _video_name(job: Job) -> str:
    return f"{job.episode.key.replace('/', '-')}-{job.key[:8]}.mp4"


def _max_seconds(suite: Suite, task: str) -> float:
    if suite.max_seconds is not None:
        return suite.max_seconds
    if (public := _public(suite)) is not None:
        return public.max_seconds(task)
    from rtx.eval.sim.tasks import TASKS

    if task not in TASKS:
        raise unknown_name("task", task, TASKS)
    return TASKS[task].max_seconds


def _public(suite: Suite) -> PublicSuite | None:
    """None for suites of our own simulator."""
    if suite.environment == "sim":
        return None
    from rtx.eval.public.registry import find_public

    return find_public(suite.environment)


def _is_done(job: Job, ledger: Ledger) -> bool:
    """A recording that is wanted and not there is reason enough to play again: the outcome will be the same."""
    return job.key in ledger.outcomes and (job.video is None or job.video.exists())
