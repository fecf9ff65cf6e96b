"""How every verb of the command line is added, and the argument types they share."""

from __future__ import annotations

import argparse
from collections.abc import Callable

from rtx.errors import UserError

Verb = Callable[[argparse.Namespace], None]
Verbs = argparse._SubParsersAction  # what add_subparsers returns; argparse has no public name for it


def verb(verbs: Verbs, name: str, run: Verb, text: str) -> argparse.ArgumentParser:
    """A verb that calls `run` with its arguments; `text` is its line in the help, without a full stop."""
    parser: argparse.ArgumentParser = verbs.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".")
    parser.set_defaults(verb=run)
    return parser


def names(text: str) -> tuple[str, ...]:
    """ "a, b" -> ("a", "b")."""
    return tuple(part.strip() for part in text.split(",") if part.strip())


def cameras(texts: list[str]) -> dict[str, str]:
    """Role -> source, of `--camera ROLE=SOURCE` as often as it is given."""
    pairs = [text.partition("=") for text in texts]
    if wrong := [role for role, equals, source in pairs if not (role and equals and source)]:
        raise UserError(f"--camera {wrong[0]!r}: expected ROLE=SOURCE, such as primary=v4l2:/dev/video0")
    return {role: source for role, _, source in pairs}
