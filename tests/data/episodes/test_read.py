"""The same episodes in every layout come out the same: numbers, pictures, words; what does not fit is named."""

from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
import zarr

from rtx.data.episodes.importer import EpisodeSet, foreign_episodes, left_out_text, open_episodes
from rtx.data.episodes.tree import files_of, natural
from rtx.data.robot_keys import DataKeys
from rtx.errors import UserError, WorldError
from rtx.images import decode, encode_jpeg
from tests.data.episodes.small_sets import (
    LENGTHS,
    TASK,
    actions,
    encoded,
    pictures,
    states,
    write_aloha,
    write_groups,
    write_replay_buffer,
    write_robomimic,
)


def opened(root: Path, name: str) -> tuple[EpisodeSet, tuple[str, ...], tuple[str, ...]]:
    """The set written in a layout, the keys of its state, and of its two cameras."""
    if name.startswith("aloha"):
        found = open_episodes(write_aloha(root / name, compressed=name.endswith("compressed")), "hdf5")
        return found, ("observations/qpos",), ("observations/images/cam_high", "observations/images/cam_wrist")
    if name == "robomimic":
        found = open_episodes(write_robomimic(root / "demos.hdf5"), "hdf5")
        cameras = ("obs/agentview_image", "obs/robot0_eye_in_hand_image")
        return found, ("obs/eef_pos", "obs/eef_rot", "obs/gripper"), cameras
    if name == "groups":
        return open_episodes(write_groups(root / "g.zarr"), "zarr"), ("obs/state",), ("obs/primary", "obs/wrist")
    path = root / ("buffer.zarr.zip" if name.endswith("zip") else "buffer.zarr")
    found = open_episodes(
        write_replay_buffer(path, version=int(name[6]), zipped=name.endswith("zip")), "zarr", instruction=TASK
    )
    return found, ("state",), ("img", "wrist_img")


@pytest.mark.parametrize("name", ["aloha", "aloha_compressed", "robomimic", "groups", "buffer2", "buffer3", "buffer3_zip"])
def test_every_layout_gives_the_same_episodes(tmp_path: Path, name: str):
    found, state, cameras = opened(tmp_path, name)
    foreign = foreign_episodes(found)
    assert foreign.episodes == (0, 1, 2)
    for e, length in enumerate(LENGTHS):
        got = foreign.read(e)
        action = next(got.columns[key] for key in ("action", "actions") if key in got.columns)
        np.testing.assert_array_equal(action, actions(e))
        np.testing.assert_array_equal(np.concatenate([got.columns[key] for key in state], -1), states(e))
        assert got.instructions == (f"{TASK} {e}" if name == "groups" else TASK,) * length
        for i, camera in enumerate(cameras):
            assert got.pictures[camera] == tuple(encode_jpeg(picture) for picture in pictures(e, i)), "one encoding, no more"
    assert foreign.paths[state[0]][0] == "observation"
    assert ("action",) in foreign.paths.values()


def test_a_mask_is_a_split_and_done_an_end(tmp_path: Path):
    found, *_ = opened(tmp_path, "robomimic")
    foreign = foreign_episodes(found)
    assert foreign.splits == {"train": (0, 2), "val": (1,)}
    assert found.ends
    assert foreign.read(0).ended
    told = "\n".join(left_out_text(found))
    assert "obs/agentview_depth" in told
    assert "next_obs" in told
    assert not open_episodes(write_aloha(tmp_path / "aloha"), "hdf5").ends


def test_episodes_are_in_the_order_of_their_numbers(tmp_path: Path):
    for number in (10, 2, 1):
        with h5py.File(tmp_path / f"episode_{number}.hdf5", "w"):
            pass
    assert [path.stem for path in files_of(tmp_path, "hdf5")] == ["episode_1", "episode_2", "episode_10"]
    assert natural("a2b") < natural("a10")


