"""What changes from step to step, as one pytree, and where randomness comes from.

Every random number of a run is `fold_in`-ed from one root key, a name and a counter, so that it depends on what it is
for and not on how often somebody asked before: a resumed run draws what the uninterrupted one would have drawn.
"""

from __future__ import annotations

import dataclasses
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import optax

from rtx.models.protocol import Model
from rtx.spec import Batch


@dataclass(frozen=True, kw_only=True)
class TrainState:
    """Leaves are arrays, or what `eval_shape` and restores put in their place, hence `Any`."""

    step: Any  # int32 [], steps taken, skipped ones included
    variables: Any  # {"params": float32 ..., and what else the model keeps}
    ema: Any  # running average of variables["params"], or None
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


def init_state(model: Model, optimizer: optax.GradientTransformation, batch: Batch, *, seed: int, ema: bool) -> TrainState:
    """The state before the first step: a pure function of the seed and the shapes of `batch`."""
    root = jax.random.key(seed, impl="threefry2x32")
    variables = dict(model.init(named(root, "init"), batch))
    params = variables["params"]
    zero = jnp.zeros((), jnp.int32)
    return TrainState(
        step=zero,
        variables=variables,
        ema=params if ema else None,
        opt_state=optimizer.init(params),
        rng=jax.random.key_data(root),
        nonfinite=zero,
        nonfinite_in_a_row=zero,
    )


def to_tree(state: TrainState) -> dict[str, Any]:
    """The state as the mapping a checkpoint stores."""
    return {f.name: getattr(state, f.name) for f in dataclasses.fields(TrainState)}


def from_tree(tree: Mapping[str, Any]) -> TrainState:
    return TrainState(**tree)
