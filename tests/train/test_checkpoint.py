"""Checkpoints: bit-equal round trip, every kind of damage passed over and named, never fewer than two, leftovers swept."""

import dataclasses
import logging
import os
import shutil
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from rtx.errors import UserError, WorldError
from rtx.robots.sim_arms import SIM_ARMS
from rtx.spec import CANONICAL, Contract, FieldStatistics, Statistics
from rtx.train import checkpoint, pytree

_NUMBERS = FieldStatistics(mean=(0.0,), std=(1.0,), min=(0.0,), max=(1.0,), q01=(0.0,), q99=(1.0,), count=1)
CONTRACT = Contract(
    roles=("primary",),
    image_size=(32, 32),
    history=1,
    chunk=2,
    embodiments={"sim_panda": SIM_ARMS["sim_panda"]},
    layouts={"sim_panda": CANONICAL},
    statistics={"sim_panda": Statistics(action=_NUMBERS, proprio=_NUMBERS, num_episodes=1, source="a test")},
)
SIDE = checkpoint.SideFiles(
    contract=CONTRACT,
    model={"family": "rt1", "config": {}},
    tokenizer={"kind": "words"},
    data={"next_sample": 64, "fingerprint": "f"},
    config={"data": {}},
)
HERE = jax.sharding.SingleDeviceSharding(jax.devices()[0])


def make_state(step: int, *, ema: bool = True):
    params = {"dense": {"kernel": jnp.arange(12.0).reshape(3, 4) * step, "bias": jnp.ones(4)}}
    return {
        "step": jnp.int32(step),
        "variables": {"params": params, "batch_stats": {"mean": jnp.full(3, step, jnp.bfloat16)}},
        "ema": jax.tree.map(lambda p: p + 1, params) if ema else None,
        "opt_state": optax.chain(optax.clip(1.0), optax.adamw(1e-3)).init(params),
        "rng": jnp.array([1, 2], jnp.uint32),
    }


def save(root: Path, *steps: int, **options) -> None:
    for step in steps:
        checkpoint.save(root, step=step, state=make_state(step), side=SIDE, **options)


def restore(root: Path):
    return checkpoint.restore(root, pytree.abstract(make_state(0), HERE))


def arrays_file(folder: Path) -> Path:
    """The biggest file of the arrays."""
    return max((f for f in (folder / "state").rglob("*") if f.is_file()), key=lambda f: f.stat().st_size)


def test_round_trip_is_bit_equal(tmp_path):
    save(tmp_path, 3)
    restored = restore(tmp_path)
    assert restored.step == 3
    assert restored.side == SIDE
    jax.tree.map(np.testing.assert_array_equal, restored.state, make_state(3))
    assert jax.tree.structure(restored.state) == jax.tree.structure(make_state(3))


def test_a_relative_folder_is_as_good_as_any(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    root, state = Path("runs") / "checkpoints", make_state(3)
    checkpoint.save(root, step=3, state=state, side=SIDE)
    restored = checkpoint.restore(root, pytree.abstract(state, HERE))
    assert restored is not None
    assert restored.step == checkpoint.open_checkpoint("runs").step == 3


def test_nothing_saved_yet(tmp_path):
    assert restore(tmp_path / "checkpoints") is None


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data))


