"""Requests become observations, or one sentence about what is wrong with them."""

import numpy as np
import pytest

from rtx.embodiment import CANONICAL_ARM
from rtx.errors import UserError
from rtx.serve import messages
from rtx_client.wire import WireError, pack, unpack
from tests.small_policy import contract


def message(**changes):
    good = {
        "type": "act", "id": 4, "robot": "sim_panda", "instruction": "push", "stamp_ns": 5,
        "proprio": np.zeros(10), "images": {"primary": np.zeros((4, 6, 3), np.uint8)},
    }  # fmt: skip
    return {key: value for key, value in (good | changes).items() if value is not None}


def test_one_frame_without_time_becomes_one_step():
    request = messages.request(unpack(pack(message())))
    assert (request.id, request.robot) == (4, "sim_panda")
    seen = request.observation
    assert (seen.instruction, seen.stamp_ns) == ("push", 5)
    assert seen.images["primary"].shape == (1, 4, 6, 3)
    assert seen.image_mask["primary"].tolist() == [True]
    assert (seen.proprio.shape, seen.proprio.dtype) == ((1, 10), np.float32)


def test_several_frames_keep_their_order_and_masks():
    frames = np.arange(3, dtype=np.uint8)[:, None, None, None] * np.ones((3, 2, 2, 3), np.uint8)
    mask = np.array([False, True, True])
    seen = messages.request(
        message(images={"primary": frames}, image_mask={"primary": mask}, proprio=np.ones((3, 10), np.float32))
    ).observation
    assert seen.images["primary"][:, 0, 0, 0].tolist() == [0, 1, 2]
    assert seen.image_mask["primary"].tolist() == [False, True, True]


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"type": "move"}, "type 'move'"),
        ({"robot": None}, "lacks robot"),
        ({"robot": 3}, "robot is no text"),
        ({"robot": "x" * 101}, "at most 100"),
        ({"instruction": b"push"}, "instruction is no text"),
        ({"instruction": "x" * 1001}, "at most 1000"),
        ({"image": 1}, "unknown keys image; known are .*images"),
        ({"stamp_ns": -1}, "no count of nanoseconds"),
        ({"stamp_ns": 1.5}, "no count of nanoseconds"),
        ({"stamp_ns": 2**63}, "no count of nanoseconds"),
        ({"proprio": [0.0] * 10}, "proprio is list; expected an array"),
        ({"proprio": np.zeros(10, bool)}, "proprio is bool"),
        ({"images": np.zeros(3)}, "images is no map"),
        ({"images": {b"primary": np.zeros((4, 6, 3), np.uint8)}}, "images is no map"),
        ({"images": {"primary": np.zeros((4, 6, 3))}}, "image 'primary' is float64"),
        ({"image_mask": {"primary": np.ones(1)}}, "image_mask 'primary' is float64"),
        ({"image_mask": {"wrist": np.ones(1, bool)}}, "image_mask for wrist, but no images"),
    ],
)
def test_refuses_a_message_built_otherwise(changes, text):
    with pytest.raises(WireError, match=text):
        messages.request(message(**changes))


@pytest.mark.parametrize("value", [None, 3, [], "act", b""])
def test_refuses_what_is_no_map(value):
    with pytest.raises(WireError, match="expected a map"):
        messages.request(value)


@pytest.mark.parametrize("proprio", [np.full(10, np.nan), np.full(10, 1e300)])
def test_a_state_that_is_not_finite_is_refused(proprio):
    with pytest.raises(UserError, match="non-finite"):
        messages.request(message(proprio=proprio))


@pytest.mark.parametrize(
    ("id", "echoed"), [(3, 3), ("a", "a"), (None, None), (True, None), (1.0, None), ("x" * 65, None), ([], None)]
)
def test_the_number_of_a_request_is_found_in_any_message(id, echoed):
    assert messages.request_id({"id": id, "type": "nonsense"}) == echoed
    assert messages.request_id(id) is None


def test_the_greeting_says_what_the_policy_wants():
    said = unpack(pack(messages.hello(contract(), policy="runs/one", fingerprint="abc")))
    told = {name: (robot["control_hz"], robot["cameras"]) for name, robot in said["robots"].items()}
    assert told == {"sim_panda": (5.0, ["primary", "wrist"]), "sim_iiwa": (4.0, ["primary"])}
    assert [field["name"] for field in said["robots"]["sim_iiwa"]["action"]] == [f.name for f in CANONICAL_ARM.fields]
    assert [field["name"] for field in said["robots"]["sim_panda"]["proprio"]] == ["eef_pos", "eef_rot", "gripper"]
    assert (said["history"], said["chunk"], said["image_size"], said["fit"]) == (2, 3, [16, 16], "stretch")
