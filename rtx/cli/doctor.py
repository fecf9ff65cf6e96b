"""`rtx doctor`: is this robot set up as the checkpoint expects? Exit code 0: sound; 2: something to change was found."""

from __future__ import annotations

import argparse
from pathlib import Path

from rtx.cli.verbs import Verbs, verb

EXIT_FOUND = 2


def add_doctor(verbs: Verbs) -> None:
    parser = verb(verbs, "doctor", _doctor, "replay recorded episodes through a served policy and name what is set up wrong")
    parser.add_argument("checkpoint", type=Path, help="run folder or checkpoint")
    parser.add_argument("--robot", required=True, metavar="NAME", help="as the checkpoint calls it (rtx ckpt info)")
    parser.add_argument(
        "--data", required=True, type=Path, metavar="DIR", help="RLDS episodes of this robot with logged actions"
    )
    parser.add_argument("--records", type=Path, metavar="FILE.py", help="the data set's own DatasetRecord")
    parser.add_argument("--url", metavar="ws://HOST:PORT", help="a server of this checkpoint (default: one is started here)")
    parser.add_argument("--token-file", type=Path, metavar="FILE", help="the server's token (or the variable RTX_TOKEN)")
    parser.add_argument(
        "--training", type=Path, metavar="DIR", help="the prepared set it was trained on (default: where the checkpoint says)"
    )
    parser.add_argument("--episodes", type=int, default=40, help="at most (default: %(default)s)")
    parser.add_argument("--frames", type=int, default=400, help="to replay, at most (default: %(default)s)")
    parser.add_argument("--report", type=Path, metavar="FILE.html", help="write everything that was found on one page")


def _doctor(args: argparse.Namespace) -> None:
    from rtx.doctor.page import html, text
    from rtx.doctor.visit import doctor
    from rtx.files import atomic
    from rtx.serve.auth import read_token

    diagnosis = doctor(
        args.checkpoint, robot=args.robot, data=args.data, records=args.records, url=args.url,
        token=read_token(args.token_file) if args.url else None, training=args.training, num_episodes=args.episodes,
        num_frames=args.frames,
    )  # fmt: skip
    print(text(diagnosis), flush=True)
    if args.report is not None:
        with atomic(args.report) as file:
            file.write(html(diagnosis).encode())
        print(f"report: {args.report}", flush=True)
    if not diagnosis.is_sound:
        raise SystemExit(EXIT_FOUND)
