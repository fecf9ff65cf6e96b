"""Clients that were not written for us, by the bytes they really send (`data/make_foreign_bytes.py`)."""

import base64
import json
import urllib.error
import urllib.request
from dataclasses import replace
from pathlib import Path

import msgpack
import numpy as np
import pytest
from websockets.sync.client import connect

from rtx.embodiment import CANONICAL
from rtx.errors import UserError
from rtx.serve.names import Names, foreign_request, read_names
from rtx.serve.openvla import first_action, read_payload
from rtx.serve.server import Options
from rtx.spec import ActionChunk
from rtx_client.wire import WireError, pack, unpack
from tests.small_policy import contract, echo_policy, observation

DATA = Path(__file__).parent / "data"
PANDA = Names(robot="sim_panda")


def openpi_messages():
    data, reader, start = (DATA / "openpi.msgpack").read_bytes(), msgpack.Unpacker(), 0
    reader.feed(data)
    found = []
    while start < len(data):
        reader.skip()
        found.append(data[start : reader.tell()])
        start = reader.tell()
    return found


def expected(robot="sim_panda"):
    return echo_policy().act(observation(robot=robot), robot=robot).actions


@pytest.fixture(scope="module")
def policy():
    return echo_policy()


def test_openpis_client_is_answered(serving, policy):
    libero, aloha, scalars = openpi_messages()
    with serving(policy, options=Options(names=PANDA)) as server, connect(server.url, compression=None, proxy=None) as raw:
        assert isinstance(unpack(raw.recv(timeout=20)), dict)  # their metadata
        for data, robot in [(libero, "sim_panda"), (aloha, "sim_iiwa"), (scalars, "sim_panda")]:
            raw.send(data)
            said = unpack(raw.recv(timeout=20))
            np.testing.assert_allclose(said["actions"], expected(robot), atol=1e-6)
            assert len(said["action_names"]) == said["actions"].shape[1]
            assert said["server_timing"]["infer_ms"] > 0


def test_openpis_client_is_told_what_is_wrong_as_text_and_goes_on(serving, policy):
    libero = unpack(openpi_messages()[0])
    with serving(policy, options=Options(names=PANDA)) as server, connect(server.url, compression=None, proxy=None) as raw:
        raw.recv(timeout=20)
        for changes, named in [
            ({"prompt": None}, "bad_message: no instruction; it is expected as one of prompt"),
            ({"observation/state": None}, "bad_observation: no state, and the policy was trained with it; send eef_pos[3]"),
            ({"observation/wrist_image": None}, "bad_observation: observation of 'sim_panda': camera 'wrist' is missing"),
            ({"observation/camera7": np.zeros((2, 2, 3), np.uint8)}, "bad_message: nothing is known of 'observation/camera7'"),
            ({"observation/image": np.zeros((2, 2, 3), np.float32)}, "bad_message: image 'primary' is float32"),
            ({"robot": "nobody"}, "bad_observation: unknown robot 'nobody'"),
        ]:
            raw.send(pack({key: value for key, value in (libero | changes).items() if value is not None}))
            said = raw.recv(timeout=20)
            assert isinstance(said, str)
            assert said.startswith(named), said
        raw.send(openpi_messages()[0])
        np.testing.assert_allclose(unpack(raw.recv(timeout=20))["actions"], expected(), atol=1e-6)


def post(server, body):
    """Status and answer of POST /act."""
    request = urllib.request.Request(
        f"http://127.0.0.1:{server.port}/act", body.encode(), {"Content-Type": "application/json"}
    )  # fmt: skip
    try:
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=20) as reply:
            return reply.status, json.loads(reply.read())
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.loads(error.read())


def array(said):
    return np.frombuffer(base64.b64decode(said["__numpy__"]), said["dtype"]).reshape(said["shape"])


def test_openvlas_client_gets_seven_numbers(serving, policy):
    plain, twice = json.loads((DATA / "openvla.json").read_text())
    with serving(policy) as server:
        for body, read in [(plain, lambda said: said), (twice, json.loads)]:
            code, said = post(server, body)
            assert code == 200
            np.testing.assert_allclose(array(read(said)), expected("sim_iiwa")[0, :7], atol=1e-6)


