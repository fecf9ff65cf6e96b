"""Records: checked against the data, fingerprinted by what they really run, brought by a user's own file."""

import dataclasses
import importlib.util
import subprocess
import sys
import time
from pathlib import Path

import pytest

from rtx.data.catalogue import RECORDS, find
from rtx.data.features import features_of
from rtx.data.fingerprint import source_of
from rtx.data.prepare import prepare
from rtx.data.record import ImageKey, load_records
from rtx.errors import UserError, WorldError
from tests.fakes import WIDOWX_FEATURES, features_json, write_widowx

VX300S = RECORDS["sim_vx300s"]

USER_FILE = """
import os
import signal
from pathlib import Path
import dataclasses
from rtx.data.simulated import SIMULATED

SCALE = 1.0

def scaled(action):
    return action * SCALE

def standardize(trajectory):
    if Path("{bomb}").exists() and trajectory["_traj_index"][0] == 5:
        os.kill(os.getpid(), signal.SIGKILL)
    trajectory = SIMULATED["sim_vx300s"].standardize(trajectory)
    trajectory["action"] = scaled(trajectory["action"])
    return trajectory

def keep(trajectory):
    return trajectory["_traj_index"][0] != 2

MINE = dataclasses.replace(SIMULATED["sim_vx300s"], name="mine", standardize=standardize, keep=keep)
"""


def user_file(folder, **changes):
    text = USER_FILE.format(bomb=folder / "bomb")
    for old, new in changes.values():
        assert old in text
        text = text.replace(old, new)
    path = folder / "mine.py"
    path.write_text(text)
    sys.modules.pop(next((m for m in sys.modules if m.startswith("rtx_user_")), ""), None)
    importlib.invalidate_caches()
    return path


def test_validation_names_every_problem_and_lists_the_keys():
    record = dataclasses.replace(
        VX300S,
        images={"primary": ImageKey(path="observation/image0"), "wrist": ImageKey(path="observation/state")},
        keys={"action": (8,), "observation/proprio": (7,), "observation/image_1": (16, 16, 3)},
        instructions=("is_last",),
        metadata=("episode_metadata/success",),
    )
    with pytest.raises(UserError) as caught:
        record.validate(features_of(features_json(WIDOWX_FEATURES), where="x"), where="the folder")
    for text in (
        "data set at the folder does not fit the record 'sim_vx300s'",
        "camera 'primary': unknown image key 'observation/image0'; did you mean 'observation/image_0'",
        "camera 'wrist': observation/state is no image",
        "key action: expected shape [8], the data set has steps/action: float32[7]",
        "unknown key 'observation/proprio'",
        "instruction: is_last is not a string",
        "no key 'episode_metadata/success' outside the steps",
        "\n  steps/observation/state: float32[7]\n",
    ):
        assert text in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"name": "a/b"}, "letters, digits"),
        ({"choices": {"gripper": "open"}}, "unknown switch 'gripper'"),
        ({"images": {"front": ImageKey(path="x")}}, "camera role 'front' is unknown"),
    ],
)
def test_a_record_checks_itself(changes, text):
    with pytest.raises(UserError, match=text):
        dataclasses.replace(VX300S, **changes)


def test_fingerprints_differ_and_repeat():
    prints = {name: record.fingerprint() for name, record in RECORDS.items()}
    assert len(set(prints.values())) == len(RECORDS)
    assert prints == {name: record.fingerprint() for name, record in RECORDS.items()}
    assert dataclasses.replace(VX300S, notes=("new",)).fingerprint() == VX300S.fingerprint()
    assert dataclasses.replace(VX300S, instructions=()).fingerprint() != VX300S.fingerprint()


def test_another_process_finds_the_same_fingerprints(tmp_path):
    """No address, order of a set or path of a file may get in; and here, unlike there, shape checks wrap every function."""
    path = user_file(tmp_path)
    code = "import sys; from pathlib import Path\n"
    code += "from rtx.data.catalogue import RECORDS; from rtx.data.record import load_records\n"
    code += "print(*[r.fingerprint() for r in [*RECORDS.values(), *load_records(Path(sys.argv[1])).values()]])"
    done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True)
    here = [r.fingerprint() for r in [*RECORDS.values(), *load_records(path).values()]]
    assert done.stdout.split() == here


def test_source_reaches_helpers_and_constants():
    text = source_of(VX300S.standardize)
    for name in ("standardize_vx300s", "_vector_deltas", "canonical_action", "_from_rpy", "to_matrix"):
        assert f"def {name}(" in text
    assert "def standardize_panda" not in text
    assert "def reached(" not in text


@pytest.mark.parametrize("change", [("SCALE = 1.0", "SCALE = 2.0"), ("action * SCALE", "action * SCALE + 0"), ("!= 2", "!= 3")])
def test_editing_a_helper_a_constant_or_a_filter_changes_the_fingerprint(tmp_path, change):
    before = load_records(user_file(tmp_path))["mine"].fingerprint()
    (tmp_path / "b").mkdir()
    text = user_file(tmp_path).read_text().replace(*change)
    (tmp_path / "b" / "mine.py").write_text(text)
    assert load_records(tmp_path / "b" / "mine.py")["mine"].fingerprint() != before
    (tmp_path / "b" / "same.py").write_text(user_file(tmp_path).read_text())
    assert load_records(tmp_path / "b" / "same.py")["mine"].fingerprint() == before


