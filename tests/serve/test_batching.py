"""Turns, limits and deadlines, with a clock that only the test moves."""

import asyncio
import contextlib

import numpy as np
import pytest

from rtx.errors import WorldError
from rtx.serve.batching import Batcher, Limits
from rtx.serve.metrics import Metrics
from rtx.serve.refusals import Busy, Late
from rtx.spec import ActionChunk, Observation

SOON = 20  # seconds; nothing waits for it unless something is broken


class Clock:
    now = 100.0

    def __call__(self):
        return self.now


class Tellers:
    """Answers with the number in the instruction; keeps what it was asked together."""

    name, contract, fingerprint = "tellers", None, ""
    continuation = "spliced"
    warm_up = check = session = print  # not asked for here

    def __init__(self, clock=None, takes_s=0.0):
        self.asked, self.episodes, self._clock, self._takes_s = [], [], clock, takes_s

    def act_batch(self, observations, robots, sessions=()):
        self.asked.append([int(each.instruction) for each in observations])
        self.episodes.append(list(sessions))
        if 666 in self.asked[-1]:
            raise WorldError("non-finite")
        if self._clock is not None:
            self._clock.now += self._takes_s
        return [told(int(each.instruction)) for each in observations]


def told(number):
    return ActionChunk(
        actions=np.full((1, 1), number, np.float32), names=("x",), control_hz=1.0, stamp_ns=0, valid_until_ns=10**9
    )


