"""Saving beside the training: the loop waits for the copy to host memory, a thread does the rest.

    loop     step step [copy] step step step step [copy] step
    thread              write merge hash commit remove    write ...

At most one save is under way; the next one waits for it and says so. A save that fails in the middle of a run is reported
and training goes on, for the previous checkpoint is intact; one that must succeed (the last, and the one on a signal)
raises. Every process of the run makes the same calls.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

from rtx.data.loader import LoaderState
from rtx.errors import WorldError
from rtx.train.checkpoint import Save, SideFiles, sweep
from rtx.train.checkpoint.meeting import Meeting
from rtx.train.checkpoint.retention import check_keep
from rtx.train.state import TrainState, to_tree
from rtx.versions import versions

log = logging.getLogger(__name__)


class Saver:
    """Context manager; leaving it waits for what is under way.

    `side` makes what travels with the arrays from the position in the data. `failed(step, reason)` is called in the loop's
    thread, at its next `poll`, `save` or `wait`; the log has the failure at once.
    """

    def __init__(
        self, root: Path, *, keep: int, side: Callable[[LoaderState], SideFiles], failed: Callable[[int, str], None]
    ) -> None:
        check_keep(keep)
        self._root, self._keep, self._side, self._failed = root, keep, side, failed
        self._meeting = Meeting()
        self._meeting.lead(lambda: sweep(root))
        self._meeting.lead(versions)  # of now, not of the files that are there when the first save is due
        self._thread: threading.Thread | None = None
        self._step = -1  # of the save under way, or of the last one
        self._error: Exception | None = None  # what became of it, if `_take` has not said so yet

    def save(self, state: TrainState, step: int, position: LoaderState, *, must: bool, pinned: int = -1) -> None:
        """Returns when the arrays of `state` are in host memory (they may be donated then), or on disk if it `must`. The
        checkpoint of step `pinned` stays, however old.

        Raises WorldError if it `must` be saved and cannot be.
        """
        if self._thread is not None and self._thread.is_alive():
            log.warning(
                "save waits for the one before: step=%d before=%d; storage is slower than run.save_every", step, self._step
            )
        self.wait()
        one = Save(self._root, step=step, side=self._side(position), keep=self._keep, meeting=self._meeting, pinned=pinned)
        one.start(to_tree(state))
        self._step = step
        self._thread = threading.Thread(target=self._finish, args=(one,), name=f"save-{step}")
        self._thread.start()
        if must and (error := self._take()) is not None:
            raise error

    def poll(self) -> None:
        """Reports a save that has failed meanwhile; waits for nothing."""
        if self._thread is not None and not self._thread.is_alive():
            self.wait()

    def wait(self) -> None:
        """Returns when no save is under way; reports if it failed. Raises an error that is not the world's, but ours."""
        error = self._take()
        if isinstance(error, WorldError):
            self._failed(self._step, str(error))
        elif error is not None:
            raise error

    def _take(self) -> Exception | None:
        if self._thread is not None:
            self._thread.join()
        self._thread = None
        error, self._error = self._error, None
        return error

    def _finish(self, one: Save) -> None:
        try:
            one.finish()
        except Exception as error:  # the edge of a thread: `_take` hands it to the loop
            log.error("checkpoint not saved, the previous one is intact: step=%d %s", one.step, error)
            self._error = error

    def __enter__(self) -> Saver:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if error is None:
            self.wait()
        elif (lost := self._take()) is not None:  # it is in the log; the error that ends the run is the other one
            self._failed(self._step, str(lost))
