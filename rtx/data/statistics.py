"""Running statistics of vectors in constant memory, mergeable over shards: exact moments, quantiles with a bound.

Mean and standard deviation merge by Chan's formula in float64. Quantiles come from one histogram per dimension whose
bins are [i 2^e, (i+1) 2^e): with e as small as keeps the range in 2^16 bins. Raising e joins neighbouring bins exactly, and
e depends on the smallest and largest value alone, so the histogram of a union is the same in whatever order and grouping
the parts came. Each order statistic is known to one bin, at most range / 2^15 wide: 0.003 % of the range where 0.5 % is asked.

One glitch of a sensor can stretch the range until all other values lie in one bin. `result` then reads the values again, if it
is given a way to, and looks into that bin with bins of its own, until quantiles are known to 0.1 % of their distance.

Source of the merge: Chan, Golub, LeVeque, "Updating formulae and a pairwise algorithm for computing sample variances" (1979).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Float64, Int64

from rtx.errors import WorldError
from rtx.spec import FieldStatistics

_MAX_BINS = 1 << 16
_MIN_EXPONENT = -200  # bins of 1e-60: nothing a robot measures is finer
_COLUMNS = ("bins", "counts", "low", "high")
_QUANTILES = (0.01, 0.99)
_COARSE = 1e-3  # of the distance between the two
_MAX_PASSES = 4  # each narrows a bracket by 2^15
_MANTISSA_BITS = 50  # bin numbers stay exact in float64

Rows = Callable[[], Iterable[Float[np.ndarray, "n width"]]]
"""Everything, in chunks, from the start at each call."""


class _Bracket(NamedTuple):
    """Where an order statistic lies: the smallest and largest value of its bin, and which of the `size` in there it is."""

    low: float
    high: float
    rank: int
    size: int

    @property
    def value(self) -> float:
        """Between the extremes of a bin values are taken as evenly spread."""
        return self.low + self.rank / max(self.size - 1, 1) * (self.high - self.low)


_Brackets = dict[tuple[int, int], _Bracket]  # by dimension and rank


@dataclass
class _Histogram:
    """Of one dimension: the bins that hold something, ascending, with count, smallest and largest value of each.

    The two extremes make repeated values exact: a dimension that is almost always 0 has quantiles of exactly 0.
    """

    exponent: int = _MIN_EXPONENT
    bins: Int64[np.ndarray, " n"] = field(default_factory=lambda: np.zeros(0, np.int64))
    counts: Int64[np.ndarray, " n"] = field(default_factory=lambda: np.zeros(0, np.int64))
    low: Float64[np.ndarray, " n"] = field(default_factory=lambda: np.zeros(0))
    high: Float64[np.ndarray, " n"] = field(default_factory=lambda: np.zeros(0))

    @classmethod
    def of(cls, values: Float64[np.ndarray, " n"]) -> _Histogram:
        exponent = _exponent(float(values.min()), float(values.max()))
        bins = np.floor(np.ldexp(values, -exponent)).astype(np.int64)
        return cls(exponent, bins, np.ones(len(values), np.int64), values, values)._joined()

    def coarsened(self, exponent: int) -> _Histogram:
        """The shift floors, also below zero: each new bin is the union of whole old ones."""
        if exponent == self.exponent or len(self.bins) == 0:
            return dataclasses.replace(self, exponent=exponent)
        bins = self.bins >> (exponent - self.exponent)
        return _Histogram(exponent, bins, self.counts, self.low, self.high)._joined()

    def merged(self, other: _Histogram, exponent: int) -> _Histogram:
        a, b = self.coarsened(exponent), other.coarsened(exponent)
        pairs = ((a.bins, b.bins), (a.counts, b.counts), (a.low, b.low), (a.high, b.high))
        return _Histogram(exponent, *(np.concatenate(pair) for pair in pairs))._joined()

    def around(self, rank: int) -> _Bracket:
        """Of the value at `rank` (0 the smallest)."""
        upto = np.cumsum(self.counts)
        i = int(np.searchsorted(upto, rank, side="right"))
        count = int(self.counts[i])
        return _Bracket(float(self.low[i]), float(self.high[i]), rank - int(upto[i]) + count, count)

    def _joined(self) -> _Histogram:
        """Equal bins made one. The stable sort is a merge of sorted runs, so it takes time in proportion to the bins."""
        if len(self.bins) == 0:
            return self
        order = np.argsort(self.bins, kind="stable")
        bins = self.bins[order]
        first = np.flatnonzero(np.diff(bins, prepend=bins[0] - 1))
        return _Histogram(
            self.exponent,
            bins[first],
            np.add.reduceat(self.counts[order], first),
            np.minimum.reduceat(self.low[order], first),
            np.maximum.reduceat(self.high[order], first),
        )


def _exponent(low: float, high: float) -> int:
    """The smallest e at which [low, high] spans at most 2^16 bins and bin numbers are exact. Grows with the range only."""
    largest = max(abs(low), abs(high))
    e = max(_MIN_EXPONENT, int(np.frexp(largest)[1]) - _MANTISSA_BITS) if largest else _MIN_EXPONENT
    if high > low:
        e = max(e, int(np.frexp((high - low) / _MAX_BINS)[1]) - 1)
    while np.floor(np.ldexp(high, -e)) - np.floor(np.ldexp(low, -e)) >= _MAX_BINS:
        e += 1
    return e


def _narrowed(brackets: _Brackets, rows: Rows) -> _Brackets:
    """The same order statistics in the finer bins of their own bracket: one pass over all values, constant memory."""
    inside = {(d, b.low, b.high): RunningStatistics(1) for (d, _), b in brackets.items()}  # ranks may share one
    for chunk in rows():
        for (d, low, high), statistics in inside.items():
            column = np.asarray(chunk[:, d], np.float64)
            statistics.update(column[(column >= low) & (column <= high), None])
    return {(d, rank): inside[d, b.low, b.high]._histograms[0].around(b.rank) for (d, rank), b in brackets.items()}


class RunningStatistics:
    """Of vectors of `width` numbers. Merging equals having seen everything at once (counts exactly, moments to rounding)."""

    def __init__(self, width: int) -> None:
        self.width = width
        self.count = 0
        self._mean = np.zeros(width)
        self._m2 = np.zeros(width)  # sum of squared distances from the mean
        self._min = np.full(width, np.inf)
        self._max = np.full(width, -np.inf)
        self._histograms = [_Histogram() for _ in range(width)]

    def update(self, rows: Float[np.ndarray, "n width"]) -> None:
        """Takes in rows. Raises WorldError for a value that is not finite."""
        if rows.shape[0] == 0:
            return
        values = np.asarray(rows, np.float64)
        if not np.all(np.isfinite(values)):
            raise WorldError(f"statistics: dimension {int(np.argwhere(~np.isfinite(values))[0, 1])} holds a non-finite value")
        other = RunningStatistics(self.width)
        other.count = len(values)
        other._mean = values.mean(0)
        other._m2 = np.square(values - other._mean).sum(0)
        other._min, other._max = values.min(0), values.max(0)
        other._histograms = [_Histogram.of(values[:, d]) for d in range(self.width)]
        self.merge(other)

    def merge(self, other: RunningStatistics) -> None:
        """Takes in what `other` saw."""
        assert self.width == other.width
        if other.count == 0:
            return
        total = self.count + other.count
        shift = other._mean - self._mean
        self._m2 += other._m2 + np.square(shift) * (self.count * other.count / total)
        self._mean += shift * (other.count / total)
        self.count = total
        self._min, self._max = np.minimum(self._min, other._min), np.maximum(self._max, other._max)
        for d in range(self.width):
            exponent = _exponent(self._min[d], self._max[d])
            self._histograms[d] = self._histograms[d].merged(other._histograms[d], exponent)

    def quantile(self, q: float) -> Float64[np.ndarray, " width"]:
        """As `np.quantile(..., method="linear")`, to within range / 2^15; NaN if nothing was seen."""
        if self.count == 0:
            return np.full(self.width, np.nan)
        return self._interpolated(q, self._brackets((q,)))

    def result(self, rows: Rows | None = None) -> FieldStatistics:
        """`rows` gives everything once more, for quantiles that outliers made coarse. Raises WorldError if nothing was seen."""
        if self.count == 0:
            raise WorldError("statistics: there is not a single training step; every episode was dropped, filtered or held out")
        mean, std = self._mean, np.sqrt(self._m2 / self.count)
        brackets = self._brackets(_QUANTILES)
        for _ in range(_MAX_PASSES if rows is not None else 0):
            coarse = self._coarse(brackets)
            if not coarse or rows is None:
                break
            brackets |= _narrowed(coarse, rows)
        q01, q99 = (self._interpolated(q, brackets) for q in _QUANTILES)
        columns = (mean, std, self._min, self._max, q01, q99)
        names = ("mean", "std", "min", "max", "q01", "q99")
        return FieldStatistics(**{n: tuple(c.tolist()) for n, c in zip(names, columns, strict=True)}, count=self.count)

    def _ranks(self, q: float) -> tuple[int, int]:
        """The neighbours between which `q` is interpolated."""
        position = q * (self.count - 1)
        return int(np.floor(position)), int(np.ceil(position))

    def _brackets(self, quantiles: Sequence[float]) -> _Brackets:
        ranks = {rank for q in quantiles for rank in self._ranks(q)}
        return {(d, rank): h.around(rank) for d, h in enumerate(self._histograms) for rank in ranks}

    def _interpolated(self, q: float, brackets: _Brackets) -> np.ndarray:
        low, high = self._ranks(q)
        below, above = (np.array([brackets[d, rank].value for d in range(self.width)]) for rank in (low, high))
        return np.clip(below + (above - below) * (q * (self.count - 1) - low), self._min, self._max)

    def _coarse(self, brackets: _Brackets) -> _Brackets:
        """Those that are wide compared to what lies between the quantiles."""
        q01, q99 = (self._interpolated(q, brackets) for q in _QUANTILES)
        wide = _COARSE * (q99 - q01)
        return {key: b for key, b in brackets.items() if b.size > 2 and b.high - b.low > wide[key[0]]}

    def to_arrays(self) -> dict[str, np.ndarray]:
        """Everything, as arrays for a file; `from_arrays` is the inverse, to the bit."""
        lengths = [len(h.bins) for h in self._histograms]
        return {
            "count": np.array(self.count, np.int64),
            "moments": np.stack([self._mean, self._m2, self._min, self._max]),
            "exponents": np.array([h.exponent for h in self._histograms], np.int64),
            "lengths": np.array(lengths, np.int64),
            **{name: np.concatenate([getattr(h, name) for h in (*self._histograms, _Histogram())]) for name in _COLUMNS},
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray]) -> RunningStatistics:
        moments, lengths = arrays["moments"], arrays["lengths"]
        self = cls(moments.shape[1])
        self.count = int(arrays["count"])
        self._mean, self._m2, self._min, self._max = (row.copy() for row in moments)
        columns = (np.split(arrays[name], np.cumsum(lengths))[: self.width] for name in _COLUMNS)
        self._histograms = [_Histogram(int(e), *rest) for e, *rest in zip(arrays["exponents"], *columns, strict=True)]
        return self
