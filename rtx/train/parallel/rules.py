"""Which part of each parameter lies on which device, from the model's own table of named axes.

    model.param_axes()   (r"mlp/linear", (None, "mlp", "embed"))        one rule for all layers, stacked on the first axis
    MESH_AXES            mlp -> tensor, embed -> fsdp
    on a mesh            llm/layers/mlp/linear  [18, 16384, 2048]  ->  PartitionSpec(None, "tensor", "fsdp")

An axis that its devices do not divide stays whole, and the table says so. What the optimizer and the average keep of a
parameter lies as the parameter does; everything else, counters and batch statistics, is whole on every device.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
from jax.sharding import NamedSharding, PartitionSpec

from rtx.errors import UserError, unknown_name
from rtx.models.layout import FSDP, TENSOR
from rtx.models.protocol import AxisRules
from rtx.tables import text_table
from rtx.train import pytree
from rtx.train.parallel.mesh import AnyMesh, everywhere

MESH_AXES: Mapping[str, str] = {"embed": FSDP, "mlp": TENSOR, "heads": TENSOR, "vocab": TENSOR}
"""Named axis of a parameter -> axis of the mesh that it is split over."""

_PARAMS = "variables/params/"
_FACTORS = "lora/"  # small, and in shapes of their own


class Placement(NamedTuple):
    """Where one parameter lies, and why."""

    spec: PartitionSpec
    rule: str  # "" = none matched
    whole: tuple[str, ...]  # named axes that could not be split evenly, as "heads 1 over tensor=4"


def placement(mesh: AnyMesh, path: str, shape: tuple[int, ...], axes: AxisRules) -> Placement:
    """Of the parameter at `path`. Raises UserError for a rule that matches it and does not fit it."""
    rule, names = _rule_of(path, axes)
    if not rule:
        return Placement(PartitionSpec(), "", ())
    if len(names) != len(shape):
        raise UserError(f"the model's sharding rule {rule!r} names {len(names)} axes, but {path} has shape {list(shape)}")
    spec: list[str | None] = []
    whole = []
    for name, size in zip(names, shape, strict=True):
        axis = None if name is None else _mesh_axis(name, rule)
        if axis is None or mesh.shape[axis] == 1 or axis in spec:
            spec.append(None)
        elif size % mesh.shape[axis]:
            spec.append(None)
            whole.append(f"{name} {size} over {axis}={mesh.shape[axis]}")
        else:
            spec.append(axis)
    return Placement(PartitionSpec(*spec) if any(spec) else PartitionSpec(), rule, tuple(whole))


def _rule_of(path: str, axes: AxisRules) -> tuple[str, tuple[str | None, ...]]:
    if path.startswith(_FACTORS):
        return "", ()
    return next(((pattern, names) for pattern, names in axes if re.search(pattern, path)), ("", ()))


def _mesh_axis(name: str, rule: str) -> str:
    if name not in MESH_AXES:
        raise unknown_name(f"axis in the model's sharding rule {rule!r}", name, MESH_AXES)
    return MESH_AXES[name]


def params_shardings(mesh: AnyMesh, params: Any, axes: AxisRules) -> Any:
    """A sharding for each leaf of `params` (arrays, or their shapes), or of a part of it."""
    flat = {p: NamedSharding(mesh, placement(mesh, p, leaf.shape, axes).spec) for p, leaf in pytree.flatten(params).items()}
    return pytree.unflatten_like(params, flat)


def state_shardings(mesh: AnyMesh, state: Any, axes: AxisRules) -> Any:
    """A sharding for each leaf of a `TrainState` (arrays, or what `eval_shape` gives), in its structure."""
    flat = pytree.flatten(state)
    params = {path.removeprefix(_PARAMS): leaf for path, leaf in flat.items() if path.startswith(_PARAMS)}
    specs = {path: placement(mesh, path, leaf.shape, axes).spec for path, leaf in params.items()}

    def of(path: str, leaf: Any) -> NamedSharding:
        followed = _parameter_in(path, params)
        is_alike = followed is not None and params[followed].shape == leaf.shape
        return NamedSharding(mesh, specs[followed]) if followed is not None and is_alike else everywhere(mesh)

    return pytree.unflatten_like(state, {path: of(path, leaf) for path, leaf in flat.items()})


def _parameter_in(path: str, params: Mapping[str, Any]) -> str | None:
    """The parameter whose path `path` ends with: "opt_state/1/0/mu/llm/final_norm/scale" follows "llm/final_norm/scale"."""
    names = path.split("/")
    tails = ("/".join(names[i:]) for i in range(len(names)))
    return next((tail for tail in tails if tail in params), None)


def held(mesh: AnyMesh | None, axes: AxisRules) -> Callable[[Any], Any]:
    """Inside a step: gives gradients, of all parameters or of a part of them, the layout of their parameters. So they are
    summed over devices into parts, and a sum over micro-batches is kept in parts. Without a mesh, or on one device, nothing."""
    if mesh is None or mesh.size == 1:
        return lambda grads: grads
    return lambda grads: jax.lax.with_sharding_constraint(grads, params_shardings(mesh, grads, axes))


class Bytes(NamedTuple):
    """Of what a run keeps from step to step, or needs while one runs."""

    params: int
    rest: int  # optimizer, average, batch statistics, counters
    grads: int  # of what is trained, while a step runs

    @property
    def total(self) -> int:
        return sum(self)


def bytes_per_device(state: Any, shardings: Any) -> Bytes:
    """Without activations, which depend on batch and recomputation (`rtx plan` compiles the step and tells)."""
    params = rest = grads = 0
    layout = pytree.flatten(shardings)
    for path, leaf in pytree.flatten(state).items():
        size = _shard_bytes(leaf, layout[path])
        if path.startswith(_PARAMS):
            params += size
        else:
            rest += size
        if "/mu/" in path:  # AdamW's first moment: as large as the gradient, and only of what is trained
            grads += size
    return Bytes(params, rest, grads)


def table(mesh: AnyMesh, state: Any, axes: AxisRules) -> str:
    """For the first lines of a run: the rules with what they split, and what each device holds."""
    flat = pytree.flatten(state)
    layout = pytree.flatten(state_shardings(mesh, state, axes))
    rows: dict[tuple[str, str], list[int]] = {}
    whole: dict[str, int] = {}
    for path, leaf in flat.items():
        if not path.startswith(_PARAMS):
            continue
        found = placement(mesh, path.removeprefix(_PARAMS), leaf.shape, axes)
        row = rows.setdefault((found.rule or "(no rule)", _spec_text(found.spec)), [0, 0, 0])
        for i, size in enumerate((1, _nbytes(leaf), _shard_bytes(leaf, layout[path]))):
            row[i] += size
        for line in found.whole:
            whole[line] = whole.get(line, 0) + 1
    lines = [(*key, *(f"{n:,}" for n in row)) for key, row in rows.items()]
    shown = text_table(("rule", "split over", "parameters", "bytes", "bytes per device"), lines)
    shown += "".join(f"\nnot split, does not divide: {line}, {count} parameters" for line, count in whole.items())
    each = bytes_per_device(state, state_shardings(mesh, state, axes))
    return (
        f"{shown}\neach device holds {each.total / 1e6:,.1f} MB: parameters {each.params / 1e6:,.1f}, optimizer and the rest "
        f"{each.rest / 1e6:,.1f}, gradients {each.grads / 1e6:,.1f}; activations come on top"
    )


def _spec_text(spec: PartitionSpec) -> str:
    return " ".join("-" if axis is None else str(axis) for axis in spec) or "whole"


def _nbytes(leaf: Any) -> int:
    return math.prod(leaf.shape) * leaf.dtype.itemsize


def _shard_bytes(leaf: Any, sharding: NamedSharding) -> int:
    return math.prod(sharding.shard_shape(leaf.shape)) * leaf.dtype.itemsize
