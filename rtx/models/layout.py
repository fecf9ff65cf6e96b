"""How a batch lies on many devices while a model runs: rows stay apart, and what XLA must not guess is said.

    with on(mesh):                       around the tracing of a step; without it every function here gives back its input
        x = by_rows(x)                   [b, ...]: rows split over "data" and "fsdp", everything else whole
        x = in_turns(x, n)               [n, b / n, ...]: the rows in n micro-batches
        x = looked_up(table, ids)        rows of a table that is split both ways

Parameters are split by rules (`Model.param_axes`); with the inputs of each layer held by rows, XLA has one way left to run it:
gather the layer's parameters over "fsdp", and split its inner widths over "tensor". Left alone it now and then splits the
width of activations over "fsdp" instead and pays for that in every layer.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from contextvars import ContextVar

import jax
import jax.numpy as jnp
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array, Float, Int

DATA, FSDP, TENSOR = "data", "fsdp", "tensor"
ROWS = (DATA, FSDP)
"""The mesh axes that rows of a batch are split over."""

_mesh: ContextVar[Mesh | None] = ContextVar("mesh", default=None)


@contextlib.contextmanager
def on(mesh: Mesh | None) -> Iterator[None]:
    """What is traced inside is for these devices."""
    token = _mesh.set(mesh if mesh is not None and mesh.size > 1 else None)
    try:
        yield
    finally:
        _mesh.reset(token)


def num_row_shards() -> int:
    """Parts that the rows of a batch are in."""
    mesh = _mesh.get()
    return 1 if mesh is None else math.prod(mesh.shape[axis] for axis in ROWS)


def by_rows(x: jax.Array) -> jax.Array:
    """`x`, batch first. Left as it is where its rows cannot be dealt out evenly (one sample at a time, in evaluation)."""
    return _constrained(x, ROWS)


def in_turns(x: jax.Array, n: int) -> jax.Array:
    """[b, ...] as [n, b / n, ...]: entry i has rows i, i + n, ..., and no row leaves its device."""
    turns = x.reshape(x.shape[0] // n, n, *x.shape[1:]).swapaxes(0, 1)
    mesh = _mesh.get()
    if mesh is None:
        return turns
    return jax.lax.with_sharding_constraint(turns, NamedSharding(mesh, PartitionSpec(None, ROWS)))


def looked_up(table: Float[Array, "v d"], ids: Int[Array, "*n"]) -> Float[Array, "*n d"]:
    """`table[ids]`. Of a table whose width is split over "fsdp" each device looks up its columns, of all rows in its "fsdp"
    group; then columns are exchanged for rows. So no device ever holds the table, nor a gradient of its size."""
    ids = _constrained(ids, (DATA,))
    found = _constrained(jnp.take(table, ids, axis=0), (DATA,), last=FSDP)
    return by_rows(found)


def _constrained(x: jax.Array, rows: tuple[str, ...], *, last: str | None = None) -> jax.Array:
    mesh = _mesh.get()
    if mesh is None or x.ndim == 0 or x.shape[0] % math.prod(mesh.shape[axis] for axis in ROWS):
        return x
    width = last if last is not None and x.shape[-1] % mesh.shape[last] == 0 else None
    spec = PartitionSpec(rows, *(None,) * (x.ndim - 2), width) if x.ndim > 1 else PartitionSpec(rows)
    return jax.lax.with_sharding_constraint(x, NamedSharding(mesh, spec))
