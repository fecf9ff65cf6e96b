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
from typing import Any, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import optax

from rtx.models.protocol import Model
from rtx.spec import Batch
from rtx.train import pytree


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


@runtime_checkable
class Parts(Protocol):
    """Which parameters are trained; the others have no gradient and no optimizer, and stay as they are."""

    def split(self, params: Any) -> tuple[Any, Any]:
        """(trained, not trained): two pytrees, of any structure."""

    def join(self, trainable: Any, frozen: Any) -> Any:
        """The parameters again, in the structure that `split` took them from."""


@dataclass(frozen=True)
class _Everything:
    def split(self, params: Any) -> tuple[Any, Any]:
        return params, None

    def join(self, trainable: Any, frozen: Any) -> Any:
        return trainable


EVERYTHING: Parts = _Everything()


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
    parts: Parts = EVERYTHING,
) -> TrainState:
    """The state before the first step: a pure function of the seed and the shapes of `batch`.

    `given`: variables by path ("params/dense/kernel") that are taken as they are; all of them must be the model's.
    """
    root = jax.random.key(seed, impl="threefry2x32")
    fresh = dict(model.init(named(root, "init"), batch))
    variables = pytree.unflatten_like(fresh, {**pytree.flatten(fresh), **given})
    params = variables["params"]
    zero = jnp.zeros((), jnp.int32)
    return TrainState(
        step=zero,
        variables=variables,
        ema=params if ema else None,
        opt_state=optimizer.init(parts.split(params)[0]),
        rng=jax.random.key_data(root),
        nonfinite=zero,
        nonfinite_in_a_row=zero,
    )


def to_tree(state: TrainState) -> dict[str, Any]:
    """The state as the mapping a checkpoint stores."""
    return {f.name: getattr(state, f.name) for f in dataclasses.fields(TrainState)}


def from_tree(tree: Mapping[str, Any]) -> TrainState:
    return TrainState(**tree)