def test_pictures_across_chunks_are_read_once_each(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Chunks of 4 rows lie across the ends of episodes of 5, 9 and 7 steps."""
    found, *_ = opened(tmp_path, "buffer3")
    read: list[tuple[int, int]] = []
    real = zarr.Array.__getitem__

    def counted(array: zarr.Array, key: slice) -> np.ndarray:
        if array.name.endswith("wrist_img"):
            read.append((key.start, key.stop))
        return real(array, key)

    monkeypatch.setattr(zarr.Array, "__getitem__", counted)
    foreign_episodes(found).read(1)
    assert read == [(5, 8), (8, 12), (12, 14)]


def change(path: Path, edit: Callable[[h5py.File], object]) -> Path:
    with h5py.File(path, "r+") as file:
        edit(file)
    return path


def put(key: str, value: object) -> Callable[[h5py.File], None]:
    def edit(file: h5py.File) -> None:
        if key in file:
            del file[key]
        if value is not None:
            file[key] = value

    return edit


QPOS, HIGH = "observations/qpos", "observations/images/cam_high"


@pytest.mark.parametrize(("edit", "keys", "error", "message"), [
    (put("action", None), DataKeys(), UserError,
     r"episode_1.hdf5 holds no episode .* no 'action' or 'actions' .*it holds observations/"),
    (put("action", np.zeros((9, 6), np.float32)), DataKeys(), UserError,
     r"episode_1.hdf5: action: float32\[t, 6\], expected float32\[t, 7\] as in .*episode_0.hdf5"),
    (put(QPOS, np.zeros((8, 8), np.float32)), DataKeys(state=(QPOS,)), UserError,
     r"episode_1.hdf5: observations/qpos: shape \[8, 8\], the action has 9 rows"),
    (put(QPOS, None), DataKeys(state=(f"{QPOS}[0:3]",)), UserError,
     r"episode_1.hdf5: observations/qpos: not in this episode; it has action"),
    (put("action", np.zeros((0, 7), np.float32)), DataKeys(), WorldError,
     r"episode_1.hdf5: an episode without a step; take it out"),
    (put(HIGH, np.zeros((9, 8, 8, 3), np.uint8)), DataKeys(images={"primary": HIGH}), UserError,
     r"cam_high: raw uint8\[t, 8, 8, 3\], expected raw uint8\[t, 16, 24, 3\]"),
    (lambda file: file.attrs.pop("task"), DataKeys(), UserError,
     r"episode_1.hdf5: no instruction, and 0 more .* --instruction TEXT"),
])  # fmt: skip
def test_what_does_not_fit_is_named(tmp_path: Path, edit, keys: DataKeys, error: type[Exception], message: str):
    root = write_aloha(tmp_path / "set")
    change(root / "episode_1.hdf5", edit)
    with pytest.raises(error, match=message):
        open_episodes(root, "hdf5", keys=keys)


def test_what_was_not_asked_for_and_does_not_fit_is_left_out_and_told(tmp_path: Path):
    root = write_aloha(tmp_path / "set")
    change(root / "episode_1.hdf5", put("observations/qvel", None))
    change(root / "episode_2.hdf5", put("observations/extra", np.zeros(7)))
    found = open_episodes(root, "hdf5")
    assert "observations/qvel" not in found.columns
    assert set(found.left_out) == {"observations/qvel", "observations/extra"}
    assert foreign_episodes(found).read(2).columns.keys() == {"action", QPOS}


@pytest.mark.parametrize(("edit", "error", "message"), [
    (put(QPOS, np.where(np.arange(72).reshape(9, 8) == 43, np.nan, 1.0).astype(np.float32)), WorldError,
     r"episode_1.hdf5, observations/qpos: not finite in row 5"),
    (lambda file: file[HIGH].__setitem__((4, slice(0, 10)), 7), WorldError,
     r"episode_1.hdf5, observations/images/cam_high, row 4: got no such picture, it starts with 07"),
])  # fmt: skip
def test_values_that_cannot_be_are_named_with_their_row(tmp_path: Path, edit, error: type[Exception], message: str):
    root = write_aloha(tmp_path / "set", compressed=True)
    change(root / "episode_1.hdf5", edit)
    with pytest.raises(error, match=message):
        foreign_episodes(open_episodes(root, "hdf5")).read(1)


def test_pictures_of_another_scale_are_refused(tmp_path: Path):
    root = write_aloha(tmp_path / "set", episodes=1)
    change(root / "episode_0.hdf5", put(HIGH, np.random.default_rng(0).random((5, 16, 24, 3)).astype(np.float32)))
    with pytest.raises(
        UserError, match=r"cam_high, row 0: float32 from .* whole numbers from 0 to 255; store the pictures as uint8"
    ):
        foreign_episodes(open_episodes(root, "hdf5")).read(0)


def test_a_damaged_file_and_a_missing_one(tmp_path: Path):
    root = write_aloha(tmp_path / "set")
    whole = (root / "episode_2.hdf5").read_bytes()
    (root / "episode_2.hdf5").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(WorldError, match=r"episode_2.hdf5 cannot be read as HDF5"):
        open_episodes(root, "hdf5")
    with pytest.raises(UserError, match=r"nothing does not exist; pass a file or a folder of them"):
        open_episodes(tmp_path / "nothing", "hdf5")
    (tmp_path / "broken.zarr").mkdir()
    (tmp_path / "broken.zarr" / "zarr.json").write_text("{")
    with pytest.raises(WorldError, match=r"broken.zarr cannot be read as a Zarr group"):
        open_episodes(tmp_path / "broken.zarr", "zarr")


def test_ends_that_do_not_reach_the_data(tmp_path: Path):
    path = write_replay_buffer(tmp_path / "b.zarr", version=2)
    ends = zarr.open_group(path, mode="r+")["meta/episode_ends"]
    for wrong in ([5, 14, 20], [5, 5, 21]):
        ends[:] = wrong
        with pytest.raises(WorldError, match=r"meta/episode_ends: .* expected growing numbers up to 21, one an episode"):
            open_episodes(path, "zarr")


def test_a_link_to_another_file_is_not_followed(tmp_path: Path):
    root = write_aloha(tmp_path / "set", episodes=1)
    change(root / "episode_0.hdf5", put("observations/secret", h5py.ExternalLink(str(tmp_path / "other.h5"), "/x")))
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["x"] = np.zeros((5, 2))
    assert "observations/secret" not in open_episodes(root, "hdf5").columns


def test_words_of_each_step_an_attribute_and_the_command_line(tmp_path: Path):
    root = write_aloha(tmp_path / "set", episodes=1)
    file = root / "episode_0.hdf5"
    change(file, lambda f: f.attrs.pop("task"))
    change(file, lambda f: f.attrs.create("goal", "pour"))
    said = ["reach", "reach", "grasp", "grasp", "lift"]
    change(file, put("observations/natural_language_instruction", np.array(said, h5py.string_dtype())))

    def told(**options) -> tuple[str, ...]:
        foreign = foreign_episodes(open_episodes(root, "hdf5", **options))
        return foreign.read(0).instructions

    assert told() == tuple(said)
    assert told(keys=DataKeys(instruction="@goal")) == ("pour",) * 5
    assert told(instruction="stir") == ("stir",) * 5
    change(file, put("observations/natural_language_instruction", np.array([*said[:4], ""], h5py.string_dtype())))
    with pytest.raises(UserError, match=r"natural_language_instruction: no instruction in row 4; name one for all"):
        told()


def test_bytes_of_their_own_length(tmp_path: Path):
    root = write_aloha(tmp_path / "set", episodes=1)
    rows = [np.trim_zeros(row, "b") for row in encoded(0, 0)]
    jpegs = np.empty(len(rows), object)
    jpegs[:] = rows
    with h5py.File(root / "episode_0.hdf5", "r+") as file:
        del file[HIGH]
        file.create_dataset(HIGH, data=jpegs, dtype=h5py.vlen_dtype(np.uint8))
    got = foreign_episodes(open_episodes(root, "hdf5")).read(0)
    assert got.pictures[HIGH] == tuple(row.tobytes() for row in rows)
    assert decode(got.pictures[HIGH][0]).shape == (16, 24, 3)


def test_declared_actions_under_other_names(tmp_path: Path):
    with h5py.File(tmp_path / "run.h5", "w") as file:
        file["cmd/arm"], file["cmd/hand"], file["seen/joints"] = np.zeros((4, 6)), np.ones((4, 1)), np.zeros((4, 6))
        file.attrs["prompt"] = "wave"
    with pytest.raises(UserError, match=r"If the action has another name, write DATA = DataKeys"):
        open_episodes(tmp_path, "hdf5")
    foreign = foreign_episodes(open_episodes(tmp_path, "hdf5", keys=DataKeys(action=("cmd/arm", "/cmd/hand"))))
    assert foreign.paths == {
        "cmd/arm": ("action", "arm"), "cmd/hand": ("action", "hand"), "seen/joints": ("observation", "seen_joints"),
    }  # fmt: skip


def test_short_paths_unless_two_keys_share_them(tmp_path: Path):
    with h5py.File(tmp_path / "run.h5", "w") as file:
        file["action"], file["observations/images/top"] = np.zeros((4, 6)), np.zeros((4, 8, 8, 3), np.uint8)
        file["observations/images/state"], file["observations/state"] = np.zeros((4, 8, 8, 3), np.uint8), np.zeros((4, 6))
    assert open_episodes(tmp_path, "hdf5", instruction="wave").paths == {
        "action": ("action",),
        "observations/images/top": ("observation", "top"),
        "observations/images/state": ("observation", "images_state"),
        "observations/state": ("observation", "state"),
    }
    with h5py.File(tmp_path / "run.h5", "r+") as file:
        file["observations/State"] = np.zeros((4, 6))
    with pytest.raises(UserError, match=r"'observations/State' and 'observations/state' both become observation/state"):
        open_episodes(tmp_path, "hdf5", instruction="wave").paths  # noqa: B018
