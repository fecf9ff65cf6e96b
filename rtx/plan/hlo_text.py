"""Lines of a compiled module's text as instructions.

ROOT %name = bf16[8,128]{1,0:T(8,128)(2,1)S(1)} convolution(%a, %b), dim_labels=bf_io->bf, ...
             dtype dims  layout        memory    opcode      operands tail
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

COLLECTIVES = ("all-gather", "all-reduce", "reduce-scatter", "all-to-all", "collective-permute", "collective-broadcast")
"""Also `ragged-all-to-all` exists; the models have no use for it."""

_BYTES = {
    "pred": 1, "s4": 0.5, "u4": 0.5, "s8": 1, "u8": 1, "f8e4m3fn": 1, "f8e5m2": 1, "s16": 2, "u16": 2, "bf16": 2, "f16": 2,
    "s32": 4, "u32": 4, "f32": 4, "s64": 8, "u64": 8, "f64": 8, "c64": 8, "c128": 16,
}  # fmt: skip
_SHAPE = re.compile(r"\b([a-z]\w*)\[([\d,]*)\](?:\{([^{}]*)\})?")
_HEAD = re.compile(r"^(ENTRY )?%?([\w.\-]+) \(.*\) -> .*\{\s*$")
_LINE = re.compile(r"^\s+(ROOT )?%?([\w.\-]+) = ")
_NAME = re.compile(r"%([\w.\-]+)")


@dataclass(frozen=True)
class Shape:
    dtype: str
    dims: tuple[int, ...]
    on_chip: bool = False  # in a memory of the chip itself, which costs no traffic

    @property
    def nbytes(self) -> float:
        return float(math.prod(self.dims) * _BYTES.get(self.dtype, 0))

    @property
    def traffic(self) -> float:
        return 0.0 if self.on_chip else self.nbytes


@dataclass(frozen=True)
class Instruction:
    name: str
    opcode: str
    shapes: tuple[Shape, ...]  # of the result; several of a tuple
    arguments: str  # what stands between the parentheses
    tail: str  # what stands behind them
    is_root: bool = False

    @property
    def kind(self) -> str:
        return self.opcode.removesuffix("-start").removesuffix("-done")

    @cached_property
    def operands(self) -> tuple[str, ...]:
        return tuple(_NAME.findall(self.arguments))

    @property
    def nbytes(self) -> float:
        return sum((shape.nbytes for shape in self.shapes), 0.0)

    @property
    def in_memory(self) -> bool:
        return any(not shape.on_chip for shape in self.shapes)

    @property
    def constant(self) -> int | None:
        """Of a whole number."""
        is_one = self.opcode == "constant" and re.fullmatch(r"-?\d+", self.arguments.strip())
        return int(self.arguments) if is_one else None

    @property
    def number(self) -> int:
        """Of a parameter."""
        return int(self.arguments) if self.opcode == "parameter" else -1

    @property
    def index(self) -> int | None:
        """Of a part of a tuple."""
        found = re.search(r"\bindex=(\d+)", self.tail) if self.opcode == "get-tuple-element" else None
        return int(found[1]) if found else None

    @property
    def channel(self) -> str:
        found = re.search(r"channel_id=(\d+)", self.tail)
        return found[1] if found else self.name

    @property
    def cycles(self) -> float:
        """As the compiler estimates them; 0 where it does not say."""
        found = re.search(r'"estimated_cycles":"(\d+)"', self.tail)
        return float(found[1]) if found else 0.0

    def called(self, key: str) -> str:
        found = re.search(rf"\b{key}=%?([\w.\-]+)", self.tail)
        return found[1] if found else ""

    def branches(self) -> list[str]:
        if found := re.search(r"branch_computations=\{([^}]*)\}", self.tail):
            return _NAME.findall(found[1])
        return [self.called("true_computation"), self.called("false_computation")]

    def products(self, given: Sequence[Shape]) -> float:
        """Operations of a `convolution` or `dot` of two arrays of these shapes."""
        out = math.prod(self.shapes[0].dims)
        if self.opcode == "dot":
            found = re.search(r"lhs_contracting_dims=\{([\d,]*)\}", self.tail)
            axes = [int(axis) for axis in found[1].split(",") if axis] if found else []
            return 2.0 * out * math.prod(given[0].dims[axis] for axis in axes)
        labels = re.search(r"dim_labels=(\w+)_(\w+)->(\w+)", self.tail)
        return _convolution(self.shapes[0].dims, given, labels.groups(), _window(self.tail)) if labels else 0.0


def parse(text: str) -> tuple[dict[str, dict[str, Instruction]], str]:
    """(computation name -> its instructions by name, name of the entry). Raises ValueError for a text without an entry."""
    computations: dict[str, dict[str, Instruction]] = {}
    entry, current = "", None
    for line in text.splitlines():
        if head := _HEAD.match(line):
            current = computations.setdefault(head[2], {})
            entry = head[2] if head[1] else entry
        elif line.startswith("}"):
            current = None
        elif current is not None and (one := _instruction(line)) is not None:
            current[one.name] = one
    if not entry:
        raise ValueError("no ENTRY computation: this is not the text of a compiled module")
    return computations, entry


def _instruction(line: str) -> Instruction | None:
    head = _LINE.match(line)
    if head is None:
        return None
    rest = line[head.end() :]
    end = _closing(rest, 0) + 1 if rest.startswith("(") else rest.find(" ")
    types, rest = rest[:end], rest[end:].lstrip()
    start = rest.find("(")
    if start < 0:
        return None
    close = _closing(rest, start)
    return Instruction(head[2], rest[:start], _shapes(types), rest[start + 1 : close], rest[close + 1 :], bool(head[1]))


def _closing(text: str, start: int) -> int:
    """Where the parenthesis that opens at `start` closes."""
    depth = 0
    for found in re.finditer(r"[()]", text[start:]):
        depth += 1 if found[0] == "(" else -1
        if depth == 0:
            return start + found.start()
    return len(text) - 1


def _shapes(types: str) -> tuple[Shape, ...]:
    return tuple(
        Shape(dtype, tuple(int(n) for n in dims.split(",") if n), bool(re.search(r"S\([1-9]", layout or "")))
        for dtype, dims, layout in _SHAPE.findall(types)
    )


def _window(tail: str) -> dict[str, list[str]]:
    found = re.search(r"window=\{([^}]*)\}", tail)
    return {key: value.split("x") for key, _, value in (part.partition("=") for part in (found[1] if found else "").split())}


def _convolution(out: tuple[int, ...], given: Sequence[Shape], labels: tuple[str, ...], window: dict[str, list[str]]) -> float:
    """Products that meet padding or the zeros between spread entries are none: compilers write batched products that way."""
    lhs, rhs, result = labels
    pairs = 1.0
    for axis, label in enumerate(sorted(set(result) - set("bf"))):
        n, k, m = given[0].dims[lhs.index(label)], given[1].dims[rhs.index(label)], out[result.index(label)]
        keys = ("stride", "lhs_dilate", "rhs_dilate")
        stride, spread, apart = (int(window[key][axis]) if key in window else 1 for key in keys)
        low = int(window["pad"][axis].split("_")[0]) if "pad" in window else 0
        place = np.arange(m)[:, None] * stride + np.arange(k)[None] * apart - low
        pairs *= int(((place >= 0) & (place <= (n - 1) * spread) & (place % spread == 0)).sum())
    batch, features = out[result.index("b")], out[result.index("f")]
    return 2.0 * batch * features * given[1].dims[rhs.index("i")] * pairs
