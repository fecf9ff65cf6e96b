"""`rtx serve`: a checkpoint answers robots over a socket."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from rtx.cli.verbs import Verbs, verb
from rtx.errors import UserError

_ABOUT = """\
Opens the port, compiles, prints `ready: URL`, and answers until it is stopped: websockets (`rtx_client`, and openpi's clients
as they are) and POST /act (OpenVLA's clients as they are). GET /healthz, /readyz and /metrics are there for whoever watches.

  rtx serve runs/bridge
  rtx serve runs/bridge --host 0.0.0.0 --token-file robot.token --cert cert.pem --key key.pem
  rtx serve runs/bridge --record served       what is seen and sent, as RLDS for the next fine-tune

docs/serving.md has the options' reasons, docs/protocol.md the bytes.
"""


def add_serve(verbs: Verbs) -> None:
    parser = verb(verbs, "serve", _serve, "answer robots over a socket with a checkpoint's actions")
    parser.description, parser.formatter_class = _ABOUT, argparse.RawDescriptionHelpFormatter
    parser.add_argument("checkpoint", type=Path, help="run folder or checkpoint")
    parser.add_argument("--host", default="127.0.0.1", help="default: %(default)s; others need a token or TLS")
    parser.add_argument("--port", type=int, default=8000, help="default: %(default)s; 0 takes a free one")
    parser.add_argument("--token-file", type=Path, metavar="FILE", help="what clients must know (or the variable RTX_TOKEN)")
    parser.add_argument("--cert", type=Path, metavar="FILE", help="TLS: the certificate chain, PEM")
    parser.add_argument("--key", type=Path, metavar="FILE", help="TLS: its private key, PEM")
    parser.add_argument("--max-batch", type=int, default=8, help="observations answered by one call (default: %(default)s)")
    parser.add_argument(
        "--batch-wait-ms", type=float, default=2.0, help="a question may wait so long for other robots' (default: %(default)s)"
    )
    parser.add_argument(
        "--bin-choice",
        choices=("likeliest", "mean"),
        help="which bin a VLA says, if not the checkpoint's choice",
    )
    parser.add_argument("--names", type=Path, metavar="FILE", help="JSON: what the keys of openpi's and OpenVLA's clients mean")
    parser.add_argument("--record", type=Path, metavar="FOLDER", help="keep what is seen and sent there, as RLDS")


def _serve(args: argparse.Namespace) -> None:
    from rtx.serve.auth import check_exposure, read_token, tls_context
    from rtx.serve.names import read_names
    from rtx.serve.policy import BATCH_SIZES, load_policy
    from rtx.serve.server import Options, serve

    if not 1 <= args.max_batch <= BATCH_SIZES[-1]:
        raise UserError(f"--max-batch {args.max_batch}: expected 1 to {BATCH_SIZES[-1]}")
    options = Options(
        batch_wait_s=args.batch_wait_ms / 1e3,
        names=read_names(args.names),
        token=read_token(args.token_file),
        tls=tls_context(args.cert, args.key),
        record=args.record,
    )
    check_exposure(args.host, token=options.token, tls=options.tls)  # before minutes of loading
    policy = load_policy(args.checkpoint, bin_choice=args.bin_choice)
    serve(
        policy,
        host=args.host,
        port=args.port,
        max_batch=args.max_batch,
        options=options,
        opened=lambda server: print(f"{policy.name}: compiling; {server.url} is not ready yet", file=sys.stderr, flush=True),
        ready=lambda server: print(f"ready: {server.url}", flush=True),
    )
