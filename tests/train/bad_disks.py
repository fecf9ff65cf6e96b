"""Saves on disks that refuse, in a process of its own: python bad_disks.py limited|mounted FOLDER, prints what came of each."""

from __future__ import annotations

import logging
import os
import resource
import shutil
import sys
from pathlib import Path

import jax.numpy as jnp
import numpy as np

from rtx.data.loader import LoaderState
from rtx.errors import WorldError
from rtx.train import checkpoint
from rtx.train.checkpoint import writing
from rtx.train.saver import Saver
from rtx.train.state import TrainState, from_tree
from tests.train.checkpoints import SIDE


def state(step: int) -> TrainState:
    """1.2 MB that do not compress."""
    params = {"w": jnp.asarray(np.random.default_rng(step).random(300_000, np.float32))}
    zero = jnp.int32(0)
    return from_tree(
        {
            "step": jnp.int32(step),
            "variables": {"params": params},
            "ema": None,
            "opt_state": None,
            "rng": jnp.zeros(2, jnp.uint32),
            "nonfinite": zero,
            "nonfinite_in_a_row": zero,
        }
    )


class Run:
    """Stands for the loop: each step saves, what fails is printed, and the run goes on."""

    def __init__(self, root: Path) -> None:
        self.root, self.step = root, 0
        self.saver = Saver(root, keep=2, side=lambda position: SIDE, failed=lambda step, reason: print(f"{step} {reason}"))

    def save(self, *, must: bool = False) -> None:
        self.step += 1
        self.saver.save(state(self.step), self.step, LoaderState(next_sample=0, fingerprint="f"), must=must)
        self.saver.wait()
        print(self.step, sorted(entry.name for entry in self.root.iterdir()), flush=True)

    def must_save(self) -> None:
        try:
            self.save(must=True)
        except WorldError as error:
            print(f"{self.step} stopped: {error}")


def limited(folder: Path) -> None:
    """No file may pass 100 kB for a while: needs no rights, and fails in the middle of Orbax's write."""
    run = Run(folder / "checkpoints")
    run.save()
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    run.save()
    run.must_save()
    resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
    run.save()


def mounted(folder: Path) -> None:
    """A disk of its own, of 4 MB: full before a save, full in the middle of one, read-only, and well again."""
    run = Run(folder / "checkpoints")
    run.save()
    filler = folder / "filler"
    filler.write_bytes(bytes(shutil.disk_usage(folder).free - 600_000))
    run.save()
    check_space, writing._check_space = writing._check_space, lambda root, state: None  # as if another program had been quicker
    run.save()
    writing._check_space = check_space
    assert os.system(f"mount -o remount,ro {folder}") == 0
    run.save()
    run.must_save()
    assert os.system(f"mount -o remount,rw {folder}") == 0
    filler.unlink()
    run.save()


if __name__ == "__main__":
    logging.basicConfig(level=logging.ERROR, format="%(name)s %(message)s", force=True)
    folder = Path(sys.argv[2])
    {"limited": limited, "mounted": mounted}[sys.argv[1]](folder)
    root = folder / "checkpoints"
    sound = [step for step in checkpoint.steps(root) if not checkpoint.verify(root / str(step))]
    print("sound", sound)
