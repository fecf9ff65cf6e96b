"""A robot's file alone makes the record of its data: keys found or refused with the line to write, numbers as the adapter's."""

import dataclasses
import pickle
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from rtx.data.features import FeatureSpec
from rtx.data.record import RecordRef, load_records
from rtx.data.robot_keys import DataKeys, Found, Part, find_keys
from rtx.data.robot_record import known_layout, record_of, record_of_found, record_text
from rtx.embodiment import ActionSpace, Camera, Embodiment
from rtx.errors import UserError
from rtx.robots import fields, rotations
from rtx.robots.adapter import Adapter
from rtx.robots.aloha import ALOHA
from tests.data.episodes.small_sets import LENGTHS, ROBOT, actions, states


def features(**shapes: tuple[int, ...] | str) -> dict[str, FeatureSpec]:
    """`observation__state=(8,)`; "image" and "text" for the other kinds. Language and action come by themselves."""
    given = {"action": (7,), "language_instruction": "text", **shapes}
    found = {}
    for name, shape in given.items():
        names = ("steps", *name.split("__"))
        if shape == "image":
            spec = FeatureSpec(names=names, kind="image", dtype="uint8", shape=(16, 24, 3), encoding="jpeg")
        elif shape == "text":
            spec = FeatureSpec(names=names, kind="text", dtype="string", shape=(), encoding="none")
        else:
            assert not isinstance(shape, str)
            spec = FeatureSpec(names=names, kind="tensor", dtype="float32", shape=shape, encoding="none")
        found[spec.path] = spec
    return found


def find(given: Mapping[str, FeatureSpec], robot: Embodiment = ROBOT, **keys) -> Found:
    return find_keys(robot, given, DataKeys(**keys), where="DATA", paths={})


CAMERAS = {"observation__front": "image", "observation__hand": "image"}


def test_by_width_and_by_kind_of_camera():
    found = find(features(observation__qpos=(8,), observation__qvel=(8,), **CAMERAS))
    assert [(p.path, p.first, p.last) for p in (*found.action, *found.state)] == [("action", 0, 7), ("observation/qpos", 0, 8)]
    assert found.images == {"primary": "observation/front", "wrist": "observation/hand"}
    assert found.instructions == ("language_instruction",)


def test_by_the_names_of_fields_and_roles():
    many = {f"observation__{name}": "image" for name in ("left", "right", "primary_image", "cam_wrist", "other_hand")}
    state = {"observation__eef_pos": (3,), "observation__eef_rot": (4,), "observation__gripper": (), "observation__x": (8,)}
    found = find(features(**state, **many))
    assert [p.path for p in found.state] == ["observation/eef_pos", "observation/eef_rot", "observation/gripper"]
    assert found.images == {"primary": "observation/primary_image", "wrist": "observation/cam_wrist"}


def test_left_and_right_hands():
    robot = dataclasses.replace(
        ROBOT, cameras=tuple(Camera(role=role, resolution=(16, 24)) for role in ("primary", "wrist_left", "wrist_right"))
    )
    names = {f"observation__{name}": "image" for name in ("cam_high", "cam_right_wrist", "cam_left_wrist")}
    assert find(features(observation__state=(8,), **names), robot).images == {
        "primary": "observation/cam_high",
        "wrist_left": "observation/cam_left_wrist",
        "wrist_right": "observation/cam_right_wrist",
    }


def test_declared_parts():
    found = find(
        features(action=(14,), observation__state=(16,), **CAMERAS), action=("action[7:14]",), state=("observation/state[8:]",)
    )
    assert [(p.path, p.shape, p.first, p.last) for p in (*found.action, *found.state)] == [
        ("action", (14,), 7, 14),
        ("observation/state", (16,), 8, 16),
    ]


