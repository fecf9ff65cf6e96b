"""One batch ahead: while the device works on a step, the batch of the next is loaded and on its way to the device.

    take() --> step sent to the device --> prepare() --> log line, validation, checkpoint --> take() ...

`state()` is the position after the last batch taken, so a checkpoint knows nothing of the batch that waits.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from rtx.data.loader import Loader, LoaderState
from rtx.spec import Batch
from rtx.train.imitation import Groups, place

log = logging.getLogger(__name__)


@runtime_checkable
class Running(Protocol):
    """A `jax.Array` that may not be computed yet."""

    def is_ready(self) -> bool: ...


@dataclass(frozen=True)
class _Waiting:
    batch: Groups | None
    error: Exception | None
    after: LoaderState  # where the loader stood with this batch given
    wait_s: float


class Prefetch:
    """Batches of `loader` on the device, put there by `place`."""

    def __init__(self, loader: Loader, place: Callable[[Batch], Groups] = place) -> None:
        self._loader, self._place = loader, place
        self._state = loader.state()
        self._widths: set[tuple[tuple[int, ...], ...]] = set()
        self._waiting: _Waiting | None = None

    def prepare(self, running: Running | None = None) -> None:
        """Takes the next batch from the loader and starts its transfer, if none waits yet. Errors come out of `take`, so
        that the step before is logged first.

        `running`: a result of the step sent to the device before. If it is not there when the batch is, the device had work
        all the time and nobody waited.
        """
        if self._waiting is not None:
            return
        start, batch, error = time.monotonic(), None, None
        try:
            batch = self._place(next(self._loader))
            self._note(batch)
        except Exception as raised:
            error = raised
        wait_s = 0.0 if running is not None and not running.is_ready() else time.monotonic() - start
        self._waiting = _Waiting(batch, error, self._loader.state(), wait_s)

    def take(self) -> tuple[Groups, float]:
        """The next batch and the seconds that the device stood idle for it, at most."""
        self.prepare()
        waiting, self._waiting = self._waiting, None
        assert waiting is not None
        if waiting.error is not None:
            raise waiting.error
        assert waiting.batch is not None
        self._state = waiting.after
        return waiting.batch, waiting.wait_s

    def state(self) -> LoaderState:
        """What `Loader.restore` needs to go on behind the last batch taken."""
        return self._state

    def _note(self, batch: Groups) -> None:
        """Says when texts are of other widths than ever before: the step is compiled for them."""
        rows = batch if isinstance(batch, tuple) else (batch,)
        texts = [[group.text] if group.target is None else [group.text, group.target] for group in rows]
        found = tuple(tuple(text.shape[1] for text in group) for group in texts)
        if found not in self._widths:
            self._widths.add(found)
            if len(self._widths) > 1:
                shown = " ".join("+".join(map(str, one)) for one in found)
                log.info("texts: new widths=%s, program %d", shown, len(self._widths))
