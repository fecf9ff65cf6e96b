"""A training run of seconds: two data sets of a few pictures and a real RT-1 of a few thousand parameters."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from rtx.models.rt1.config import RT1Config
from rtx.train import imitation, observe
from rtx.train.config import AugmentConfig, DataConfig, DataSet, OptimizationConfig, RunConfig, TrainConfig
from tests.data.tiny_sets import save_manifest, tiny_set

MODEL = RT1Config(
    text_length=4, text_vocabulary=16, max_embodiments=4, text_width=8, text_heads=2, sentence_width=8, stem_width=8,
    conv_width=8, num_conv_blocks=1, tokens_per_image=2, token_hidden=8, width=16, num_layers=1, num_heads=2, head_width=8,
    mlp_width=16, num_bins=16, expectation_radius_bins=2,
)  # fmt: skip


def write_sets(folder: Path, *, names: Sequence[str] = ("first", "second")) -> tuple[DataSet, ...]:
    """Prepared sets that `PreparedSet.open` takes; the second has twice the weight."""
    sets = []
    for i, name in enumerate(names):
        made = tiny_set(folder / name, name=name, lengths=(5, 2, 7 + i), roles=("primary",), splits=("train", "val"))
        save_manifest(made)
        sets.append(DataSet(prepared=str(folder / name), weight=1.0 + i))
    return tuple(sets)


def small_config(sets: tuple[DataSet, ...], *, num_steps: int = 8, **run: int) -> TrainConfig:
    return TrainConfig(
        data=DataConfig(sets=sets, image_size=(16, 16), history=2, chunk=2, batch_size=4),
        model=MODEL,
        train=OptimizationConfig(num_steps=num_steps, lr=1e-2, warmup_steps=2, ema=0.9, augment=AugmentConfig(shift_px=1)),
        run=RunConfig(**{"log_every": 2, "save_every": 3, "eval_every": 4, "eval_samples": 4, **run}),
    )


@contextmanager
def poisoned(*samples: int) -> Iterator[None]:
    """What the robot feels is NaN in these training samples, by their number in the run, on whatever host reads them."""
    place = imitation.place
    assert observe.place is place, "validation's own"

    def placed(batch, mesh=None):
        bad = batch.proprio + np.where(np.isin(batch.sample, samples), np.nan, 0.0)[:, None, None].astype(np.float32)
        return place(dataclasses.replace(batch, proprio=bad), mesh)

    imitation.place = placed
    try:
        yield
    finally:
        imitation.place = place
