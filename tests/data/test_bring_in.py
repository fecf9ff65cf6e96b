"""Demonstrations of every form become a prepared set of the robot; a second call does nothing; what is missing is said."""

import dataclasses
import os
import shutil
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest

from rtx.data import bring_in as bringing
from rtx.data.bring_in import bring_in, declared_in, form_of
from rtx.data.episodes import importer
from rtx.data.prepared import PreparedSet
from rtx.embodiment import ActionSpace, Camera
from rtx.errors import UserError, WorldError
from rtx.images import decode
from rtx.robots import fields
from rtx.robots.adapter import Adapter
from tests.data.episodes.small_sets import (
    LENGTHS,
    ROBOT,
    TASK,
    actions,
    pictures,
    states,
    write_aloha,
    write_replay_buffer,
    write_robomimic,
)
from tests.data.lerobot.small_sets import JOINTS, action_of
from tests.data.lerobot.small_sets import write_set as write_lerobot


def everything(folder: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in sorted(folder.rglob("*"))}


def rows_of(prepared: PreparedSet) -> list[tuple[np.ndarray, np.ndarray, list[np.ndarray]]]:
    """(action, proprio, primary pictures) of each episode of both splits."""
    found = []
    for name in prepared.splits:
        split = prepared.split(name)
        index = split.image("primary")
        for start, stop in zip(split.episode_start[:-1], split.episode_start[1:], strict=True):
            shown = []
            for row in range(start, stop):
                data = split.shards[index.shard[row]].read_bytes()
                at = int(index.offset[row])
                shown.append(decode(data[at : at + int(index.length[row])], None, index.channel_order))
            found.append((split.action[start:stop], split.proprio[start:stop], shown))
    return found


@pytest.fixture(scope="module")
def brought(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, PreparedSet]:
    folder = tmp_path_factory.mktemp("brought")
    source = write_robomimic(folder / "demos.hdf5")
    return source, folder / "out", bring_in(source, ROBOT, folder / "out")


def test_what_went_in_is_what_is_prepared(brought: tuple[Path, Path, PreparedSet]):
    _, _, prepared = brought
    assert (prepared.name, prepared.embodiment, prepared.languages) == ("lab_arm", ROBOT, (TASK,))
    assert {name: split["num_episodes"] for name, split in prepared.splits.items()} == {"train": 2, "val": 1}
    adapter = Adapter(ROBOT, prepared.layout)
    found = sorted(rows_of(prepared), key=lambda rows: len(rows[0]))
    for e, (action, proprio, shown) in zip(np.argsort(LENGTHS), found, strict=True):
        native = adapter.to_canonical(actions(e), proprio_native=states(e))
        np.testing.assert_array_equal(action[:, :7], native[:, :7])
        assert action[:, 7].tolist() == [0.0] * (LENGTHS[e] - 1) + [1.0], "dones says that each ended"
        np.testing.assert_array_equal(proprio, adapter.proprio(states(e)))
        for picture, wanted in zip(shown, pictures(e, 0), strict=True):
            assert np.abs(picture.astype(int) - wanted).mean() < 3


def test_a_second_call_does_nothing(brought: tuple[Path, Path, PreparedSet]):
    source, out, prepared = brought
    before = everything(out)
    again = bring_in(source, ROBOT, out)
    assert (again.path, again.fingerprint) == (prepared.path, prepared.fingerprint)
    assert everything(out) == before


def test_a_changed_robot_needs_no_second_import(brought: tuple[Path, Path, PreparedSet], tmp_path: Path):
    source, out, prepared = brought
    shutil.copytree(out / "rlds", tmp_path / "rlds")
    before = everything(tmp_path / "rlds")
    metres = dataclasses.replace(ROBOT, action=ActionSpace(fields=(fields.delta_pos("m"), *ROBOT.action.fields[1:])))
    changed = bring_in(source, metres, tmp_path)
    assert everything(tmp_path / "rlds") == before
    np.testing.assert_allclose(changed.split("val").action[:, :3], 100 * prepared.split("val").action[:, :3], rtol=1e-6)


def test_the_forms_that_are_made_are_taken_too(brought: tuple[Path, Path, PreparedSet], tmp_path: Path):
    source, out, prepared = brought
    assert bring_in(prepared.path, ROBOT, tmp_path).path == prepared.path
    rlds = bring_in(out / "rlds", ROBOT, tmp_path)
    assert rlds.embodiment == ROBOT
    assert not rlds.layout.action_mask[7], "is_terminal of a stranger's set may never be set"
    np.testing.assert_array_equal(rlds.split("val").action[:, :7], prepared.split("val").action[:, :7])
    other = dataclasses.replace(ROBOT, cameras=ROBOT.cameras[:1])
    with pytest.raises(UserError, match=r"was prepared for the robot 'lab_arm', .*its cameras is \['primary', 'wrist'\]"):
        bring_in(prepared.path, other, tmp_path)
    assert [form_of(path) for path in (prepared.path, out / "rlds", source)] == ["prepared", "rlds", "hdf5"]


