"""The `rtx` command: one verb per line, each a thin call into the library.

Errors that people can mend (`UserError`, `WorldError`, a full disk) are one message on stderr, exit code 2 or 1. Anything else
keeps its traceback: it is a defect of ours. Nothing heavy is imported before the verb is known.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from rtx import __version__
from rtx.cli.ask import add_ask
from rtx.cli.ckpt import add_ckpt
from rtx.cli.data import add_data
from rtx.cli.doctor import add_doctor
from rtx.cli.drive import add_drive
from rtx.cli.eval import add_eval, spelled_out
from rtx.cli.finetune import add_finetune
from rtx.cli.plan import add_plan
from rtx.cli.report import add_report
from rtx.cli.robots import add_robots
from rtx.cli.serve import add_serve
from rtx.cli.suite import add_suite
from rtx.cli.verbs import verb
from rtx.errors import UserError, WorldError, unknown_name
from rtx.files import advice
from rtx.reproduce import EXPERIMENTS

EXIT_USER, EXIT_WORLD, EXIT_INTERRUPT = 2, 1, 130


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs one command and exits with its code."""
    args = _parser().parse_args(spelled_out(sys.argv[1:] if arguments is None else arguments))
    _log_to_stderr()
    try:
        args.verb(args)
        sys.stdout.flush()
    except BrokenPipeError:  # `rtx data list | head`: the reader has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except UserError as error:
        _fail(error, EXIT_USER)
    except WorldError as error:
        _fail(error, EXIT_WORLD)
    except OSError as error:
        if (text := advice(error)) is None:
            raise
        _fail(f"{error.filename or 'the disk'}: {text}", EXIT_WORLD)
    except KeyboardInterrupt:
        _fail("interrupted; run the same command again to carry on", EXIT_INTERRUPT)


class _Lines(logging.Formatter):
    """What a run tells of itself bare, warnings and worse with their level."""

    def format(self, record: logging.LogRecord) -> str:
        text = super().format(record)
        return text if record.levelno < logging.WARNING else f"{record.levelname.lower()}: {text}"


def _log_to_stderr() -> None:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Lines("%(message)s"))
    logging.basicConfig(level=logging.WARNING, handlers=[handler])
    logging.getLogger("rtx").setLevel(logging.INFO)  # not everybody's: jax would report each backend it does not find


def _fail(message: object, code: int) -> None:
    print(f"rtx: {message}", file=sys.stderr)
    raise SystemExit(code)


class _Parser(argparse.ArgumentParser):
    """argparse whose 'invalid choice' names the nearest verb."""

    def _check_value(self, action: argparse.Action, value: object) -> None:
        if action.choices is not None and value not in action.choices:
            self.exit(EXIT_USER, f"rtx: {unknown_name('command', str(value), map(str, action.choices))}\n")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="rtx", description="Cross-embodiment robot foundation models: from RLDS mixtures to a moving arm.")
    parser.add_argument("--version", action="version", version=f"rtx {__version__}")
    verbs = parser.add_subparsers(metavar="COMMAND", required=True)
    _add_quickstart(verbs)
    _add_reproduce(verbs)
    add_data(verbs.add_parser("data", help="data sets: list, prepare, look at, record, bring in"))
    _add_train(verbs)
    add_finetune(verbs)
    add_report(verbs)
    add_plan(verbs)
    add_eval(verbs)
    add_suite(verbs.add_parser("suite", help="public simulation suites: list, replay their experts, probe, record"))
    add_serve(verbs)
    add_drive(verbs)
    add_ask(verbs)
    add_doctor(verbs)
    add_robots(verbs.add_parser("robots", help="robots: list, show, describe your own, check it"))
    add_ckpt(verbs.add_parser("ckpt", help="checkpoints: verify, look into, convert, export, teach"))
    return parser


# quickstart


def _add_quickstart(verbs: argparse._SubParsersAction) -> None:
    parser = verb(
        verbs,
        "quickstart",
        _quickstart,
        "simulated arms, demonstrations, one policy, evaluation and report in one go; resumable",
    )
    parser.add_argument("--out", type=Path, default=Path("runs/quickstart"), metavar="DIR", help="default: %(default)s")
    parser.add_argument("--preset", default="small", help="small: minutes on a CPU (default); full: overnight; smoke: a check")
    parser.add_argument("--workers", type=int, default=2, help="simulator processes (default: %(default)s)")


def _quickstart(args: argparse.Namespace) -> None:
    from rtx.quickstart import quickstart

    print(quickstart(args.out, preset=args.preset, num_workers=args.workers))


# reproduce


def _add_reproduce(verbs: argparse._SubParsersAction) -> None:
    parser = verb(verbs, "reproduce", _reproduce, "a claim of a source paper at small scale, with intervals; resumable")
    parser.add_argument("name", metavar="NAME", help="; ".join(f"{name}: {about}" for name, about in EXPERIMENTS.items()))
    parser.add_argument("--out", type=Path, metavar="DIR", help="default: runs/NAME")
    parser.add_argument(
        "--preset",
        default="default",
        help="default: 2 hours on 2 CPU cores; short: 30 to 60 minutes; long: for a GPU; smoke: a check",
    )
    parser.add_argument("--workers", type=int, default=2, help="simulator processes (default: %(default)s)")


def _reproduce(args: argparse.Namespace) -> None:
    from rtx.reproduce import reproduce

    print(reproduce(args.name, args.out or Path("runs") / args.name, preset=args.preset, num_workers=args.workers))


# train


def _add_train(verbs: argparse._SubParsersAction) -> None:
    parser = verb(verbs, "train", _train, "train a policy; the same command resumes a run that was stopped")
    parser.add_argument("config", help="configs/FILE.py or configs/FILE.py:function")
    parser.add_argument("--run", type=Path, default=None, metavar="DIR", help="run folder (default: runs/<config>-<function>)")
    parser.add_argument(
        "--set", action="append", default=[], metavar="PATH=VALUE", help="override one leaf, e.g. train.lr=1e-4"
    )
    parser.add_argument(
        "--profile", type=int, nargs="?", const=5, default=0, metavar="STEPS",
        help="trace so many steps after a warm-up with JAX's profiler, into RUN/profile (5 if no number is given)",
    )  # fmt: skip
    hosts = parser.add_argument_group(
        "several hosts", "the same command on each; torchrun, SLURM and TPU pods need none of these (docs/scale.md)"
    )
    hosts.add_argument("--coordinator", metavar="HOST:PORT", help="where process 0 runs, and a free port there")
    hosts.add_argument("--process-id", type=int, metavar="I", help="this process: 0 to N - 1")
    hosts.add_argument("--num-processes", type=int, metavar="N", help="one for each host")


def _train(args: argparse.Namespace) -> None:
    from rtx.train.loop import train
    from rtx.train.overrides import load_config
    from rtx.train.parallel.hosts import join

    config = load_config(args.config, args.set)
    join(args.coordinator, args.process_id, args.num_processes)
    file, _, function = args.config.partition(":")
    run_dir = args.run or Path("runs") / (Path(file).stem + (f"-{function}" if function else ""))
    checkpoint = train(config, run_dir, profile=args.profile)
    print(f"checkpoint: {checkpoint}\nserve it: rtx serve {run_dir}")
