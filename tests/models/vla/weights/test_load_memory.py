"""Loading a published-size checkpoint takes little more memory than the parameters; needs 6 GB of disk and of memory."""

import subprocess
import sys
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest

from rtx.models.vla.weights import paligemma, safetensors
from rtx.models.vla.weights.leaves import flat
from rtx.models.vla.weights.safetensors import Entry
from tests.models.vla.weights.load_in_process import shapes

ROOT = Path(__file__).resolve().parents[4]


def entries() -> list[Entry]:
    like = shapes()
    leaves = flat(like)
    slots = [slot for rule in paligemma.rules(like) for slot in safetensors.slots(rule, leaves[rule.ours].shape)]
    return [Entry(slot.name, slot.padded, np.dtype(ml_dtypes.bfloat16)) for slot in slots]


def random_tensor(number: int, entry: Entry) -> np.ndarray:
    """Bit patterns of small positive numbers."""
    bits = np.random.default_rng(number).integers(0x3C00, 0x3F00, entry.shape, dtype=np.uint16)
    return bits.view(ml_dtypes.bfloat16)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_3b_checkpoint_loads_within_a_fifth_more_than_its_size(tmp_path):
    wanted = entries()
    total = sum(entry.num_bytes for entry in wanted)
    assert 5.8e9 < total < 5.9e9
    written = safetensors.write(tmp_path, wanted, (random_tensor(i, entry) for i, entry in enumerate(wanted)))
    assert len(written) == 3  # two shards of at most 5 GB, and their index
    try:
        command = [sys.executable, "-m", "tests.models.vla.weights.load_in_process", str(tmp_path)]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    finally:
        for path in written:
            path.unlink()
    grown, corner = done.stdout.split()
    print(f"{int(grown) / 1e9:.2f} GB for {total / 1e9:.2f} GB: {int(grown) / total:.3f} times")
    assert int(grown) < 1.2 * total
    name = "language_model.model.layers.17.mlp.down_proj.weight"  # [width, mlp]; ours [mlp, width]
    number = next(i for i, entry in enumerate(wanted) if entry.name == name)
    assert float(corner) == float(random_tensor(number, wanted[number])[-1, -1])