DAMAGE = {
    "truncated": lambda folder: arrays_file(folder).write_bytes(arrays_file(folder).read_bytes()[:-1]),
    "flipped": lambda folder: flip(arrays_file(folder)),
    "deleted": lambda folder: arrays_file(folder).unlink(),
    "no manifest": lambda folder: (folder / "manifest.json").unlink(),
    "empty manifest": lambda folder: (folder / "manifest.json").write_bytes(b""),
    "binary manifest": lambda folder: (folder / "manifest.json").write_bytes(b"\xff\xfe\x00"),
    "manifest of nothing": lambda folder: (folder / "manifest.json").write_text('{"format": "rtx-checkpoint-1", "files": {}}'),
    "contract edited": lambda folder: flip(folder / "contract.json"),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_falls_back_to_the_previous_and_names_the_file(tmp_path, caplog, damage):
    save(tmp_path, 1, 2)
    DAMAGE[damage](tmp_path / "2")
    with caplog.at_level(logging.WARNING):
        assert restore(tmp_path).step == 1
    problems = checkpoint.verify(tmp_path / "2")
    assert problems
    assert problems[0] in caplog.text
    assert str(tmp_path / "2") in problems[0]


def test_all_damaged_is_an_error_not_a_fresh_start(tmp_path):
    save(tmp_path, 1, 2)
    flip(arrays_file(tmp_path / "1"))
    (tmp_path / "2" / "model.json").unlink()
    with pytest.raises(WorldError, match=r"every checkpoint .* damaged: .*model\.json: missing.*differ"):
        restore(tmp_path)


def test_saving_a_damaged_step_again_keeps_the_evidence(tmp_path):
    save(tmp_path, 1, 2)
    flip(arrays_file(tmp_path / "2"))
    save(tmp_path, 2)
    assert checkpoint.verify(tmp_path / "2") == []
    assert checkpoint.verify(tmp_path / "2.damaged-1") != []
    assert restore(tmp_path).step == 2


def test_saving_a_sound_step_again_leaves_it(tmp_path):
    save(tmp_path, 1)
    before = (tmp_path / "1" / "manifest.json").stat()
    save(tmp_path, 1)
    assert (tmp_path / "1" / "manifest.json").stat() == before


def test_retention_never_counts_damaged_ones(tmp_path):
    save(tmp_path, 1, 2, 3)
    assert checkpoint.steps(tmp_path) == [3, 2]
    arrays_file(tmp_path / "3").unlink()
    save(tmp_path, 4)
    assert checkpoint.steps(tmp_path) == [4, 3, 2]  # 4 and 2 are sound; 3 is evidence
    with pytest.raises(UserError, match="at least 2"):
        save(tmp_path, 5, keep=1)


def test_leftovers_of_a_kill_are_no_checkpoints_and_are_swept(tmp_path):
    save(tmp_path, 1, 2)
    shutil.copytree(tmp_path / "2", tmp_path / ".saving-3")
    shutil.copytree(tmp_path / "1", tmp_path / ".removing-0")
    assert restore(tmp_path).step == 2
    save(tmp_path, 4)
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["2", "4"]


def test_a_save_that_fails_leaves_the_previous_and_no_rubbish(tmp_path):
    """A folder in the place of a file of the checkpoint stands for any disk error in the middle."""
    save(tmp_path, 1)
    side = dataclasses.replace(SIDE, config={"unserializable": object()})
    with pytest.raises(TypeError):
        checkpoint.save(tmp_path, step=2, state=make_state(2), side=side)
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["1"]
    assert restore(tmp_path).step == 1


ON_BAD_DISKS = """
import os, sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
import test_checkpoint as t
root = Path(sys.argv[1]) / "checkpoints"
t.checkpoint.save(root, step=1, state=t.make_state(1), side=t.SIDE)
big = {"variables": {"params": {"w": t.np.random.default_rng(0).random(150_000)}}}
for _ in range(2):
    try:
        t.checkpoint.save(root, step=2, state=big, side=t.SIDE)
    except t.WorldError as error:
        print(error)
    assert os.system(f"mount -o remount,ro {sys.argv[1]}") == 0
assert t.restore(root).step == 1
print(sorted(entry.name for entry in root.iterdir()))
"""


@pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("unshare"), reason="mounting a small disk needs root and unshare")
def test_full_and_read_only_disks_are_clear_errors_and_leave_the_previous(tmp_path):
    """On a disk of 800 kB, full and then read-only, in a mount namespace of its own that ends with the process."""
    mounted = 'mount -t tmpfs -o size=800k tmpfs $0 && exec $1 -c "$2" $0 $3'
    command = [
        "unshare",
        "--mount",
        "sh",
        "-c",
        mounted,
        str(tmp_path),
        sys.executable,
        ON_BAD_DISKS,
        str(Path(__file__).parent),
    ]
    result = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    if "permission denied" in result.stderr.lower() or "not permitted" in result.stderr.lower():
        pytest.skip("this machine does not allow mounting a small disk")
    full, read_only, names = result.stdout.splitlines()
    assert "disk is full" in full
    assert "read-only" in read_only
    assert names == "['1']"