def test_a_users_file_runs_in_worker_processes_and_a_killed_one_loses_nothing(tmp_path):
    record = find("mine", user_file(tmp_path))
    source = write_widowx(tmp_path, "mine", shards=(2, 2, 2, 2))
    (tmp_path / "bomb").touch()
    with pytest.raises(WorldError, match="a worker process died"):
        prepare(record, source, tmp_path / "out", num_workers=2)
    kept = {p.name: p.stat().st_mtime_ns for p in (tmp_path / "out" / "parts").glob("*.npz")}
    assert 0 < len(kept) < 4
    (tmp_path / "bomb").unlink()
    prepared = prepare(record, source, tmp_path / "out", num_workers=2)
    assert prepared.counts["train"]["filtered"] == 1
    assert sum(s["num_episodes"] for s in prepared.splits.values()) == 7
    whole = prepare(record, source, tmp_path / "again", num_workers=1)
    assert (prepared.split("train").action == whole.split("train").action).all()


def test_workers_end_when_their_parent_is_killed(tmp_path):
    """Otherwise each kill of a run leaves idle processes behind."""
    user_file(tmp_path)
    text = (
        (tmp_path / "mine.py").read_text().replace("def standardize(trajectory):", "def standardize(trajectory):\n    pause()")
    )
    tell = f"def pause():\n    import time\n    Path('{tmp_path}', f'{{os.getpid()}}.pid').touch()\n    time.sleep(60)\n\n"
    (tmp_path / "mine.py").write_text(text.replace("def scaled", tell + "def scaled"))
    write_widowx(tmp_path, "mine", shards=(1, 1, 1))
    code = "import sys; from pathlib import Path; from rtx.data.catalogue import find; from rtx.data.prepare import prepare\n"
    code += "here = Path(sys.argv[1]); prepare(find('mine', here / 'mine.py'), here, here / 'out', num_workers=2)"
    parent = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stderr=subprocess.DEVNULL)
    assert wait_until(lambda: len(list(tmp_path.glob("*.pid"))) == 2)
    parent.kill()
    parent.wait()
    workers = [int(p.stem) for p in tmp_path.glob("*.pid")]
    assert wait_until(lambda: not any(is_running(pid) for pid in workers))


def is_running(pid):
    """A process that ended but was not yet collected has an empty command line."""
    try:
        return bool(Path(f"/proc/{pid}/cmdline").read_bytes())
    except FileNotFoundError:
        return False


def wait_until(claim, seconds=60):
    end = time.monotonic() + seconds
    while time.monotonic() < end and not claim():
        time.sleep(0.05)
    return claim()


def test_a_record_of_a_file_that_is_none(tmp_path):
    with pytest.raises(UserError, match="no Python file at"):
        load_records(tmp_path / "absent.py")
    (tmp_path / "empty.py").write_text("X = 1\n")
    with pytest.raises(UserError, match="defines no DatasetRecord"):
        load_records(tmp_path / "empty.py")
    (tmp_path / "broken.py").write_text("import no_such_module\n")
    with pytest.raises(UserError, match=r"line \d+: ModuleNotFoundError"):
        load_records(tmp_path / "broken.py")
    with pytest.raises(UserError, match=r"unknown data set 'brigde_dataset'; did you mean 'bridge_dataset'"):
        find("brigde_dataset")


def forgets_a_key(trajectory):
    return {"action": trajectory["observation"]["gripper"]}


def divides(trajectory):
    return {"action": 1 // 0}


def cuts_unevenly(trajectory):
    out = VX300S.standardize(trajectory)
    out["action"] = out["action"][1:]
    return out


def returns_nothing(trajectory):
    return {"_frame_index": trajectory["_frame_index"]}


@pytest.mark.parametrize(
    ("function", "text"),
    [
        (forgets_a_key, r"forgets_a_key reads the key 'gripper', but it is given only \['action'"),
        (divides, r"divides failed with ZeroDivisionError.*test_record\.py:\d+\) on .*episode 0 of 'train'"),
        (cuts_unevenly, r"returned 'action' as float32\[5, 8\], expected float32\[6, 8\]"),
        (returns_nothing, "returned 'action' as NoneType"),
    ],
)
def test_mistakes_in_a_standardize_function_are_sentences(tmp_path, function, text):
    source = write_widowx(tmp_path, "sim_vx300s", shards=(2,))
    with pytest.raises(UserError, match=f"(?s){text}"):
        prepare(dataclasses.replace(VX300S, standardize=function), source, tmp_path / "out", num_workers=1)


def test_a_function_that_cannot_travel_is_explained(tmp_path):
    source = write_widowx(tmp_path, "sim_vx300s", shards=(1, 1))
    record = dataclasses.replace(VX300S, standardize=lambda trajectory: VX300S.standardize(trajectory))
    with pytest.raises(UserError, match="cannot be sent to worker processes"):
        prepare(record, source, tmp_path / "out", num_workers=2)
    assert prepare(record, source, tmp_path / "out", num_workers=1).split("train").num_steps > 0
