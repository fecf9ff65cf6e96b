"""The client against a server that misbehaves on purpose: late, silent, gone, or none at all. It never hangs and never lies."""

import contextlib
import socket
import ssl
import subprocess
import sys
import threading
from http import HTTPStatus
from pathlib import Path

import numpy as np
import pytest
from websockets.server import ServerProtocol
from websockets.sync.server import serve

from rtx_client import Client, Hold, Mismatch, PolicyError, Unauthorized, WireError
from rtx_client.wire import pack, unpack

ROOT = Path(__file__).resolve().parents[2]
ARM = {
    "control_hz": 5.0, "cameras": ["primary"], "proprio": [{"name": "eef_pos", "width": 3, "unit": "m"}],
    "action": [{"name": "delta_pos", "width": 3, "unit": "m"}],
}  # fmt: skip
HELLO = {
    "type": "hello", "protocol": "rtx-policy-1", "policy": "a test", "robots": {"arm": ARM}, "max_message_bytes": 10_000,
    "image_size": [8, 8], "contract_fingerprint": "c0ffee",
}  # fmt: skip
SOON = 10.0  # seconds; nothing waits for it unless something is broken


@contextlib.contextmanager
def speaking(behave, hello=HELLO, port=0, **options):
    """A server that greets and then does `behave(connection)`; its URL. At its end it is gone as a killed one is."""
    open_sockets = []

    def handle(connection):
        open_sockets.append(connection.socket)
        connection.send(hello if isinstance(hello, str) else pack(hello))
        behave(connection)

    with serve(handle, "127.0.0.1", port, **options) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"ws{'s' if 'ssl' in options else ''}://127.0.0.1:{server.socket.getsockname()[1]}"
        finally:
            server.shutdown()
            thread.join(10)
            for each in open_sockets:
                with contextlib.suppress(OSError):  # closed already
                    each.shutdown(socket.SHUT_RDWR)


def reply(request, value=0.0, **changes):
    message = {
        "type": "actions", "id": request["id"], "actions": np.full((2, 8), value, np.float32), "names": list("abcdefgh"),
        "control_hz": 5.0, "stamp_ns": request["stamp_ns"], "valid_until_ns": request["stamp_ns"] + 10**11,
    }  # fmt: skip
    message.update(changes)
    return pack(message)


def echo(connection):
    for data in connection:
        request = unpack(data)
        connection.send(reply(request, value=float(request["proprio"][0])))


def seen(*, value=0.0, **changes):
    request = {"images": {"primary": np.zeros((8, 8, 3), np.uint8)}, "proprio": np.full(10, value), "instruction": "go"}
    request.update(changes)
    return request


def act(client, **changes):
    return client.act(**seen(**changes))


def client_of(url, **changes):
    options = {"robot": "arm", "timeout_s": SOON}
    options.update(changes)
    return Client(url, **options)


def until(condition):
    """What other threads do takes them as long as it takes; a test that is broken ends by its own time limit."""
    while not condition():
        threading.Event().wait(0.005)


def held(client, **changes):
    """The code of the Hold that asking gives."""
    with pytest.raises(Hold) as caught:
        act(client, **changes)
    return caught.value.code


def test_actions_arrive_with_their_times():
    with speaking(echo) as url, client_of(url, clock=lambda: 99) as client:
        actions = act(client, value=3.0, stamp_ns=77)
        assert actions.actions.tolist() == [[3.0] * 8] * 2
        assert (actions.names, actions.control_hz, actions.stamp_ns) == (tuple("abcdefgh"), 5.0, 77)
        assert actions.valid_until_ns == 77 + 10**11
        actions.actions[0] = 1  # the robot's own copy
        assert act(client).stamp_ns == 99


def test_late_answers_are_dropped_and_later_ones_are_their_own():
    go = threading.Event()

    def slow_once(connection):
        first = unpack(connection.recv())
        go.wait(SOON)
        connection.send(reply(first, value=1.0))
        echo(connection)

    with speaking(slow_once) as url, client_of(url) as client:
        assert held(client, value=1.0, timeout_s=0.05) == "late"
        go.set()
        assert act(client, value=2.0).actions[0, 0] == 2.0
        assert (client.counts["late"], client.counts["dropped"], client.counts["answered"]) == (1, 1, 1)


