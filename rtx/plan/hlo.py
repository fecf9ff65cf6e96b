"""The text of a compiled module, as far as a plan needs it: which instructions run how often, and what they move and compute.

    ENTRY %main       1 x      while, trip count 48  -->  %body        48 x      fusion --calls--> %fused      part of it
    conditional       the dearer branch

An array that lies in the chip's own fast memory costs no traffic; of an array that is sliced only the slice is read. Compilers
print a collective that they hide behind other work as several pieces: those of one channel and shape count once.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property

from rtx.plan.hlo_text import COLLECTIVES, Instruction, Shape, parse
from rtx.plan.partitions import first_group, pairs

_FREE = frozenset(
    {"parameter", "constant", "get-tuple-element", "tuple", "bitcast", "after-all", "partition-id", "replica-id", "while",
     "conditional", "call", "iota", "opt-barrier", "broadcast"}
)  # fmt: skip
_SLICES = ("dynamic-slice", "slice", "gather")


@dataclass(frozen=True)
class Collective:
    """One exchange, as each chip takes part in it."""

    kind: str
    nbytes: float  # of the whole: what all-gather gives, what the others are given, on one chip
    group: tuple[int, ...]  # partitions that exchange with each other: one such group; of a permutation, one pair
    hidden: bool  # started early, waited for late

    @property
    def wire_bytes(self) -> float:
        """What a chip sends, at least, whatever the algorithm."""
        n = max(1, len(self.group))
        if self.kind in ("collective-permute", "collective-broadcast"):
            return self.nbytes
        return self.nbytes * (n - 1) / n * (2 if self.kind == "all-reduce" else 1)


@dataclass
class Work:
    """Of one computation, once: what its own instructions do on one chip, and its loops."""

    flops: float = 0.0  # of products
    nbytes: float = 0.0  # to and from memory
    cycles: float = 0.0  # as the compiler estimates them
    steps: list[tuple[float, float]] = field(default_factory=list)  # (operations, bytes) of what runs one after another
    loops: list[tuple[int, Work]] = field(default_factory=list)  # (trips, body)
    collectives: list[Collective] = field(default_factory=list)

    def flat(self) -> Work:
        """Sums, with loops as often as they run; without `steps`."""
        total = Work(self.flops, self.nbytes, self.cycles, collectives=list(self.collectives))
        for trips, body in self.loops:
            inner = body.flat()
            total.flops += trips * inner.flops
            total.nbytes += trips * inner.nbytes
            total.cycles += trips * inner.cycles
            total.collectives += inner.collectives * trips
        return total


class Module:
    """A parsed module. Raises ValueError for a text that is none."""

    def __init__(self, text: str, *, num_partitions: int) -> None:
        self.computations, self.entry = parse(text)
        self.unread: set[str] = set()  # groups of exchanges that are written in an unknown way: taken as all chips
        self._num_partitions = num_partitions

    @cached_property
    def work(self) -> Work:
        return self._work(self.entry)

    def _work(self, name: str) -> Work:
        total = Work()
        seen: set[tuple[object, ...]] = set()
        within = self.computations.get(name, {})
        for one in within.values():
            if one.opcode == "while":
                total.loops.append((self._trips(one, within), self._work(one.called("body"))))
            elif one.opcode == "conditional":
                branches = [self._work(branch) for branch in one.branches()]
                total.loops.append((1, max(branches, key=lambda work: work.flat().nbytes)))
            elif one.opcode == "call":
                total.loops.append((1, self._work(one.called("to_apply"))))
            elif one.opcode not in _FREE:
                self._add(total, within, one, seen)
        return total

    def _add(self, total: Work, within: Mapping[str, Instruction], one: Instruction, seen: set[tuple[object, ...]]) -> None:
        for exchange, computation in self._exchanges(one, ""):
            key = (exchange.kind, exchange.channel, tuple((shape.dtype, shape.dims) for shape in exchange.shapes))
            if key not in seen:
                seen.add(key)
                hidden = exchange.opcode.endswith("-start") or self._is_started(computation)
                total.collectives.append(self._collective(exchange, computation, hidden=hidden))
        flops, nbytes = self._flops(within, one), self._traffic(within, one)
        total.flops += flops
        total.nbytes += nbytes
        total.cycles += one.cycles
        if not one.opcode.endswith(("-start", "-done")) and one.kind not in COLLECTIVES:
            total.steps.append((flops, nbytes))

    # loops

    def _trips(self, loop: Instruction, within: Mapping[str, Instruction]) -> int:
        """How often the body runs; 1 where neither an annotation nor `counter < constant` says it."""
        if known := re.search(r'"known_trip_count":\{"n":"(\d+)"\}', loop.tail):
            return int(known[1])
        condition = self.computations.get(loop.called("condition"), {})
        test = next((one for one in condition.values() if one.is_root), None)
        if test is None or "direction=LT" not in test.tail or len(test.operands) != 2:
            return 1
        counter, limit = (condition.get(name) for name in test.operands)
        last = None if limit is None else limit.constant
        if last is None or counter is None or counter.index is None:
            return 1
        body = self.computations.get(loop.called("body"), {})
        return max(0, -(-(last - _first(loop, within, counter.index)) // _stride(body, counter.index)))

    # collectives

    def _exchanges(self, one: Instruction, computation: str) -> Iterator[tuple[Instruction, str]]:
        """Collectives that an instruction is, or that lie in what it calls; with the computation that they lie in."""
        if one.kind in COLLECTIVES and not one.opcode.endswith("-done"):
            yield one, computation
        elif called := one.called("calls"):
            for inner in self.computations.get(called, {}).values():
                yield from self._exchanges(inner, called)

    def _is_started(self, computation: str) -> bool:
        inside = self.computations.get(computation, {}).values()
        return "async_collective" in computation or any("AsyncCollectiveStart" in one.tail for one in inside)

    def _collective(self, one: Instruction, computation: str, *, hidden: bool) -> Collective:
        scattered = computation.startswith("all-reduce-scatter")  # the sum of all, of which each keeps its part
        kind = "reduce-scatter" if scattered else one.kind
        group = pairs(one.tail)[:1] if kind == "collective-permute" else [self._group(one)]
        sizes = [shape.nbytes for shape in one.shapes]
        if one.opcode.endswith("-start") and kind in ("all-gather", "collective-permute"):
            nbytes = max(sizes)  # what goes in, what comes out, and handles
        else:
            nbytes = sum(sizes)
        if kind == "reduce-scatter" and not scattered:
            nbytes *= len(group[0])
        return Collective(kind, nbytes, group[0] if group else (), hidden)

    def _group(self, one: Instruction) -> tuple[int, ...]:
        try:
            return first_group(one.tail, self._num_partitions)
        except ValueError as error:
            self.unread.add(str(error))
            return tuple(range(self._num_partitions))

    # operations

    def _flops(self, within: Mapping[str, Instruction], one: Instruction) -> float:
        if called := one.called("calls"):
            inside = self.computations.get(called, {})
            return sum((self._flops(inside, inner) for inner in inside.values()), 0.0)
        if one.opcode in ("convolution", "dot"):
            given = [within[name].shapes[0] for name in one.operands[:2] if name in within]
            return one.products(given) if len(given) == 2 else 0.0
        return 0.0

    # memory

    def _traffic(self, within: Mapping[str, Instruction], one: Instruction) -> float:
        if one.opcode.endswith("-done"):
            return 0.0
        operands = [within[name] for name in one.operands if name in within]
        if one.opcode.endswith("-start"):
            source = operands[0].shapes[0] if operands else one.shapes[0]
            return one.shapes[0].traffic + (0.0 if source.on_chip else one.shapes[0].nbytes)
        if one.opcode in _SLICES:
            return 2 * one.shapes[0].traffic
        if one.opcode == "dynamic-update-slice":
            return 2 * operands[1].shapes[0].nbytes if len(operands) > 1 and not one.shapes[0].on_chip else 0.0
        called = one.called("calls") if one.opcode == "fusion" else ""
        if not called:
            return sum((shape.traffic for part in (one, *operands) for shape in part.shapes), 0.0)
        inside = self.computations.get(called, {})
        given = {inner.number: inner for inner in inside.values() if inner.opcode == "parameter"}
        read = (self._read(inside, given[i]) for i, operand in enumerate(operands) if i in given and operand.in_memory)
        return sum(read, self._written(inside, one))

    def _read(self, inside: Mapping[str, Instruction], given: Instruction) -> float:
        """Bytes that a fusion reads of one of its parameters."""
        total = 0.0
        for user in inside.values():
            for place in (i for i, name in enumerate(user.operands) if name == given.name):
                if user.opcode in _SLICES and place == 0:
                    total += user.shapes[0].nbytes
                elif user.opcode == "dynamic-update-slice" and place == 0:
                    continue
                elif user.opcode == "bitcast":
                    total += self._read(inside, user)
                elif user.opcode == "fusion":
                    deeper = self.computations.get(user.called("calls"), {})
                    total += sum(self._read(deeper, one) for one in deeper.values() if one.number == place)
                else:
                    return given.nbytes
        return min(total, given.nbytes)

    def _written(self, inside: Mapping[str, Instruction], one: Instruction) -> float:
        root = next((inner for inner in inside.values() if inner.is_root), None)
        if root is None:
            return sum((shape.traffic for shape in one.shapes), 0.0)
        parts = [inside.get(name) for name in root.operands] if root.opcode == "tuple" else [root]
        pieces = zip(one.shapes, parts, strict=False)
        return sum((0.0 if shape.on_chip else self._piece(inside, part, shape) for shape, part in pieces), 0.0)

    def _piece(self, inside: Mapping[str, Instruction], part: Instruction | None, shape: Shape) -> float:
        """Of an array that is changed in place, what is changed."""
        while part is not None and part.opcode == "bitcast" and part.operands:
            part = inside.get(part.operands[0])
        if part is not None and part.opcode == "dynamic-update-slice" and len(part.operands) > 1:
            update = inside.get(part.operands[1])
            return shape.nbytes if update is None else update.nbytes
        if part is not None and part.opcode == "fusion":
            deeper = self.computations.get(part.called("calls"), {})
            root = next((one for one in deeper.values() if one.is_root), None)
            return self._piece(deeper, root, shape)
        if part is not None and part.opcode == "parameter":
            return 0.0  # handed through
        return shape.nbytes


def _first(loop: Instruction, within: Mapping[str, Instruction], index: int) -> int:
    """Of the counter; 0 where it is no constant in sight."""
    start = within.get(loop.operands[0]) if loop.operands else None
    if start is None or start.opcode != "tuple" or index >= len(start.operands):
        return 0
    one = within.get(start.operands[index])
    while one is not None and one.opcode in ("copy", "bitcast") and one.operands:
        one = within.get(one.operands[0])
    return (one.constant or 0) if one is not None else 0


def _stride(body: Mapping[str, Instruction], index: int) -> int:
    """By which the counter grows; 1 where that is no constant in sight."""
    root = next((one for one in body.values() if one.is_root), None)
    if root is None or root.opcode != "tuple" or index >= len(root.operands):
        return 1
    grown = body.get(root.operands[index])
    if grown is None or grown.opcode != "add":
        return 1
    steps = [one.constant for name in grown.operands if (one := body.get(name)) is not None and one.constant is not None]
    return max(1, math.prod(steps[:1]))
