"""FAST: a chunk of actions as a few tokens, by frequencies. Smooth motion has few of them; 50 Hz costs hardly more than 5 Hz.

    action [k, a], model space
         |  orthonormal DCT-II over time, times `scale`, rounded
    integers [k, a]                row 0: the mean of every dimension, row 1: the slowest motion, ...
         |  row by row: all dimensions of the lowest frequency first
    symbols [k a]                  mostly 0 towards the end
         |  byte pair encoding: frequent neighbours become one token, again and again
    tokens [1 .. k a]              `ids[token]`

Unlike the published processor, whose alphabet is what occurs in its training data, ours holds every integer that a chunk in
[-1, 1] can give: any such chunk comes back within `error_bound`, also one unlike all those that the merges were fitted to.

The number of tokens varies, and not every sequence of tokens is a chunk: `decode` says which rows are, `read` raises, and
`allowed_after` keeps a decoder from leaving the path. Source: FAST (arXiv 2501.09747) and the processor file that goes with it.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from rtx.errors import UserError
from rtx.models.vla.action_tokens import NotAnAction

Merges = tuple[tuple[int, int], ...]
_PAD, _BETWEEN = 0, -1


@dataclass(frozen=True, kw_only=True)
class FastActions:
    """`chunk` actions of `action_dims` dimensions. Hashable: may be a static argument of `jax.jit`.

    Token t is a symbol (t < `num_symbols`) or joins the two tokens `merges[t - num_symbols]`; `ids[t]` is its id in the
    language model's vocabulary, of which the first ones are used. `scale`: steps of a coefficient per unit of model space.
    """

    chunk: int
    action_dims: int
    merges: Merges
    ids: tuple[int, ...]
    scale: float = 10.0

    def __post_init__(self) -> None:
        problems = []
        if self.chunk < 1 or self.action_dims < 1 or not self.scale > 0:
            problems.append(f"chunk {self.chunk}, action_dims {self.action_dims} and scale {self.scale} must be positive")
        elif len(self.ids) < self.num_tokens:
            problems.append(f"{len(self.ids)} ids for {self.num_tokens} tokens")
        if len(set(self.ids)) != len(self.ids) or min(self.ids, default=1) < 1:
            problems.append("ids must differ and be above 0, which is padding")
        known = range(self.num_symbols) if not problems else ()
        if problems or any(max(pair) >= len(known) + i or min(pair) < 0 for i, pair in enumerate(self.merges)):
            raise UserError("FAST: " + ("; ".join(problems) or "a merge joins tokens that come after it"))

    @property
    def limit(self) -> int:
        """The largest symbol, and minus the smallest."""
        return symbol_limit(self.chunk, self.scale)

    @property
    def num_symbols(self) -> int:
        return 2 * self.limit + 1

    @property
    def num_tokens(self) -> int:
        return self.num_symbols + len(self.merges)

    @property
    def length(self) -> int:
        """The most tokens a chunk can take: k a, one for each symbol."""
        return self.chunk * self.action_dims

    @property
    def error_bound(self) -> float:
        """How far a value of model space can be off after a round trip: every coefficient half a step, all the same way."""
        return float(0.5 / self.scale * np.abs(_cosines(self.chunk)).sum(axis=0).max())

    @functools.cached_property
    def lengths(self) -> Int[np.ndarray, " v"]:
        """Symbols that each token stands for."""
        return np.array([len(symbols) for symbols in self._expanded], np.int32)

    @functools.cached_property
    def _expanded(self) -> list[tuple[int, ...]]:
        symbols: list[tuple[int, ...]] = [(symbol,) for symbol in range(-self.limit, self.limit + 1)]
        for first, second in self.merges:
            symbols.append(symbols[first] + symbols[second])
        return symbols

    def encode(self, action: Float[np.ndarray, "b k a"]) -> Int[np.ndarray, "b n"]:
        """Chunks in model space to ids, int32 `[b, length]`, 0 = padding. On the host. Values outside [-1, 1] are clipped."""
        tokens = _merged(_flat(symbols_of(action, self.scale) + self.limit), self.merges, first_new=self.num_symbols)
        rows = np.zeros((len(action), self.length), np.int32)
        ids = np.asarray(self.ids, np.int32)
        for row, found in zip(rows, np.split(tokens, np.flatnonzero(tokens == _BETWEEN)), strict=False):
            said = found[found != _BETWEEN]
            row[: len(said)] = ids[said]
        return rows

    def read(self, ids: Sequence[int] | Int[np.ndarray, " n"]) -> Float[np.ndarray, "k a"]:
        """One chunk, float64 in [-1, 1]; `ids` without padding or EOS. Raises NotAnAction where they are no chunk."""
        tokens = {id_: token for token, id_ in enumerate(self.ids[: self.num_tokens])}
        for position, id_ in enumerate(ids):
            if int(id_) not in tokens:
                raise NotAnAction(f"the answer is no action: id {int(id_)} at position {position} is no FAST token")
        symbols = [symbol for id_ in ids for symbol in self._expanded[tokens[int(id_)]]]
        if len(symbols) != self.length:
            raise NotAnAction(f"the answer is no action: its tokens hold {len(symbols)} coefficients, expected {self.length}")
        coefficients = np.array(symbols).reshape(self.chunk, self.action_dims) / self.scale
        return np.clip(_cosines(self.chunk).T @ coefficients, -1.0, 1.0)

    def decode(self, ids: Int[Array, "b n"], *, end: int) -> tuple[Float[Array, "b k a"], Bool[Array, " b"]]:
        """Chunks in model space, float32, and which rows are one; the others are NaN. For compiled programs.

        `ids`: FAST ids, then only `end` (EOS) and padding.
        """
        token = self.tokens_of(ids)
        is_clean = jnp.all((token >= 0) | (ids == end) | (ids == _PAD), axis=-1)
        action = jnp.where(is_clean[:, None, None], self.unbin(token), jnp.nan)
        return action, jnp.all(jnp.isfinite(action), axis=(1, 2))

    def unbin(self, token: Int[Array, "b n"]) -> Float[Array, "b k a"]:
        """Tokens, and -1 behind them, to chunks in model space, float32. A row that is no chunk is NaN: no motion."""
        is_token = token >= 0
        ends = jnp.cumsum(jnp.where(is_token, jnp.asarray(self.lengths)[token], 0), axis=-1)
        stops = jnp.cumsum(~is_token, axis=-1) > 0
        valid = jnp.all(is_token != stops, axis=-1) & (ends[:, -1] == self.length)
        coefficients = self._unrolled(token, ends).reshape(-1, self.chunk, self.action_dims) / self.scale
        action = jnp.einsum("jk,bja->bka", jnp.asarray(_cosines(self.chunk), jnp.float32), coefficients)
        return jnp.where(valid[:, None, None], jnp.clip(action, -1.0, 1.0), jnp.nan)

    def allowed_after(self, said: Int[Array, "*b"]) -> Bool[Array, "*b v"]:
        """Tokens that hold no more symbols than are missing where `said` are said."""
        return jnp.asarray(self.lengths) <= self.length - said[..., None]

    def tokens_of(self, ids: Int[Array, "b n"]) -> Int[Array, "b n"]:
        """-1 for other ids."""
        known = np.asarray(self.ids[: self.num_tokens])
        first = int(known.min())
        table = np.full(int(known.max()) - first + 1, -1, np.int32)
        table[known - first] = np.arange(len(known))
        is_near = (ids >= first) & (ids < first + len(table))
        return jnp.where(is_near, jnp.asarray(table)[jnp.clip(ids - first, 0, len(table) - 1)], -1)

    def _unrolled(self, token: Int[Array, "b n"], ends: Int[Array, "b n"]) -> Float[Array, "b s"]:
        """The symbols of all tokens one after the other; they mean nothing in a row that is no chunk."""
        table = np.zeros((self.num_tokens, int(self.lengths.max())), np.float32)
        for row, symbols in zip(table, self._expanded, strict=True):
            row[: len(symbols)] = symbols
        place = jnp.arange(self.length)
        # The token that covers a place is the first to end behind it; tokens without symbols end where the last one did.
        speaker = jnp.minimum(jnp.sum(ends[:, None, :] <= place[:, None], axis=-1), token.shape[1] - 1)
        spoken = jnp.take_along_axis(token, speaker, axis=-1)
        offset = place - jnp.take_along_axis(ends, speaker, axis=-1) + jnp.asarray(self.lengths)[spoken]
        return jnp.asarray(table)[spoken, offset]


def fit_merges(
    action: Float[np.ndarray, "m k a"], *, num_tokens: int = 1024, scale: float = 10.0, min_count: int = 2
) -> Merges:
    """The pairs to join, learned from chunks in model space: each time the most frequent, of equal ones the first in order.

    Stops at `num_tokens` tokens, symbols included, or where no pair occurs `min_count` times. Deterministic; the order of the
    chunks does not matter. Raises UserError where not even the symbols fit.
    """
    limit = symbol_limit(action.shape[1], scale)
    first_new = 2 * limit + 1
    if num_tokens < first_new:
        raise UserError(f"FAST: num_tokens {num_tokens} is below the {first_new} symbols that scale {scale} takes")
    flat, merges = _flat(symbols_of(action, scale) + limit), []
    for new in range(first_new, num_tokens):
        codes = (flat[:-1] * new + flat[1:])[(flat[:-1] != _BETWEEN) & (flat[1:] != _BETWEEN)]
        counts = np.bincount(codes, minlength=1)
        best = int(np.argmax(counts))
        if counts[best] < max(min_count, 1):
            break
        merges.append(divmod(best, new))
        flat = _joined(flat, merges[-1], new)
    return tuple(merges)


def symbol_limit(chunk: int, scale: float) -> int:
    """The largest integer that a chunk in [-1, 1] can give: an orthonormal transform keeps lengths, at most sqrt(chunk)."""
    return math.ceil(scale * math.sqrt(chunk) - 0.5)


def symbols_of(action: Float[np.ndarray, "m k a"], scale: float) -> Int[np.ndarray, "m s"]:
    """Rounded coefficients of each chunk, row by row."""
    coefficients = np.einsum("jk,mka->mja", _cosines(action.shape[1]), np.clip(action.astype(np.float64), -1.0, 1.0))
    limit = symbol_limit(action.shape[1], scale)  # a float's last digit must not leave the alphabet
    return np.clip(np.rint(coefficients * scale).astype(np.int64), -limit, limit).reshape(len(action), -1)


def _cosines(k: int) -> Float[np.ndarray, "k k"]:
    """The orthonormal DCT-II: [frequency, time]. Its transpose is its inverse."""
    frequency, time = np.arange(k)[:, None], np.arange(k)
    rows = np.sqrt(2 / k) * np.cos(np.pi * frequency * (2 * time + 1) / (2 * k))
    rows[0] /= np.sqrt(2)
    return rows


def _flat(symbols: Int[np.ndarray, "m s"]) -> Int[np.ndarray, " f"]:
    """All sequences in one, `_BETWEEN` after each: no pair crosses it."""
    return np.pad(symbols, ((0, 0), (0, 1)), constant_values=_BETWEEN).ravel()


def _merged(flat: Int[np.ndarray, " f"], merges: Merges, *, first_new: int) -> Int[np.ndarray, " g"]:
    # Merge by merge over everything equals joining the earliest known pair again and again: a pair that a merge makes
    # possible holds the new token, so it comes later in the list.
    for i, pair in enumerate(merges):
        flat = _joined(flat, pair, first_new + i)
    return flat


def _joined(flat: Int[np.ndarray, " f"], pair: tuple[int, int], new: int) -> Int[np.ndarray, " g"]:
    places = np.flatnonzero((flat[:-1] == pair[0]) & (flat[1:] == pair[1]))
    if pair[0] == pair[1]:  # of "0 0 0" the left two are joined
        run = places - np.arange(len(places))
        start = np.searchsorted(run, run)
        places = places[(np.arange(len(places)) - start) % 2 == 0]
    if not len(places):
        return flat
    flat = flat.copy()
    flat[places] = new
    return np.delete(flat, places + 1)
