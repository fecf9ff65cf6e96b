"""Which action of which chunk is executed now. A policy answers with `k` actions at once, and late: three ways to use that.

    receding    the first `replan` actions of a chunk, then a new question; the arm waits for the answer
    ensemble    a question every period; what all chunks say of this moment, averaged with weights exp(-decay i), i = 0 for the
                oldest (ACT, arXiv 2304.13705)
    prefetch    the next question while this chunk is still executed, early enough for the longest of the last answers; what
                will be executed until then is promised ("committed") and sent along with what was to follow ("planned"); the
                rest of the overlap changes over softly (real-time chunking, arXiv 2506.07339)

                observation            answer arrives after d actions
                     |  committed: d   |
        old chunk  --+=================+------------------->|
        new chunk    +.................+--------------------+------------->
                        already done     weight of the old one: c (e^c - 1) / (e - 1), c falling to 0

Actions are counted from the observation: what was executed since is skipped in the answer. All is computed from the times
that come with the calls, so a test holds the clock. One thread calls at a time.
"""

from __future__ import annotations

import collections
import math
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float

from rtx.control.blending import Blend
from rtx.embodiment import CANONICAL_ARM, ActionSpace
from rtx.errors import UserError, look_up
from rtx.spec import ActionChunk

ACT_DECAY = 0.01  # ACT's m: nearly a plain mean, the oldest counts most
_DELAYS = 10  # answers whose longest delay is expected of the next, as in real-time chunking's delay buffer
_REMEMBERED = 4096  # moments of executed actions


@dataclass(frozen=True, kw_only=True)
class Action:
    """One action of the policy's space for one control period, `[a]` float64, with its chunk's stamps (`ActionChunk`)."""

    values: Float[np.ndarray, " a"]
    stamp_ns: int
    valid_until_ns: int


@runtime_checkable
class Executor(Protocol):
    """A way to execute chunks, for one robot. `counts`: chunks that were not used, by reason."""

    @property
    def space(self) -> ActionSpace: ...

    @property
    def counts(self) -> Mapping[str, int]: ...

    def take(self, now_ns: int) -> Action | None:
        """The action of this control period; None: there is none that may be executed, hold. Call once a period."""

    def offer(self, chunk: ActionChunk, now_ns: int) -> None:
        """An answer. Late, repeated and overtaken ones are dropped and counted. Raises UserError for other dimensions."""

    def wants(self, now_ns: int) -> bool:
        """Whether to ask now. It does not know whether a question is already under way."""

    def committed(self, now_ns: int) -> Float[np.ndarray, "m a"]:
        """Actions that will be executed from now on whatever is answered, to be sent along with the question."""

    def planned(self, now_ns: int) -> Float[np.ndarray, "n a"]:
        """What would follow them without an answer: models that are drawn to it change over from there."""

    def reset(self) -> None:
        """Forgets all chunks: the robot was stopped, or a new episode begins."""


class _Executes:
    """What the three have in common: the order of answers, and the moments at which actions were executed."""

    def __init__(self, space: ActionSpace) -> None:
        self.space, self._counts = space, Counter[str]()
        self.reset()

    @property
    def counts(self) -> Mapping[str, int]:
        return dict(self._counts)

    def reset(self) -> None:
        self._newest_ns = -1
        self._taken: collections.deque[int] = collections.deque(maxlen=_REMEMBERED)

    def committed(self, now_ns: int) -> np.ndarray:
        return np.zeros((0, self.space.width))

    def planned(self, now_ns: int) -> np.ndarray:
        return np.zeros((0, self.space.width))

    def _took(self, now_ns: int) -> None:
        self._taken.append(now_ns)

    def _done_since(self, stamp_ns: int) -> int:
        return sum(taken >= stamp_ns for taken in self._taken)

    def _accepts(self, chunk: ActionChunk, now_ns: int) -> bool:
        if chunk.names != self.space.dim_names:
            raise UserError(f"the policy answers with {', '.join(chunk.names)}; expected {', '.join(self.space.dim_names)}")
        reason = None
        if now_ns > chunk.valid_until_ns:
            reason = "late"
        elif chunk.stamp_ns > now_ns:
            reason = "not_yet"
        elif chunk.stamp_ns <= self._newest_ns:
            reason = "repeated" if chunk.stamp_ns == self._newest_ns else "overtaken"
        if reason is not None:
            self._counts[reason] += 1
            return False
        self._newest_ns = chunk.stamp_ns
        return True


def _action(values: np.ndarray, chunk: ActionChunk) -> Action:
    return Action(values=values.astype(np.float64), stamp_ns=chunk.stamp_ns, valid_until_ns=chunk.valid_until_ns)


class Receding(_Executes):
    """The first `replan` actions of each chunk from the moment it arrives; the arm waits for the next one."""

    def __init__(self, space: ActionSpace = CANONICAL_ARM, *, replan: int = 2) -> None:
        if replan < 1:
            raise UserError(f"replan {replan} must be at least 1")
        self._replan = replan
        super().__init__(space)

    def reset(self) -> None:
        super().reset()
        self._chunk: ActionChunk | None = None
        self._next = 0

    def take(self, now_ns: int) -> Action | None:
        if self.wants(now_ns) or self._chunk is None:
            return None
        self._next += 1
        return _action(self._chunk.actions[self._next - 1], self._chunk)

    def offer(self, chunk: ActionChunk, now_ns: int) -> None:
        if self._accepts(chunk, now_ns):
            self._chunk, self._next = chunk, 0

    def wants(self, now_ns: int) -> bool:
        chunk = self._chunk
        return chunk is None or self._next >= min(self._replan, len(chunk.actions)) or now_ns > chunk.valid_until_ns


