"""`rtx ask`: questions about a picture."""

from __future__ import annotations

import argparse
from pathlib import Path

from rtx.cli.verbs import Verbs, verb
from rtx.errors import UserError


def add_ask(verbs: Verbs) -> None:
    parser = verb(verbs, "ask", _ask, "ask a vision-language-action model about a picture")
    parser.add_argument("checkpoint", type=Path, help="run folder or checkpoint")
    parser.add_argument("picture", type=Path, help="a JPEG or PNG file")
    parser.add_argument("questions", nargs="+", metavar="QUESTION", help='as the model was taught them; "" asks for a caption')


def _ask(args: argparse.Namespace) -> None:
    from rtx.images import decode
    from rtx.serve.policy import load_policy

    if not args.picture.is_file():
        raise UserError(f"no such picture: {args.picture}")
    picture, policy = decode(args.picture.read_bytes()), load_policy(args.checkpoint)
    for question in args.questions:
        print(policy.ask(picture, question), flush=True)