def test_openvlas_client_is_told_what_is_wrong(serving, policy):
    payload = json.loads(json.loads((DATA / "openvla.json").read_text())[0])
    with serving(policy) as server:
        for changes, status, code in [
            ({"unnorm_key": "nobody"}, 422, "bad_observation"), ({"unnorm_key": None}, 422, "bad_observation"),
            ({"image": None}, 422, "bad_observation"), ({"instruction": 7}, 400, "bad_message"),
            ({"image": 1}, 400, "bad_message"),
            ({"image": {"__numpy__": "????", "dtype": "|u1", "shape": [1]}}, 400, "bad_message"),
            ({"image": {"__numpy__": "AAAA", "dtype": "|O", "shape": [3]}}, 400, "bad_message"),
        ]:  # fmt: skip
            body = {key: value for key, value in (payload | changes).items() if value is not None}
            answered, said = post(server, json.dumps(body))
            assert (answered, said["code"]) == (status, code)
            assert "Traceback" not in said["message"]
        for body in (
            "",
            "[",
            "[]",
            "7",
            '{"encoded": 3}',
            '{"encoded": "["}',
            "[" * 9000,
            "[" * 100_000,
            "[1" + ",1" * 100_000 + "]",
        ):
            assert post(server, body)[0] == 400, body[:20]


def test_a_robot_whose_actions_are_others_is_not_answered_with_seven_numbers():
    joints = ActionChunk(
        actions=np.zeros((2, 2), np.float32), names=("j.0", "j.1"), control_hz=5.0, stamp_ns=0, valid_until_ns=1
    )
    with pytest.raises(UserError, match=r"this robot's actions are j.0, j.1"):
        first_action(joints)


def test_the_only_robot_needs_no_name_and_a_state_nobody_knew_is_left_out():
    whole = contract()
    one = replace(
        whole, embodiments={"sim_iiwa": whole.embodiments["sim_iiwa"]}, statistics={"sim_iiwa": whole.statistics["sim_iiwa"]},
        layouts={"sim_iiwa": CANONICAL.without("proprio")},
    )  # fmt: skip
    found = foreign_request({"image": np.zeros((4, 4, 3), np.uint8), "instruction": "push"}, Names(), one)
    assert found.robot == "sim_iiwa"
    assert not found.observation.proprio.any()


def test_names_of_ones_own(tmp_path):
    file = tmp_path / "names.json"
    file.write_text(
        json.dumps({"robot": "sim_iiwa", "images": {"cams/a": "primary"}, "state": [["arm", "hand"]], "instruction": ["say"],
                    "ignore": ["clock"]})
    )  # fmt: skip
    said = {"cams": {"a": np.ones((4, 4, 3), np.uint8)}, "arm": np.arange(9.0), "hand": 0.5, "say": "push", "clock": 3}
    found = foreign_request(said, read_names(file), contract())
    assert (found.robot, found.observation.instruction) == ("sim_iiwa", "push")
    assert found.observation.proprio.tolist() == [[0, 1, 2, 3, 4, 5, 6, 7, 8, 0.5]]
    assert list(found.observation.images) == ["primary"]
    for text in ("[]", '{"image": {}}', '{"images": {"a": "nowhere"}}'):
        file.write_text(text)
        with pytest.raises(UserError):
            read_names(file)


def test_two_pictures_for_one_camera_are_refused():
    picture = np.zeros((4, 4, 3), np.uint8)
    with pytest.raises(WireError, match="two pictures are for one camera: image, full_image"):
        foreign_request({"image": picture, "full_image": picture, "prompt": "push"}, PANDA, contract())


def test_a_body_of_a_million_parts_is_not_read():
    with pytest.raises(WireError, match="more than 10000 values"):
        read_payload(b'{"image": [' + b"[]," * 1_000_000 + b"1]}")