def test_an_imported_set_that_has_changed_is_imported_again(
    brought: tuple[Path, Path, PreparedSet], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    source, out, _ = brought
    shutil.copytree(out / "rlds", tmp_path / "out" / "rlds")
    copy = tmp_path / source.name
    shutil.copy2(source, copy)
    asked = []
    monkeypatch.setattr(bringing, "write_foreign", lambda foreign, *_, **__: asked.append(foreign) or out / "rlds")
    bring_in(copy, ROBOT, tmp_path / "out")
    assert "has changed" not in capsys.readouterr().err, "a copy with its time is the same"
    os.utime(copy)
    bring_in(copy, ROBOT, tmp_path / "out")
    assert "has changed since it was imported: importing it again" in capsys.readouterr().err
    assert not (tmp_path / "out" / "rlds" / "lab_arm" / "1.0.0").exists()
    assert len(asked) == 2


def test_carries_on_where_it_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    root = write_aloha(tmp_path / "set", compressed=True)
    with h5py.File(root / "episode_2.hdf5", "r+") as file:
        whole = file["observations/qpos"][3, 3]
        file["observations/qpos"][3, 3] = np.nan
    stat = (root / "episode_2.hdf5").stat()
    with pytest.raises(WorldError, match=r"episode_2.hdf5, observations/qpos: not finite in row 3"):
        bring_in(root, ROBOT, tmp_path / "out", num_workers=1)
    with h5py.File(root / "episode_2.hdf5", "r+") as file:
        file["observations/qpos"][3, 3] = whole
    os.utime(root / "episode_2.hdf5", ns=(stat.st_atime_ns, stat.st_mtime_ns))  # as if killed, not mended
    read = []
    real = importer.read_episode_at
    monkeypatch.setattr(importer, "read_episode_at", lambda at, *a, **k: (read.append(at.file.name), real(at, *a, **k))[1])
    prepared = bring_in(root, ROBOT, tmp_path / "out", num_workers=1)
    assert read == ["episode_2.hdf5"]
    assert sum(split["num_episodes"] for split in prepared.splits.values()) == 3
    assert [path.name for path in (tmp_path / "out" / "rlds").iterdir()] == ["lab_arm"], "staging is gone"


_BRING = """
import sys
from pathlib import Path
from rtx.data.bring_in import bring_in
from tests.data.episodes.small_sets import ROBOT
if __name__ == "__main__":
    print(bring_in(Path(sys.argv[1]), ROBOT, Path(sys.argv[2]), num_workers=1).statistics)
"""


@pytest.mark.kill
def test_killed_anywhere_it_gives_the_same(tmp_path: Path):
    """python -m pytest -m kill tests/data/test_bring_in.py: SIGKILL later and later, until it comes through."""
    source = write_robomimic(tmp_path / "demos.hdf5")
    (tmp_path / "bring.py").write_text(_BRING)
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}

    def run(out: str, seconds: int) -> str:
        command = [sys.executable, str(tmp_path / "bring.py"), str(source), str(tmp_path / out)]
        return subprocess.run(command, check=True, capture_output=True, text=True, env=environment, timeout=seconds).stdout

    wanted, got, kills = run("whole", 600), "", 0
    for seconds in (1, 2, 3, 5, 8, 12, 18, 30, 60, 120, 240):
        try:
            got = run("killed", seconds)
        except subprocess.TimeoutExpired:  # by SIGKILL
            kills += 1
        else:
            break
    assert got == wanted
    assert kills > 2
    names = [path.name for path in (tmp_path / "killed" / "rlds").iterdir()]
    assert names == ["lab_arm"], "nothing half done is left"


def test_lerobot_by_the_names_of_the_robots_fields(tmp_path: Path):
    """Its joints in radians, its jaw as the data have it; next.done tells the ends."""
    robot = dataclasses.replace(
        ROBOT,
        name="so_cups",
        cameras=(Camera(role="primary", resolution=(48, 64)), Camera(role="wrist", resolution=(8, 8))),
        proprio=(fields.joint_state(2), fields.gripper_state(closed=0, opened=1)),
        action=ActionSpace(fields=(fields.joint_pos(2), fields.gripper(closed=0, opened=1))),
    )
    prepared = bring_in(write_lerobot(tmp_path / "cups", "v3.0"), robot, tmp_path / "out", num_workers=1)
    assert len(JOINTS) == robot.action.width
    assert prepared.layout.action.dim_names == ("joint_pos_2.0", "joint_pos_2.1", "gripper")
    assert prepared.name == "so_cups"
    everywhere = np.concatenate([prepared.split(name).action for name in prepared.splits])
    rows = {tuple(row) for row in everywhere[:, :2].tolist()}
    assert rows == {tuple(action_of(e, s)[:2].tolist()) for e, n in enumerate((7, 12, 9)) for s in range(n)}


