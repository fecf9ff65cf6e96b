"""Small runs on real data, to see everything work: minutes on a laptop's CPU, no accelerator.

`bridge` trains on BridgeData V2 in its TFDS form (https://rail.eecs.berkeley.edu/datasets/bridge_release/data/tfds/), or on
any cut of it with the same features. SOURCE is the folder with dataset_info.json, or a parent of it:

    rtx train configs/tiny.py:bridge --set data.sets.0.source=SOURCE

Expected: the loss falls from about 5.5 (256 bins, nothing learnt) to about 4.2 in 100 steps.
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
