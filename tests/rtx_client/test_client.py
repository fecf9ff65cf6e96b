"""The client against a server that misbehaves on purpose: late, silent, gone, or none at all. It never hangs and never lies."""

import contextlib
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from websockets.sync.server import serve

from rtx_client import PolicyClient, PolicyError, WireError
from rtx_client.wire import pack, unpack

ROOT = Path(__file__).resolve().parents[2]
HELLO = {"type": "hello", "protocol": "rtx-policy-1", "robots": {"arm": {}}, "max_message_bytes": 10_000, "image_size": [8, 8]}


@contextlib.contextmanager
def speaking(behave, hello=HELLO):
    """A server that greets and then does `behave(connection)`."""

    def handle(connection):
        connection.send(hello if isinstance(hello, str) else pack(hello))
        behave(connection)

    with serve(handle, "127.0.0.1", 0) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server.socket.getsockname()[1]
        finally:
            server.shutdown()
            thread.join(10)


def reply(request, value=0.0):
    return pack(
        {"type": "actions", "id": request["id"], "actions": np.full((2, 8), value, np.float32), "names": list("abcdefgh"),
         "control_hz": 5.0, "stamp_ns": request["stamp_ns"], "valid_until_ns": request["stamp_ns"] + 400}
    )  # fmt: skip


def echo(connection):
    for data in connection:
        request = unpack(data)
        connection.send(reply(request, value=float(request["proprio"][0])))


def act(client, *, value=0.0, **changes):
    request = {"images": {"primary": np.zeros((8, 8, 3), np.uint8)}, "proprio": np.full(10, value), "instruction": "go"}
    return client.act(robot="arm", **request | changes)


def test_actions_arrive_with_their_times():
    with speaking(echo) as port, PolicyClient(port=port) as client:
        actions = act(client, value=3.0, stamp_ns=77)
        np.testing.assert_array_equal(actions.actions, np.full((2, 8), 3.0, np.float32))
        assert (actions.stamp_ns, actions.valid_until_ns, actions.names, actions.control_hz) == (
            77,
            477,
            tuple("abcdefgh"),
            5.0,
        )
        actions.actions[0] = 1  # the caller's own
        before = time.monotonic_ns()
        assert before <= act(client).stamp_ns <= time.monotonic_ns()


def test_an_answer_that_comes_too_late_is_not_taken_for_the_next():
    def slow_once(connection):
        first = unpack(connection.recv())
        second = unpack(connection.recv())
        connection.send(reply(first, value=1.0))
        connection.send(reply(second, value=2.0))
        connection.recv()

    with speaking(slow_once) as port, PolicyClient(port=port, timeout_s=0.5) as client:
        with pytest.raises(TimeoutError, match="hold"):
            act(client)
        assert act(client).actions[0, 0] == 2.0


def test_errors_carry_their_code():
    def refuse(connection):
        for data in connection:
            request = unpack(data)
            connection.send(pack({"type": "error", "id": request["id"], "code": "overloaded", "message": "hold"}))

    with speaking(refuse) as port, PolicyClient(port=port) as client:
        with pytest.raises(PolicyError, match="overloaded: hold") as caught:
            act(client)
        assert (caught.value.code, caught.value.message) == ("overloaded", "hold")


def test_a_connection_that_ends_is_an_error_now_and_later():
    with speaking(lambda connection: connection.recv()) as port, PolicyClient(port=port) as client:
        for _ in range(2):
            with pytest.raises(ConnectionError, match="is gone"):
                act(client)


@pytest.mark.parametrize("answer", [b"\xc1", "text", pack([1]), pack({"type": "no", "id": 1})])
def test_an_answer_that_is_none(answer):
    def babble(connection):
        connection.recv()
        connection.send(answer)
        connection.recv()

    with speaking(babble) as port, PolicyClient(port=port) as client, pytest.raises(ConnectionError):
        act(client)


@pytest.mark.parametrize("hello", ["text", {"type": "hello", "protocol": "rtx-policy-9"}, {"metadata": 1}])
def test_a_server_of_another_kind(hello):
    with speaking(echo, hello=hello) as port, pytest.raises(ConnectionError, match=r"no message of a policy server|speaks"):
        PolicyClient(port=port)


def test_a_request_that_is_too_large_is_not_sent():
    with speaking(echo) as port, PolicyClient(port=port) as client:
        with pytest.raises(WireError, match="the server takes 10000; send fewer or smaller pictures"):
            act(client, images={"primary": np.zeros((100, 100, 3), np.uint8)})
        assert act(client).actions.shape == (2, 8)


def test_values_that_are_no_data_are_not_sent():
    with speaking(echo) as port, PolicyClient(port=port) as client, pytest.raises(WireError, match="cannot be sent"):
        act(client, images={"primary": object()})


def test_nobody_listens():
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with pytest.raises(ConnectionError, match=f"cannot connect to 127.0.0.1:{port}: .*is `rtx serve` running"):
        PolicyClient(port=port, timeout_s=2)


def test_somebody_listens_and_says_nothing():
    with socket.create_server(("127.0.0.1", 0)) as mute, pytest.raises(TimeoutError, match=r"within 0\.5 s"):
        PolicyClient(port=mute.getsockname()[1], timeout_s=0.5)


def test_two_threads_take_turns():
    with speaking(echo) as port, PolicyClient(port=port) as client:
        wrong = []

        def robot(value):
            wrong.extend(i for i in range(30) if act(client, value=value).actions[0, 0] != value)

        threads = [threading.Thread(target=robot, args=(value,)) for value in (1.0, 2.0)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(20)
        assert wrong == []


def test_it_needs_nothing_of_the_training_side():
    code = "import rtx_client, sys; print(sorted({'rtx', 'jax', 'scipy', 'tensorflow', 'PIL'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == "[]"


def test_a_shells_proxy_does_not_come_between(monkeypatch):
    for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    with speaking(echo) as port, PolicyClient(port=port) as client:
        assert act(client).actions.shape == (2, 8)