@pytest.mark.parametrize(("given", "keys", "message"), [
    ({"action": (6,), "observation__state": (8,), **CAMERAS}, {},
     r"action: 'lab_arm' has 7 in its action \(delta_pos \[3\] \+ delta_rot \[3\] \+ gripper .*\); no key fits: action \[6\]"),
    ({"observation__a": (8,), "observation__b": (8,), **CAMERAS}, {},
     r"state: .*several keys have this width: .*/a \[8\], .*/b \[8\]"),
    ({"observation__state": (8,), "observation__a": "image", "observation__b": "image"}, {},
     r"camera 'primary': not clear which of the pictures it is: observation/a, observation/b"),
    ({"observation__state": (8,), **CAMERAS}, {"action": ("actoin",)},
     r"unknown key of numbers 'actoin'; did you mean 'action'"),
    ({"observation__state": (8,), **CAMERAS}, {"action": ("action[3:9]",)}, r"action\[3:9\]: action has 7 numbers a step"),
    ({"observation__state": (8,), **CAMERAS}, {"action": ("action[0:6]",)},
     r"action: action\[0:6\] \[6\] are 6 numbers, 'lab_arm' has 7"),
    ({"observation__state": (8,), **CAMERAS}, {"images": {"primary": "observation/front"}},
     r"DataKeys.images has \['primary'\], the robot has \['primary', 'wrist'\]"),
    ({"observation__state": (8,), "language_instruction": (3,), **CAMERAS}, {},
     r"instruction: no text is called one; texts: none"),
])  # fmt: skip
def test_what_is_undecided_is_refused_with_the_line_to_write(given, keys, message: str):
    with pytest.raises(UserError, match=message) as caught:
        find(features(**given), **keys)
    line = next(line.strip() for line in str(caught.value).splitlines() if line.strip().startswith("DATA = "))
    assert isinstance(eval(line.removeprefix("DATA = "), {"DataKeys": DataKeys}), DataKeys), "the line is Python"
    assert "from rtx.data.robot_keys import DataKeys" in str(caught.value)


def test_the_line_names_keys_as_the_source_does():
    given = features(observation__a=(8,), observation__b=(8,), **CAMERAS)
    paths = {"obs.a": "observation/a", "obs.b": "observation/b", "obs.front": "observation/front", "do": "action"}
    with pytest.raises(UserError, match=r"action=\('do',\), state=\('WHICH\?',\), images=\{'primary': 'obs.front'"):
        find_keys(ROBOT, given, DataKeys(), where="DATA", paths=paths)
    found = find_keys(ROBOT, given, DataKeys(state=("obs.b",)), where="DATA", paths=paths)
    assert found.state[0].path == "observation/b"


def record(robot: Embodiment = ROBOT, **options):
    found = find(features(observation__state=(8,), **CAMERAS), robot)
    return record_of_found(robot, found, name="lab_arm", channel_order=None, layout=None, **{"ends": False, **options})


def trajectory(episode: int, *, ended: bool = False) -> dict:
    steps = LENGTHS[episode]
    last = np.arange(steps) == steps - 1
    return {
        "action": actions(episode), "observation": {"state": states(episode)}, "_frame_index": np.arange(steps),
        "is_last": last, "is_terminal": last & ended,
    }  # fmt: skip


def test_units_forms_and_polarity_become_canonical():
    done = record().standardize(trajectory(2))
    native, state = actions(2).astype(np.float64), states(2).astype(np.float64)
    np.testing.assert_allclose(done["action"][:, :3], native[:, :3] / 100, atol=1e-7)
    np.testing.assert_allclose(done["action"][:, 3:6], native[:, 3:6], atol=1e-6)
    np.testing.assert_allclose(done["action"][:, 6], 1 - native[:, 6], atol=1e-7)
    np.testing.assert_allclose(done["proprio"][:, :3], state[:, :3] / 100, atol=1e-7)
    np.testing.assert_allclose(done["proprio"][:, 3:9], rotations.convert(state[:, 3:7], "quat_wxyz", "rot6d"), atol=1e-6)
    np.testing.assert_allclose(done["proprio"][:, 9], 1 - state[:, 7] / 100, atol=1e-7)
    back = Adapter(ROBOT, record().layout).to_native(done["action"], proprio_native=state)
    np.testing.assert_allclose(back, native, atol=1e-5)