def test_expired_actions_are_never_given_out():
    times = iter([0, 10**12])  # the observation's, the answer's
    with speaking(echo) as url, client_of(url, clock=lambda: next(times)) as client:
        assert held(client) == "late"


def foreign(connection):
    """Answers that are not this client's, of every kind, and then the right one."""
    for data in connection:
        request = unpack(data)
        for id in (request["id"] + 1, request["id"] - 1, str(request["id"]), None, True, float(request["id"]), 0):
            connection.send(reply(request, value=9.0, id=id))
        connection.send(reply(request, value=1.0))
        connection.send(reply(request, value=9.0))  # once more: nobody asked twice


def test_foreign_numbers_are_never_executed():
    with speaking(foreign) as url, client_of(url) as client:
        for _ in range(20):
            assert act(client).actions[0, 0] == 1.0
        assert client.counts["dropped"] >= 20 * 8 - 1


def test_two_clients_never_share_a_number():
    with speaking(echo) as url, client_of(url) as one, client_of(url) as other:
        assert abs(act(one).id - act(other).id) > 1000


@pytest.mark.parametrize(
    "changes",
    [
        {"stamp_ns": 5},
        {"actions": np.full((2, 8), np.nan, np.float32)},
        {"actions": np.zeros((2, 8))},
        {"actions": np.zeros((0, 8), np.float32)},
        {"actions": [1.0]},
        {"names": ["a"]},
        {"names": list(range(8))},
        {"valid_until_ns": None},
        {"control_hz": 0.0},
    ],
)
def test_an_answer_that_is_not_usable_means_hold(changes):
    def spoil(connection):
        connection.send(reply(unpack(connection.recv()), **changes))
        echo(connection)

    with speaking(spoil) as url, client_of(url) as client:
        assert held(client) == "bad_answer"
        assert act(client, value=2.0).actions[0, 0] == 2.0


@pytest.mark.parametrize(("code", "kind"), [("busy", Hold), ("policy_failed", Hold), ("of 2031", Hold), ("mismatch", Mismatch)])
def test_errors_carry_their_code(code, kind):
    def refuse(connection):
        for data in connection:
            connection.send(pack({"type": "error", "id": unpack(data)["id"], "code": code, "message": "why"}))

    with speaking(refuse) as url, client_of(url) as client:
        with pytest.raises(kind, match=f"{code}: why") as caught:
            act(client)
        assert (caught.value.code, caught.value.message) == (code, "why")


def test_what_a_person_must_mend_is_no_hold():
    def refuse(connection):
        for _ in connection:
            connection.send(pack({"type": "error", "id": None, "code": "bad_observation", "message": "no words"}))

    with speaking(refuse) as url, client_of(url) as client:
        with pytest.raises(PolicyError, match="bad_observation: no words") as caught:
            act(client)
        assert not isinstance(caught.value, Hold)


def test_a_lost_connection_means_hold_and_is_made_anew():
    with speaking(lambda connection: connection.recv() and connection.recv() is None) as url, client_of(url) as client:
        client.ask(**seen())
        port = int(url.rsplit(":", 1)[1])
    until(lambda: not client.connected)
    with pytest.raises(Hold, match="disconnected") as caught:
        client.poll()
    assert caught.value.code == "disconnected"
    client.close()
    assert port


def test_a_server_that_comes_back_is_found_and_answers_only_what_it_is_asked():
    parked = []

    def park(connection):
        for data in connection:
            parked.append(unpack(data))

    def answers_for_the_dead(connection):
        """The first thing the new server says is the answer to a question of the old connection."""
        connection.send(reply(parked[0], value=9.0))
        echo(connection)

    with contextlib.ExitStack() as stack:
        with speaking(park) as url:
            client = stack.enter_context(client_of(url))
            client.ask(**seen())
            until(lambda: parked)
        until(lambda: not client.connected)
        with pytest.raises(Hold, match="disconnected"):
            client.poll()
        assert held(client) == "disconnected"
        stack.enter_context(speaking(answers_for_the_dead, port=int(url.rsplit(":", 1)[1])))
        until(lambda: client.connected)
        assert act(client, value=2.0).actions[0, 0] == 2.0
        assert client.poll() is None
        assert (client.counts["connected"], client.counts["dropped"], client.counts["answered"]) == (2, 1, 1)


