"""The real Bridge episodes, prepared, against reference statistics computed elsewhere; and the rule for idle starts."""

import json

import numpy as np
import pytest

from rtx.data.example import Example
from rtx.data.features import open_source
from rtx.data.oxe.bridge import BRIDGE_DATASET, drop_idle_start, standardize
from rtx.data.prepare import prepare
from rtx.data.statistics import RunningStatistics
from rtx.data.tfrecord import RecordReader
from rtx.images import decode
from tests.real_data import bridge_dir

ROUNDED = 1.5e-6  # the reference is written to six decimals; numpy's float32 input rounds once more
UNCHANGED = [0, 1, 2, 6]  # positions and gripper; the reference subtracts Euler angles, we compose rotations


@pytest.fixture(scope="module")
def reference():
    return json.loads((bridge_dir() / "reference_statistics.json").read_text())


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    return prepare(BRIDGE_DATASET, bridge_dir(), tmp_path_factory.mktemp("prepared") / "bridge", num_workers=1)


def check(found, wanted, dims, value_range):
    for name in ("mean", "std", "min", "max", "q01", "q99"):
        ours, theirs = (np.array(values)[dims] for values in (getattr(found, name), wanted[name]))
        allowed = ROUNDED + (0.005 * value_range[dims] if name.startswith("q") else 0)
        assert np.all(np.abs(ours - theirs) <= allowed), name


@pytest.mark.parametrize(("key", "name"), [("steps/action", "raw_action"), ("steps/observation/state", "raw_state")])
def test_raw_numbers_agree(reference, key, name):
    statistics = RunningStatistics(7)
    path = open_source(bridge_dir(), "bridge_dataset").splits["train"][0].path
    with open(path, "rb") as file:
        for record in RecordReader(file, path.name):
            statistics.update(Example(record.payload).floats(key).reshape(-1, 7))
    wanted = reference[name]
    assert statistics.count == wanted["n"]
    check(statistics.result(), wanted, list(range(7)), np.array(wanted["max"]) - wanted["min"])


def test_relabelled_positions_and_gripper_agree(reference, prepared):
    wanted = reference["openvla_order_first_step_dropped_then_relabelled"]
    assert prepared.statistics.action.count == wanted["n"]
    found = prepared.statistics.action
    check(found, wanted, UNCHANGED, np.array(wanted["max"]) - wanted["min"])


def test_real_pictures_decode_where_the_index_says(prepared):
    train = prepared.split("train")
    assert (train.num_episodes, train.num_steps) == (25, 200)
    for role in prepared.roles:
        index = train.image(role)
        data = train.shards[0].read_bytes()
        pictures = [decode(data[index.offset[s] :][: index.length[s]]) for s in range(0, 200, 40)]
        assert all(p.shape == (64, 64, 3) and p.std() > 10 for p in pictures)


def test_real_instructions_and_grippers(prepared):
    assert set(prepared.languages) == {
        "put carrot on plate",
        "put cup from counter or drying rack into sink",
        "turn lever vertical to front",
        "flip pot upright which is in sink",
    }
    assert np.isin(prepared.split("train").action[:, 6], (0, 1)).mean() > 0.9
    assert prepared.split("train").proprio[:, 9].max() <= 1


def test_real_proprio_points_the_gripper_down(prepared):
    """The stored orientation is near identity; composed with the constant the gripper's approach axis x points at the floor."""
    x_axis = prepared.split("train").proprio[:, 3:6]
    assert np.all(x_axis[:, 2] < -0.7)


def episode(action):
    action = np.asarray(action, np.float32)
    return {"action": action, "observation": {"state": np.zeros_like(action)}, "_frame_index": np.arange(len(action))}


def test_only_an_idle_first_step_is_dropped():
    moving = np.full((4, 7), 0.01)
    idle = moving.copy()
    idle[0, :6] = 7e-7  # as in the real shards: nearly zero
    assert drop_idle_start(episode(moving))["_frame_index"].tolist() == [0, 1, 2, 3]
    assert drop_idle_start(episode(idle))["_frame_index"].tolist() == [1, 2, 3]
    assert standardize(episode(idle))["_frame_index"].tolist() == [1, 2]


@pytest.mark.parametrize("num_steps", [0, 1, 2])
def test_too_short_episodes_become_empty(num_steps):
    out = standardize(episode(np.zeros((num_steps, 7))))
    assert out["action"].shape == (0, 8)
    assert out["proprio"].shape == (0, 10)
    assert len(out["_frame_index"]) == 0
