"""`rtx eval`: success with intervals."""

from __future__ import annotations

import argparse
from pathlib import Path

from rtx.cli.verbs import Verbs, names, verb


def add_eval(verbs: Verbs) -> None:
    parser = verb(verbs, "eval", _eval, "play a suite with a checkpoint and with baselines on the same seeds; resumable")
    parser.add_argument("checkpoint", type=Path, help="run folder or checkpoint")
    parser.add_argument("--suite", default="quick")
    parser.add_argument("--robot", default="", metavar="R", help="your my_robot.py, on the simulated arm that is like it")
    parser.add_argument("--arms", type=names, default=(), help="comma separated (default: those of the suite that it knows)")
    parser.add_argument("--tasks", type=names, default=(), help="comma separated (default: the suite's)")
    parser.add_argument("--splits", type=names, default=(), help="comma separated (default: the suite's, where it has any)")
    parser.add_argument("--episodes", type=int, default=None, help="per arm and task (default: the suite's)")
    parser.add_argument("--out", type=Path, default=None, metavar="DIR", help="default: CHECKPOINT/eval-SUITE")
    parser.add_argument("--workers", type=int, default=2, help="simulator processes (default: %(default)s)")
    parser.add_argument("--no-baselines", action="store_true", help="play the checkpoint only")
    parser.add_argument(
        "--server", metavar="URL", help="play it through this policy server too (the same checkpoint), in place of baselines"
    )


def _eval(args: argparse.Namespace) -> None:
    from rtx.eval.evaluate import evaluate_checkpoint
    from rtx.robots import catalogue

    print(
        evaluate_checkpoint(
            args.checkpoint,
            args.out or args.checkpoint / f"eval-{args.suite}",
            suite=args.suite,
            arms=args.arms,
            tasks=args.tasks,
            splits=args.splits,
            episodes_per_cell=args.episodes,
            num_workers=args.workers,
            baselines=not args.no_baselines,
            server=args.server,
            robot=catalogue.find(args.robot) if args.robot else None,
        )
    )
