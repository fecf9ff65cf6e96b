"""However many devices and hosts share the work, the numbers are those of one device."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[3]
DEVICES = 8


def steps_of(model: str, *meshes: str) -> dict[str, Any]:
    """What `many_devices` prints."""
    flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count={DEVICES}"
    done = subprocess.run(
        [sys.executable, "-m", "tests.train.parallel.many_devices", model, *meshes],
        cwd=ROOT, env=os.environ | {"XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout)


@pytest.mark.parametrize(
    ("model", "meshes"),
    [
        ("rt1x", ("one", "eight")),
        ("paligemma", ("one", "four in turns", "eight")),
        pytest.param("pali", ("one", "two", "four in turns", "eight"), marks=pytest.mark.slow),
        pytest.param("rt1x", ("one", "two", "four", "eight"), marks=pytest.mark.slow),
        pytest.param("paligemma", ("one", "two", "four", "eight"), marks=pytest.mark.slow),
    ],
)
@pytest.mark.timeout(900)  # seconds; a program is compiled for each mesh
def test_the_loss_on_every_mesh_is_that_of_one_device(model: str, meshes: tuple[str, ...]) -> None:
    found = steps_of(model, *meshes)
    one = found.pop("one")
    assert len(set(one["loss"])) == len(one["loss"]) > 2, "it learns"
    assert all(mesh["skipped"] for mesh in (one, *found.values())), "a step that is not finite changes no bit"
    for mesh, other in found.items():
        np.testing.assert_allclose(other["loss"], one["loss"], rtol=1e-5, err_msg=mesh)
        for path, values in one["stats"].items():
            np.testing.assert_allclose(other["stats"][path], values, rtol=1e-4, atol=1e-5, err_msg=f"{mesh} {path}")
    assert found["eight"]["split"] == ["fsdp", "tensor"], "parameters lie in parts"
    assert (model == "rt1x") == bool(one["stats"])
