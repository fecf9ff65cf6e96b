"""Order as a pure function: global sample number -> (data set, epoch, window). No shuffle buffer, no iterator state.

    number --/block--> block, place --keyed permutation of the block--> slot --fixed counts--> data set, its k-th draw
                                                       k-th draw --/windows--> epoch, place --keyed permutation--> window

Each block of `block_size` samples holds each data set a fixed number of times, so realised weights are exact per block;
each data set shows each of its windows exactly once per epoch, in an order of that epoch's own; the last draws of one epoch
and the first of the next mix within the block they share. Whoever knows the seed
knows every sample, so any number of hosts takes its share of one stream and a restart needs one integer.

The permutation of 0..n-1 is an alternating Feistel network on the next power of two, walked until it falls inside
(Black and Rogaway, "Ciphers with arbitrary finite domains", 2002): constant memory, any element at any time.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int32, Int64, UInt64

from rtx.errors import UserError

_MIN_BLOCK, _MAX_BLOCK = 1 << 10, 1 << 20
_MAX_WEIGHT_ERROR = 0.01  # of a share, by rounding it to a whole number of slots
_MIN_BITS = np.uint64(5)  # with halves of 1 and 2 bits, eight rounds do not reach all orders equally often
_ROUND_KEYS = np.arange(8, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)  # multiples of the golden ratio


@dataclass(frozen=True, kw_only=True)
class Draws:
    """What a run of sample numbers stands for, one element per number."""

    entry: Int32[np.ndarray, " n"]  # position in the mixture
    epoch: Int64[np.ndarray, " n"]  # how often that data set was gone through before
    window: Int64[np.ndarray, " n"]  # 0 .. windows of that data set - 1


class Order:
    """The order of one mixture. `names` (distinct) key the data sets' own permutations, so that a data set keeps its order
    when others join; `shares` are relative weights per sample; `num_windows` counts each data set's windows.
    """

    def __init__(self, *, seed: int, names: Sequence[str], shares: Sequence[float], num_windows: Sequence[int]) -> None:
        """Raises UserError for an empty data set or a share that is not positive or too small for a block."""
        for name, share, count in zip(names, shares, num_windows, strict=True):
            if not (share > 0 and np.isfinite(share)):
                raise UserError(f"data set {name!r}: weight {share} must be positive; leave the data set out instead")
            if count < 1:
                raise UserError(f"data set {name!r} has no windows; leave it out or prepare it again")
        self.counts = block_counts(names, shares)
        self.block_size = int(self.counts.sum())
        self._ends = np.cumsum(self.counts)
        self._num_windows = np.asarray(num_windows, np.int64)
        self._block_key = _key(seed, "block")
        self._entry_keys = np.array([_key(seed, f"data set {name}") for name in names], np.uint64)

    def lookup(self, numbers: Int64[np.ndarray, " n"]) -> Draws:
        """What the samples `numbers` (>= 0, any order) are. Cost: about 5 us each in runs of a few hundred."""
        block, place = np.divmod(numbers, self.block_size)
        slot = permute(place, self.block_size, mix(self._block_key + block.astype(np.uint64)))
        entry = np.searchsorted(self._ends, slot, side="right").astype(np.int32)
        draw = block * self.counts[entry] + slot - (self._ends - self.counts)[entry]
        num_windows = self._num_windows[entry]
        epoch, place = np.divmod(draw, num_windows)
        window = permute(place, num_windows, mix(self._entry_keys[entry] + epoch.astype(np.uint64)))
        return Draws(entry=entry, epoch=epoch, window=window)

    def draws_before(self, number: int) -> Int64[np.ndarray, " m"]:
        """How many of the samples 0 .. number-1 each data set gave, exactly."""
        block, rest = divmod(number, self.block_size)
        in_block = self.lookup(np.arange(number - rest, number, dtype=np.int64)).entry
        return block * self.counts + np.bincount(in_block, minlength=len(self.counts))

    def epochs(self, number: int) -> np.ndarray:
        """How often each data set was gone through after `number` samples, float64 `[m]`."""
        return self.draws_before(number) / self._num_windows


def block_counts(names: Sequence[str], shares: Sequence[float]) -> Int64[np.ndarray, " m"]:
    """How many slots of a block each data set gets; the block is their sum, a power of two from 1,024.

    The smallest block that gives every data set its share to within 1 % of that share, by largest remainders.
    Raises UserError if a share is below one slot of the largest block.
    """
    share = np.asarray(shares, np.float64) / np.sum(shares)
    size = _MIN_BLOCK
    while True:
        counts = _largest_remainder(share * size)
        error = np.abs(counts / (share * size) - 1)
        if error.max() <= _MAX_WEIGHT_ERROR or size == _MAX_BLOCK:
            break
        size *= 2
    if counts.min() < 1:
        name = names[int(counts.argmin())]
        raise UserError(
            f"data set {name!r}: a share of {share.min():.1e} is below one in {_MAX_BLOCK}; raise its weight or drop it"
        )
    return counts


def _largest_remainder(exact: np.ndarray) -> np.ndarray:
    counts = np.floor(exact).astype(np.int64)
    missing = round(exact.sum()) - counts.sum()
    counts[np.argsort(counts - exact, kind="stable")[:missing]] += 1
    return counts


def permute(
    place: Int64[np.ndarray, " n"], size: int | Int64[np.ndarray, " n"], keys: UInt64[np.ndarray, " n"]
) -> Int64[np.ndarray, " n"]:
    """Where each `place` (0 .. size-1) goes in the permutation of `size` elements that its key names."""
    size = np.broadcast_to(np.asarray(size, np.uint64), place.shape)
    bits = np.maximum(_bit_length(size - np.uint64(1)), _MIN_BITS)
    value = _feistel(place.astype(np.uint64), bits, keys)
    outside = np.flatnonzero(value >= size)
    while outside.size:  # at most half of the places lie outside, so a few ever shorter rounds
        value[outside] = _feistel(value[outside], bits[outside], keys[outside])
        outside = outside[value[outside] >= size[outside]]
    return value.astype(np.int64)


def _bit_length(x: np.ndarray) -> np.ndarray:
    """Of whole numbers below 2^53, where float64 is exact: uint64 like `x`."""
    return np.frexp(x.astype(np.float64))[1].astype(np.uint64)


def _feistel(value: np.ndarray, bits: np.ndarray, keys: np.ndarray) -> np.ndarray:
    """A bijection on 0 .. 2^bits-1: each round changes one half by a hash of the other, so each round can be undone."""
    one, low_bits = np.uint64(1), bits // np.uint64(2)
    low_mask, high_mask = (one << low_bits) - one, (one << (bits - low_bits)) - one
    high, low = value >> low_bits, value & low_mask
    for i, round_key in enumerate(_ROUND_KEYS):
        if i % 2:
            low = low ^ (mix((keys + round_key) ^ high) & low_mask)
        else:
            high = high ^ (mix((keys + round_key) ^ low) & high_mask)
    return (high << low_bits) | low


def mix(x: np.ndarray) -> np.ndarray:
    """The finalizer of splitmix64 (Steele, Lea, Flood 2014): every input bit reaches every output bit."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def _key(seed: int, purpose: str) -> np.uint64:
    return np.uint64(int.from_bytes(hashlib.sha256(f"{seed} {purpose}".encode()).digest()[:8], "little"))
