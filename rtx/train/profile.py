"""`rtx train --profile`: what the device and the host do in a few steps, as a trace of JAX's profiler in RUN/profile.

steps of this start   1 2 3 | 4 5 6 7 8 | 9 ...
                      warm-up  traced      the run goes on
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

import jax

from rtx.errors import UserError

log = logging.getLogger(__name__)

WARM_UP = 3
"""Steps of a start that are left out: compilation, and what the loader has in store."""


def _options() -> jax.profiler.ProfileOptions:
    """Without every Python call: it makes the host several times slower than it is, and the trace too long to be kept whole."""
    options = jax.profiler.ProfileOptions()
    options.python_tracer_level = 0
    return options


class Profile:
    """Context manager around the steps after `start`; `num_steps` = 0 traces nothing. Raises UserError where fewer steps are
    left than it wants. A trace that cannot be written is reported, and training goes on."""

    def __init__(self, folder: Path, *, num_steps: int, start: int, last: int) -> None:
        self._folder = folder
        self._first = start + WARM_UP + 1
        self._last = self._first + num_steps - 1 if num_steps else 0
        self._is_running = False
        if self._last > last:
            raise UserError(
                f"--profile {num_steps} needs {WARM_UP + num_steps} steps, {last - start} are left of this run; "
                "profile fewer, or raise train.num_steps in a run of its own"
            )

    @contextlib.contextmanager
    def step(self, step: int) -> Iterator[None]:
        """Around the sending of a step to the device. Names it in the trace."""
        if step == self._first and self._last:
            self._guarded(
                lambda: jax.profiler.start_trace(self._folder, create_perfetto_trace=True, profiler_options=_options())
            )
            self._is_running = True
        with jax.profiler.StepTraceAnnotation("train", step_num=step):
            yield

    def after(self, step: int, values: Any) -> None:
        """`values`: results of the step, for which is waited where it is the last that is traced."""
        if self._is_running and step == self._last:
            jax.block_until_ready(values)
            self._stop()

    def _stop(self) -> None:
        self._is_running = False
        self._guarded(jax.profiler.stop_trace)
        found = sorted(self._folder.glob("plugins/profile/*/perfetto_trace.json.gz"))
        if found:
            log.info(
                "profile: steps=%d..%d folder=%s\n  look at it: drop %s on ui.perfetto.dev, or pip install xprof; xprof %s",
                self._first, self._last, self._folder, found[-1], self._folder,
            )  # fmt: skip

    def _guarded(self, act: Any) -> None:
        try:
            act()
        except Exception as error:  # a full disk, another profiler: none of it may stop a training
            log.error("profile not written, training goes on: %s: %s", type(error).__name__, error)

    def __enter__(self) -> Profile:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._is_running:
            self._stop()
