"""Evaluates policies on a suite: every policy plays every episode, every result is kept, every rate has its interval.

    policies x episodes(suite) = jobs --minus those in episodes.jsonl--> rollout --> episodes.jsonl, videos/*.mp4
                                                                             `--> Evaluation --> results.json, table

The first policy is the one in question; the others are what it is compared with, on the same scenes.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from rtx.errors import UserError, unknown_name
from rtx.eval import rollout
from rtx.eval.outcome import Ledger, Outcome
from rtx.eval.play import STANDARD, Job, MakeEnvironment, Settings
from rtx.eval.results import Evaluation, load_evaluation
from rtx.eval.suite import Suite, episodes, find_suite
from rtx.eval.worker import environment_of
from rtx.files import write_json
from rtx.progress import bar

__all__ = ["Evaluation", "evaluate", "evaluate_checkpoint", "load_evaluation"]


def evaluate(
    policies: Mapping[str, rollout.Policy],
    suite: Suite,
    out: Path,
    *,
    num_workers: int = 2,
    video_per_cell: int = 1,
    settings: Settings = STANDARD,
    make_environment: MakeEnvironment | None = None,
) -> Evaluation:
    """Plays what is not yet in `out/episodes.jsonl`, then writes `out/results.json`.

    `video_per_cell` episodes of each arm and task are recorded for the first policy, and the very first episode for the
    others. May be killed at any time and called again. Raises UserError if a policy does not know an arm of the suite,
    WorldError if the simulator keeps dying.
    """
    _check(policies, suite, num_workers)
    jobs = _jobs(policies, suite, settings, out / "videos", video_per_cell)
    with Ledger(out / "episodes.jsonl") as ledger:
        todo = {job.key: job for job in jobs if not _is_done(job, ledger)}
        with bar(f"evaluate {suite.name}", len(jobs), done=len(jobs) - len(todo)) as advance:

            def on_done(outcome: Outcome) -> None:
                ledger.append(outcome)
                advance(note=f"{outcome.policy} {outcome.episode} {'solved' if outcome.success else 'not solved'}")

            rollout.run(
                list(todo.values()), policies, num_workers=num_workers, on_done=on_done,
                make_environment=make_environment or environment_of(suite),
            )  # fmt: skip
        in_order = sorted(jobs, key=lambda job: list(policies).index(job.policy))
        outcomes = tuple(replace(ledger.outcomes[job.key], policy=job.policy) for job in in_order)
    fingerprints = {name: policy.fingerprint for name, policy in policies.items()}
    evaluation = Evaluation(suite=suite, settings=settings, policies=fingerprints, outcomes=outcomes, out=out)
    write_json(out / "results.json", evaluation.to_json())
    return evaluation


def evaluate_checkpoint(
    checkpoint: Path,
    out: Path,
    *,
    suite: str = "quick",
    arms: Sequence[str] = (),
    tasks: Sequence[str] = (),
    splits: Sequence[str] = (),
    episodes_per_cell: int | None = None,
    num_workers: int = 2,
    baselines: bool = True,
    server: str | None = None,
    settings: Settings = STANDARD,
    make_environment: MakeEnvironment | None = None,
) -> str:
    """`rtx eval`: a checkpoint against random and untrained on a named suite; writes `out/report.html`, returns what to print.

    Without `arms` the suite is narrowed to those the checkpoint knows. With `server`, the URL of a policy server with the same
    checkpoint, what is behind it plays too, on the same seeds, in place of the baselines.
    """
    from rtx.eval.baselines import RandomPolicy, untrained
    from rtx.eval.report import write_report
    from rtx.eval.served import ServedPolicy, same_outcomes
    from rtx.serve.auth import read_token
    from rtx.serve.policy import load_policy

    whole = find_suite(suite)
    policy = load_policy(checkpoint)
    known = tuple(arm for arm in whole.arms if arm in policy.contract.embodiments)
    if not known:
        raise UserError(
            f"{checkpoint} knows no arm of suite {suite!r} ({', '.join(whole.arms)}); it was trained on "
            f"{', '.join(policy.contract.embodiments)}"
        )
    chosen = find_suite(suite, arms=arms or known, tasks=tasks, splits=splits, episodes_per_cell=episodes_per_cell)
    policies: dict[str, rollout.Policy] = {"trained": policy}
    with contextlib.ExitStack() as stack:
        if server is not None:
            served = ServedPolicy(server, contract=policy.contract, checkpoint=policy.fingerprint, token=read_token(None))
            stack.callback(served.close)
            policies = {"served": served} | policies
        elif baselines:
            policies |= {"untrained": untrained(policy), "random": RandomPolicy(policy.contract)}
        evaluation = evaluate(
            policies, chosen, out, num_workers=num_workers, settings=settings, make_environment=make_environment
        )
    metrics = checkpoint / "metrics.jsonl"
    report = write_report(out / "report.html", evaluation=evaluation, training_metrics=metrics if metrics.exists() else None)
    text = summary(evaluation, report)
    if server is not None:
        text += "\n" + same_outcomes(evaluation.select("served"), evaluation.select("trained"))
    return text


def summary(evaluation: Evaluation, report: Path) -> str:
    """The table, one sentence per comparison, and where to look."""
    from rich.console import Console

    screen = io.StringIO()
    Console(file=screen, width=60 + 28 * len(evaluation.policies)).print(evaluation.table())
    lines = [f"{evaluation.main} solved {evaluation.rate(evaluation.main)}."]
    for other in evaluation.others:
        comparison = evaluation.compare(other)
        lines.append(f"Against {other}: {comparison.verdict} ({comparison.reason}).")
    return screen.getvalue() + "\n".join([*lines, f"Report: {report.resolve()}", f"Numbers: {evaluation.out / 'results.json'}"])


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
    main = next(iter(policies))
    jobs = []
    for number, episode in enumerate(episodes(suite)):
        for name, policy in policies.items():
            cameras = policy.contract.embodiments[episode.arm].roles
            job = Job(
                policy=name, fingerprint=policy.fingerprint, episode=episode, max_seconds=_max_seconds(suite, episode.task),
                settings=settings, history=policy.contract.history, video=None, layout=policy.contract.layouts[episode.arm],
                roles=tuple(role for role in policy.contract.roles if role in cameras),
            )  # fmt: skip
            recorded = episode.index < video_per_cell if name == main else number == 0 and video_per_cell > 0
            jobs.append(replace(job, video=videos / _video_name(job)) if recorded else job)
    return jobs


def _video_name(job: Job) -> str:
    return f"{job.episode.key.replace('/', '-')}-{job.key[:8]}.mp4"


def _max_seconds(suite: Suite, task: str) -> float:
    if suite.max_seconds is not None:
        return suite.max_seconds
    if suite.environment != "sim":
        from rtx.eval.public.registry import find_public

        return find_public(suite.environment).max_seconds(task)
    from rtx.eval.sim.tasks import TASKS

    if task not in TASKS:
        raise unknown_name("task", task, TASKS)
    return TASKS[task].max_seconds


def _is_done(job: Job, ledger: Ledger) -> bool:
    """A recording that is wanted and not there is reason enough to play again: the outcome will be the same."""
    return job.key in ledger.outcomes and (job.video is None or job.video.exists())