@pytest.mark.parametrize("answer", [b"\xc1", "text", pack([1]), pack({"type": "no", "id": 1})])
def test_an_answer_that_is_none_ends_the_connection(answer):
    def babble(connection):
        connection.recv()
        connection.send(answer)
        connection.recv()

    with speaking(babble) as url, client_of(url) as client:
        assert held(client) == "disconnected"


def test_a_hello_that_is_ours_and_lacks_what_is_needed():
    for part in ({"robots": None}, {"robots": {"arm": 1}}, {"max_message_bytes": "many"}):
        with speaking(echo, hello={**HELLO, **part}) as url, pytest.raises(ConnectionError, match="its hello lacks"):
            Client(url)


def test_a_defect_of_ours_is_said_and_leaves_nobody_waiting(monkeypatch):
    def broken(hello, robot, expects):
        raise KeyError("a defect")

    monkeypatch.setattr("rtx_client.handshake.check", broken)
    with speaking(echo) as url, pytest.raises(KeyError, match="a defect"):
        Client(url)


@pytest.mark.parametrize("hello", ["text", {"type": "hello", "protocol": "rtx-policy-9"}, {"metadata": 1}, [1]])
def test_a_server_of_another_kind(hello):
    with speaking(echo, hello=hello) as url, pytest.raises(ConnectionError, match="for this client: it speaks"):
        Client(url)


@pytest.mark.parametrize(
    ("expects", "difference"),
    [
        ({"control_hz": 10}, "control_hz: this robot runs at 10, the policy's at 5.0"),
        ({"cameras": ["wrist"]}, "cameras: the policy looks at primary, this robot has wrist"),
        ({"proprio": [{"name": "joints"}]}, "proprio: this robot has joints, the policy eef_pos"),
        ({"action": [{"name": "delta_pos", "unit": "cm"}]}, "action delta_pos: unit is 'cm' at this robot, 'm' for the policy"),
        ({"contract_fingerprint": "abc"}, "contract_fingerprint: this robot expects abc, the server has c0ffee"),
        ({"robot": "hand"}, "robot 'hand' is unknown to the policy, which knows arm"),
    ],
)
def test_a_policy_that_does_not_fit_is_refused_by_name(expects, difference):
    options = {"robot": expects.pop("robot", "arm"), "expects": expects}
    with speaking(echo) as url, pytest.raises(Mismatch, match=difference):
        Client(url, **options)


def test_what_fits_is_taken():
    with speaking(echo) as url, client_of(url, expects={**ARM, "cameras": ["wrist", "primary"]}) as client:
        assert client.robots == ("arm",)
        assert act(client, value=1.0).actions[0, 0] == 1.0


@pytest.mark.parametrize(
    ("change", "difference"),
    [
        ({"control_hz": 20.0}, r"control_hz: this robot runs at 5\.0, the policy's at 20\.0"),
        ({"statistics": {"q99": [2.0]}}, "the policy for arm is another since the restart: statistics changed"),
    ],
)
def test_another_policy_after_a_restart_moves_nothing(change, difference):
    first = {**ARM, "statistics": {"q99": [1.0]}}
    with contextlib.ExitStack() as stack:
        with speaking(echo, hello={**HELLO, "robots": {"arm": first}}) as url:
            client = stack.enter_context(client_of(url))
        changed = {**HELLO, "robots": {"arm": {**first, **change}}}
        stack.enter_context(speaking(echo, hello=changed, port=int(url.rsplit(":", 1)[1])))
        until(lambda: isinstance(client._error, Mismatch))
        with pytest.raises(Mismatch, match=difference):
            act(client)


