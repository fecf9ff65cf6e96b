"""Real sockets on loopback: the answers of the policy itself, batches across robots, errors by code, a clean end."""

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from rtx.errors import UserError, WorldError
from rtx.serve.server import Options, serve
from rtx_client import PolicyError
from rtx_client.wire import MAX_MESSAGE_BYTES, pack, unpack
from tests.serve.robots import robot_at
from tests.small_policy import echo_policy, observation


class Watched:
    """An echo policy that records how it is called, and can be made to wait or to fail."""

    def __init__(self):
        self._inner = echo_policy()
        self.contract, self.name, self.fingerprint = self._inner.contract, "watched", self._inner.fingerprint
        self.continuation = self._inner.continuation
        self.batches, self.go, self.busy, self.poison = [], threading.Event(), threading.Event(), None
        self.go.set()

    def warm_up(self, batch_sizes):
        return self._inner.warm_up((1, 8))

    def check(self, observation, *, robot):
        self._inner.check(observation, robot=robot)

    def session(self, robot):
        return self._inner.session(robot)

    def act_batch(self, observations, robots, sessions=()):
        self.busy.set()
        assert self.go.wait(20)
        self.batches.append(len(observations))
        for seen in observations:
            if self.poison and seen.instruction == self.poison[0]:
                raise self.poison[1]
        return self._inner.act_batch(observations, robots, sessions)


def ask(client, *, robot="sim_panda", state=0.5, instruction="push the red cube", **changes):
    seen = observation(robot=robot, state=state)
    request = {"images": seen.images, "proprio": seen.proprio, "instruction": instruction, "robot": robot}
    return client.act(**request | changes)


def expected(state=0.5, robot="sim_panda"):
    return echo_policy().act(observation(robot=robot, state=state), robot=robot).actions


@pytest.fixture(scope="module")
def policy():
    return Watched()


@pytest.fixture(autouse=True)
def _as_new(policy):
    policy.batches.clear()
    policy.busy.clear()
    policy.poison = None
    policy.go.set()


def test_the_answers_of_the_policy_itself(serving, policy):
    with serving(policy) as server, robot_at(server) as client:
        assert client.robots == ("sim_panda", "sim_iiwa")
        for robot in client.robots:
            actions = ask(client, robot=robot, stamp_ns=11)
            np.testing.assert_array_equal(actions.actions, expected(robot=robot))
            assert actions.stamp_ns == 11
            assert actions.valid_until_ns == 11 + round(3e9 / actions.control_hz)
            assert actions.names[6:] == ("gripper", "terminate")


def test_robots_that_wait_are_answered_by_one_call_and_each_gets_its_own(serving, policy):
    with serving(policy) as server, ThreadPoolExecutor(6) as robots:
        clients = [robot_at(server) for _ in range(6)]
        policy.go.clear()
        first = robots.submit(ask, clients[0], state=0.0)
        assert policy.busy.wait(20)
        others = [robots.submit(ask, clients[i], state=0.1 * i) for i in range(1, 6)]
        time.sleep(0.5)  # until all five wait; were it too short, the list of batches below would tell
        policy.go.set()
        for i, answer in enumerate([first, *others]):
            np.testing.assert_allclose(answer.result(20).actions, expected(state=0.1 * i), atol=1e-6)
        assert policy.batches == [1, 5]
        for client in clients:
            client.close()


def test_one_robots_trouble_is_not_the_others(serving, policy):
    policy.poison = ("cube", WorldError("non-finite"))
    with serving(policy) as server, ThreadPoolExecutor(3) as robots:
        clients = [robot_at(server) for _ in range(3)]
        policy.go.clear()
        first = robots.submit(ask, clients[0])
        assert policy.busy.wait(20)
        bad, good = robots.submit(ask, clients[1], instruction="cube"), robots.submit(ask, clients[2], instruction="red")
        time.sleep(0.5)
        policy.go.set()
        assert first.result(20)
        assert good.result(20)
        with pytest.raises(PolicyError, match="policy_failed: non-finite"):
            bad.result(20)
        for client in clients:
            client.close()


def test_refusals_carry_their_code_and_the_connection_goes_on(serving, policy):
    with serving(policy) as server, robot_at(server) as client:
        refused = [
            ({"instruction": ""}, "bad_observation", "no words"),
            ({"images": {"primary": np.zeros((8, 8, 3), np.uint8)}}, "bad_observation", "camera 'wrist' is missing"),
            ({"proprio": np.zeros(7)}, "bad_observation", "expected \\[t, 10\\]"),
            ({"proprio": np.full(10, np.nan)}, "bad_observation", "non-finite"),
            ({"proprio": "none"}, "bad_message", "proprio is str"),
            ({"images": {"primary": np.zeros((8, 8, 3))}}, "bad_message", "image 'primary' is float64"),
        ]
        with pytest.raises(PolicyError, match=r"bad_observation: unknown robot 'sim_ur5e'.*Choices: sim_iiwa, sim_panda"):
            client.act(images={}, proprio=np.zeros(10), instruction="push", robot="sim_ur5e")
        for changes, code, message in refused:
            with pytest.raises(PolicyError, match=message) as caught:
                ask(client, **changes)
            assert caught.value.code == code
        np.testing.assert_array_equal(ask(client).actions, expected())


