"""A base as `open_base` gives it, and a new robot's prepared set, without a training."""

import dataclasses
from pathlib import Path

from rtx.data.mixture import Mixture, MixtureEntry
from rtx.data.prepared import PreparedSet
from rtx.embodiment import CANONICAL, ActionField, ActionSpace, Layout
from rtx.finetune.base import Base
from rtx.models.rt1.model import RT1
from tests.data.tiny_sets import save_manifest, tiny_set
from tests.train.small_run import small_config, write_sets

LIFT = ActionField(name="lift", width=1, kind="base_delta_pos", unit="m", low=-1.0, high=1.0)
TALL = Layout(action=ActionSpace(fields=(*CANONICAL.action.fields, LIFT)))


def base(folder) -> Base:
    """Of two robots with one camera."""
    sets = write_sets(folder / "data")
    config = small_config(sets)
    entries = tuple(MixtureEntry(prepared=PreparedSet.open(Path(one.prepared))) for one in sets)
    shape = {name: getattr(config.data, name) for name in ("roles", "image_size", "history", "chunk")}
    return Base(
        path=folder / "run", family="rt1", model=RT1(config.model), contract=Mixture(entries=entries).contract(**shape),
        config=config, was_trained=True,
    )  # fmt: skip


def mine(folder, *, layout: Layout = CANONICAL, roles=("primary",)) -> PreparedSet:
    """Three demonstrations of "my_robot", in training and held out."""
    made = tiny_set(folder / "mine", name="my_robot", lengths=(5, 2, 7), roles=roles, splits=("train", "val"))
    made = dataclasses.replace(made, layout=layout)
    save_manifest(made)
    return made
