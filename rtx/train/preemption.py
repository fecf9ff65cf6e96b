"""SIGTERM, as schedulers send it: the first asks the loop to save and exit with `EXIT_PREEMPTED`, the second exits at once."""

from __future__ import annotations

import logging
import signal
import threading
from types import FrameType, TracebackType
from typing import Any

log = logging.getLogger(__name__)

EXIT_PREEMPTED = 75
"""Exit code of a run that was asked to stop and saved: EX_TEMPFAIL of sysexits.h, "the same command succeeds later"."""


class Preempted(SystemExit):
    """The run was stopped by SIGTERM and its state is saved. Uncaught, it ends the process with `EXIT_PREEMPTED`."""

    def __init__(self) -> None:
        super().__init__(EXIT_PREEMPTED)


class Preemption:
    """Context manager; `requested` turns True at the first SIGTERM. Outside the main thread it only ever stays False."""

    def __init__(self) -> None:
        self.requested = False
        self._previous: Any = None

    def __enter__(self) -> Preemption:
        if threading.current_thread() is threading.main_thread():
            self._previous = signal.signal(signal.SIGTERM, self._on_signal)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._previous is not None:
            signal.signal(signal.SIGTERM, self._previous)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self.requested = True
        signal.signal(signal.SIGTERM, signal.SIG_DFL)  # a second one ends the process as SIGTERM does by default
        log.warning("SIGTERM: saving after this step, then exit with code %d; a second SIGTERM exits at once", EXIT_PREEMPTED)
