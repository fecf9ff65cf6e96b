"""What TensorFlow gets is what the loader gives, bit for bit; dlimp is used where it is installed and explained elsewhere."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from rtx.data import interop

_SCRIPT = Path(__file__).with_name("interop_in_process.py")
_ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def handed_out(tmp_path_factory: pytest.TempPathFactory) -> dict:
    path = os.pathsep.join(filter(None, [str(_ROOT), os.environ.get("PYTHONPATH")]))
    command = [sys.executable, str(_SCRIPT), str(tmp_path_factory.mktemp("interop"))]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": path}, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout)


def test_batches_as_a_tf_dataset(handed_out: dict):
    got = handed_out["batches"]
    assert got["spec"] == {"action": "(6, 3, 8)", "text": "(6, 12)", "sample": "(6,)"}
    assert "target" not in got["keys"]
    assert got["position"] == 6, "one batch taken, one batch further"


def test_trajectories_as_a_dlimp_dataset(handed_out: dict):
    got = handed_out["trajectories"]
    if importlib.util.find_spec("dlimp"):
        assert got == {"frames": 13}
    else:
        assert "pip install --no-deps git+https://github.com/kvablack/dlimp" in got["error"]


def test_a_process_that_renders_is_refused(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "mujoco", sys)
    with pytest.raises(RuntimeError, match="must not import TensorFlow"):
        interop._import_tensorflow()
