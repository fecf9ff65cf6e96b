"""The checkpoint that is fine-tuned, without its arrays: what it promises, its model, how it was trained, its shapes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import jax

from rtx.models.families import model_from_json
from rtx.models.protocol import Model
from rtx.plan.abstract import nominal_batch, nominal_model
from rtx.spec import Contract
from rtx.train import pytree
from rtx.train.checkpoint import read_side_files
from rtx.train.config import DataConfig, DataSet, OptimizationConfig, RunConfig, TrainConfig, config_from_json

Shapes = Mapping[str, tuple[int, ...]]
"""Path of a parameter -> its shape."""


@dataclass(frozen=True, kw_only=True)
class Base:
    """`config`: of the training it came from, with the model as data and tokenizer made it; converted weights, which no
    training of ours made, get a plain one. `was_trained`: whether it is of a training of ours."""

    path: Path
    family: str
    model: Model
    contract: Contract
    config: TrainConfig
    was_trained: bool

    @property
    def sets(self) -> tuple[DataSet, ...]:
        """Its data sets, in the contract's order; none of converted weights."""
        return self.config.data.sets if self.was_trained else ()


def open_base(path: Path) -> Base:
    """Of a run folder or a checkpoint. Raises UserError where there is none."""
    side = read_side_files(path)
    model, contract = model_from_json(side.model), side.contract
    was_trained = {"data", "model", "train", "run"} <= set(side.config)
    if was_trained:
        read = config_from_json(side.config)
        config = TrainConfig(data=read.data, model=model.config, train=read.train, run=read.run)
    else:
        data = DataConfig(
            sets=(DataSet(prepared="none"),), roles=contract.roles, image_size=contract.image_size, fit=contract.fit,
            history=contract.history, chunk=contract.chunk,
        )  # fmt: skip
        config = TrainConfig(data=data, model=model.config, train=OptimizationConfig(), run=RunConfig())
    return Base(
        path=path, family=str(side.model["family"]), model=model, contract=contract, config=config, was_trained=was_trained
    )


def shapes_of(config: TrainConfig) -> dict[str, tuple[int, ...]]:
    """Of the parameters of a configuration's model; nothing is computed."""
    model, batch = nominal_model(config), nominal_batch(config, 1)
    variables = jax.eval_shape(model.init, jax.random.key(0), batch)
    return {path: tuple(leaf.shape) for path, leaf in pytree.flatten(variables["params"]).items()}


def num_parameters(shapes: Shapes) -> int:
    return sum(math.prod(shape) for shape in shapes.values())


def unfit(old: Shapes, new: Shapes) -> tuple[str, ...]:
    """Paths of the checkpoint that the new model has in another shape or not at all."""
    return tuple(sorted(path for path, shape in old.items() if new.get(path) != shape))
