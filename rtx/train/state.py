"""What changes from step to step, as one pytree, and where randomness comes from.

Every random number of a run is `fold_in`-ed from one root key, a name and a counter, so that it depends on what it is
for and not on how often somebody asked before: a resumed run draws what the uninterrupted one would have drawn.
"""

from __future__ import annotations

import dataclasses
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import jax
import jax.numpy as jnp
import optax

from rtx.models.protocol import Model
from rtx.spec import Batch
from rtx.train import pytree
from rtx.train.trainable import EVERYTHING, Trainable


@dataclass(frozen=True, kw_only=True)
class TrainState:
    """Leaves are arrays, or what `eval_shape` and restores put in their place, hence `Any`."""

    step: Any  # int32 [], steps taken, skipped ones included
    variables: Any  # {"params": float32 ..., and what else the model keeps}
    ema: Any  # running average of what is trained of variables["params"], or None
    opt_state: Any
    rng: Any  # uint32 [2], data of the root key; never changes
    nonfinite: Any  # int32 [], updates skipped so far
    nonfinite_in_a_row: Any  # int32 []


jax.tree_util.register_dataclass(TrainState, data_fields=[f.name for f in dataclasses.fields(TrainState)], meta_fields=[])


def named(key: jax.Array, name: str) -> jax.Array:
    """The key for the purpose `name`, independent of those of other names."""
    return jax.random.fold_in(key, zlib.crc32(name.encode()))


def root_key(state: TrainState) -> jax.Array:
    return jax.random.wrap_key_data(state.rng, impl="threefry2x32")


def init_state(
    model: Model,
    optimizer: optax.GradientTransformation,
    batch: Batch,
    given: Mapping[str, Any] = MappingProxyType({}),
    *,
    seed: int,
    ema: bool,
    parts: Trainable = EVERYTHING,
) -> TrainState:
    """The state before the first step: a pure function of the seed and the shapes of `batch`.

    `given`: variables by path ("params/dense/kernel") that are taken as they are; all of them must be the model's.
    Raises UserError for a rule of `parts` that matches nothing.
    """
    root = jax.random.key(seed, impl="threefry2x32")
    fresh = dict(model.init(named(root, "init"), batch))
    variables = pytree.unflatten_like(fresh, {**pytree.flatten(fresh), **given})
    params = parts.begun(variables["params"], named(root, "lora"))
    trained, _ = parts.split(params)
    zero = jnp.zeros((), jnp.int32)
    return TrainState(
        step=zero,
        variables={**variables, "params": params},
        ema=trained if ema else None,
        opt_state=optimizer.init(trained),
        rng=jax.random.key_data(root),
        nonfinite=zero,
        nonfinite_in_a_row=zero,
    )


def to_tree(state: TrainState) -> dict[str, Any]:
    """The state as the mapping a checkpoint stores."""
    return {f.name: getattr(state, f.name) for f in dataclasses.fields(TrainState)}


def from_tree(tree: Mapping[str, Any]) -> TrainState:
    return TrainState(**tree)
