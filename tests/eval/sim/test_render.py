"""Frames, drawn in a process of their own: TensorFlow and software OpenGL crash each other, and other tests load it."""

import ctypes.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from rtx.errors import WorldError
from rtx.eval.sim import mujoco_gl
from rtx.eval.sim.arms import ARMS

_SCRIPT = Path(__file__).with_name("render_in_process.py")
_ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(
    scope="module", params=[arm if arm == "sim_panda" else pytest.param(arm, marks=pytest.mark.slow) for arm in ARMS]
)
def drawn(request):
    path = os.pathsep.join(filter(None, [str(_ROOT), os.environ.get("PYTHONPATH")]))
    done = subprocess.run(
        [sys.executable, str(_SCRIPT), request.param], capture_output=True, text=True, env={**os.environ, "PYTHONPATH": path}
    )
    assert done.returncode == 0, done.stderr
    return {**json.loads(done.stdout), "stderr": done.stderr}


def test_frames_are_pictures_of_both_cameras(drawn):
    assert drawn["shapes"] == {"primary": ["uint8", 64, 64, 3], "wrist": ["uint8", 64, 64, 3]}
    assert min(drawn["spread"].values()) > 10
    assert drawn["view"] == [200, 200, 3]


def test_the_same_seed_looks_the_same_and_others_do_not(drawn):
    assert drawn["again"] == drawn["first"]
    assert len(set(drawn["first"])) == len(drawn["first"])


def test_the_named_cube_is_to_be_seen(drawn):
    """6 pixels across would be 36; the hand may hide one."""
    assert sorted(drawn["visible"])[1] >= 15, drawn["visible"]


def test_what_is_to_be_moved_and_where_to_are_seen_on_the_bench(drawn):
    """Of 64 x 64 pixels; the hand may hide something in one scene of four."""
    for task, scenes in drawn["bench"].items():
        for role in {"target", "goal"} & set(scenes[0]):
            assert sorted(scene[role] for scene in scenes)[1] >= 5, (task, role, scenes)


def test_a_split_changes_its_own_part_of_the_picture(drawn):
    """The rest of the scene looks the same on the other table; a cloth changes most of what is seen."""
    changed = {task: [scene["changed"] for scene in scenes] for task, scenes in drawn["bench"].items()}
    assert all(0.0 < share < 0.1 for share in changed["lift@unseen_objects"]), changed
    assert all(0.005 < share < 0.3 for share in changed["lift@distractors"]), changed
    assert min(drawn["cloth"]) > 0.5


def test_the_process_stays_light_and_quiet(drawn):
    assert drawn["loaded"] == []
    assert drawn["stderr"] == ""


def test_a_machine_without_gl_is_told_what_to_install(monkeypatch):
    monkeypatch.setenv("MUJOCO_GL", "egl")
    monkeypatch.setattr(ctypes.util, "find_library", lambda name: None)
    with pytest.raises(WorldError, match="apt-get install -y libegl1"):
        mujoco_gl._choose()


@pytest.mark.parametrize("display", ["", ":0"])
def test_software_gl_is_chosen_where_there_is_no_window(monkeypatch, display):
    monkeypatch.delenv("MUJOCO_GL", raising=False)
    monkeypatch.setenv("DISPLAY", display)
    monkeypatch.setattr(sys, "platform", "linux")
    mujoco_gl._choose()
    assert os.environ.get("MUJOCO_GL") == (None if display else "egl")
