"""The starter record runs and prepares, whatever the set has or lacks."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from rtx.data.lerobot.meta import LeRobotFeature, LeRobotSet, open_lerobot
from rtx.data.lerobot.names import rlds_paths
from rtx.data.lerobot.starter import facts_of
from rtx.data.record import DatasetRecord, load_records
from rtx.data.starter import starter_text
from tests.data.lerobot.small_sets import EMBEDDED, VIDEO, write_set


def number(key: str, width: int, names: tuple[str, ...] = ()) -> LeRobotFeature:
    return LeRobotFeature(key=key, dtype="float32", shape=(width,), names=names, is_depth=False)


def camera(key: str, *, is_depth: bool = False) -> LeRobotFeature:
    return LeRobotFeature(key=key, dtype="video", shape=(48, 64, 3), names=(), is_depth=is_depth)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> LeRobotSet:
    return open_lerobot(write_set(tmp_path_factory.mktemp("s") / "s", "v2.1"))


def record_of(source: LeRobotSet, features: tuple[LeRobotFeature, ...], folder: Path) -> DatasetRecord:
    found = dataclasses.replace(source, features=features)
    (folder / "record.py").write_text(starter_text(facts_of(found, name="cups", paths=rlds_paths(found))))
    return load_records(folder / "record.py")["cups"]


def test_names_that_are_missing_or_repeat_are_numbered(source: LeRobotSet, tmp_path: Path):
    record = record_of(source, (number("action", 3), number("observation.state", 2, ("j", "j"))), tmp_path)
    assert record.layout.action.dim_names == ("so_100_action_0", "so_100_action_1", "so_100_action_2")
    assert [field.name for field in record.layout.proprio] == ["so_100_state_0", "so_100_state_1"]
    assert record.images == {}


def test_cameras_beyond_the_roles_and_depth_are_told(source: LeRobotSet, tmp_path: Path):
    fixed = [camera(f"observation.images.cam{i}") for i in range(5)]
    wrists = [camera("observation.images.left_wrist"), camera("observation.images.right_wrist")]
    depth = camera("observation.images.cam0_depth", is_depth=True)
    record = record_of(source, (number("action", 14), *fixed, *wrists, depth), tmp_path)
    assert {role: key.path for role, key in record.images.items()} == {
        "primary": "observation/cam0", "secondary": "observation/cam1", "tertiary": "observation/cam2",
        "quaternary": "observation/cam3", "wrist_left": "observation/left_wrist", "wrist_right": "observation/right_wrist",
    }  # fmt: skip
    assert any("cam4" in note for note in record.notes)
    assert any("cam0_depth" in note for note in record.notes)


def test_several_vectors_are_joined(source: LeRobotSet, tmp_path: Path):
    features = (number("action", 2, ("a", "b")), number("observation.state", 2, ("a", "b")), number("observation.force", 1))
    record = record_of(source, features, tmp_path)
    assert record.keys == {"action": (2,), "observation/state": (2,), "observation/force": (1,)}
    trajectory = {
        "action": np.ones((4, 2)), "observation": {"state": np.zeros((4, 2)), "force": np.full((4, 1), 3.0)},
        "_frame_index": np.arange(4),
    }  # fmt: skip
    assert record.standardize is not None
    result = record.standardize(trajectory)
    assert result["proprio"].tolist() == [[0.0, 0.0, 3.0]] * 4
    assert [field.name for field in record.layout.proprio] == ["so_100_a", "so_100_b", "so_100_force_0"]


def test_vectors_that_share_names_keep_them_apart(source: LeRobotSet, tmp_path: Path):
    states = (number("observation.state", 1, ("a",)), number("observation.velocity", 1, ("a",)))
    record = record_of(source, (number("action", 1, ("a",)), *states), tmp_path)
    assert [field.name for field in record.layout.proprio] == ["so_100_state_a", "so_100_velocity_a"]


def test_paths_never_clash(source: LeRobotSet):
    keys = ("action", "observation.state", "observation.images.state", "next.reward")
    features = tuple(camera(key) if "images" in key else number(key, 1) for key in keys)
    assert rlds_paths(dataclasses.replace(source, features=features)) == {
        "action": ("action",),
        "observation.state": ("observation", "state"),
        "observation.images.state": ("observation", "images_state"),
        "next.reward": ("next_reward",),
    }
    assert set(rlds_paths(source)) >= {VIDEO, EMBEDDED}
