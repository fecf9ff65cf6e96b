"""The run that is killed: two data sets of a few pictures, a model of two layers, a save every 8 steps.

rtx train tests/kill/config.py --run RUN --set data.sets.0.prepared=FIRST --set data.sets.1.prepared=SECOND
"""

from __future__ import annotations

from rtx.train.config import AugmentConfig, DataConfig, DataSet, OptimizationConfig, RunConfig, TrainConfig
from tests.kill import minute

minute.make_known()


def small() -> TrainConfig:
    """Augmentation is one random shift: it draws from the run's keys as all of them do, and is traced quickly."""
    sets = (DataSet(prepared="first", weight=1.0), DataSet(prepared="second", weight=2.0))
    shift = AugmentConfig(shift_px=1, brightness=0.0, contrast=0.0, hue=0.0)
    return TrainConfig(
        data=DataConfig(sets=sets, image_size=(16, 16), history=2, chunk=2, batch_size=4),
        model=minute.MinuteConfig(),
        train=OptimizationConfig(num_steps=200, lr=1e-2, warmup_steps=2, ema=0.9, augment=shift),
        run=RunConfig(log_every=1, save_every=8, eval_every=0, eval_samples=0),
    )
