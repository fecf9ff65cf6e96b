"""The instants of a save and a restore, by name, at level DEBUG of this module's logger: what a test that kills aims at."""

from __future__ import annotations

import logging
from typing import Literal, get_args

log = logging.getLogger(__name__)

Phase = Literal[
    "begin", "device to host", "write", "merge", "hash", "commit", "remove", "done",  # of a save
    "verify", "read",  # of a restore
]  # fmt: skip
PHASES: tuple[str, ...] = get_args(Phase)


def reached(phase: Phase, step: int) -> None:
    """`phase` begins now, in this process."""
    log.debug("checkpoint: phase=%s step=%d", phase, step, extra={"phase": phase, "step": step})
