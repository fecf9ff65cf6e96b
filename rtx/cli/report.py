"""`rtx report`: the page of a run."""

from __future__ import annotations

import argparse
from pathlib import Path

from rtx.cli.verbs import Verbs, verb


def add_report(verbs: Verbs) -> None:
    parser = verb(verbs, "report", _report, "a run as one HTML page: curves, data sets, events, checkpoints, configuration")
    parser.add_argument("run", type=Path, help="run folder; training may be going on in it")
    parser.add_argument("--out", type=Path, default=None, metavar="FILE", help="default: RUN/report.html")
    parser.add_argument("--quick", action="store_true", help="compare sizes of the checkpoints' files, not their contents")


def _report(args: argparse.Namespace) -> None:
    from rtx.train.report import write_report

    print(write_report(args.run, args.out, hashes=not args.quick))