def test_another_model_is_refused_with_the_paths_that_differ(tmp_path):
    save(tmp_path, 1)
    target = make_state(0)
    target["variables"]["params"] = {"dense": {"kernel": jnp.zeros((3, 5))}, "head": jnp.zeros(2)}
    with pytest.raises(
        UserError, match=r"(?s)variables/params/head: missing.*bias: not expected.*float32\[3, 4\], expected float32\[3, 5\]"
    ):
        checkpoint.restore(tmp_path, pytree.abstract(target, HERE))


@pytest.mark.parametrize("give", ["run", "checkpoints", "step"])
def test_open_reads_averaged_variables_as_numpy(tmp_path, give):
    root = tmp_path / "run" / "checkpoints"
    save(root, 1, 2)
    opened = checkpoint.open_checkpoint({"run": root.parent, "checkpoints": root, "step": root / "2"}[give])
    state = make_state(2)
    assert opened.step == 2
    assert opened.contract == CONTRACT
    assert opened.data_state == SIDE.data
    assert set(opened.variables) == {"params", "batch_stats"}
    assert all(type(leaf) is np.ndarray for leaf in jax.tree.leaves(opened.variables))
    expected = {"params": state["ema"], "batch_stats": state["variables"]["batch_stats"]}
    jax.tree.map(np.testing.assert_array_equal, opened.variables, expected)


def test_open_without_average_reads_the_parameters(tmp_path):
    checkpoint.save(tmp_path, step=1, state=make_state(1, ema=False), side=SIDE)
    opened = checkpoint.open_checkpoint(tmp_path, 1)
    jax.tree.map(np.testing.assert_array_equal, opened.variables, make_state(1)["variables"])


def test_open_tells_what_is_there(tmp_path):
    run = tmp_path / "run"
    save(run / "checkpoints", 1, 2)
    with pytest.raises(UserError, match="no such folder"):
        checkpoint.open_checkpoint(tmp_path / "nowhere")
    with pytest.raises(UserError, match=r"no checkpoint of step 7; it has 2, 1"):
        checkpoint.open_checkpoint(run, 7)
    with pytest.raises(UserError, match="step 1 cannot be chosen"):
        checkpoint.open_checkpoint(run / "checkpoints" / "2", 1)
    (tmp_path / "photos").mkdir()
    with pytest.raises(UserError, match="found nothing"):
        checkpoint.open_checkpoint(tmp_path / "photos")
    (tmp_path / "photos" / "cat.jpg").touch()
    with pytest.raises(UserError, match=r"expected a run folder .* found cat\.jpg"):
        checkpoint.open_checkpoint(tmp_path / "photos")
    with pytest.raises(UserError, match="is a file"):
        checkpoint.open_checkpoint(tmp_path / "photos" / "cat.jpg")
    (tmp_path / "early").mkdir()
    for name in ("config.json", "metrics.jsonl"):
        (tmp_path / "early" / name).touch()
    with pytest.raises(UserError, match="no checkpoint yet"):
        checkpoint.open_checkpoint(tmp_path / "early")


def test_open_a_damaged_step_is_an_error(tmp_path):
    save(tmp_path, 1, 2)
    flip(arrays_file(tmp_path / "2"))
    assert checkpoint.open_checkpoint(tmp_path).step == 1
    with pytest.raises(WorldError, match="sha256"):
        checkpoint.open_checkpoint(tmp_path, 2)
