"""What the processes of a run do in the tests of checkpoints; each function runs in every one of them."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from rtx.errors import WorldError
from rtx.train import checkpoint
from rtx.train.checkpoint import writing
from tests.train.checkpoints import SIDE

log = logging.getLogger(__name__)

SHAPES = {"whole": (3,), "rows": (8, 6), "columns": (4, 8), "both": (8, 4)}
SPECS = {"whole": (), "rows": ("fsdp",), "columns": (None, "tensor"), "both": ("fsdp", "tensor")}


def values(step: int) -> dict[str, np.ndarray]:
    return {
        name: (np.arange(np.prod(shape), dtype=np.float32).reshape(shape) + 100 * i) * step
        for i, (name, shape) in enumerate(SHAPES.items())
    }


def target(mesh: Mesh) -> dict:
    shardings = {name: NamedSharding(mesh, PartitionSpec(*SPECS[name])) for name in SHAPES}
    shapes = {name: jax.ShapeDtypeStruct(SHAPES[name], np.float32, sharding=shardings[name]) for name in SHAPES}
    return {"step": jax.ShapeDtypeStruct((), np.int32, sharding=NamedSharding(mesh, PartitionSpec())), "variables": shapes}


def state(mesh: Mesh, step: int) -> dict:
    host = {"step": np.int32(step), "variables": values(step)}
    return jax.tree.map(
        lambda leaf, like: jax.make_array_from_callback(like.shape, like.sharding, lambda index: np.asarray(leaf)[index]),
        host,
        target(mesh),
    )


def mesh(fsdp: int, tensor: int) -> Mesh:
    return Mesh(np.array(jax.devices()[: fsdp * tensor]).reshape(fsdp, tensor), ("fsdp", "tensor"))


def check(restored: checkpoint.Restored, step: int) -> None:
    """Each device holds its part of the right numbers."""
    assert restored.step == step
    for name, expected in values(step).items():
        for shard in restored.state["variables"][name].addressable_shards:
            np.testing.assert_array_equal(np.asarray(shard.data), expected[shard.index])


def write(root: Path) -> None:
    """Three saves; the first is removed when two others are there."""
    for step in (1, 2, 3):
        checkpoint.save(root, step=step, state=state(mesh(2, 2), step), side=SIDE)


def later(folder: Path) -> None:
    """Of processes that start anew."""
    for name in ("written", "one"):
        read(folder / name)
    log.info("read: written one")
    read_damaged(folder / "damaged")
    fail(folder / "failing")


def read(root: Path) -> None:
    """Onto a mesh that is not the one it was written from; a device gets its part and no more."""
    found = checkpoint.restore(root, target(mesh(4, 1)))
    assert found is not None
    check(found, 3)
    assert [shard.data.shape for shard in found.state["variables"]["rows"].addressable_shards] == [(2, 6), (2, 6)]


def read_damaged(root: Path) -> None:
    """The newest is damaged in a file that only one of the processes reads back: both take the one before."""
    found = checkpoint.restore(root, target(mesh(2, 2)))
    assert found is not None
    check(found, 2)


def fail(root: Path) -> None:
    """The second process cannot read back what it wrote: neither has saved, both know, and the next save is whole."""
    entries = writing.file_entries
    if jax.process_index() == 1:

        def failing(*args) -> dict:
            raise OSError(28, os.strerror(28))

        writing.file_entries = failing
    try:
        checkpoint.save(root, step=4, state=state(mesh(2, 2), 4), side=SIDE)
    except WorldError as error:
        log.info("not saved: %s", error)
    assert checkpoint.steps(root) == [3, 2]
    writing.file_entries = entries
    checkpoint.save(root, step=5, state=state(mesh(2, 2), 5), side=SIDE)
    found = checkpoint.restore(root, target(mesh(2, 2)))
    assert found is not None
    check(found, 5)
