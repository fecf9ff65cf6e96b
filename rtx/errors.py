"""The two errors a person is meant to read, and the sentence for a name that does not exist.

`rtx.cli` prints these without a traceback; everything else that escapes is a defect of ours and keeps its traceback.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from typing import TypeVar

Value = TypeVar("Value")


class UserError(ValueError):
    """The caller's input is wrong; the message says what, where, what was expected and what to do."""


class WorldError(RuntimeError):
    """The world refused (disk, driver, socket, damaged file); the message says what to do about it."""


def unknown_name(kind: str, name: str, choices: Iterable[str], *, hint: str = "") -> UserError:
    """`unknown data set 'brige_dataset'; did you mean 'bridge_dataset'? Choices: ...` (at most 20 choices are listed)."""
    known = sorted(choices)
    near = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
    guess = f"; did you mean {' or '.join(repr(n) for n in near)}?" if near else "."
    listed = ", ".join(known[:20]) + (f", ... ({len(known)} in all)" if len(known) > 20 else "")
    return UserError(f"unknown {kind} {name!r}{guess} Choices: {listed or 'none'}" + (f". {hint}" if hint else ""))


def look_up(kind: str, name: str, table: Mapping[str, Value]) -> Value:
    """`table[name]`, or the error of `unknown_name`."""
    if name not in table:
        raise unknown_name(kind, name, table)
    return table[name]
