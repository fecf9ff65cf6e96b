"""How long a step takes at best: every instruction at the rate of what it needs most, exchanges over the links they use.

    an instruction      the longer of its products at the chip's peak and its bytes at the memory's rate
    a loop's body       its instructions one after another; exchanges that run meanwhile count where they take longer,
                        exchanges that are waited for count on top
    an exchange         the bytes a chip must send, over the links of the torus' axes that its group lies along

Real steps take longer: matrices that do not fill the multipliers, instructions' starts, uneven hosts. The compiler's own
estimate of cycles, where it gives one, is printed beside it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rtx.plan.chips import LINK_SHARE, Topology
from rtx.plan.hlo import Collective, Work

HOP_S = 1e-6
"""Of a message to a neighbour, however small ("How to Scale Your Model", chapter on sharding)."""

Place = tuple[int, ...]
"""Of a chip in the torus."""


@dataclass(frozen=True)
class Times:
    """Seconds of one step. `step` is less than the sum of the others by what runs at the same time."""

    step: float = 0.0
    products: float = 0.0  # at the chip's peak
    memory: float = 0.0  # all traffic at the memory's rate
    exchanges: float = 0.0  # all of them, one after another
    exposed: float = 0.0  # that part of the exchanges that nothing hides

    def __add__(self, other: Times) -> Times:
        return Times(*(a + b for a, b in zip(_numbers(self), _numbers(other), strict=True)))

    def __mul__(self, trips: int) -> Times:
        return Times(*(trips * a for a in _numbers(self)))


def step_times(work: Work, topology: Topology, places: Sequence[Place]) -> Times:
    """`places`: of the partitions, in their order."""
    chip = topology.chip
    in_turn = sum((max(flops / chip.flops, nbytes / chip.memory_rate) for flops, nbytes in work.steps), 0.0)
    own = max(in_turn, work.nbytes / chip.memory_rate)
    hidden, waited = (
        sum((exchange_seconds(one, topology, places) for one in work.collectives if one.hidden is is_hidden), 0.0)
        for is_hidden in (True, False)
    )
    total = Times(
        step=max(own, hidden) + waited,
        products=work.flops / chip.flops,
        memory=work.nbytes / chip.memory_rate,
        exchanges=hidden + waited,
        exposed=max(0.0, hidden - own) + waited,
    )
    for trips, body in work.loops:
        total += step_times(body, topology, places) * trips
    return total


def exchange_seconds(one: Collective, topology: Topology, places: Sequence[Place]) -> float:
    """On a torus, where each axis has a link either way."""
    group = [places[i] for i in one.group if i < len(places)]
    axes = [axis for axis in range(len(topology.sides)) if len({place[axis] for place in group}) > 1]
    if not axes:
        return 0.0
    link = topology.chip.link_rate * LINK_SHARE
    if one.kind == "collective-permute":
        hops = max(1, sum(_distance(group[0][axis], group[-1][axis], topology, axis) for axis in axes))
        return hops * HOP_S + one.wire_bytes * hops / link
    rate, steps = 0.0, 0.0
    for axis in axes:
        length = len({place[axis] for place in group})
        both_ways = topology.is_ring(axis) and length == topology.sides[axis]
        rate += 2 * link if both_ways else link
        steps += length / 2 if both_ways else length - 1
    return steps * HOP_S + one.wire_bytes / rate


def _distance(a: int, b: int, topology: Topology, axis: int) -> int:
    apart = abs(a - b)
    return min(apart, topology.sides[axis] - apart) if topology.is_ring(axis) else apart


def _numbers(times: Times) -> tuple[float, ...]:
    return (times.step, times.products, times.memory, times.exchanges, times.exposed)
