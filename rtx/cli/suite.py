"""`rtx suite ...`: public simulation suites and their experts. `rtx eval RUN --suite NAME` plays them with a policy."""

from __future__ import annotations

import argparse
from pathlib import Path

from rtx.cli.verbs import names, verb


def add_suite(parser: argparse.ArgumentParser) -> None:
    verbs = parser.add_subparsers(metavar="COMMAND", required=True)
    verb(verbs, "list", _list, "suites, what expert they have, and how they are installed")
    replay = verb(verbs, "replay", _replay, "the suite's expert, natively and through rtx: do the rates agree?")
    probe = verb(verbs, "probe", _probe, "one axis after the other: does the arm go where it is told?")
    record = verb(verbs, "record", _record, "the expert's successful episodes as an RLDS data set; resumable")
    for one in (replay, probe, record):
        one.add_argument("suite", help="a name of `rtx suite list`")
    probe.add_argument("task")
    record.add_argument("out", type=Path, help="a folder; the data set is OUT/ARM/1.0.0")
    for one in (replay, record):
        one.add_argument("--tasks", type=names, default=(), help="comma separated (default: all that the expert knows)")
        one.add_argument("--episodes", type=int, default=10, help="of each task (default: %(default)s)")


def _list(_: argparse.Namespace) -> None:
    from rtx.eval.public.registry import list_text

    print(list_text())


def _replay(args: argparse.Namespace) -> None:
    from rtx.eval.public.registry import find_public
    from rtx.eval.public.replay import lines, replay

    for line in lines(replay(find_public(args.suite), tasks=args.tasks, episodes=args.episodes)):
        print(line, flush=True)


def _probe(args: argparse.Namespace) -> None:
    from rtx.eval.public.probe import probe
    from rtx.eval.public.registry import find_public

    for seen in probe(find_public(args.suite), args.task):
        print(seen, flush=True)


def _record(args: argparse.Namespace) -> None:
    from rtx.eval.public.record import record_public
    from rtx.eval.public.registry import find_public

    print(record_public(find_public(args.suite), args.out, tasks=args.tasks, episodes=args.episodes))
