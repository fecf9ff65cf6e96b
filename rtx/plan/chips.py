"""Accelerators and how they are wired: what `--topology` names.

    v5p:8x8x8      a slice of TPU v5p, 512 chips in a torus of three axes
    v5e:4x4        16 chips in two axes, too few for the links around the edges
    gpu:h200x64    64 GPUs, in boxes of eight

Figures are the makers' own, per chip (operations per second: `rtx.train.accelerators`). A link carries so much in each
direction; what programs get of it is less.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass

from rtx.errors import UserError, unknown_name
from rtx.train.accelerators import peak_flops

GB = 1e9
GIB = float(2**30)

LINK_SHARE = 0.9
"""Of a link's rate that large transfers get (of 1e11 B/s 0.9e11: "How to Scale Your Model", chapter on TPUs)."""


@dataclass(frozen=True, kw_only=True)
class Chip:
    """One device as jax sees it. `source`: where its figures stand."""

    name: str
    flops: float  # bfloat16 products, per second
    memory: float  # bytes
    memory_rate: float  # bytes per second
    link_rate: float  # bytes per second and direction of a link: to a neighbour, or to the switch in a box of GPUs
    clock: float = 0.0  # cycles per second of the compiler's estimates; 0 = not given
    axes: int = 0  # of the torus; 0 = no TPU
    whole_side: int = 0  # chips along an axis from which on its ends are joined: 2D, only a whole pod's; 3D, any multiple of 4
    host_chips: int = 4
    host_cores: int = 0  # CPU cores of a host
    box: int = 1  # GPUs joined by a switch
    network_rate: float = 0.0  # bytes per second and direction between boxes, per GPU
    source: str


def _peak(kind: str) -> float:
    found = peak_flops(kind)
    assert found is not None, kind
    return found


def _tpu_clock(kind: str, products_per_cycle: int) -> float:
    return _peak(kind) / (2 * products_per_cycle)


CHIPS: Mapping[str, Chip] = {
    chip.name: chip
    for chip in (
        Chip(
            name="v4", flops=_peak("TPU v4"), memory=32 * GIB, memory_rate=1200 * GB, link_rate=50 * GB, axes=3, whole_side=4,
            clock=_tpu_clock("TPU v4", 8 * 128**2), host_cores=240, source="docs.cloud.google.com/tpu/docs/v4",
        ),
        Chip(
            name="v5e", flops=_peak("TPU v5e"), memory=16 * GIB, memory_rate=819 * GB, link_rate=50 * GB, axes=2, whole_side=16,
            clock=_tpu_clock("TPU v5e", 4 * 128**2), host_cores=112, source="docs.cloud.google.com/tpu/docs/v5e",
        ),
        Chip(
            name="v5p", flops=_peak("TPU v5p"), memory=95 * GIB, memory_rate=2765 * GB, link_rate=100 * GB, axes=3,
            whole_side=4, clock=_tpu_clock("TPU v5p", 8 * 128**2), host_cores=208, source="docs.cloud.google.com/tpu/docs/v5p",
        ),
        Chip(
            name="v6e", flops=_peak("TPU v6e"), memory=32 * GIB, memory_rate=1638 * GB, link_rate=100 * GB, axes=2,
            whole_side=16, host_cores=180, source="docs.cloud.google.com/tpu/docs/v6e",
        ),
        Chip(
            name="a100", flops=_peak("A100"), memory=80 * GB, memory_rate=2039 * GB, link_rate=300 * GB, box=8, host_chips=8,
            host_cores=128, network_rate=25 * GB, source="NVIDIA A100 80 GB SXM data sheet; 200 Gb/s of network a GPU",
        ),
        Chip(
            name="h100", flops=_peak("H100"), memory=80 * GB, memory_rate=3350 * GB, link_rate=450 * GB, box=8, host_chips=8,
            host_cores=112, network_rate=50 * GB, source="NVIDIA H100 SXM data sheet; 400 Gb/s of network a GPU",
        ),
        Chip(
            name="h200", flops=_peak("H200"), memory=141 * GB, memory_rate=4800 * GB, link_rate=450 * GB, box=8, host_chips=8,
            host_cores=112, network_rate=50 * GB, source="NVIDIA H200 SXM data sheet; 400 Gb/s of network a GPU",
        ),
    )
}  # fmt: skip

_TPUS = tuple(name for name, chip in CHIPS.items() if chip.axes)
_GPUS = tuple(name for name, chip in CHIPS.items() if not chip.axes)


@dataclass(frozen=True)
class Topology:
    """So many of a chip. `sides`: of the torus; one side for GPUs."""

    chip: Chip
    sides: tuple[int, ...]

    @property
    def num_chips(self) -> int:
        return math.prod(self.sides)

    @property
    def is_tpu(self) -> bool:
        return self.chip.axes > 0

    @property
    def num_hosts(self) -> int:
        return max(1, self.num_chips // self.chip.host_chips)

    @property
    def name(self) -> str:
        if self.is_tpu:
            return f"{self.chip.name}:{'x'.join(map(str, self.sides))}"
        return f"gpu:{self.chip.name}x{self.num_chips}"

    def is_ring(self, axis: int) -> bool:
        """Whether the ends of a side are joined."""
        side, whole = self.sides[axis], self.chip.whole_side
        return side >= whole if self.chip.axes == 2 else side % whole == 0


def parse_topology(text: str) -> Topology:
    """Raises UserError for a chip or a shape that does not exist, with what does."""
    kind, _, shape = text.strip().lower().partition(":")
    if kind == "gpu":
        return _gpus(text, shape)
    if kind not in _TPUS:
        raise unknown_name("topology", text, [*(f"{name}:..." for name in _TPUS), "gpu:h200x64"])
    sides = tuple(int(side) for side in shape.split("x") if side.isdecimal())
    chip = CHIPS[kind]
    if len(sides) == 2 and chip.axes == 3:
        sides = (*sides, 1)
    if not re.fullmatch(r"\d+(x\d+)*", shape) or len(sides) != chip.axes or 0 in sides:
        example = "8x8x8" if chip.axes == 3 else "16x16"
        raise UserError(f"--topology {text}: a {kind} slice has {chip.axes} sides, as in {kind}:{example}")
    if any(side % part for side, part in zip(sides, (2, 2, 1), strict=False)):
        raise UserError(f"--topology {text}: the first two sides must be even, for a host has 2x2 chips; for one, {kind}:2x2")
    return Topology(chip, sides)


def _gpus(text: str, shape: str) -> Topology:
    name, _, count = shape.rpartition("x")
    if name not in _GPUS:
        raise unknown_name("GPU", name or shape, _GPUS)
    if not count.isdecimal() or int(count) < 1:
        raise UserError(f"--topology {text}: how many? As in gpu:{name}x64")
    return Topology(CHIPS[name], (int(count),))
