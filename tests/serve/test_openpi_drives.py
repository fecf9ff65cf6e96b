"""openpi's client from the package index, unchanged, moves a simulated arm through our server exactly as no server would.

    python -m pytest -m slow tests/serve/test_openpi_drives.py

openpi-client wants older packages than rtx and gets an environment of its own: the one whose Python RTX_OPENPI_PYTHON names, or
one that is made once beside the tests' other caches.
"""

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from tests.end_to_end.command import ROOT, environment
from tests.end_to_end.test_quickstart import needs_gl

PACKAGES = ("openpi-client==0.1.2", "typing_extensions")  # it imports the second and forgets to ask for it
IMPORTS = "from openpi_client import msgpack_numpy, websocket_client_policy"

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800), needs_gl]


@pytest.fixture(name="python", scope="module")
def _python():
    cache = Path(os.environ.get("RTX_TEST_CACHE", Path(tempfile.gettempdir()) / "rtx-test-cache")) / "openpi"
    python = os.environ.get("RTX_OPENPI_PYTHON", str(cache / "bin" / "python"))
    if not has_client(python) and "RTX_OPENPI_PYTHON" not in os.environ:
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(cache)], check=True)
        subprocess.run([python, "-m", "pip", "install", "-q", *PACKAGES], capture_output=True, timeout=900)
    if not has_client(python):
        line = f"python -m venv foreign && foreign/bin/pip install {' '.join(PACKAGES)}"
        pytest.skip(f"{python} has no openpi-client: {line}; RTX_OPENPI_PYTHON=foreign/bin/python")
    return python


def has_client(python):
    try:
        return subprocess.run([python, "-c", IMPORTS], capture_output=True).returncode == 0
    except OSError:
        return False


def test_openpis_client_drives_the_arm_as_no_server_would(python):
    told = [sys.executable, "-m", "tests.serve.openpi_drives", "--python", python, "--steps", "25"]
    done = subprocess.run(told, cwd=ROOT, env=environment(), capture_output=True, text=True, timeout=1500)
    assert done.returncode == 0, done.stderr
    told = re.search(r"steps 25: the arm moved (\S+), the two runs differ by (\S+)", done.stdout)
    assert told, done.stdout
    moved, apart = map(float, told.groups())
    assert moved > 0.01
    assert apart < 1e-6
