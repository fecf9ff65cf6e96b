"""Episodes over real sockets: one new frame a message, and the answers of a session in this process."""

from __future__ import annotations

import contextlib
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from rtx.errors import WorldError
from rtx_client import PolicyError
from tests.serve.robots import robot_at
from tests.small_policy import echo_policy, observation

SHARE = 4  # of valid history: this action of the echo policy, over -0.1 .. 0.3


@pytest.fixture(scope="module")
def policy():
    return echo_policy()


def ask(client, *, episode, level=100, robot="sim_panda", size=(24, 32), steps=1, instruction="push the red cube"):
    seen = observation(robot=robot, level=level, size=size, steps=steps)
    return client.act(
        images=seen.images, proprio=seen.proprio, instruction=instruction, robot=robot, episode=episode
    ).actions  # fmt: skip


def shares(client, count, **more):
    return [round(float(ask(client, **more)[0, SHARE]), 3) for _ in range(count)]


FIRST, WHOLE = 0.2, 0.3  # one of two frames is there; both are


def test_frames_gather_until_another_episode_or_robot_begins(serving, policy):
    with serving(policy) as server, robot_at(server) as client:
        assert shares(client, 3, episode=1) == [FIRST, WHOLE, WHOLE]
        assert shares(client, 2, episode=2) == [FIRST, WHOLE]
        assert shares(client, 2, episode=1) == [FIRST, WHOLE], "an earlier name is a new episode: only one is kept"
        assert shares(client, 2, episode="1") == [FIRST, WHOLE]
        assert shares(client, 1, episode="1", instruction="to the left") == [WHOLE]
        assert shares(client, 2, episode=None) == [FIRST, FIRST], "without a name nothing is kept"
        assert shares(client, 1, episode="1") == [WHOLE], "and nothing forgotten"
        ask(client, episode="1", robot="sim_iiwa")
        assert shares(client, 1, episode="1") == [FIRST]


def test_the_answers_are_those_of_a_session(serving, policy):
    """Two robots at once, each over its own connection, with pictures that differ from step to step."""

    def robot(client, offset):
        return [ask(client, episode=0, level=offset + 20 * step) for step in range(5)]

    with serving(policy) as server, ThreadPoolExecutor(2) as robots:
        clients = [robot_at(server) for _ in range(2)]
        given = [answer.result(60) for answer in [robots.submit(robot, c, 10 * i) for i, c in enumerate(clients)]]
        for client in clients:
            client.close()
    for i in range(2):
        session = policy.session("sim_panda")
        for step in range(5):
            expected = session.act(observation(level=10 * i + 20 * step)).actions
            np.testing.assert_allclose(given[i][step], expected, atol=1e-6)


def test_a_connection_is_an_episodes_end(serving, policy):
    with serving(policy) as server:
        for _ in range(2):
            with robot_at(server) as client:
                assert shares(client, 2, episode="same") == [FIRST, WHOLE]


def test_what_is_refused_is_not_part_of_the_episode(serving, policy):
    with serving(policy) as server, robot_at(server) as client:
        ask(client, episode=1)
        refused = [
            ({"size": (12, 16)}, "bad_observation", r"camera 'primary' gives \[12, 16, 3\], in this episode it was"),
            ({"instruction": "?"}, "bad_observation", "no words"),
            ({"steps": 2}, "bad_message", "has 2 frames; send the newest one, the server keeps the earlier ones"),
            ({"episode": 1.5}, "bad_message", "episode '1.5' is no number and no text"),
            ({"episode": "x" * 65}, "bad_message", "at most 64 characters"),
            ({"episode": True}, "bad_message", "no number"),
        ]
        for changes, code, message in refused:
            with pytest.raises(PolicyError, match=message) as caught:
                ask(client, **{"episode": 1} | changes)
            assert caught.value.code == code
        assert shares(client, 1, episode=1) == [WHOLE]


def test_so_many_episodes_and_no_more(serving, policy, monkeypatch):
    monkeypatch.setattr("rtx.serve.desk.MAX_EPISODES", 2)
    with serving(policy) as server:
        clients = [robot_at(server) for _ in range(3)]
        for client in clients[:2]:
            ask(client, episode=1)
        with pytest.raises(PolicyError, match="busy: 2 episodes are under way already"):
            ask(clients[2], episode=1)
        assert shares(clients[2], 1, episode=None, steps=2) == [WHOLE]
        assert shares(clients[1], 1, episode=2) == [FIRST], "a new one in place of its own"
        clients[0].close()
        assert _until_let_in(clients[2])
        for client in clients[1:]:
            client.close()


def _until_let_in(client):
    """The server notices a closed connection in its own time."""
    for _ in range(200):
        with contextlib.suppress(PolicyError):
            ask(client, episode=1)
            return True
    return False


def test_a_failure_costs_one_answer(serving):
    """A frame whose answer failed is not remembered, nor is another robot's question asked twice."""
    policy = Failing()
    with serving(policy) as server, robot_at(server) as client:
        assert shares(client, 1, episode=1) == [FIRST]
        policy.fails = True
        with pytest.raises(PolicyError, match="policy_failed: non-finite"):
            ask(client, episode=1)
        policy.fails = False
        assert shares(client, 1, episode=1) == [WHOLE]
        assert policy.asked == 3


class Failing:
    """An echo policy whose sessions can be made to fail, and that counts what they are asked."""

    def __init__(self):
        self._inner, self.fails, self.asked = echo_policy(), False, 0
        self.contract, self.name, self.fingerprint = self._inner.contract, "failing", self._inner.fingerprint
        self.warm_up, self.check, self.session = self._inner.warm_up, self._inner.check, self._inner.session
        self.continuation = self._inner.continuation

    def act_batch(self, observations, robots, sessions=()):
        self.asked += len(sessions)
        if self.fails:
            raise WorldError("non-finite")
        return self._inner.act_batch(observations, robots, sessions)
