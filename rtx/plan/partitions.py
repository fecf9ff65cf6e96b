"""Which partitions exchange with each other: the ways in which compiled modules write it.

{{0,1},{2,3}}                         listed
[2,2]<=[4]   [2,2]<=[2,2]T(1,0)       0 .. 3 in a grid, its axes in another order, then cut into rows
mesh['a'=2,'b'=2] {'b'}               the same, along axes with names; device_ids=(...) before {: in another order
{}                                    everybody
"""

from __future__ import annotations

import re

import numpy as np


def first_group(tail: str, num_partitions: int) -> tuple[int, ...]:
    """The first of the groups of `replica_groups`; of none, everybody. Raises ValueError for a way of writing that is new."""
    if found := re.search(r"replica_groups=\{\{([\d,]+)\}", tail):
        return tuple(int(n) for n in found[1].split(","))
    if found := re.search(r"replica_groups=\[([\d,]+)\]<=\[([\d,]+)\](?:T\(([\d,]+)\))?", tail):
        shape = _numbers(found[1])
        return tuple(int(n) for n in _grid(found[2], found[3]).reshape(shape)[(0,) * (len(shape) - 1)])
    if found := re.search(r"replica_groups=mesh\[([^\]]*)\](?:, device_ids=\((.*?)\))?\s*\{([^}]*)\}", tail):
        places = _along(found[1], found[3])
        return places if found[2] is None else _renumbered(found[2], places)
    if re.search(r"replica_groups=(?!\{\})", tail):
        raise ValueError(f"groups of chips in a way that is not known: {tail[:200]}")
    return tuple(range(num_partitions))


def pairs(tail: str) -> list[tuple[int, int]]:
    """(from, to) of a permutation."""
    found = re.search(r"source_target_pairs=\{(.*?)\}\}", tail)
    numbers = [int(n) for n in re.findall(r"\d+", found[1])] if found else []
    return list(zip(numbers[::2], numbers[1::2], strict=True))


def _along(axes: str, chosen: str) -> tuple[int, ...]:
    """The group of partition 0 in a mesh with named axes; an axis may be chosen in part, 'a':(2)4 being four, two apart."""
    sizes = {name: int(size) for name, size in re.findall(r"'([^']+)'=(\d+)", axes)}
    strides = dict(zip(sizes, np.cumprod([1, *list(sizes.values())[:0:-1]])[::-1].tolist(), strict=True))
    group = np.zeros(1, int)
    for name, before, part in re.findall(r"'([^']+)'(?::\((\d+)\)(\d+))?", chosen):
        count = int(part) if part else sizes[name]
        apart = strides[name] * (sizes[name] // (int(before) * count) if part else 1)
        group = (group[:, None] + np.arange(count) * apart).reshape(-1)
    return tuple(int(n) for n in group)


def _renumbered(order: str, places: tuple[int, ...]) -> tuple[int, ...]:
    """Partitions at these places of a mesh that holds them in this order."""
    found = re.fullmatch(r"\[([\d,]+)\](?:T\(([\d,]+)\)?)?|([\d,]+)", order)
    if found is None:
        raise ValueError(f"partitions of a mesh in a way that is not known: {order}")
    ids = np.array(_numbers(found[3])) if found[3] else _grid(found[1], found[2]).reshape(-1)
    return tuple(int(n) for n in ids[list(places)])


def _grid(shape: str, order: str | None) -> np.ndarray:
    """0, 1, 2, ... in a grid of this shape, its axes in this order."""
    sides = _numbers(shape)
    ids = np.arange(np.prod(sides)).reshape(sides)
    return ids.transpose(_numbers(order)) if order else ids


def _numbers(text: str) -> list[int]:
    return [int(n) for n in text.split(",")]
