"""What a model reports of a batch, added up: over the rows of a batch, over groups of rows, and for each data set.

    model.loss -> {"accuracy": [b] or [], "tokens": [b], ...}  --sums--> {"accuracy": Sums(total [s], weight [s]), ...}

A row counts by its tokens, or by its valid action entries where the model counts no tokens. NaN is nothing: it is left out
with its weight, so that a question does not spoil the accuracy of actions, nor a robot that of answers.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from rtx.models.protocol import Metrics
from rtx.spec import Batch

_COUNTS = "tokens"
_ADDED_UP = "loss"  # by the step itself, as it adds up gradients: of its rows only the data sets are told


class Sums(NamedTuple):
    """Of one figure: sum of values times weights, and of the weights, one of each per data set, or scalars."""

    total: Any
    weight: Any


def row_weights(metrics: Metrics, batch: Batch) -> Float[Array, " b"]:
    """How much each row counts. Tokens that are counted for all rows together are shared out evenly."""
    tokens = metrics.get("tokens")
    if tokens is None:
        return jnp.sum(batch.action_mask, axis=(-2, -1), dtype=jnp.float32)
    b = len(batch.sample)
    return jnp.broadcast_to(tokens / b, (b,)) if tokens.ndim == 0 else tokens.astype(jnp.float32)


def sums_per_set(
    values: Float[Array, " b"],
    weights: Float[Array, " b"],
    embodiment: Int[Array, " b"],
    num_sets: int,
    *,
    nan_is_nothing: bool = True,
) -> Sums:
    """One figure of rows, added up for each data set."""
    if nan_is_nothing:
        weights = jnp.where(jnp.isnan(values), 0.0, weights)
    totals = jnp.where(weights > 0, values * weights, 0.0)
    nothing = jnp.zeros(num_sets)
    return Sums(nothing.at[embodiment].add(totals), nothing.at[embodiment].add(weights))


def of_step(metrics: Sequence[Metrics], groups: Sequence[Batch], num_sets: int) -> dict[str, Any]:
    """Figures of a step whose rows went through the model in `groups`: scalars, and for `num_sets` > 0 those of rows as
    `{"sets": {name: Sums}}`. All groups report the same names."""
    weights = [row_weights(one, group) for one, group in zip(metrics, groups, strict=True)]
    found: dict[str, Any] = {"tokens": sum(w.sum() for w in weights)} if "tokens" in metrics[0] else {}
    sets: dict[str, Sums] = {}
    for name in metrics[0]:
        values = [one[name] for one in metrics]
        if name == _COUNTS or (name == _ADDED_UP and values[0].ndim == 0):
            continue
        if values[0].ndim == 0:
            found[name] = values[0] if len(values) == 1 else _mean(jnp.stack(values), jnp.stack([w.sum() for w in weights]))
            continue
        rows, of_rows = jnp.concatenate(values), jnp.concatenate(weights)
        if name != _ADDED_UP:
            found[name] = _mean(rows, of_rows)
        if num_sets:
            sets[name] = sums_per_set(rows, of_rows, jnp.concatenate([group.embodiment for group in groups]), num_sets)
    return {**found, "sets": sets} if sets else found


def _mean(values: Float[Array, " n"], weights: Float[Array, " n"]) -> jax.Array:
    """NaN where there is nothing."""
    weights = jnp.where(jnp.isnan(values), 0.0, weights)
    return jnp.where(weights > 0, values * weights, 0.0).sum() / weights.sum()
