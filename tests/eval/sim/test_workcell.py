"""What is said to lie somewhere in the picture is there in the picture."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np

_SCRIPT = Path(__file__).with_name("workcell_in_process.py")
_ROOT = Path(__file__).resolve().parents[3]
_NUMBER = 24


def test_pictures_show_what_is_said_of_them():
    path = os.pathsep.join(filter(None, [str(_ROOT), os.environ.get("PYTHONPATH")]))
    done = subprocess.run(
        [sys.executable, str(_SCRIPT), str(_NUMBER)], capture_output=True, text=True, env={**os.environ, "PYTHONPATH": path}
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    right = [said == shown for said, shown in told["cubes"]]
    assert len(right) >= 1.5 * _NUMBER  # one to three of them
    # The middle of a cube may be hidden by a finger while the rest of it is seen.
    assert np.mean(right) >= 0.9, told["cubes"]
    assert np.ptp(np.array(told["grippers"]), axis=0).min() > 0.2  # the hand is anywhere
    assert told["digests"] == _NUMBER
    assert told["again"]
    assert told["loaded"] == []