def test_the_end_is_known_where_the_data_tell_it():
    assert record().layout.action_mask == (True,) * 7 + (False,)
    told = record(ends=True)
    assert all(told.layout.action_mask)
    for ended in (True, False):
        assert told.standardize(trajectory(0, ended=ended))["action"][:, 7].tolist() == [0, 0, 0, 0, float(ended)]


def test_what_is_neither_measured_nor_commanded_is_masked():
    pusher = dataclasses.replace(ROBOT, proprio=ROBOT.proprio[:2], action=ActionSpace(fields=(fields.abs_pos(),)))
    layout = known_layout(pusher)
    assert layout.action_mask == (True,) * 3 + (False,) * 5
    assert layout.proprio_mask == (True,) * 9 + (False,)
    blind = dataclasses.replace(ROBOT, proprio=())
    assert not any(known_layout(blind).proprio_mask)


def test_a_robot_of_joints_keeps_them():
    layout = known_layout(dataclasses.replace(ALOHA, kinematics=None))
    assert [f.name for f in layout.action.fields] == ["joint_pos_6", "gripper", "left_joint_pos_6", "left_gripper"]
    assert all(layout.action_mask)
    assert all(layout.proprio_mask)
    assert sum(f.width for f in ALOHA.proprio) == layout.proprio_width


def test_it_travels_to_workers_and_changes_with_the_robot():
    mine = record()
    again = pickle.loads(pickle.dumps(RecordRef.of(mine))).load()
    assert again.fingerprint() == mine.fingerprint()
    np.testing.assert_array_equal(again.standardize(trajectory(1))["action"], mine.standardize(trajectory(1))["action"])
    metres = dataclasses.replace(ROBOT, action=ActionSpace(fields=(fields.delta_pos("m"), *ROBOT.action.fields[1:])))
    assert record(metres).fingerprint() != mine.fingerprint()


def test_a_robot_that_the_adapter_cannot_convert_is_refused():
    bad = dataclasses.replace(ROBOT, action=ActionSpace(fields=(fields.delta_pos("miles"), *ROBOT.action.fields[1:])))
    with pytest.raises(UserError, match="miles"):
        record(bad)


def test_the_record_as_a_file(tmp_path: Path):
    found = find(features(observation__state=(8,), **CAMERAS))
    (tmp_path / "my_robot.py").write_text("from tests.data.episodes.small_sets import ROBOT\n")
    text = record_text(found, str(tmp_path / "my_robot.py"), name="cups", channel_order="bgr", ends=True)
    (tmp_path / "record.py").write_text(text)
    loaded = load_records(tmp_path / "record.py")["cups"]
    assert loaded.embodiment == ROBOT
    assert {role: (key.path, key.channel_order) for role, key in loaded.images.items()} == {
        "primary": ("observation/front", "bgr"), "wrist": ("observation/hand", "bgr")
    }  # fmt: skip
    assert loaded.keys == {"action": (7,), "observation/state": (8,), "is_last": (), "is_terminal": ()}
    np.testing.assert_array_equal(loaded.standardize(trajectory(1))["proprio"], record().standardize(trajectory(1))["proprio"])


def test_a_list_of_keys_is_not_a_word():
    with pytest.raises(UserError, match=r'action is a list of keys; write action=\("action",\)'):
        DataKeys(action="action")


def test_the_channel_order_is_the_cameras_unless_told():
    parts = (Part(path="action", shape=(7,), first=0, last=7),)
    state = (Part(path="observation/state", shape=(8,), first=0, last=8),)
    images = {"primary": "observation/a", "wrist": "observation/b"}
    plain = record_of(ROBOT, name="x", action=parts, state=state, images=images)
    assert {role: key.channel_order for role, key in plain.images.items()} == {"primary": "rgb", "wrist": "bgr"}
    told = record_of(ROBOT, name="x", action=parts, state=state, images=images, channel_order="rgb")
    assert {key.channel_order for key in told.images.values()} == {"rgb"}