def test_what_is_undecided_is_said_before_anything_is_imported(tmp_path: Path):
    wide = dataclasses.replace(ROBOT, action=ActionSpace(fields=(*ROBOT.action.fields, fields.terminate())))
    for path in (write_aloha(tmp_path / "set"), write_lerobot(tmp_path / "cups", "v2.1")):
        with pytest.raises(
            UserError, match=r"action: 'lab_arm' has 8 in its action .*\n(.*\n)*  DATA = DataKeys\(action=\('WHICH"
        ):
            bring_in(path, wide, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_another_rate_than_the_robots_is_refused(tmp_path: Path):
    fast = dataclasses.replace(ROBOT, control_hz=30.0)
    message = r"recorded at 10 Hz, the robot 'lab_arm' has control_hz=30; .* write control_hz=10 into its file"
    with pytest.raises(UserError, match=r"meta/info.json: " + message):
        bring_in(write_lerobot(tmp_path / "cups", "v2.1"), fast, tmp_path / "out")
    root = write_aloha(tmp_path / "set")
    with h5py.File(root / "episode_1.hdf5", "r+") as file:
        file.attrs["control_hz"] = 10
    with pytest.raises(UserError, match=r"episode_1.hdf5: " + message):
        bring_in(root, fast, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_what_is_none_of_the_forms(tmp_path: Path):
    with pytest.raises(UserError, match=r"nowhere does not exist; expected a prepared set .* HDF5 files or Zarr stores"):
        bring_in(tmp_path / "nowhere", ROBOT, tmp_path / "out")
    (tmp_path / "a.csv").write_text("1,2\n")
    with pytest.raises(UserError, match=r"holds a.csv; expected"):
        bring_in(tmp_path, ROBOT, tmp_path / "out")
    write_aloha(tmp_path / "both", episodes=1)
    write_replay_buffer(tmp_path / "both" / "b.zarr", version=3)
    with pytest.raises(UserError, match=r"holds HDF5 files \(episode_0.hdf5\) and Zarr stores \(b.zarr\); pass one of the two"):
        bring_in(tmp_path / "both", ROBOT, tmp_path / "out")


def test_no_instruction_says_what_to_write(tmp_path: Path):
    path = write_replay_buffer(tmp_path / "b.zarr", version=2)
    with pytest.raises(UserError, match=r"no instruction, and 2 more episodes without one; .* attribute language_instruction"):
        bring_in(path, ROBOT, tmp_path / "out")


def test_what_the_robots_file_declares(tmp_path: Path):
    file = tmp_path / "my_robot.py"
    file.write_text("from tests.data.episodes.small_sets import ROBOT\n")
    assert declared_in(file) == bringing.Declared()
    file.write_text('from rtx.data.robot_keys import DataKeys\nDATA = DataKeys(action=("cmd",))\n')
    found = declared_in(file)
    assert found.record is None
    assert found.keys is not None
    assert found.keys.action == ("cmd",)
    file.write_text("from rtx.data.robot_keys import DataKeys\nA = DataKeys()\nB = DataKeys()\n")
    with pytest.raises(UserError, match="defines 0 DatasetRecord and 2 DataKeys; leave one"):
        declared_in(file)


def test_a_record_beside_the_data_decides_and_another_robots_is_refused(
    brought: tuple[Path, Path, PreparedSet], tmp_path: Path
):
    _, out, _ = brought
    root = tmp_path / "data"
    shutil.copytree(out / "rlds", root)
    lines = [
        "from rtx.data.robot_record import Part, record_of",
        "from tests.data.episodes.small_sets import ROBOT",
        'W = {"eef_pos": 3, "eef_rot": 4, "gripper": 1}',
        'S = tuple(Part(path=f"observation/{key}", shape=(n,), first=0, last=n) for key, n in W.items())',
        'RECORD = record_of(ROBOT, name="lab_arm", action=(Part(path="action", shape=(7,), first=0, last=7),), state=S,',
        '    images={"primary": "observation/robot0_eye_in_hand_image", "wrist": "observation/agentview_image"})',
    ]  # fmt: skip
    (root / "record.py").write_text("\n".join(lines))
    assert bring_in(root, ROBOT, tmp_path / "out").images["primary"]["path"] == "observation/robot0_eye_in_hand_image"
    other = dataclasses.replace(ROBOT, cameras=ROBOT.cameras[:1])
    with pytest.raises(UserError, match=r"has cameras \['primary', 'wrist'\], the robot 'lab_arm' has \['primary'\]"):
        bring_in(root, other, tmp_path / "out")


def test_a_set_of_the_catalogue_under_another_robot_is_refused(
    brought: tuple[Path, Path, PreparedSet], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    _, out, _ = brought
    record = bringing.RECORDS["sim_iiwa"]
    monkeypatch.setattr(bringing, "RECORDS", {"lab_arm": record})
    with pytest.raises(UserError, match=r"catalogue's 'lab_arm', of the robot 'sim_iiwa', which is not 'lab_arm': its action"):
        bring_in(out / "rlds", ROBOT, tmp_path)
