"""A plan without a compiler: for GPUs, whose compiler needs one, and to sort out the candidates of a search.

    parameters, optimizer, batch      exact: from shapes and shardings
    activations                       the most that lives at a time in the traced step (`live_bytes`), by rows of a chip
    exchanges                         fsdp: each parameter gathered twice, its gradient summed once, for each micro-batch
                                      data: gradients summed once; tensor: activations summed in each layer
    time                              products at the peak; exchanges of fsdp and data behind them, those of tensor on top

Good for an order, and to a fifth or so for memory; a compiled plan decides.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import jax
from jax.extend.core import ClosedJaxpr, Jaxpr, JaxprEqn
from jax.sharding import AbstractMesh

from rtx.models.families import reads
from rtx.models.vla.loss import MAX_ENTRIES
from rtx.plan.abstract import Run, Weights, placed, weights_of
from rtx.plan.chips import LINK_SHARE, Topology
from rtx.plan.roofline import Times
from rtx.train.config import TrainConfig
from rtx.train.parallel import rules
from rtx.train.parallel.mesh import AXES, layout_of


@dataclass(frozen=True, kw_only=True)
class Traced:
    """What does not depend on the mesh: operations of the whole step, and bytes that live in it besides parameters."""

    needed: float
    executed: float
    live: float  # of all rows of a micro-batch together


@dataclass(frozen=True, kw_only=True)
class Laid:
    """What depends on the mesh alone. Numbers of entries are of one chip's share over "tensor"."""

    weights: Weights
    grads: float  # bytes
    whole: float  # bytes of the largest parameter while it is whole on a chip, with its gradient, and of a layer
    gathered: float  # entries that are split over "fsdp" and must be had whole
    kept: float  # entries of the chip itself
    across: float  # entries a token whose partial sums are on several chips of "tensor"
    matrices: float  # entries of all matrices, on all chips


def laid_out(run: Run, mesh: AbstractMesh) -> Laid:
    """`run`: its shapes, on no mesh."""
    there = placed(run, mesh)
    fsdp, tensor = mesh.shape["fsdp"], mesh.shape["tensor"]
    gathered = kept = across = matrices = largest = layer = 0.0
    for leaf in jax.tree.leaves(there.state.variables["params"]):
        spec, size = leaf.sharding.spec, math.prod(leaf.shape)
        matrices += size * (len(leaf.shape) > 1)
        share = size / (tensor if "tensor" in spec else 1)
        gathered += share * ("fsdp" in spec)
        if len(leaf.shape) > 2:  # of a stack of layers one at a time
            layer = max(layer, share / leaf.shape[0])
        elif "fsdp" in spec:
            largest = max(largest, share)
        kept += share / (fsdp if "fsdp" in spec else 1)
        if "tensor" in spec and len(leaf.shape) > 2:  # of the pairs of matrices around heads and feed-forward layers
            across += leaf.shape[0] * leaf.shape[-1 if spec[-1] != "tensor" else -2]
    grads = rules.bytes_per_device(there.state, layout_of(there.state)).grads
    whole = _WHOLE * largest + _LAYER * layer
    return Laid(
        weights=weights_of(there), grads=float(grads), whole=whole, gathered=gathered, kept=kept, across=across,
        matrices=matrices,
    )  # fmt: skip


def calculate(config: TrainConfig, topology: Topology, laid: Laid, traced: Traced) -> dict[str, Any]:
    """As `child.measure` gives it. `laid`: on `abstract_mesh` of the same configuration."""
    mesh = abstract_mesh(config, topology)
    weights, grads = laid.weights, laid.grads
    live = traced.live / (mesh.shape["data"] * mesh.shape["fsdp"]) + laid.whole
    if reads(config.model) == "vla":
        live += _LOGITS * MAX_ENTRIES
    exchanges = _exchanges(config, topology, laid, mesh, traced)
    times = _times(traced, topology, exchanges, weights.params + weights.optimizer)
    used = weights.params + weights.optimizer + weights.batch + grads + live
    fits = used <= topology.chip.memory
    memory = {"arguments": used - grads - live, "results": 0.0, "temporaries": grads + live, "program": 0.0}
    return {
        "mesh": dict(mesh.shape), "weights": asdict(weights), "needed": traced.needed, "executed": traced.executed,
        "memory": memory if fits else {"used": used, "limit": topology.chip.memory},
        "times": asdict(times) if fits else None, "exchanges": exchanges, "flops": traced.executed / topology.num_chips,
        "compiled": False,
    }  # fmt: skip


_WHOLE = 2 + 4
"""Bytes of an entry that is gathered in bfloat16, and of its gradient before that is dealt out."""
_LAYER = 3 * _WHOLE
"""A layer has several matrices, and the next one's are under way."""
_LOGITS = 3 * 4
"""Bytes of a logit: itself, its exponential, its gradient."""


def abstract_mesh(config: TrainConfig, topology: Topology) -> AbstractMesh:
    return AbstractMesh(config.run.mesh.sizes(topology.num_chips), AXES)