def test_a_defect_is_logged_here_and_named_there(serving, policy, caplog):
    policy.poison = ("cube", KeyError("a secret of the server"))
    with serving(policy) as server, robot_at(server) as client:
        with pytest.raises(PolicyError, match="internal: KeyError in the server") as caught:
            ask(client, instruction="cube")
        assert "secret" not in str(caught.value)
        assert ask(client)
    assert "a secret of the server" in caplog.text


def test_what_is_no_message_is_answered_and_the_connection_goes_on(serving, policy):
    with serving(policy) as server, connect(server.url, compression=None, proxy=None) as raw:
        assert unpack(raw.recv())["type"] == "hello"
        for data, id in [(b"\xc1", None), ("text", None), (pack([1]), None), (pack({"type": "no", "id": 7}), 7)]:
            raw.send(data)
            said = unpack(raw.recv())
            assert (said["type"], said["code"], said["id"]) == ("error", "bad_message", id)


def test_a_message_that_is_too_large_costs_the_connection_only(serving, policy):
    with serving(policy) as server:
        with connect(server.url, compression=None, proxy=None, max_size=None) as raw:
            raw.recv()
            with contextlib.suppress(ConnectionClosed):
                raw.send(bytes(MAX_MESSAGE_BYTES + 1))
            with pytest.raises(ConnectionClosed):  # 1009, where it is read before the socket is gone
                raw.recv()
        with robot_at(server) as client:
            assert ask(client)


def test_robots_that_hang_up_leave_nothing_behind(serving, policy):
    with serving(policy) as server:
        policy.go.clear()
        for _ in range(3):
            with connect(server.url, compression=None, proxy=None) as raw:
                raw.recv()
                seen = observation()
                raw.send(
                    pack({"type": "act", "robot": "sim_panda", "instruction": "red", "stamp_ns": 1, "proprio": seen.proprio,
                          "images": seen.images})
                )  # fmt: skip
        policy.go.set()
        with robot_at(server) as client:
            assert ask(client)


def get(url, headers=()):
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # whatever http_proxy says
    with opener.open(urllib.request.Request(url, headers=dict(headers)), timeout=10) as reply:
        return reply.status, reply.read()


def test_health_over_http(serving, policy):
    with serving(policy) as server:
        assert get(f"http://127.0.0.1:{server.port}/healthz") == (200, b"ok\n")
        with pytest.raises(urllib.error.HTTPError, match="426"):
            get(f"http://127.0.0.1:{server.port}/")


def test_web_pages_are_refused(serving, policy):
    with serving(policy) as server, pytest.raises(InvalidStatus, match="403"):
        connect(server.url, origin="http://example.com", proxy=None)


def test_a_taken_port_and_a_host_that_is_none():
    with (
        socket.create_server(("127.0.0.1", 0)) as taken,
        pytest.raises(WorldError, match=r"taken by another program; .*--port"),
    ):
        serve(Watched(), port=taken.getsockname()[1])
    with pytest.raises(UserError, match="cannot serve on host 'no such host'"):
        serve(Watched(), host="no such host", port=0, options=Options(token="a" * 20))


def test_stopping_twice_is_stopping_once(serving, policy):
    with serving(policy) as server:
        server.stop()
        server.stop()
    server.stop()
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(("127.0.0.1", server.port), timeout=5)


SCRIPT = """
from tests.serve.robots import robot_at
from tests.small_policy import {maker}
from rtx.serve.server import Options, serve
serve({maker}(), port=0, max_batch=1, ready=lambda server: print(server.port, flush=True))
print("stopped", flush=True)
"""


@pytest.mark.parametrize(("number", "maker"), [(signal.SIGTERM, "rt1_policy"), (signal.SIGINT, "echo_policy")])
def test_a_server_process_answers_and_ends_when_told(number, maker):
    tests = Path(__file__).resolve().parents[1]
    environment = os.environ | {"PYTHONPATH": f"{tests}:{tests.parent}", "JAX_PLATFORMS": "cpu"}
    command = [sys.executable, "-c", SCRIPT.format(maker=maker)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment) as process:
        try:
            line = process.stdout.readline()
            assert re.fullmatch(r"\d+\n", line), process.stderr.read()
            with robot_at(f"127.0.0.1:{int(line)}") as client:
                first, second = ask(client, state=0.5), ask(client, state=-0.5)
                assert first.actions.shape == (3, 8)
                assert np.abs(first.actions - second.actions).max() > 1e-5
                process.send_signal(number)
                assert process.wait(20) == 0
                assert process.stdout.read() == "stopped\n"
        finally:
            process.kill()


def test_strangers_are_not_let_in(policy):
    with pytest.raises(UserError, match=r"can be reached by other machines.*--token-file"):
        serve(policy, host="0.0.0.0", port=0)
