"""What a run leaves on the disk, as things to compare."""

from __future__ import annotations

import hashlib
from pathlib import Path

import jax
import numpy as np
import orbax.checkpoint as ocp

from rtx.train import checkpoint, pytree
from rtx.train.metrics import read_metrics
from rtx.train.run_dir import CHECKPOINTS, METRICS


def unlike_arrays(one: Path, other: Path) -> list[str]:
    """Names of arrays (parameters, optimizer, averages, keys, counters) that differ in any bit between the last checkpoints
    of two runs."""
    ours, theirs = array_hashes(one), array_hashes(other)
    return sorted(name for name in ours.keys() | theirs.keys() if ours.get(name) != theirs.get(name))


def array_hashes(run: Path) -> dict[str, str]:
    """Of everything that a training state holds, by name."""
    root = run / CHECKPOINTS
    newest = root / str(checkpoint.steps(root)[0])
    assert not checkpoint.verify(newest)
    handler, arrays = ocp.PyTreeCheckpointHandler(), (newest / "state").absolute()
    item = pytree.nest(dict.fromkeys(pytree.flatten(handler.metadata(arrays).tree), 0))
    as_numpy = jax.tree.map(lambda _: ocp.RestoreArgs(restore_type=np.ndarray), item)
    stored = handler.restore(arrays, args=ocp.args.PyTreeRestore(item=item, restore_args=as_numpy))
    return {name: hashlib.sha256(np.asarray(leaf).tobytes()).hexdigest() for name, leaf in pytree.flatten(stored).items()}


def curve(run: Path) -> list[tuple[int, str, float]]:
    """(step, kind, loss) of each line of the log."""
    return [(line["step"], line["kind"], line["loss"]) for line in read_metrics(run / METRICS) if "loss" in line]
