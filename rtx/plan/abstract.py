"""A run without its data and without its memory: batch and state as shapes, and what they weigh on each chip.

Data sets and vocabularies need not be here. The shapes of a batch follow from the configuration; what else follows from data
(how many numbers an action has, ids of actions, bins) is as the configuration has it, and of no weight for a plan.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from rtx.models.blank import blank_batch
from rtx.models.families import build_model, reads
from rtx.models.protocol import Model
from rtx.models.vla.config import VLAConfig
from rtx.spec import Batch
from rtx.train import imitation
from rtx.train.config import TrainConfig
from rtx.train.parallel import rules
from rtx.train.parallel.mesh import batch_sharding, layout_of
from rtx.train.programs import init_of
from rtx.train.state import TrainState


def nominal_model(config: TrainConfig) -> Model:
    """The model, with bins in the place of those that only data can give."""
    model = config.model
    if isinstance(model, VLAConfig):
        values = model.bin_values
        if model.bins == "quantile" and not values:
            values = (tuple(np.linspace(-1, 1, model.num_bins).tolist()),) * model.action_dims
        plan = config.data.template != "question"
        model = dataclasses.replace(model, bin_values=values, plan=plan, plan_end=model.plan_end or ((2,) if plan else ()))
    return build_model(model)


def nominal_batch(config: TrainConfig, size: int) -> Batch:
    """Zeros of a batch's shapes, as it lies on the device, with texts as wide as they can be."""
    data, model = config.data, config.model
    kind = reads(model)
    words = kind != "sentences"
    text = np.zeros((size, model.text_length), np.int32) if words else np.zeros((size, model.sentence_width), np.float32)
    return blank_batch(
        text,
        roles=data.roles,
        image_size=data.image_size,
        history=data.history,
        proprio=getattr(model, "proprio_dims", 0),
        action=(data.history if data.frame_actions else data.chunk, model.action_dims),
        sample=np.zeros((size, 2), np.uint32),
        target=np.zeros((size, model.target_length), np.int32) if kind == "vla" else None,
    )


@dataclasses.dataclass(frozen=True, eq=False)
class Run:
    """A step and its arguments, as shapes."""

    model: Model
    step: imitation.Step
    state: TrainState
    batch: imitation.Groups


def abstract_run(config: TrainConfig, mesh: Mesh | None, model: Model | None = None) -> Run:
    """`mesh`: the arguments lie on it, and the step is the one that a run on it compiles; None = one device."""
    model = model or nominal_model(config)
    optimizer = imitation.make_optimizer(config.train)
    example = nominal_batch(config, 1)
    state = jax.eval_shape(init_of(config, model, optimizer), example)
    step = imitation.make_step(model, optimizer, config.train, num_sets=len(config.data.sets), mesh=mesh)
    rows = jax.tree.map(lambda x: _shape_of(x, config.data.batch_size // config.train.groups), nominal_batch(config, 1))
    run = Run(model, step, state, rows if config.train.groups == 1 else (rows,) * config.train.groups)
    return run if mesh is None else placed(run, mesh)


def placed(run: Run, mesh: Any) -> Run:
    """The same shapes, on a mesh (which may be abstract)."""
    state = jax.tree.map(_placed, run.state, rules.state_shardings(mesh, run.state, run.model.param_axes()))
    rows = batch_sharding(mesh)
    return dataclasses.replace(run, state=state, batch=jax.tree.map(lambda x: _placed(x, rows), run.batch))


@dataclasses.dataclass(frozen=True)
class Weights:
    """What a run keeps from step to step, in bytes of one chip, and how many parameters there are in all."""

    num_parameters: float
    params: float
    optimizer: float  # moments, average, batch statistics, counters
    batch: float


def weights_of(run: Run) -> Weights:
    """Of a run on a mesh."""
    each = rules.bytes_per_device(run.state, layout_of(run.state))
    batch = sum(math.prod(x.sharding.shard_shape(x.shape)) * x.dtype.itemsize for x in jax.tree.leaves(run.batch))
    count = sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(run.state.variables["params"]))
    return Weights(*map(float, (count, each.params, each.rest, batch)))


def _shape_of(one: Any, rows: int) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct((rows, *one.shape[1:]), jnp.dtype(one.dtype))


def _placed(one: Any, sharding: Any) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(one.shape, one.dtype, sharding=sharding)