def test_asking_without_waiting():
    go = threading.Event()

    def behave(connection):
        waiting = [unpack(connection.recv()) for _ in range(3)]
        go.wait(SOON)
        for request in waiting[:2]:
            connection.send(reply(request, value=float(request["proprio"][0])))
        echo(connection)

    with speaking(behave) as url, client_of(url) as client:
        assert client.poll() is None
        ids = [client.ask(**seen(value=float(i))) for i in range(3)]
        assert client.poll() is None
        go.set()
        until(lambda: client.counts["answered"] == 2)
        actions = client.poll()
        assert (actions.id, actions.actions[0, 0]) == (ids[1], 1.0), "the newest; the one before it is void"
        assert client.poll() is None
        assert act(client, value=7.0).actions[0, 0] == 7.0


def test_questions_that_are_never_answered_do_not_add_up():
    """Of every two the first is passed over; and what nobody polls for ends by its own time."""

    def every_second(connection):
        for number, data in enumerate(connection):
            if number % 2:
                connection.send(reply(unpack(data)))

    with speaking(every_second) as url, client_of(url) as client:
        for _ in range(10):
            client.ask(**seen())
            newest = client.ask(**seen())
            answers = []
            until(lambda answers=answers: answers.append(client.poll()) or answers[-1])
            assert answers[-1].id == newest
        for _ in range(20):
            client.ask(**seen(timeout_s=0.0))
        assert client.counts["late"] >= 20


def test_an_answer_nobody_gave_is_late_for_poll_too():
    with speaking(lambda connection: [None for _ in connection]) as url, client_of(url) as client:
        client.ask(**seen(timeout_s=0.0))
        until(lambda: True)
        with pytest.raises(Hold, match="late"):
            client.poll()
        assert client.poll() is None, "said once"


def test_more_questions_than_a_robot_can_use():
    with speaking(lambda connection: [None for _ in connection]) as url, client_of(url) as client:
        for _ in range(8):
            client.ask(**seen())
        with pytest.raises(Hold, match="busy: 8 questions are under way"):
            client.ask(**seen())


def greet_and_read_nothing(listening, greeted, done):
    """By hand: servers of this library go on reading behind their handlers' backs."""
    opened, _ = listening.accept()
    with opened:
        protocol = ServerProtocol()
        protocol.receive_data(opened.recv(4096))
        protocol.send_response(protocol.accept(next(iter(protocol.events_received()))))
        protocol.send_binary(pack({**HELLO, "max_message_bytes": 10**8}))
        for data in protocol.data_to_send():
            opened.sendall(data)
        greeted.set()
        done.wait(SOON)


def test_a_server_that_takes_nothing_does_not_hold_the_robot_up():
    """The network's buffers fill; asking goes on returning at once, waiting ends in time, and so does closing."""
    greeted, done = threading.Event(), threading.Event()
    big = {"images": {"primary": np.zeros((1500, 1500, 3), np.uint8)}}
    with socket.create_server(("127.0.0.1", 0)) as listening:
        server = threading.Thread(target=greet_and_read_nothing, args=(listening, greeted, done))
        server.start()
        with client_of(f"127.0.0.1:{listening.getsockname()[1]}") as client:
            for _ in range(7):
                client.ask(**seen(**big))
            assert held(client, timeout_s=0.1, **big) == "late"
        done.set()
        server.join(SOON)
    assert greeted.is_set()


def test_a_request_that_is_too_large_is_not_sent():
    with speaking(echo) as url, client_of(url) as client:
        with pytest.raises(WireError, match="the server takes 10000; send fewer or smaller pictures"):
            act(client, images={"primary": np.zeros((100, 100, 3), np.uint8)})
        assert act(client).actions.shape == (2, 8)


def test_values_that_are_no_data_are_not_sent():
    with speaking(echo) as url, client_of(url) as client, pytest.raises(WireError, match="cannot be sent"):
        act(client, images={"primary": object()})


def test_which_robot():
    with speaking(echo) as url, Client(url) as client:
        with pytest.raises(ValueError, match=r"which robot is it.*knows arm"):
            act(client)
        assert act(client, robot="arm").actions.shape == (2, 8)


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as free:
        return free.getsockname()[1]


def test_nobody_listens():
    port = free_port()
    with pytest.raises(ConnectionError, match=f"cannot connect to 127.0.0.1:{port}: .*is `rtx serve` running"):
        Client(f"127.0.0.1:{port}")


