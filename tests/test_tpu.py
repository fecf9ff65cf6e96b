"""A TPU is told from Google's other devices; jax is kept off libtpu only where there is none."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from rtx.tpu import has_tpu


def machine(folder, *devices):
    for i, (vendor, kind) in enumerate(devices):
        (folder / str(i)).mkdir()
        (folder / str(i) / "vendor").write_text(vendor + "\n")
        (folder / str(i) / "class").write_text(kind + "\n")
    return folder


@pytest.mark.parametrize(
    ("devices", "expected"),
    [
        ([("0x10de", "0x030200")], False),  # a GPU
        ([("0x1ae0", "0x020000"), ("0x1ae0", "0x010802")], False),  # the network and the disk of a virtual machine
        ([("0x8086", "0x060000"), ("0x1ae0", "0xff0000")], True),
        ([], False),
    ],
)
def test_tpus_among_devices(tmp_path, devices, expected):
    assert has_tpu(machine(tmp_path, *devices)) is expected


def test_without_a_tpu_jax_says_nothing_of_it():
    pytest.importorskip("libtpu", reason="libtpu (extra tpu) is not installed")
    if has_tpu():
        pytest.skip("this machine has a TPU")
    code = "import rtx, jax; print(jax.default_backend())"
    env = {name: value for name, value in os.environ.items() if name not in ("TPU_LIBRARY_PATH", "JAX_PLATFORMS")}
    root = Path(__file__).resolve().parents[1]
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=env, cwd=root)
    assert done.stdout.strip() in ("cpu", "gpu")
    assert done.stderr == ""