def shown(number, num_bytes=3):
    picture = np.zeros((1, 1, num_bytes // 3, 3), np.uint8)
    return Observation(
        images={"primary": picture}, image_mask={"primary": np.ones(1, bool)}, proprio=np.zeros((1, 1), np.float32),
        instruction=str(number), stamp_ns=0,
    )  # fmt: skip


def batcher(policy, **changes):
    settings = {"max_batch": 1, "wait_s": 0.0, "metrics": Metrics(), "clock": Clock()} | changes
    return Batcher(policy, **settings)


@contextlib.asynccontextmanager
async def running(subject):
    task = asyncio.create_task(subject.run())
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def gather(*answers):
    """What each got: a number, or the error."""
    found = await asyncio.wait_for(asyncio.gather(*answers, return_exceptions=True), SOON)
    return [float(each.actions[0, 0]) if isinstance(each, ActionChunk) else each for each in found]


def test_a_robot_that_floods_waits_for_its_turn():
    async def story():
        policy = Tellers()
        subject = batcher(policy, limits=Limits(line=5))
        answers = [subject.ask(shown(number), "r", line="flood") for number in range(5)]
        answers += [subject.ask(shown(10), "r", line="b"), subject.ask(shown(20), "r", line="c")]
        async with running(subject):
            assert await gather(*answers) == [0, 1, 2, 3, 4, 10, 20]
        assert policy.asked == [[0], [10], [20], [1], [2], [3], [4]]

    asyncio.run(story())


def test_one_call_takes_one_of_each_before_a_second_of_any():
    async def story():
        policy = Tellers()
        subject = batcher(policy, max_batch=4, limits=Limits(line=3))
        answers = [subject.ask(shown(number), "r", line=number // 10) for number in (0, 1, 2, 10, 20, 21)]
        async with running(subject):
            await gather(*answers)
        assert policy.asked == [[0, 10, 20, 1], [21, 2]]

    asyncio.run(story())


def test_episodes_go_on_together_each_by_one_frame():
    async def story():
        policy, (one, other) = Tellers(), (Episode(), Episode())
        subject = batcher(policy, max_batch=8, limits=Limits(line=3))
        asked = [(0, "a", one), (1, "a", one), (10, "b", other), (20, "c", None), (11, "b", other), (2, "a", one)]
        answers = [subject.ask(shown(n), "r", line=line, session=session) for n, line, session in asked]
        async with running(subject):
            assert await gather(*answers) == [0, 1, 10, 20, 11, 2]
        assert policy.asked == [[0, 10, 20], [1, 11], [2]]
        assert policy.episodes == [[one, other, None], [one, other], [one]]

    asyncio.run(story())


def test_one_episodes_trouble_is_not_anothers():
    async def story():
        policy, (one, other) = Tellers(), (Episode(), Episode())
        subject = batcher(policy, max_batch=8)
        answers = [subject.ask(shown(n), "r", line=n, session=session) for n, session in ((666, one), (2, other), (3, None))]
        async with running(subject):
            found = await gather(*answers)
        assert isinstance(found[0], WorldError)
        assert found[1:] == [2, 3]
        assert policy.asked == [[666, 2, 3], [666], [2], [3]]

    asyncio.run(story())


class Episode:
    """As a policy makes them; only its identity matters here."""

    def act(self, observation):
        raise AssertionError("episodes go through the policy's calls")


def test_the_end_of_a_full_line_is_told_busy_and_others_are_not():
    async def story():
        subject = batcher(Tellers(), limits=Limits(line=3))
        answers = [subject.ask(shown(number), "r", line="flood") for number in range(3)]
        with pytest.raises(Busy, match="3 observations of this robot are waiting already; hold"):
            subject.ask(shown(3), "r", line="flood")
        answers.append(subject.ask(shown(4), "r", line="other"))
        async with running(subject):
            assert await gather(*answers) == [0, 1, 2, 4]

    asyncio.run(story())


def test_where_all_is_full_the_longest_line_gives_way_to_a_robots_first_question():
    async def story():
        subject = batcher(Tellers(), limits=Limits(questions=4, line=4))
        flood = [subject.ask(shown(number), "r", line="flood") for number in range(4)]
        others = [subject.ask(shown(10 * i), "r", line=i) for i in (1, 2, 3)]
        with pytest.raises(Busy, match="4 observations are waiting already"):
            subject.ask(shown(40), "r", line=4)
        async with running(subject):
            answered = await gather(*flood, *others)
        assert answered[:1] + answered[4:] == [0, 10, 20, 30]
        assert [type(each) for each in answered[1:4]] == [Busy] * 3

    asyncio.run(story())


def test_pictures_are_limited_in_bytes_too():
    async def story():
        subject = batcher(Tellers(), limits=Limits(bytes=1000))
        subject.ask(shown(0, num_bytes=600), "r", line=0)
        with pytest.raises(Busy):
            subject.ask(shown(1, num_bytes=600), "r", line=1)
        subject.forget(0)
        subject.ask(shown(2, num_bytes=600), "r", line=1)

    asyncio.run(story())


def test_what_is_late_is_not_computed():
    async def story():
        policy, clock = Tellers(), Clock()
        subject = batcher(policy, clock=clock)
        late = subject.ask(shown(0), "r", line=0, time_left_s=0.1)
        fine = subject.ask(shown(1), "r", line=1, time_left_s=0.5)
        with pytest.raises(Late, match="before the stamp"):
            subject.ask(shown(2), "r", line=2, time_left_s=0.0)
        clock.now += 0.2
        async with running(subject):
            answers = await gather(late, fine)
        assert isinstance(answers[0], Late)
        assert "200 ms old" in str(answers[0])
        assert answers[1] == 1
        assert policy.asked == [[1]]

    asyncio.run(story())


def test_what_became_late_while_it_was_computed_is_said_to_be():
    async def story():
        clock = Clock()
        subject = batcher(Tellers(clock, takes_s=0.3), clock=clock)
        answers = [subject.ask(shown(i), "r", line=i, time_left_s=left) for i, left in enumerate((0.2, None))]
        async with running(subject):
            late, fine = await gather(*answers)
        assert isinstance(late, Late)
        assert fine == 1

    asyncio.run(story())


def test_robots_that_ask_regularly_are_waited_for_and_a_lonely_one_waits_for_nobody():
    async def story():
        policy, clock = Tellers(), Clock()
        subject = batcher(policy, max_batch=8, wait_s=1000.0, clock=clock)  # of the test's clock: for ever
        async with running(subject):
            assert await gather(subject.ask(shown(0), "r", line="a")) == [0]
            first = subject.ask(shown(1), "r", line="b")  # a asked a moment ago: it is expected
            await asyncio.sleep(0)
            second = subject.ask(shown(2), "r", line="a")
            assert await gather(first, second) == [1, 2]
            clock.now += 2.0
            assert await gather(subject.ask(shown(3), "r", line="b")) == [3]  # a has been silent for too long
        assert policy.asked[0] == [0]
        assert sorted(policy.asked[1]) == [1, 2]
        assert policy.asked[2] == [3]

    asyncio.run(story())


def test_one_questions_failure_is_its_own():
    async def story():
        subject = batcher(Tellers(), max_batch=4)
        answers = [subject.ask(shown(number), "r", line=number) for number in (1, 666, 2)]
        async with running(subject):
            first, failed, second = await gather(*answers)
        assert (first, second) == (1, 2)
        assert isinstance(failed, WorldError)

    asyncio.run(story())


def test_who_has_hung_up_is_not_answered():
    async def story():
        policy = Tellers()
        subject = batcher(policy)
        gone = subject.ask(shown(0), "r", line="gone")
        stays = subject.ask(shown(1), "r", line="stays")
        subject.forget("gone")
        async with running(subject):
            await gather(stays)
        assert gone.cancelled()
        assert policy.asked == [[1]]

    asyncio.run(story())
