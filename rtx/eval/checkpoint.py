"""`rtx eval`: a checkpoint on a named suite, and what it is compared with.

checkpoint, suite, robot --> arms to play, and how (_Stage)
server | against | baselines --> the policies beside it        --evaluate--> Evaluation --> report.html, what to print
                                                                                 `--> language, questions (extras)
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rtx.embodiment import Embodiment
from rtx.errors import UserError
from rtx.eval import rollout
from rtx.eval.evaluate import evaluate
from rtx.eval.extras import Extras
from rtx.eval.play import STANDARD, MakeEnvironment, Settings
from rtx.eval.results import Evaluation
from rtx.eval.suite import Suite, find_suite
from rtx.eval.worker import environment_of

if TYPE_CHECKING:
    from rtx.serve.policy import Policy


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
    against: Path | None = None,
    stop_early: bool = False,
    language: bool = False,
    questions: Path | None = None,
    server: str | None = None,
    robot: Embodiment | None = None,
    settings: Settings = STANDARD,
    make_environment: MakeEnvironment | None = None,
) -> str:
    """A checkpoint against random and untrained on a named suite; writes `out/report.html`, returns what to print.

    `against`: another checkpoint in place of the baselines. `stop_early`: as in `evaluate`.
    `language`: the same scenes with other words too (`rtx.eval.language`). `questions`: a JSONL, of which up to 500 are asked.
    Without `arms` the suite is narrowed to those the checkpoint knows. With `server`, the URL of a policy server with the same
    checkpoint, what is behind it plays too, on the same seeds, in place of the baselines. `robot`: a user's own, played alone,
    on the simulated arm that is like it; the policy's robots that are no simulated arms find theirs by themselves. Raises
    UserError for `against` beside `server`, and as the suite, the checkpoint and the server do.
    """
    from rtx.eval.report.page import write_report
    from rtx.serve.policy import load_policy

    if server is not None and against is not None:
        raise UserError("a server's policy is compared with its own checkpoint, and so cannot be with another: leave one out")
    policy = load_policy(checkpoint)
    stage = _stage(policy, checkpoint, find_suite(suite), robot)
    chosen = find_suite(suite, arms=arms or stage.arms, tasks=tasks, splits=splits, episodes_per_cell=episodes_per_cell)
    make_environment = stage.environments(chosen, make_environment)
    other = None if against is None else load_policy(against)
    with contextlib.ExitStack() as stack:
        policies = stage.renamed(_side_by_side(policy, other, stack, server=server, baselines=baselines))
        evaluation = evaluate(
            policies, chosen, out, num_workers=num_workers, stop_early=stop_early, settings=settings,
            make_environment=make_environment,
        )  # fmt: skip
        extras = Extras()
        if language:
            extras.add_language(policies["trained"], evaluation, num_workers=num_workers, make_environment=make_environment)
        if questions is not None:
            extras.add_questions([policy, *([other] if other else [])], questions, out)
    metrics = checkpoint / "metrics.jsonl"
    report = write_report(
        out / "report.html", evaluation=evaluation, training_metrics=metrics if metrics.exists() else None,
        sections=extras.sections,
    )  # fmt: skip
    return "\n".join([summary(evaluation, report), *extras.texts, *_remarks(evaluation)])


@dataclass(frozen=True, kw_only=True)
class _Stage:
    """Where a checkpoint plays: `arms` of the suite; its own `names` of arms and their `robots`, where they differ."""

    arms: tuple[str, ...]
    names: Mapping[str, str]
    robots: Mapping[str, Embodiment]

    def renamed(self, policies: Mapping[str, rollout.Policy]) -> dict[str, rollout.Policy]:
        from rtx.eval.stand_in import Renamed

        return {name: Renamed(one, self.names) if self.names else one for name, one in policies.items()}

    def environments(self, suite: Suite, make: MakeEnvironment | None) -> MakeEnvironment | None:
        from rtx.eval.stand_in import AsRobots

        return AsRobots(make or environment_of(suite), self.robots) if self.robots else make


def _stage(policy: Policy, checkpoint: Path, suite: Suite, robot: Embodiment | None) -> _Stage:
    """Raises UserError if the checkpoint knows no arm of the suite."""
    from rtx.eval.stand_in import players

    own = tuple(policy.contract.embodiments)
    playing, names, robots = players(policy.contract, robot) if suite.environment == "sim" else (own, {}, {})
    arms = tuple(arm for arm in suite.arms if arm in playing)
    if not arms:
        raise UserError(
            f"{checkpoint} knows no arm of suite {suite.name!r} ({', '.join(suite.arms)}); it was trained on {', '.join(own)}"
        )
    return _Stage(arms=arms, names=names, robots=robots)


def _side_by_side(
    policy: Policy, other: Policy | None, stack: contextlib.ExitStack, *, server: str | None, baselines: bool
) -> dict[str, rollout.Policy]:
    """The policy in question first: behind the server if there is one, else the checkpoint's."""
    from rtx.eval.baselines import RandomPolicy, untrained
    from rtx.eval.served import ServedPolicy
    from rtx.serve.auth import read_token

    if server is not None:
        served = ServedPolicy(server, contract=policy.contract, checkpoint=policy.fingerprint, token=read_token(None))
        stack.callback(served.close)
        return {"served": served, "trained": policy}
    if other is not None:
        return {"trained": policy, "other": other}
    if baselines:
        return {"trained": policy, "untrained": untrained(policy), "random": RandomPolicy(policy.contract)}
    return {"trained": policy}


def _remarks(evaluation: Evaluation) -> list[str]:
    from rtx.eval.served import same_outcomes

    remarks = []
    if evaluation.stopped_early:
        remarks.append(f"Stopped early: {evaluation.suite.episodes_per_cell} of {evaluation.planned} episodes of each cell.")
    if "served" in evaluation.policies:
        remarks.append(same_outcomes(evaluation.select("served"), evaluation.select("trained")))
    return remarks


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
