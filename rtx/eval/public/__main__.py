"""python -m rtx.eval.public replay SUITE | probe SUITE TASK | record SUITE OUT | list"""

from __future__ import annotations

import argparse
import collections
import sys
from pathlib import Path

from rtx.errors import UserError, WorldError
from rtx.eval.public.probe import probe
from rtx.eval.public.registry import PUBLIC_SUITES, find_public
from rtx.eval.public.replay import replay
from rtx.eval.statistics import Rate


def main() -> int:
    """Parses the command line; 1 after an error meant for people."""
    parser = argparse.ArgumentParser(prog="python -m rtx.eval.public", description="Public simulation suites.")
    verbs = parser.add_subparsers(required=True, metavar="VERB")
    verbs.add_parser("list", help="suites, tasks and install lines").set_defaults(run=_list)
    again = verbs.add_parser("replay", help="the suite's own expert, natively and through rtx: do the rates agree?")
    record = verbs.add_parser("record", help="the expert's successful episodes as an RLDS data set")
    for verb in (again, record):
        verb.add_argument("suite")
        verb.add_argument("--tasks", default="", help="comma separated (default: all)")
        verb.add_argument("--episodes", type=int, default=10, help="of each task (default: %(default)s)")
    again.set_defaults(run=_replay)
    record.add_argument("out", type=Path)
    record.set_defaults(run=_record)
    axes = verbs.add_parser("probe", help="one axis after the other: does the arm go where it is told?")
    axes.add_argument("suite")
    axes.add_argument("task")
    axes.set_defaults(run=_probe)
    args = parser.parse_args()
    try:
        args.run(args)
    except (UserError, WorldError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def _tasks(args: argparse.Namespace) -> tuple[str, ...]:
    suite = find_public(args.suite)
    tasks = tuple(task for task in args.tasks.split(",") if task)
    for task in tasks:
        suite.check_task(task)
    return tasks


def _list(args: argparse.Namespace) -> None:
    for suite in PUBLIC_SUITES.values():
        print(f"{suite.name:15} {suite.title}; {len(suite.tasks)} tasks; expert: {suite.expert or 'none'}")
        print(f"{'':15} {suite.install}")


def _replay(args: argparse.Namespace) -> None:
    suite = find_public(args.suite)
    won: dict[str, collections.Counter[bool]] = collections.defaultdict(collections.Counter)
    count: collections.Counter[str] = collections.Counter()
    refused = 0
    for done in replay(suite, tasks=_tasks(args), episodes=args.episodes):
        won[done.task][done.through_rtx] += done.played.success
        count[done.task] += not done.through_rtx
        refused += done.played.refusals if done.through_rtx else 0
        if done.through_rtx and count[done.task] == args.episodes:
            n, task = args.episodes, won[done.task]
            print(f"{done.task:40} native {task[False]:3}/{n}   through rtx {task[True]:3}/{n}", flush=True)
    total = sum(count.values())
    for name, through in (("native", False), ("through rtx", True)):
        print(f"{name}: {Rate(sum(task[through] for task in won.values()), total)}")
    print(f"actions that the safety filter changed: {refused}")


def _probe(args: argparse.Namespace) -> None:
    for seen in probe(find_public(args.suite), args.task):
        if seen.axis == "gripper":
            print(f"gripper   told to close: opening {seen.asked:.2f} -> {seen.along:.2f}")
        else:
            print(f"{seen.axis:9} asked {seen.asked:+.3f}   measured {seen.along:+.3f}   aside {seen.aside:.3f}", flush=True)


def _record(args: argparse.Namespace) -> None:
    from rtx.eval.public.record import record_public

    path = record_public(find_public(args.suite), args.out, tasks=_tasks(args), episodes=args.episodes)
    print(path)


if __name__ == "__main__":
    sys.exit(main())