def _times(traced: Traced, topology: Topology, exchanges: list[dict[str, Any]], kept: float) -> Times:
    chip = topology.chip
    products = traced.executed / topology.num_chips / chip.flops
    memory = 2 * kept / chip.memory_rate  # the update alone: what is kept, read and written
    hidden = sum((one["hidden_s"] for one in exchanges), 0.0)
    total = sum((one["seconds"] for one in exchanges), 0.0)
    exposed = max(0.0, hidden - products) + total - hidden
    return Times(step=products + memory + exposed, products=products, memory=memory, exchanges=total, exposed=exposed)


def _exchanges(config: TrainConfig, topology: Topology, laid: Laid, mesh: AbstractMesh, traced: Traced) -> list[dict[str, Any]]:
    data, fsdp, tensor = (mesh.shape[axis] for axis in AXES)
    wide = 2 if getattr(config.model, "compute_dtype", "float32") == "bfloat16" else 4
    parts = config.train.num_parts
    tokens = traced.needed / (6 * laid.matrices)
    rows = [
        ("all-gather", fsdp, 2 * parts, 2 * parts * wide * laid.gathered * (fsdp - 1) / fsdp, tensor, True),
        ("reduce-scatter", fsdp, parts, parts * wide * laid.gathered * (fsdp - 1) / fsdp, tensor, True),
        ("all-reduce", data, parts, 2 * parts * 4 * laid.kept * (data - 1) / data, fsdp * tensor, True),
        ("all-reduce", tensor, 1, 3 * wide * laid.across * tokens / (data * fsdp) * (tensor - 1) / tensor, 1, False),
    ]
    found = []
    for kind, group, count, nbytes, stride, is_hidden in rows:
        if group > 1 and nbytes:
            seconds = nbytes / link_rate(topology, group, stride)
            row = {"kind": kind, "group": group, "count": count, "bytes": nbytes, "seconds": seconds}
            found.append(row | {"hidden_s": seconds * is_hidden})
    return found


def link_rate(topology: Topology, group: int, stride: int) -> float:
    """Bytes per second with which a chip exchanges within groups of so many, `stride` chips apart."""
    chip = topology.chip
    if topology.is_tpu:
        return _torus_rate(topology, group, stride)
    together = max(1, min(group, chip.box // stride))  # GPUs of a group in one box
    inside = chip.link_rate * LINK_SHARE
    return inside if together == group else min(inside, chip.network_rate * LINK_SHARE * together)


def _torus_rate(topology: Topology, group: int, stride: int) -> float:
    """Over the axes that a group fills when the last side is filled first."""
    rate, filled = 0.0, 1
    for axis in sorted(range(len(topology.sides)), key=lambda axis: -axis):
        side = topology.sides[axis]
        if side == 1:
            continue
        start, filled = filled, filled * side
        if filled <= stride or start >= stride * group:
            continue
        whole = start >= stride and filled <= stride * group and topology.is_ring(axis)
        rate += (2 if whole else 1) * topology.chip.link_rate * LINK_SHARE
    return rate or topology.chip.link_rate * LINK_SHARE


# what lives

_HELD = frozenset({"dot_general", "conv_general_dilated", "scan", "while", "gather", "sort", "concatenate", "custom_vjp_call"})
"""What compilers write out; the rest is mostly computed where it is used."""


def live_bytes(jaxpr: Jaxpr, ignored: frozenset[tuple[int, ...]]) -> float:
    """The most that lives at a time of what is made inside; arrays of the shapes `ignored` are none of it."""
    last = {id(var): i for i, one in enumerate(jaxpr.eqns) for var in one.invars}
    last |= {id(var): len(jaxpr.eqns) for var in jaxpr.outvars}
    now = most = 0.0
    ends: dict[int, float] = {}
    for i, one in enumerate(jaxpr.eqns):
        made = sum((_nbytes(var, ignored) for var in one.outvars), 0.0) if one.primitive.name in _HELD else 0.0
        inside = max((live_bytes(inner, ignored) for inner in _inner(one)), default=0.0)
        most = max(most, now + made + inside)
        for var in one.outvars:
            if one.primitive.name in _HELD and id(var) in last:
                size = _nbytes(var, ignored)
                now += size
                ends[last[id(var)]] = ends.get(last[id(var)], 0.0) + size
        now -= ends.pop(i, 0.0)
    return most


def _inner(one: JaxprEqn) -> list[Jaxpr]:
    found = []
    for value in one.params.values():
        for part in value if isinstance(value, tuple | list) else (value,):
            if isinstance(part, ClosedJaxpr | Jaxpr):
                found.append(part.jaxpr if isinstance(part, ClosedJaxpr) else part)
    return found


def _nbytes(var: Any, ignored: frozenset[tuple[int, ...]]) -> float:
    shape = getattr(var.aval, "shape", ())
    if shape in ignored or not hasattr(var.aval, "dtype") or jax.numpy.issubdtype(var.aval.dtype, jax.dtypes.extended):
        return 0.0
    return float(math.prod(shape) * var.aval.dtype.itemsize)


def parameter_shapes(params: Mapping[str, Any]) -> frozenset[tuple[int, ...]]:
    """Of parameters, of one layer of stacked ones, and of the latter with the stack's axis 1 long."""
    shapes = {tuple(leaf.shape) for leaf in jax.tree.leaves(params)}
    return frozenset(shapes | {s[1:] for s in shapes if len(s) > 1} | {(1, *s[1:]) for s in shapes if len(s) > 1})
