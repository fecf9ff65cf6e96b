"""The devices of a run as a grid of three axes, and where a batch lies on it.

    data      copies of the model, each with its own rows of the batch
    fsdp      rows too; and parameters, gradients and optimizer in parts, gathered layer by layer when they are used
    tensor    heads, feed-forward widths and the vocabulary in parts; every device of the axis sees the same rows

The last axis varies fastest over devices, so "tensor", which talks most, stays inside a host where it fits.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from jax.experimental import mesh_utils
from jax.sharding import AbstractMesh, AxisType, Mesh, NamedSharding, PartitionSpec

from rtx.errors import UserError
from rtx.models.layout import DATA, FSDP, ROWS, TENSOR

AXES = (DATA, FSDP, TENSOR)
AnyMesh = Mesh | AbstractMesh
"""Of devices, or of its shape alone: what layouts are computed from."""


@dataclass(frozen=True, kw_only=True)
class MeshConfig:
    """Devices along each axis; their product is the number of devices."""

    data: int = -1  # at most one axis may be -1: as many as are left
    fsdp: int = 1
    tensor: int = 1

    def problems(self, where: str) -> list[str]:
        sizes = {name: getattr(self, name) for name in AXES}
        found = [f"{where}.{name} {size} must be at least 1, or -1" for name, size in sizes.items() if size < 1 and size != -1]
        if list(sizes.values()).count(-1) > 1:
            found.append(f"{where}: only one of {', '.join(AXES)} may be -1, what is left over by the others")
        return found

    def sizes(self, num_devices: int) -> tuple[int, int, int]:
        """Of data, fsdp and tensor on so many devices. Raises UserError where they cannot be dealt out, with what could be."""
        given = [getattr(self, name) for name in AXES]
        fixed = math.prod(size for size in given if size != -1)
        if num_devices % fixed or (-1 not in given and fixed != num_devices):
            shown = ", ".join(f"run.mesh.{name}={size}" for name, size in zip(AXES, given, strict=True))
            divisors = ", ".join(str(n) for n in range(1, num_devices + 1) if num_devices % n == 0)
            raise UserError(
                f"{shown} do not fit {num_devices} devices: the product must be {num_devices}, so each is one of {divisors}; "
                "-1 for one of them takes what is left"
            )
        data, fsdp, tensor = (num_devices // fixed if size == -1 else size for size in given)
        return data, fsdp, tensor


def build_mesh(config: MeshConfig, devices: Sequence[Any] | None = None) -> Mesh:
    """All devices (of all processes), or these, in an order in which neighbours on an axis are near each other.

    Raises UserError for sizes that do not fit.
    """
    devices = jax.devices() if devices is None else devices
    sizes = config.sizes(len(devices))
    automatic = (AxisType.Auto,) * len(AXES)
    try:
        return jax.make_mesh(sizes, AXES, axis_types=automatic, devices=devices)
    except NotImplementedError:  # an axis that is no product of whole sides of the torus
        grid = mesh_utils.create_device_mesh(sizes, devices, allow_split_physical_axes=True)
        return Mesh(np.asarray(grid), AXES, axis_types=automatic)


def num_row_shards(mesh: AnyMesh) -> int:
    """Parts that the rows of a batch are dealt out in."""
    return math.prod(mesh.shape[axis] for axis in ROWS)


def batch_sharding(mesh: AnyMesh) -> NamedSharding:
    """Of every array of a batch: rows in equal, contiguous parts over "data" and "fsdp"."""
    return NamedSharding(mesh, PartitionSpec(ROWS))


def everywhere(mesh: AnyMesh) -> NamedSharding:
    """The whole of it on every device."""
    return NamedSharding(mesh, PartitionSpec())


def check_batch(mesh: Mesh, batch_size: int, *, parts: int) -> None:
    """`parts`: into which a batch is cut before the model sees it (groups times micro-batches).

    Raises UserError for rows that cannot be dealt out evenly.
    """
    shards = num_row_shards(mesh)
    if batch_size % (parts * shards):
        raise UserError(
            f"data.batch_size {batch_size} must be a multiple of {parts * shards}: {shards} devices share the rows "
            f"(run.mesh.data x run.mesh.fsdp) of each of its {parts} parts (train.groups x train.accumulate). Change the "
            "batch, share rows over fewer with run.mesh.tensor, or let the run see fewer devices"
        )


def layout_of(tree: Any) -> Any:
    """The shardings of arrays, or of shapes that have one."""
    return jax.tree.map(lambda leaf: leaf.sharding, tree)
