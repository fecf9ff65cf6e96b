"""One policy for all who wait: a line for each robot, a turn for each line, one compiled call for a turn.

    robot 1  o o o o o --+
    robot 2  o ----------+--> one of each in turn, at most `max_batch` --> late? dropped --> act_batch, in a thread
    robot 3  o o --------+

Episodes go on in the same call, each by one frame: a second question of an episode waits for the next.

A robot that floods fills its own line, whose end is told `busy`; it is asked for no more often than the others. When all lines
together hold too much, the longest loses its newest question, never a robot that waits with one.

While the policy is busy, questions gather by themselves. Where it is free and other robots have asked within the last second,
it waits for them, `wait_s` at most from the first question on: one call for many costs little more than one for one.
"""

from __future__ import annotations

import asyncio
import collections
import contextlib
import time
from collections.abc import Callable, Hashable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from rtx.serve.metrics import Metrics
from rtx.serve.refusals import Busy, Late
from rtx.serve.servable import Servable, Session
from rtx.spec import ActionChunk, Observation

_ACTIVE_S = 1.0  # a robot that has not asked for so long is not waited for


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Of what waits. `line`: of one robot's; more than the next question would be answered when its picture is old."""

    questions: int = 64
    line: int = 2
    bytes: int = 512 << 20


@dataclass(frozen=True, kw_only=True)
class Question:
    line: Hashable  # whose it is: a connection
    observation: Observation
    robot: str
    session: Session | None = None
    deadline_s: float = float("inf")  # of the batcher's clock
    arrived_s: float
    answer: asyncio.Future[ActionChunk]

    @property
    def num_bytes(self) -> int:
        return sum(image.nbytes for image in self.observation.images.values())


