"""`rtx eval`: success with intervals. `rtx eval compare` and `rtx eval --plan` are verbs of their own behind it."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from rtx.cli.verbs import Verbs, names, verb


def add_eval(verbs: Verbs) -> None:
    parser = verb(verbs, "eval", _eval, "play a suite with a checkpoint and with baselines on the same seeds; resumable")
    parser.epilog = (
        "rtx eval compare A B: two evaluations side by side. rtx eval --plan --delta 0.05: how many episodes it takes."
    )
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
        "--against", type=Path, default=None, metavar="CKPT", help="another checkpoint in place of the baselines"
    )
    parser.add_argument("--stop-early", action="store_true", help="stop where it is shown to differ from each of the others")
    parser.add_argument("--language", action="store_true", help="the same scenes with other words too: does it listen?")
    parser.add_argument("--questions", type=Path, default=None, metavar="JSONL", help="held-out questions about pictures")
    parser.add_argument(
        "--server", metavar="URL", help="play it through this policy server too (the same checkpoint), in place of baselines"
    )
    _add_compare(verbs)
    _add_plan(verbs)


def spelled_out(words: Sequence[str]) -> list[str]:
    """`eval compare A B` and `eval --plan` as the verbs that they are: argparse has no room for them beside a checkpoint."""
    if list(words[:2]) == ["eval", "compare"]:
        return ["eval-compare", *words[2:]]
    if words[:1] == ["eval"] and "--plan" in words:
        return ["eval-plan", *(word for word in words[1:] if word != "--plan")]
    return list(words)


def _eval(args: argparse.Namespace) -> None:
    from rtx.eval.checkpoint import evaluate_checkpoint
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
            against=args.against,
            stop_early=args.stop_early,
            language=args.language,
            questions=args.questions,
            server=args.server,
            robot=catalogue.find(args.robot) if args.robot else None,
        )
    )


def _add_compare(verbs: Verbs) -> None:
    parser = verbs.add_parser("eval-compare", prog="rtx eval compare", description="Two evaluations side by side.")
    parser.set_defaults(verb=_compare)
    for name in ("first", "second"):
        parser.add_argument(name, metavar="DIR[:POLICY]", help="folder that rtx eval wrote, or a run with one in it")
    parser.add_argument("--out", type=Path, default=None, metavar="FILE", help="default: compare.html in the first's folder")


def _compare(args: argparse.Namespace) -> None:
    from rtx.eval.report.side_by_side import compare_folders

    print(compare_folders(args.first, args.second, args.out))


def _add_plan(verbs: Verbs) -> None:
    parser = verbs.add_parser("eval-plan", prog="rtx eval --plan", description="How many episodes show a difference.")
    parser.set_defaults(verb=_plan)
    parser.add_argument("--delta", type=float, required=True, help="the difference, a share: 0.05 is five points")
    parser.add_argument("--rate", type=float, default=0.5, help="what the worse policy solves (default: %(default)s)")
    parser.add_argument(
        "--differ", type=float, default=None, metavar="SHARE", help="of episodes that only one of the two solves"
    )
    parser.add_argument("--power", type=float, default=0.8, help="chance to show it (default: %(default)s)")
    parser.add_argument("--alpha", type=float, default=0.05, help="chance of a false alarm (default: %(default)s)")
    parser.add_argument("--comparisons", type=int, default=1, metavar="N", help="rows read side by side (default: %(default)s)")


def _plan(args: argparse.Namespace) -> None:
    from rtx.eval.statistics.sample_size import Question, plan_text

    question = Question(
        delta=args.delta, rate=args.rate, differ=args.differ, power=args.power, alpha=args.alpha, family=args.comparisons
    )
    print(plan_text(question))
