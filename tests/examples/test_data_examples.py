"""The examples about data, run on small sets written here."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np

from rtx.data.prepare import prepare
from rtx.data.record import load_records
from rtx.data.simulated import SIMULATED
from tests.fakes import feature, jpeg, write_rlds

ROOT = Path(__file__).resolve().parents[2]
FEATURES = {
    "steps/action": feature("tensor", (8,)),
    "steps/observation/tcp_position": feature("tensor", (3,)),
    "steps/observation/tcp_rpy": feature("tensor", (3,)),
    "steps/observation/gripper": feature("tensor", (1,)),
    "steps/observation/cam_front": feature("image", (16, 16, 3)),
    "steps/observation/cam_wrist": feature("image", (16, 16, 3)),
    "steps/language_instruction": feature("text"),
    "steps/is_last": feature("tensor", dtype="bool"),
    "steps/is_terminal": feature("tensor", dtype="bool"),
}


def iiwa_episode(rng: np.random.Generator, num_steps: int) -> dict:
    quaternion = rng.normal(size=(num_steps, 4))
    quaternion /= np.linalg.norm(quaternion, axis=1, keepdims=True)
    target = np.concatenate([rng.uniform(0.3, 0.6, (num_steps, 3)), quaternion, rng.integers(0, 2, (num_steps, 1))], 1)
    last = (np.arange(num_steps) == num_steps - 1).astype(np.int64)
    picture = [jpeg((10 * t, 50, 200)) for t in range(num_steps)]
    return {
        "steps/action": target.astype(np.float32),
        "steps/observation/tcp_position": rng.uniform(0.3, 0.6, (num_steps, 3)).astype(np.float32),
        "steps/observation/tcp_rpy": rng.uniform(-1, 1, (num_steps, 3)).astype(np.float32),
        "steps/observation/gripper": rng.uniform(0, 1, (num_steps, 1)).astype(np.float32),
        "steps/observation/cam_front": picture,
        "steps/observation/cam_wrist": picture,
        "steps/language_instruction": [b"stack the cups"] * num_steps,
        "steps/is_last": last,
        "steps/is_terminal": last,
    }


def test_a_record_of_ones_own_and_batches_from_it(tmp_path: Path):
    rng = np.random.default_rng(0)
    splits = {"train": [[iiwa_episode(rng, 5), iiwa_episode(rng, 7)]], "val": [[iiwa_episode(rng, 4)]]}
    source = write_rlds(tmp_path, "sim_iiwa", FEATURES, splits)
    mine = load_records(ROOT / "examples" / "own_data_set.py")["my_robot"]
    own = prepare(mine, source, tmp_path / "own", num_workers=1)
    ours = prepare(SIMULATED["sim_iiwa"], source, tmp_path / "ours", num_workers=1)
    for split in splits:
        np.testing.assert_allclose(own.split(split).action, ours.split(split).action, atol=1e-6)
        np.testing.assert_allclose(own.split(split).proprio, ours.split(split).proprio, atol=1e-6)
    program = [sys.executable, str(ROOT / "examples" / "read_batches.py"), str(tmp_path / "own"), str(tmp_path / "ours")]
    done = subprocess.run(program, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)})
    assert done.returncode == 0, done.stderr
    assert "the same batch? True" in done.stdout
    assert "wrist    uint8[8, 2, 128, 128, 3]" in done.stdout
