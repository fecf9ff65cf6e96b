"""Where a training process dies, by name, and how a child arranges its own death there.

    Plan(phase="commit", call=2, moment="before")      SIGKILL before the second rename that makes a checkpoint visible

The function of a phase is wrapped in the child alone: no line of the package knows of it.
"""

from __future__ import annotations

import importlib
import itertools
import os
import re
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, get_args

Moment = Literal["before", "amid", "after"]
MOMENTS: tuple[Moment, ...] = get_args(Moment)


@dataclass(frozen=True, kw_only=True)
class Phase:
    """The function whose call is the phase. `about`: only calls whose first argument ends as this regular expression says."""

    owner: str  # "module" or "module:Class"
    function: str
    about: str = ""
    by_leader: bool = False  # only process 0 goes through it
    once: bool = False  # in a life, not in every save

    def wrap(self, make: Callable[[Callable[..., Any]], Callable[..., Any]]) -> None:
        """Puts `make(function)` in the place of the function for calls that are the phase's."""
        module, _, name = self.owner.partition(":")
        owner = importlib.import_module(module)
        owner = getattr(owner, name) if name else owner
        original = getattr(owner, self.function)
        wrapped = make(original)

        def chosen(*args: Any, **kwargs: Any) -> Any:
            is_phase = not self.about or re.search(self.about + r"\Z", str(args[0]))
            return (wrapped if is_phase else original)(*args, **kwargs)

        setattr(owner, self.function, chosen)


_SAVE = "rtx.train.checkpoint.writing:Save"

PHASES = {
    "before save": Phase(owner="rtx.train.saver:Saver", function="save"),
    "device to host": Phase(owner="rtx.train.checkpoint.writing", function="_copy_to_host"),
    "async write": Phase(owner=_SAVE, function="_write"),
    "merge": Phase(owner=_SAVE, function="_merge", by_leader=True),
    "hash": Phase(owner=_SAVE, function="_hash"),
    "manifest": Phase(owner="rtx.train.checkpoint.writing", function="write_manifest", by_leader=True),
    "commit": Phase(owner="os", function="rename", about=r"/\.saving-\d+", by_leader=True),
    "old-step removal": Phase(owner="rtx.train.checkpoint.retention", function="_remove", by_leader=True),
    "old-step files": Phase(owner="shutil", function="rmtree", about=r"/\.removing-\d+", by_leader=True),
    "restore": Phase(owner="rtx.train.checkpoint", function="restore", once=True),
    "verify": Phase(owner="rtx.train.checkpoint.sound", function="verify"),
    "read arrays": Phase(owner="rtx.train.checkpoint.reading", function="_read_arrays", once=True),
}
"""In the order of a save, then in that of a restore (a save verifies too, before it removes)."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The death of one process: at the `call`-th call of a phase in this life, at its entry, at its end, or `amid_s` later
    than its entry (at its end if that comes first)."""

    phase: str
    call: int = 1
    moment: Moment = "before"
    amid_s: float = 0.0

    def __str__(self) -> str:
        return f"{self.moment} {self.phase} {self.call}"

    def arm(self, note: Callable[..., None]) -> None:
        """`note(killing=...)` is called at the phase, so that a planned death and a crash can be told apart."""
        calls = itertools.count(1)

        def make(original: Callable[..., Any]) -> Callable[..., Any]:
            def dying(*args: Any, **kwargs: Any) -> Any:
                if next(calls) != self.call:
                    return original(*args, **kwargs)
                note(killing=str(self))
                if self.moment == "before":
                    die()
                if self.moment == "amid":
                    threading.Thread(target=lambda: (time.sleep(self.amid_s), die()), daemon=True).start()
                original(*args, **kwargs)
                return die()

            return dying

        PHASES[self.phase].wrap(make)


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)