class Batcher:
    """For one event loop. `ask` from it, and `run` in a task of its own."""

    def __init__(
        self,
        policy: Servable,
        *,
        max_batch: int,
        wait_s: float,
        metrics: Metrics,
        limits: Limits = Limits(),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._policy, self._max_batch, self._wait_s, self._limits, self.clock = policy, max_batch, wait_s, limits, clock
        self._metrics = metrics
        self._lines: collections.OrderedDict[Hashable, collections.deque[Question]] = collections.OrderedDict()
        self._asked: dict[Hashable, float] = {}  # line -> when it asked last
        self._count = self._bytes = 0
        self._more = asyncio.Event()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="policy")

    def ask(
        self,
        observation: Observation,
        robot: str,
        *,
        line: Hashable,
        session: Session | None = None,
        time_left_s: float | None = None,
    ) -> asyncio.Future[ActionChunk]:
        """Queues at once and in order; the future gets the chunk, Busy, Late, or what the policy raises. Raises Busy, Late."""
        now = self.clock()
        if time_left_s is not None and time_left_s <= 0:
            raise Late("the deadline lies before the stamp of the picture")
        question = Question(
            line=line,
            observation=observation,
            robot=robot,
            session=session,
            deadline_s=float("inf") if time_left_s is None else now + time_left_s,
            arrived_s=now,
            answer=asyncio.get_running_loop().create_future(),
        )
        self._make_room(question)
        self._lines.setdefault(line, collections.deque()).append(question)
        self._asked[line] = now
        self._add(1, question)
        self._more.set()
        return question.answer

    def forget(self, line: Hashable) -> None:
        """Of a robot that has hung up: its questions need no answer."""
        self._asked.pop(line, None)
        for question in self._lines.pop(line, ()):
            self._add(-1, question)
            question.answer.cancel()

    async def in_thread(self, work: Callable[[], object]) -> None:
        """`work` where the policy is called, between its calls."""
        await asyncio.get_running_loop().run_in_executor(self._thread, work)

    async def run(self) -> None:
        try:
            while True:
                await self._gather()
                await self._answer_all(self._take())
        finally:
            self._thread.shutdown(wait=False)

    def _make_room(self, question: Question) -> None:
        """Raises Busy where there is none, for this robot."""
        mine = len(self._lines.get(question.line, ()))
        if mine >= self._limits.line:
            raise Busy(f"{mine} observations of this robot are waiting already; hold and ask again")
        while self._count >= self._limits.questions or self._bytes + question.num_bytes > self._limits.bytes:
            longest = max(self._lines.values(), key=len, default=())
            if len(longest) <= mine + 1:
                raise Busy(f"{self._count} observations are waiting already; hold and ask again")
            assert isinstance(longest, collections.deque)
            dropped = longest.pop()
            self._add(-1, dropped)
            if not dropped.answer.done():
                dropped.answer.set_exception(Busy("other robots wait for their first answer; hold and ask again"))

    def _add(self, sign: int, question: Question) -> None:
        self._count += sign
        self._bytes += sign * question.num_bytes
        self._metrics.waiting.set(self._count)

    async def _gather(self) -> None:
        """Until there is something to answer, and nothing to gain by waiting longer."""
        while not self._count:
            self._more.clear()
            await self._more.wait()
        until = min(line[0].arrived_s for line in self._lines.values() if line) + self._wait_s
        while self._count < self._max_batch and self._others_expected() and (left := until - self.clock()) > 0:
            self._more.clear()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._more.wait(), left)

    def _others_expected(self) -> bool:
        since = self.clock() - _ACTIVE_S
        self._asked = {line: when for line, when in self._asked.items() if when >= since}
        return any(not self._lines.get(line) for line in self._asked)

    def _take(self) -> list[Question]:
        """One of each line in turn, late ones refused on the way."""
        taken: list[Question] = []
        while self._lines and len(taken) < self._max_batch:
            key, line = self._lines.popitem(last=False)
            if line:
                question = line.popleft()
                self._add(-1, question)
                taken += [question] if self._is_wanted(question) else []
            if line:
                self._lines[key] = line  # at the end: the others come first
        return taken

    def _is_wanted(self, question: Question) -> bool:
        if question.answer.done():
            return False
        if self.clock() < question.deadline_s:
            return True
        waited_ms = 1e3 * (self.clock() - question.arrived_s)
        question.answer.set_exception(Late(f"the deadline has passed; the question is {waited_ms:.0f} ms old"))
        return False

    async def _answer_all(self, questions: list[Question]) -> None:
        for together in _rounds(questions):
            await self._answer(together)

    async def _answer(self, questions: Iterable[Question]) -> None:
        asked = [question for question in questions if self._is_wanted(question)]
        if not asked:
            return
        for question in asked:
            self._metrics.queue_seconds.observe(self.clock() - question.arrived_s)
        self._metrics.batch_size.observe(len(asked))
        try:
            with self._metrics.policy_seconds.time():
                chunks = await asyncio.get_running_loop().run_in_executor(self._thread, self._act, asked)
        except Exception as error:  # the edge between the policy and its clients: each is told, by its own request
            if len(asked) > 1:
                for question in asked:  # one robot's trouble is not the others'
                    await self._answer([question])
            elif not asked[0].answer.done():
                asked[0].answer.set_exception(error)
            return
        for question, chunk in zip(asked, chunks, strict=True):
            if self._is_wanted(question):
                question.answer.set_result(chunk)

    def _act(self, questions: list[Question]) -> list[ActionChunk]:
        seen, robots, sessions = ([getattr(q, name) for q in questions] for name in ("observation", "robot", "session"))
        return self._policy.act_batch(seen, robots, sessions if any(own is not None for own in sessions) else ())


def _rounds(questions: Iterable[Question]) -> list[list[Question]]:
    """As few as there are questions of one episode, each round with one of it at most."""
    rounds: list[list[Question]] = []
    asked: collections.Counter[int] = collections.Counter()
    for question in questions:
        place = 0 if question.session is None else asked[id(question.session)]
        asked[id(question.session)] += 1
        rounds += [[]] * (place + 1 - len(rounds))
        rounds[place] = [*rounds[place], question]
    return rounds
