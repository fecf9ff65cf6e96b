"""What is said over one websocket: hello and welcome, deadlines, committed actions; readiness, turns, figures."""

import contextlib
import threading
import urllib.error
import urllib.request

import numpy as np
import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from rtx_client.wire import pack, unpack
from tests.small_policy import contract, echo_policy, observation


def message(**changes):
    seen = observation()
    good = {
        "type": "act", "id": 1, "robot": "sim_panda", "instruction": "push", "stamp_ns": 10**9, "proprio": seen.proprio,
        "images": dict(seen.images),
    }  # fmt: skip
    return {key: value for key, value in (good | changes).items() if value is not None}


class Talk:
    def __init__(self, server):
        self._open = contextlib.ExitStack()
        self.socket = self._open.enter_context(connect(server.url, compression=None, proxy=None))
        self.hello = unpack(self.socket.recv(timeout=20))

    def __call__(self, said):
        self.socket.send(pack(said))
        return unpack(self.socket.recv(timeout=20))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._open.close()


class Held:
    """An echo policy that waits until it is let go."""

    def __init__(self):
        self._inner = echo_policy()
        self.contract, self.name, self.fingerprint = self._inner.contract, "held", "f00d"
        self.continuation = self._inner.continuation
        self.go, self.busy = threading.Event(), threading.Event()
        self.check, self.session, self.warm_up = self._inner.check, self._inner.session, self._inner.warm_up

    def act_batch(self, observations, robots, sessions=()):
        self.busy.set()
        assert self.go.wait(20)
        return self._inner.act_batch(observations, robots, sessions)


@pytest.fixture(scope="module")
def policy():
    return echo_policy()


def test_the_hello_names_contract_and_checkpoint(serving, policy):
    with serving(policy) as server, Talk(server) as talk:
        assert talk.hello["contract_fingerprint"] == policy.contract.fingerprint()
        assert talk.hello["checkpoint_fingerprint"] == policy.fingerprint


def test_a_robot_that_fits_is_welcome(serving, policy):
    with serving(policy) as server, Talk(server) as talk:
        told = {key: talk.hello["robots"]["sim_panda"][key] for key in ("control_hz", "cameras", "proprio", "action")}
        said = {"type": "hello", "id": 3, "robot": "sim_panda", "contract_fingerprint": contract().fingerprint(), **told}
        assert talk(said) == {"type": "welcome", "id": 3, "robot": "sim_panda"}
        assert talk({"type": "hello", "robot": "sim_iiwa"}) == {"type": "welcome", "id": None, "robot": "sim_iiwa"}
        assert talk(message())["type"] == "actions"


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"robot": "sim_ur5e"}, "robot 'sim_ur5e' is none of this policy's: sim_panda, sim_iiwa"),
        ({"contract_fingerprint": "0" * 16}, "set up for contract 0000000000000000, this policy has"),
        ({"cameras": ["primary"]}, "the policy needs wrist too"),
        ({"control_hz": 20}, "control_hz: the robot runs at 20, the policy was trained at 5"),
        ({"proprio": [{"name": "joints", "width": 7}]}, "proprio: the robot has fields ['joints'], the policy"),
    ],
)
def test_a_robot_that_does_not_fit_is_refused_with_the_difference(serving, policy, changes, named):
    with serving(policy) as server, Talk(server) as talk:
        said = {"type": "hello", "id": 1, "robot": "sim_panda"} | changes
        refused = talk(said)
        assert (refused["type"], refused["code"], refused["id"]) == ("error", "mismatch", 1)
        assert named in refused["message"]
        assert talk(message())["code"] == "mismatch", "and is not moved either"
        assert talk({"type": "hello", "robot": "sim_panda"})["type"] == "welcome"
        assert talk(message())["type"] == "actions"


def test_units_are_compared_field_by_field(serving, policy):
    with serving(policy) as server, Talk(server) as talk:
        action = [dict(field) for field in talk.hello["robots"]["sim_panda"]["action"]]
        action[0]["unit"] = "cm"
        refused = talk({"type": "hello", "robot": "sim_panda", "action": action})
        assert "field 'delta_pos' has unit cm at the robot, m in the policy" in refused["message"]


@pytest.mark.parametrize(
    "changes",
    [{"robot": None}, {"robot": 1}, {"cameras": "primary"}, {"cameras": [1]}, {"control_hz": "5"}, {"control_hz": True},
     {"control_hz": float("nan")}, {"proprio": [3]}, {"more": 1}],
)  # fmt: skip
def test_a_hello_built_otherwise_is_a_bad_message(serving, policy, changes):
    with serving(policy) as server, Talk(server) as talk:
        said = {"type": "hello", "robot": "sim_panda"} | changes
        assert talk(said)["code"] == "bad_message"