class Ensemble(_Executes):
    """What all chunks that are still valid say of this moment, averaged."""

    def __init__(self, space: ActionSpace = CANONICAL_ARM, *, decay: float = ACT_DECAY) -> None:
        if not (math.isfinite(decay) and decay >= 0):
            raise UserError(f"decay {decay} must be at least 0")
        self._decay, self._blend = decay, Blend(space)
        super().__init__(space)

    def reset(self) -> None:
        super().reset()
        self._chunks: list[ActionChunk] = []  # oldest first

    def take(self, now_ns: int) -> Action | None:
        self._chunks = [chunk for chunk in self._chunks if now_ns <= chunk.valid_until_ns and self._at(chunk) is not None]
        if not self._chunks:
            return None
        said = np.stack([chunk.actions[self._at(chunk)] for chunk in self._chunks]).astype(np.float64)
        mean = self._blend(said, np.exp(-self._decay * np.arange(len(said))))
        self._took(now_ns)
        return _action(mean, self._chunks[-1])

    def _at(self, chunk: ActionChunk) -> int | None:
        done = self._done_since(chunk.stamp_ns)
        return done if done < len(chunk.actions) else None

    def offer(self, chunk: ActionChunk, now_ns: int) -> None:
        if self._accepts(chunk, now_ns):
            self._chunks.append(chunk)

    def wants(self, now_ns: int) -> bool:
        return True


class Prefetch(_Executes):
    """Asks while the last answer is still executed. `replan`: actions of each answer that are executed at least.

    The overlap is blended whether or not the model was told what was committed: where it was, the two chunks agree near the
    seam and blending changes little; where it was not, blending is what keeps the arm from jumping.
    """

    def __init__(self, space: ActionSpace = CANONICAL_ARM, *, replan: int = 2) -> None:
        if replan < 1:
            raise UserError(f"replan {replan} must be at least 1")
        self._replan, self._blend = replan, Blend(space)
        super().__init__(space)

    def reset(self) -> None:
        super().reset()
        self._chunk: ActionChunk | None = None
        self._plan = np.zeros((0, self.space.width))  # what is left to execute, [n, a]
        self._executed = 0  # of this chunk
        self._delays: collections.deque[int] = collections.deque([1], maxlen=_DELAYS)

    def take(self, now_ns: int) -> Action | None:
        if not self._is_valid(now_ns) or self._chunk is None or not len(self._plan):
            return None
        values, self._plan = self._plan[0], self._plan[1:]
        self._executed += 1
        self._took(now_ns)
        return _action(values, self._chunk)

    def wants(self, now_ns: int) -> bool:
        expected = max(self._delays)
        return not self._is_valid(now_ns) or self._executed >= self._replan or len(self._plan) <= expected

    def committed(self, now_ns: int) -> np.ndarray:
        return self._plan[: max(self._delays)] if self._is_valid(now_ns) else super().committed(now_ns)

    def planned(self, now_ns: int) -> np.ndarray:
        return self._plan[max(self._delays) :] if self._is_valid(now_ns) else super().planned(now_ns)

    def offer(self, chunk: ActionChunk, now_ns: int) -> None:
        if not self._accepts(chunk, now_ns):
            return
        delay = self._done_since(chunk.stamp_ns)
        self._delays.append(max(1, delay))
        if delay >= len(chunk.actions):
            self._counts["too_slow"] += 1
            return
        rest = chunk.actions[delay:].astype(np.float64)
        if self._is_valid(now_ns):
            rest = self._changed_over(rest)
        self._chunk, self._plan, self._executed = chunk, rest, 0

    def _is_valid(self, now_ns: int) -> bool:
        return self._chunk is not None and now_ns <= self._chunk.valid_until_ns

    def _changed_over(self, new: np.ndarray) -> np.ndarray:
        """From the first free action on: most of the old chunk, then less and less."""
        overlap = min(len(self._plan), len(new))
        weight = soft_weights(overlap)
        return np.concatenate([self._blend.between(self._plan[:overlap], new[:overlap], weight), new[overlap:]])


def soft_weights(overlap: int) -> Float[np.ndarray, " n"]:
    """Of an old chunk where a new one may change it: equation 5 of arXiv 2506.07339, falling."""
    c = np.arange(overlap, 0, -1) / (overlap + 1)
    return np.asarray(c * np.expm1(c) / np.expm1(1.0))


def make_executor(name: str, *, space: ActionSpace = CANONICAL_ARM, replan: int = 2, decay: float = ACT_DECAY) -> Executor:
    """By name: "receding", "ensemble", "prefetch". Raises UserError with the choices."""
    return look_up("execution", name, EXECUTIONS)(space, replan, decay)


EXECUTIONS: Mapping[str, Callable[[ActionSpace, int, float], Executor]] = {
    "receding": lambda space, replan, decay: Receding(space, replan=replan),
    "ensemble": lambda space, replan, decay: Ensemble(space, decay=decay),
    "prefetch": lambda space, replan, decay: Prefetch(space, replan=replan),
}