def test_patience_with_a_server_that_starts_later():
    port, made = free_port(), []
    robot = threading.Thread(target=lambda: made.append(client_of(f"ws://127.0.0.1:{port}", patience_s=60.0)))
    robot.start()
    with speaking(echo, port=port):
        robot.join(30)
        assert act(made[0], value=4.0).actions[0, 0] == 4.0
        made[0].close()


def test_somebody_listens_and_says_nothing(monkeypatch):
    monkeypatch.setattr("rtx_client.client._OPEN_S", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as mute, pytest.raises(TimeoutError, match=r"within 0\.2 s"):
        Client(f"127.0.0.1:{mute.getsockname()[1]}")


@pytest.mark.parametrize("url", ["http://host:1", "ws://", "ws://host:port", "", "ws://host:99999"])
def test_no_address(url):
    with pytest.raises(ValueError, match="no address of a policy server"):
        Client(url)


def guarded(token):
    def check(connection, request):
        if request.headers.get("Authorization") != f"Bearer {token}":
            return connection.respond(HTTPStatus.UNAUTHORIZED, "no")
        return None

    return check


def test_a_token():
    with speaking(echo, process_request=guarded("secret")) as url:
        for token in (None, "wrong"):
            with pytest.raises(Unauthorized, match="refuses this token"):
                Client(url, token=token)
        with client_of(url, token="secret") as client:
            assert act(client, value=1.0).actions[0, 0] == 1.0


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """A key and a certificate for 127.0.0.1, made with the machine's openssl."""
    folder = tmp_path_factory.mktemp("tls")
    files = [str(folder / "server.pem"), str(folder / "key.pem")]
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=127.0.0.1"]
    command += ["-addext", "subjectAltName=IP:127.0.0.1", "-out", files[0], "-keyout", files[1]]
    subprocess.run(command, check=True, capture_output=True)
    return files


def test_tls(certificate):
    ours = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ours.load_cert_chain(*certificate)
    with speaking(echo, ssl=ours) as url:
        with pytest.raises(ConnectionError, match="a certificate that this machine does not trust"):
            Client(url)
        with client_of(url, tls=ssl.create_default_context(cafile=certificate[0])) as client:
            assert act(client, value=1.0).actions[0, 0] == 1.0


def test_two_threads_share_a_client():
    with speaking(echo) as url, client_of(url) as client:
        wrong = []

        def robot(value):
            wrong.extend(i for i in range(30) if act(client, value=value).actions[0, 0] != value)

        threads = [threading.Thread(target=robot, args=(value,)) for value in (1.0, 2.0)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(20)
        assert wrong == []
        assert client.counts["answered"] == 60


def test_closing_ends_its_thread_and_says_goodbye():
    left = []

    def note(connection):
        for _ in connection:
            pass
        left.append(connection.protocol.close_code)

    with speaking(note) as url:
        client = client_of(url)
        assert "rtx_client" in [thread.name for thread in threading.enumerate()]
        client.close()
        assert "rtx_client" not in [thread.name for thread in threading.enumerate()]
        until(lambda: left)
    assert left == [1000]
    assert held(client) == "disconnected"
    client.close()


def test_it_needs_nothing_of_the_training_side():
    code = "import rtx_client, sys; print(sorted({'rtx', 'jax', 'scipy', 'tensorflow', 'PIL'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == "[]"


def test_a_shells_proxy_does_not_come_between(monkeypatch):
    for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    with speaking(echo) as url, client_of(url) as client:
        assert act(client).actions.shape == (2, 8)


def test_the_command_shows_what_is_there():
    with speaking(echo) as url:
        done = subprocess.run(
            [sys.executable, "-m", "rtx_client", url, "--pings", "3"], capture_output=True, text=True, cwd=ROOT
        )
    assert done.returncode == 0, done.stderr
    for part in (
        "policy                 a test",
        "robot arm: 5.0 Hz, cameras primary",
        "delta_pos[3] m",
        "ms median of 3",
        "clock",
    ):
        assert part in done.stdout, done.stdout
    gone = subprocess.run([sys.executable, "-m", "rtx_client", url], capture_output=True, text=True, cwd=ROOT)
    assert (gone.returncode, gone.stdout) == (1, "")
    assert gone.stderr.startswith("rtx_client: cannot connect"), gone.stderr
