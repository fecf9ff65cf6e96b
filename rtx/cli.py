"""The `rtx` command: one verb per line, each a thin call into the library.

Errors that people can mend (`UserError`, `WorldError`, a full disk) are one message on stderr, exit code 2 or 1. Anything else
keeps its traceback: it is a defect of ours. Nothing heavy is imported before the verb is known.
"""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from rtx import __version__
from rtx.errors import UserError, WorldError, unknown_name
from rtx.files import advice

Verb = Callable[[argparse.Namespace], None]
EXIT_USER, EXIT_WORLD, EXIT_INTERRUPT = 2, 1, 130


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs one command and exits with its code."""
    args = _parser().parse_args(arguments)
    _log_to_stderr()
    try:
        args.verb(args)
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
    _add_data(verbs.add_parser("data", help="data sets: list, prepare, look at, record"))
    _add_train(verbs)
    _add_eval(verbs)
    _add_serve(verbs)
    _add_robots(verbs.add_parser("robots", help="the robots rtx knows"))
    _add_ckpt(verbs.add_parser("ckpt", help="checkpoints: verify, look into"))
    return parser


def _verb(verbs: argparse._SubParsersAction, name: str, run: Verb, text: str) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = verbs.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".")
    parser.set_defaults(verb=run)
    return parser


def _names(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())


# quickstart


def _add_quickstart(verbs: argparse._SubParsersAction) -> None:
    parser = _verb(
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


# data


def _add_data(parser: argparse.ArgumentParser) -> None:
    verbs = parser.add_subparsers(metavar="COMMAND", required=True)
    listing = _verb(verbs, "list", _data_list, "the data sets of the catalogue")
    info = _verb(verbs, "info", _data_info, "one record of the catalogue, whole")
    info.add_argument("name")
    prepare = _verb(verbs, "prepare", _data_prepare, "read RLDS shards once into a step table, statistics and a byte index")
    prepare.add_argument("name", help="record of the catalogue (rtx data list)")
    prepare.add_argument("source", type=Path, help="TFDS folder with the TFRecord shards, or its parent")
    prepare.add_argument("out", type=Path, help="where to write the prepared set")
    prepare.add_argument("--workers", type=int, default=None, help="processes (default: one per core)")
    for sub in (listing, info, prepare):
        sub.add_argument("--records", type=Path, metavar="FILE.py", help="a file of your own that builds further records")
    verify = _verb(verbs, "verify", _data_verify, "check a prepared set against its manifest and its shards")
    stats = _verb(verbs, "stats", _data_stats, "the statistics of a prepared set")
    inspect = _verb(verbs, "inspect", _data_inspect, "a page with pictures, instructions and traces of some episodes")
    for sub in (verify, stats, inspect):
        sub.add_argument("prepared", type=Path)
    inspect.add_argument("--out", type=Path, default=None, metavar="FILE.html", help="default: PREPARED/inspect.html")
    inspect.add_argument("--episodes", type=int, default=4, help="default: %(default)s")
    write = verbs.add_parser("write", help="record demonstrations as RLDS").add_subparsers(metavar="SOURCE", required=True)
    sim = _verb(write, "sim", _data_write_sim, "record scripted experts on simulated arms; resumable")
    sim.add_argument("out", type=Path, help="folder of the data sets")
    sim.add_argument("--arms", type=_names, default=(), help="comma separated (default: all seven)")
    sim.add_argument("--tasks", type=_names, default=("reach", "push", "lift"), help="comma separated (default: all)")
    sim.add_argument("--episodes", type=int, default=50, help="per arm (default: %(default)s)")
    sim.add_argument("--seed", type=int, default=0)
    sim.add_argument("--workers", type=int, default=2, help="simulator processes (default: %(default)s)")


def _data_list(args: argparse.Namespace) -> None:
    from rtx.data import catalogue

    print(catalogue.list_text(args.records))


def _data_info(args: argparse.Namespace) -> None:
    from rtx.data import catalogue

    print(catalogue.info_text(catalogue.find(args.name, args.records)))


def _data_prepare(args: argparse.Namespace) -> None:
    from rtx.data import catalogue
    from rtx.data.prepare import prepare

    prepared = prepare(catalogue.find(args.name, args.records), args.source, args.out, num_workers=args.workers)
    print(catalogue.summary_text(prepared))
    print(f"prepared: {args.out}\nlook at it: rtx data inspect {args.out}")


def _data_verify(args: argparse.Namespace) -> None:
    from rtx.data import catalogue

    print(catalogue.verify_text(args.prepared))


def _data_stats(args: argparse.Namespace) -> None:
    from rtx.data import catalogue

    print(catalogue.stats_text(args.prepared))


def _data_inspect(args: argparse.Namespace) -> None:
    from rtx.data.inspect import inspect
    from rtx.data.prepared import PreparedSet

    out = args.out or args.prepared / "inspect.html"
    print(f"open in a browser: {inspect(PreparedSet.open(args.prepared), out, num_episodes=args.episodes)}")


def _data_write_sim(args: argparse.Namespace) -> None:
    from rtx.eval.sim.record import record_sim, recorded_set
    from rtx.robots.sim_arms import SIM_ARMS

    sets = record_sim(
        args.out, arms=args.arms or tuple(SIM_ARMS), episodes_per_arm=args.episodes, tasks=args.tasks, seed=args.seed,
        num_workers=args.workers,
    )  # fmt: skip
    for done in map(recorded_set, sets):
        size = f"{done.num_episodes} episodes, {done.num_failed} failed attempts repeated, {done.num_bytes / 1e6:.1f} MB"
        print(f"{done.path}: {size}")


# train


def _add_train(verbs: argparse._SubParsersAction) -> None:
    parser = _verb(verbs, "train", _train, "train a policy; the same command resumes a run that was stopped")
    parser.add_argument("config", help="configs/FILE.py or configs/FILE.py:function")
    parser.add_argument("--run", type=Path, default=None, metavar="DIR", help="run folder (default: runs/<config>-<function>)")
    parser.add_argument(
        "--set", action="append", default=[], metavar="PATH=VALUE", help="override one leaf, e.g. train.lr=1e-4"
    )


def _train(args: argparse.Namespace) -> None:
    from rtx.train.loop import train
    from rtx.train.overrides import load_config

    config = load_config(args.config, args.set)
    file, _, function = args.config.partition(":")
    run_dir = args.run or Path("runs") / (Path(file).stem + (f"-{function}" if function else ""))
    checkpoint = train(config, run_dir)
    print(f"checkpoint: {checkpoint}\nserve it: rtx serve {run_dir}")


# eval, serve


def _add_eval(verbs: argparse._SubParsersAction) -> None:
    parser = _verb(verbs, "eval", _eval, "play a suite with a checkpoint and with baselines on the same seeds; resumable")
    parser.add_argument("checkpoint", type=Path, help="run folder or checkpoint")
    parser.add_argument("--suite", default="quick")
    parser.add_argument("--arms", type=_names, default=(), help="comma separated (default: those of the suite that it knows)")
    parser.add_argument("--tasks", type=_names, default=(), help="comma separated (default: the suite's)")
    parser.add_argument("--episodes", type=int, default=None, help="per arm and task (default: the suite's)")
    parser.add_argument("--out", type=Path, default=None, metavar="DIR", help="default: CHECKPOINT/eval-SUITE")
    parser.add_argument("--workers", type=int, default=2, help="simulator processes (default: %(default)s)")
    parser.add_argument("--no-baselines", action="store_true", help="play the checkpoint only")


def _eval(args: argparse.Namespace) -> None:
    from rtx.eval.evaluate import evaluate_checkpoint

    print(
        evaluate_checkpoint(
            args.checkpoint,
            args.out or args.checkpoint / f"eval-{args.suite}",
            suite=args.suite,
            arms=args.arms,
            tasks=args.tasks,
            episodes_per_cell=args.episodes,
            num_workers=args.workers,
            baselines=not args.no_baselines,
        )
    )


def _add_serve(verbs: argparse._SubParsersAction) -> None:
    parser = _verb(verbs, "serve", _serve, "answer robots over a socket with a checkpoint's actions")
    parser.add_argument("checkpoint", type=Path, help="run folder or checkpoint")
    parser.add_argument("--host", default="127.0.0.1", help="default: %(default)s; another host is reachable by strangers")
    parser.add_argument("--port", type=int, default=8000, help="default: %(default)s")


def _serve(args: argparse.Namespace) -> None:
    from rtx.serve.policy import load_policy
    from rtx.serve.server import serve

    policy = load_policy(args.checkpoint)
    print(f"{policy.name}: compiling, then listening", file=sys.stderr, flush=True)
    serve(policy, host=args.host, port=args.port, ready=lambda server: print(f"ready: {server.url}", flush=True))


# robots, checkpoints


def _add_robots(parser: argparse.ArgumentParser) -> None:
    verbs = parser.add_subparsers(metavar="COMMAND", required=True)
    _verb(verbs, "list", _robots_list, "all robots")
    show = _verb(verbs, "show", _robots_show, "one robot: cameras, state, action, limits")
    show.add_argument("name")


def _robots_list(_: argparse.Namespace) -> None:
    from rtx.robots import catalogue

    print(catalogue.list_text())


def _robots_show(args: argparse.Namespace) -> None:
    from rtx.robots import catalogue

    print(catalogue.show_text(catalogue.find(args.name)))


def _add_ckpt(parser: argparse.ArgumentParser) -> None:
    verbs = parser.add_subparsers(metavar="COMMAND", required=True)
    for name, run, text in (
        ("verify", _ckpt_verify, "check every file of a checkpoint against its manifest"),
        ("info", _ckpt_info, "what a checkpoint holds: robots, cameras, model, step"),
    ):
        _verb(verbs, name, run, text).add_argument("checkpoint", type=Path, help="run folder or checkpoint")


def _ckpt_verify(args: argparse.Namespace) -> None:
    from rtx.train.checkpoint import open_checkpoint, steps, verify

    root = next((folder for folder in (args.checkpoint / "checkpoints", args.checkpoint) if steps(folder)), None)
    if root is None:  # one checkpoint, or none: opening it says what is wrong
        print(f"sound: {open_checkpoint(args.checkpoint).path}")
        return
    problems = {root / str(step): verify(root / str(step)) for step in steps(root)}
    for folder, found in problems.items():
        print("\n".join([f"{'damaged' if found else 'sound'}: {folder}", *(f"  {line}" for line in found)]))
    if any(problems.values()):
        raise WorldError(f"damaged checkpoints in {root}; training and serving pass them over while a sound one is there")


def _ckpt_info(args: argparse.Namespace) -> None:
    from rtx.train.checkpoint import info_text, open_checkpoint

    print(info_text(open_checkpoint(args.checkpoint)))


if __name__ == "__main__":
    main()
