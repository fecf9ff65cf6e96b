"""A clock that only moves when it is told to, and a policy whose answers come late: execution under latency, without waiting.

With these the whole loop (`rtx.control.loop.drive`) runs as fast as the computer goes and gives the same on every run.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from rtx.drivers.driver import RobotState
from rtx.spec import ActionChunk

Answer = Callable[[RobotState, np.ndarray, np.ndarray], ActionChunk]
"""A state, what is committed `[m, a]` and what was to follow `[n, a]` to a chunk stamped with the state's time."""


class SimulatedClock:
    def __init__(self, now_ns: int = 10**12) -> None:
        self._now_ns = now_ns

    def now_ns(self) -> int:
        return self._now_ns

    def sleep_until(self, moment_ns: int) -> None:
        self._now_ns = max(self._now_ns, moment_ns)


class LateAsker:
    """Answers `answer(state, committed, planned)`, `latency_s()` later. One question at a time, as over a network."""

    def __init__(self, answer: Answer, clock: SimulatedClock, latency_s: Callable[[], float]) -> None:
        self._answer, self._clock, self._latency_s = answer, clock, latency_s
        self._chunk: ActionChunk | None = None
        self._ready_ns = 0

    @property
    def waiting(self) -> bool:
        return self._chunk is not None

    @property
    def counts(self) -> Mapping[str, int]:
        return {}

    def ask(self, state: RobotState, committed: np.ndarray, planned: np.ndarray) -> None:
        self._chunk = self._answer(state, committed, planned)
        self._ready_ns = self._clock.now_ns() + round(self._latency_s() * 1e9)

    def poll(self, wait_s: float = 0.0) -> ActionChunk | None:
        if self._chunk is None:
            return None
        until_ns = self._clock.now_ns() + round(wait_s * 1e9)
        self._clock.sleep_until(min(self._ready_ns, until_ns))
        if self._clock.now_ns() < self._ready_ns:
            return None
        chunk, self._chunk = self._chunk, None
        return chunk

    def forget(self) -> None:
        self._chunk = None
