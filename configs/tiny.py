"""Small runs on real data, to see everything work: minutes on a laptop's CPU, no accelerator.

`bridge` trains on BridgeData V2 in its TFDS form (https://rail.eecs.berkeley.edu/datasets/bridge_release/data/tfds/), or on
any cut of it with the same features. SOURCE is the folder with dataset_info.json, or a parent of it:

    rtx train configs/tiny.py:bridge --set data.sets.0.source=SOURCE

Expected with the 25 + 25 episodes of a debug cut: training loss about 4.0, held-out loss about 3.9 after 100 steps, in half
a minute on two CPU cores (the first start also compiles for half a minute). The same command resumes a run that was stopped.
"""

from __future__ import annotations

from rtx.models.rt1.config import tiny
from rtx.train.config import DataConfig, DataSet, OptimizationConfig, RunConfig, TrainConfig


def bridge() -> TrainConfig:
    return TrainConfig(
        data=DataConfig(
            sets=(DataSet(record="bridge_dataset"),),
            roles=("primary",),
            image_size=(64, 64),
            chunk=4,
            batch_size=32,
        ),
        model=tiny(),
        train=OptimizationConfig(num_steps=100, lr=1e-3, warmup_steps=10),
        run=RunConfig(log_every=5, eval_every=50, save_every=50, eval_samples=128),
    )
