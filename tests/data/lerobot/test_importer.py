"""A LeRobot set becomes RLDS and, with its starter record, part of a mixture: frame t of the mp4 is frame t of the loader."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from rtx.data.lerobot import importer
from rtx.data.lerobot.importer import import_lerobot
from rtx.data.loader import one_pass
from rtx.data.mixture import Mixture, MixtureEntry
from rtx.data.names import camera_roles, identifier
from rtx.data.prepare import prepare
from rtx.data.prepared import PreparedSet
from rtx.data.record import load_records
from rtx.data.starter import record_file
from rtx.errors import UserError, WorldError
from tests.data.lerobot.small_sets import JOINTS, LENGTHS, TASKS, VIDEO, action_of, number_in, number_of, write_set
from tests.data.tiny_sets import LETTERS, tiny_set

_READ_BACK = """
import sys, tensorflow_datasets as tfds
builder = tfds.builder_from_directory(sys.argv[1])
for episode in tfds.as_numpy(builder.as_dataset("train")):
    steps = list(episode["steps"])
    print(int(episode["episode_metadata"]["episode_index"]), len(steps), steps[0]["language_instruction"].decode(),
          *steps[0]["observation"]["top"].shape, *steps[-1]["action"], steps[-1]["is_terminal"], sep="|")
"""


@pytest.fixture(scope="module", params=["v2.1", "v3.0"])
def imported(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("imported")
    return import_lerobot(write_set(folder / "My Cups-v2", request.param), folder / "out", num_threads=2)


def prepared(imported: Path, out: Path) -> PreparedSet:
    record = load_records(imported.parents[1] / "record.py")["my_cups_v2"]
    return prepare(record, imported.parents[1], out, num_workers=1)


def test_tensorflow_datasets_reads_it(imported: Path):
    assert imported.parts[-2:] == ("my_cups_v2", "1.0.0")
    assert sorted(path.name for path in imported.parents[1].iterdir()) == ["my_cups_v2", "record.py"], "staging is gone"
    command = [sys.executable, "-c", _READ_BACK, str(imported)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    wanted = [[str(e), str(n), TASKS[e % 2], "48", "64", "3"] for e, n in enumerate(LENGTHS)]
    rows = sorted(line.split("|") for line in done.stdout.splitlines())
    assert [row[:6] for row in rows] == wanted
    assert [[float(x) for x in row[6:9]] for row in rows] == [action_of(e, n - 1).tolist() for e, n in enumerate(LENGTHS)]
    assert {row[9] for row in rows} == {"True"}, "next.done says so"


def test_in_one_mixture_with_a_simulated_set(imported: Path, tmp_path: Path):
    real = prepared(imported, tmp_path / "real")
    assert real.roles == ("primary", "wrist")
    assert real.layout.action.dim_names == tuple(f"so_100_{identifier(joint)}" for joint in JOINTS)
    simulated = tiny_set(tmp_path / "sim", name="sim_panda", splits=("train", "val"))
    mixture = Mixture(entries=(MixtureEntry(prepared=real), MixtureEntry(prepared=simulated)))
    seen = {}
    for split in ("train", "val"):
        part = real.split(split)
        batches = one_pass(
            mixture, batch_size=8, history=2, chunk=3, roles=("primary", "wrist"), image_size=(48, 64), tokenizers=LETTERS,
            split=split,
        )  # fmt: skip
        for batch in batches:
            assert batch.action.shape == (8, 3, 8 + 3)
            for row in np.flatnonzero((batch.embodiment == 0) & (batch.sample >= 0)):
                step = int(batch.sample[row])
                numbers = [number_in(batch.images["primary"][row, t]) for t in range(2)]
                first = int(part.episode_start[np.searchsorted(part.episode_start, step, side="right") - 1])
                episode = (numbers[1] - 1) // 40
                assert numbers == [number_of(episode, max(step - first - 1, 0)), number_of(episode, step - first)]
                np.testing.assert_array_equal(part.action[step], action_of(episode, step - first))
                assert batch.action_mask[row, 0].tolist() == [False] * 8 + [True] * 3
                seen[numbers[1]] = True
    assert len(seen) == sum(LENGTHS), "every frame of every episode came once"


def test_a_second_call_changes_nothing_and_a_completed_record_is_kept(imported: Path):
    root, record = imported.parents[1], imported.parents[1] / "record.py"
    before = {path: path.stat().st_mtime_ns for path in root.rglob("*")}
    text = record.read_text()
    record.write_text(text + "# completed\n")
    assert import_lerobot(root.parent / "My Cups-v2", root) == imported
    assert record.read_text().endswith("# completed\n")
    record.write_text(text)
    assert {path: path.stat().st_mtime_ns for path in root.rglob("*") if path != record} == {
        path: when for path, when in before.items() if path != record
    }


def test_what_was_decoded_is_not_decoded_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    root = write_set(tmp_path / "cups", "v2.1")
    video = root / f"videos/chunk-000/{VIDEO}/episode_000002.mp4"
    data = video.read_bytes()
    video.write_bytes(data[:1000])
    with pytest.raises(WorldError, match="episode 2: the video is damaged"):
        import_lerobot(root, tmp_path / "out", num_threads=1)
    (staging,) = (tmp_path / "out").iterdir()
    assert sorted(path.name for path in staging.iterdir()) == ["000000.npz", "000001.npz"]
    video.write_bytes(data)
    read = []
    real = importer.read_recording
    monkeypatch.setattr(
        importer, "read_recording", lambda found, episode: (read.append(episode.index), real(found, episode))[1]
    )
    assert import_lerobot(root, tmp_path / "out", num_threads=1).is_dir()
    assert read == [2]


def test_two_sets_in_one_folder_keep_their_records(tmp_path: Path):
    assert record_file(tmp_path, "cups") == tmp_path / "record.py"
    (tmp_path / "record.py").write_text('RECORD = DatasetRecord(\n    name="cups",\n')
    assert record_file(tmp_path, "cups") == tmp_path / "record.py"
    assert record_file(tmp_path, "drawers") == tmp_path / "record_drawers.py"


def test_names_and_roles():
    assert identifier("2024_Cups v2!") == "set_2024_cups_v2"
    keys = [
        f"observation.images.{name}" for name in ("cam_right_wrist", "top", "cam_left_wrist", "side", "hand", "a", "b", "c")
    ]
    roles = camera_roles(keys)
    assert {role: key.rpartition(".")[2] for role, key in roles.items()} == {
        "primary": "top", "secondary": "side", "tertiary": "a", "quaternary": "b",
        "wrist": "hand", "wrist_left": "cam_left_wrist", "wrist_right": "cam_right_wrist",
    }  # fmt: skip


def test_a_name_that_cannot_be_is_refused(tmp_path: Path):
    with pytest.raises(UserError, match="lower-case letters"):
        import_lerobot(write_set(tmp_path / "cups", "v2.1"), tmp_path / "out", name="My Cups", num_threads=1)