def test_committed_actions_lead_the_answer(serving, policy):
    with serving(policy) as server, Talk(server) as talk:
        free = talk(message())["actions"]
        kept = np.full((2, 8), 0.25, np.float32)
        led = talk(message(committed=kept))["actions"]
        np.testing.assert_array_equal(led[:2], kept)
        np.testing.assert_array_equal(led[2:], free[2:])
        assert talk.hello["continuation"] == "spliced", "an echo goes on from nothing"
        np.testing.assert_array_equal(talk(message(committed=kept, planned=kept[:1]))["actions"], led)
        assert talk(message(planned=np.zeros((1, 7), np.float32)))["code"] == "bad_observation"
        for wrong, code in [
            (np.zeros((1, 7), np.float32), "bad_observation"), (np.zeros((9, 8), np.float32), "bad_observation"),
            (np.full((1, 8), np.nan, np.float32), "bad_message"), (np.zeros(8, np.float32), "bad_message"),
            ([1.0], "bad_message"),
        ]:  # fmt: skip
            assert talk(message(committed=wrong))["code"] == code


def test_a_deadline_before_the_stamp_is_late_and_one_ahead_is_not(serving, policy):
    with serving(policy) as server, Talk(server) as talk:
        assert talk(message(deadline_ns=10**9))["code"] == "late"
        assert talk(message(deadline_ns=10**9 + 60 * 10**9))["type"] == "actions"
        assert talk(message(deadline_ns=-1))["code"] == "bad_message"


def test_a_robot_that_floods_is_told_busy_and_others_are_answered(serving):
    policy = Held()
    with serving(policy, max_batch=1) as server, Talk(server) as flood, Talk(server) as other:
        flood.socket.send(pack(message(id=0)))
        assert policy.busy.wait(20)
        for id in range(1, 20):
            flood.socket.send(pack(message(id=id)))
        refused = [unpack(flood.socket.recv(timeout=20)) for _ in range(17)]  # while the policy is still held
        assert [(each["code"], each["id"]) for each in refused] == [("busy", id) for id in range(3, 20)]
        other.socket.send(pack(message(id=99)))
        policy.go.set()
        answer = unpack(other.socket.recv(timeout=20))
        assert (answer["type"], answer["id"]) == ("actions", 99)
        assert [unpack(flood.socket.recv(timeout=20))["id"] for _ in range(3)] == [0, 1, 2], "one under way and a line of two"


def test_the_port_opens_before_the_policy_is_ready_and_says_so(serving):
    policy, opened = Held(), []
    compiling, go = threading.Event(), threading.Event()

    def warm_up(_):
        compiling.set()
        assert go.wait(20)
        return 0.0

    policy.warm_up = warm_up

    def look():
        assert compiling.wait(20)
        base = f"http://127.0.0.1:{opened[0].port}"
        seen = [status(f"{base}/healthz"), status(f"{base}/readyz"), status(f"{base}/act", b"{}")]
        try:
            with connect(opened[0].url, proxy=None):
                seen.append("open")
        except InvalidStatus as error:
            seen.append(error.response.status_code)
        states.append(seen)
        go.set()

    states, looking = [], threading.Thread(target=look)
    looking.start()
    with serving(policy, opened=opened.append) as server:
        looking.join(20)
        assert states == [[200, 503, 503, 503]]
        assert status(f"http://127.0.0.1:{server.port}/readyz") == 200
        policy.go.set()
        with Talk(server) as talk:
            assert talk(message())["type"] == "actions"


def test_the_end_of_the_server_is_said_to_its_robots(serving, policy):
    with serving(policy) as server, Talk(server) as talk:
        server.stop()
        with pytest.raises(ConnectionClosed, match="1001"):
            talk.socket.recv(timeout=20)


def test_what_is_counted(serving, policy):
    with serving(policy) as server, Talk(server) as talk:
        talk(message())
        talk(message(robot="nobody"))
        text = read(f"http://127.0.0.1:{server.port}/metrics")
        for line in (
            'rtx_requests_total{code="ok",door="websocket"} 1.0',
            'rtx_requests_total{code="bad_observation",door="websocket"} 1.0',
            "rtx_connections 1.0", "rtx_ready 1.0", "rtx_waiting 0.0", "rtx_batch_size_count 1.0",
        ):  # fmt: skip
            assert line in text.splitlines()


def status(url, data=None):
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, data, timeout=10) as reply:
            return reply.status
    except urllib.error.HTTPError as error:
        with error:
            return error.code


def read(url):
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(url, timeout=10) as reply:
        return reply.read().decode()
