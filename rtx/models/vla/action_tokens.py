"""Actions as tokens of a language model: bins of model space, the ids that stand for them, and RT-2's string of integers.

    action [k, a], model space     (0.00, 0.71, ...)          canonical order: delta_pos, delta_rot, gripper, terminate, ...
         |  reorder, bin
    bins [n = k a]                 0 128 218 ...              terminate first, then the other fields in their order
         |  ids[bin]                    \\  to_text
    ids [n]                        257023 256895 ...           "0 128 218 ..."

Terminate is discrete: bin 1 ends the episode, bin 0 does not. The other dimensions have `num_bins` values each, of equal
distance, or quantiles of the training data (`quantile_values`). Which ids stand for the bins is the backbone's matter:

    PaliGemma           `paligemma_ids`   down from <loc1023>
    PaLI-X              `integer_ids`     the token of the integer itself
    PaLM-E              `rarest_ids`      the least frequent pieces lose their meaning
    trained here        `tail_ids`        rows of the embedding above the pieces

Sources: RT-2 (arXiv 2307.15818) section 3.2; openpi for PaliGemma's ids. `encode`, `decode` and `valid` are pure functions of
arrays for compiled programs; `bins_of`, `to_text` and `parse_text` are for the host, and raise.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from rtx.errors import UserError, WorldError
from rtx.models.action_tokens import UniformTokenizer

_INTEGER = re.compile(r"0|[1-9][0-9]{0,5}")
_SIGNED = re.compile(r"0|-?[1-9][0-9]?")
_STEPS = 10  # of Language-Table, to each side
_PALIGEMMA_LAST = 257_023  # <loc1023>; above it lie <seg000> to <seg127>
_NUM_TERMINATE = 2


class NotAnAction(WorldError):
    """A model's answer is no valid action. Nothing may move because of it."""


@dataclass(frozen=True, kw_only=True)
class BinnedActions:
    """`chunk` actions of `action_dims` dimensions as one token each. Hashable: may be a static argument of `jax.jit`.

    `ids`: one id per bin, in order of value. `terminate`: the dimension that says whether the episode ends, None: there is
    none. `values[d]`: the increasing values that the bins of dimension d stand for, () for equal distances on [-1, 1].
    """

    chunk: int
    action_dims: int
    ids: tuple[int, ...]
    terminate: int | None
    values: tuple[tuple[float, ...], ...] = ()

    def __post_init__(self) -> None:
        problems = []
        if self.chunk < 1 or self.action_dims < 1:
            problems.append(f"chunk {self.chunk} and action_dims {self.action_dims} must be at least 1")
        if len(self.ids) < 2 or len(set(self.ids)) != len(self.ids) or min(self.ids) < 0:
            problems.append(f"ids must be at least 2 different numbers from 0, got {len(self.ids)}: {self.ids[:3]} ...")
        if self.terminate is not None and not 0 <= self.terminate < self.action_dims:
            problems.append(f"terminate {self.terminate} is no dimension of {self.action_dims}")
        if self.values and [len(row) for row in self.values] != [len(self.ids)] * self.action_dims:
            problems.append(f"values must hold {len(self.ids)} numbers for each of {self.action_dims} dimensions")
        if any(not (np.all(np.isfinite(row)) and np.all(np.diff(row) > 0)) for row in self.values):
            problems.append("values of a dimension must be finite and increase")
        if problems:
            raise UserError("actions as tokens: " + "; ".join(problems))

    @property
    def num_bins(self) -> int:
        return len(self.ids)

    @property
    def length(self) -> int:
        """Tokens of one answer: n = k a."""
        return self.chunk * self.action_dims

    @property
    def order(self) -> tuple[int, ...]:
        """Dimensions in the order in which they are said: terminate first."""
        first = () if self.terminate is None else (self.terminate,)
        return (*first, *(d for d in range(self.action_dims) if d != self.terminate))

    @property
    def allowed(self) -> tuple[tuple[int, ...], ...]:
        """Ids that may stand at each of the n positions, in order of value."""
        return tuple(self.ids[: self._num_allowed(d)] for d in self.order) * self.chunk

    @property
    def allowed_bins(self) -> Bool[np.ndarray, "n v"]:
        """The same as a mask over the bins of each position: for logits of `ids` only."""
        limits = np.array([self._num_allowed(d) for d in self.order] * self.chunk)
        return np.arange(self.num_bins) < limits[:, None]

    @property
    def lengths(self) -> Int[np.ndarray, " v"]:
        """Entries of the n that each token says: one."""
        return np.ones(self.num_bins, np.int32)

    def allowed_after(self, said: Int[Array, " b"]) -> Bool[Array, "b v"]:
        """Bins that may follow where `said` entries are said."""
        return jnp.asarray(self.allowed_bins)[jnp.clip(said, 0, self.length - 1)]

    def _num_allowed(self, dim: int) -> int:
        return _NUM_TERMINATE if dim == self.terminate else self.num_bins

    def encode(self, action: Float[Array, "b k a"], mask: Bool[Array, "b k a"]) -> tuple[Int[Array, "b n"], Bool[Array, "b n"]]:
        """Model space to ids, int32, and which of them say something: an unknown dimension gets the token of 0 and False."""
        known = self._said(jnp.asarray(mask))
        bins = self.bin(jnp.where(mask, action, 0.0))
        return jnp.asarray(self.ids, jnp.int32)[bins], known

    def decode(self, ids: Int[Array, "b n"]) -> Float[Array, "b k a"]:
        """Ids to model space, float32. A row with an id that is not allowed at its position (`valid`) is NaN: no motion."""
        action = self.unbin(self._found(ids)[0])
        return jnp.where(self.valid(ids)[:, None, None], action, jnp.nan)

    def valid(self, ids: Int[Array, "b n"]) -> Bool[Array, " b"]:
        """Which rows hold at every position an id that is allowed there."""
        bins, is_one = self._found(ids)
        limits = jnp.asarray(self.allowed_bins.sum(axis=-1))
        return jnp.all(is_one & (bins < limits), axis=-1)

    def bin(self, action: Float[Array, "b k a"]) -> Int[Array, "b n"]:
        """Model space to bins, int32. Values outside [-1, 1] are clipped."""
        bins = UniformTokenizer(num_bins=self.num_bins).encode(action) if not self.values else self._nearest(action)
        if self.terminate is not None:
            bins = bins.at[..., self.terminate].set((action[..., self.terminate] > 0).astype(jnp.int32))
        return self._said(bins)

    def unbin(self, bins: Int[Array, "b n"]) -> Float[Array, "b k a"]:
        """Bins to model space, float32. Bins out of range are clipped to the nearest."""
        back = jnp.asarray(np.argsort(self.order))
        bins = bins.reshape(bins.shape[0], self.chunk, self.action_dims)[..., back]
        action = UniformTokenizer(num_bins=self.num_bins).decode(bins) if not self.values else self._values_of(bins)
        if self.terminate is not None:
            action = action.at[..., self.terminate].set(jnp.where(bins[..., self.terminate] > 0, 1.0, -1.0))
        return action

    def _said(self, x: Array) -> Array:
        return x[..., jnp.asarray(self.order)].reshape(x.shape[0], self.length)

    def _nearest(self, action: Float[Array, "b k a"]) -> Int[Array, "b k a"]:
        table = jnp.asarray(self.values, jnp.float32)
        middles = (table[:, 1:] + table[:, :-1]) / 2
        return jnp.sum(action[..., None] > middles, axis=-1, dtype=jnp.int32)

    def _values_of(self, bins: Int[Array, "b k a"]) -> Float[Array, "b k a"]:
        table = jnp.asarray(self.values, jnp.float32)
        return table[jnp.arange(self.action_dims), jnp.clip(bins, 0, self.num_bins - 1)]

    def _found(self, ids: Int[Array, "b n"]) -> tuple[Int[Array, "b n"], Bool[Array, "b n"]]:
        hit = ids[..., None] == jnp.asarray(self.ids, jnp.int32)
        return jnp.argmax(hit, axis=-1).astype(jnp.int32), jnp.any(hit, axis=-1)

    def bins_of(self, ids: Sequence[int] | Int[np.ndarray, " n"]) -> Int[np.ndarray, " n"]:
        """The bins of one answer. Raises NotAnAction for a wrong count or an id that is not allowed at its position."""
        given = [int(i) for i in ids]
        self._check_count(len(given), f"ids {given[:12]}")
        bins = {id_: bin_ for bin_, id_ in enumerate(self.ids)}
        for position, (id_, allowed) in enumerate(zip(given, self.allowed, strict=True)):
            if id_ not in allowed:
                raise NotAnAction(
                    f"the answer is no action: id {id_} at position {position} is not one of the {len(allowed)} allowed there"
                )
        return np.array([bins[id_] for id_ in given], np.int32)

    def to_text(self, bins: Sequence[int] | Int[np.ndarray, " n"]) -> str:
        """`"1 128 91 241 5 101 127 255"`: RT-2's string. Raises NotAnAction for bins that are none."""
        return " ".join(str(bin_) for bin_ in self._checked([int(b) for b in bins]))

    def parse_text(self, text: str) -> Int[np.ndarray, " n"]:
        """The bins of RT-2's string. Raises NotAnAction for anything else, also for an extra space or a leading zero."""
        words = text.split(" ")
        if odd := [word for word in words if not _INTEGER.fullmatch(word)]:
            raise NotAnAction(f"the answer {text[:80]!r} is no action: {odd[0][:20]!r} is no integer from 0; one space between")
        return np.array(self._checked([int(word) for word in words]), np.int32)

    def _checked(self, bins: list[int]) -> list[int]:
        self._check_count(len(bins), f"bins {bins[:12]}")
        limits = self.allowed_bins.sum(axis=-1).tolist()
        for position, (bin_, limit) in enumerate(zip(bins, limits, strict=True)):
            if not 0 <= bin_ < limit:
                raise NotAnAction(f"the answer is no action: {bin_} at position {position} is outside 0 to {limit - 1}")
        return bins

    def _check_count(self, count: int, what: str) -> None:
        if count != self.length:
            raise NotAnAction(f"the answer is no action: {count} numbers, expected {self.length} ({what})")


def quantile_values(
    action: Float[np.ndarray, "m a"], mask: Bool[np.ndarray, "m a"], *, num_bins: int = 256
) -> tuple[tuple[float, ...], ...]:
    """`BinnedActions.values` fitted to samples in model space: bins lie densely where the data do.

    Each dimension gets -1, 1 and quantiles at equal steps of probability. Quantiles that coincide (a gripper that is only
    open or shut, a dimension that nobody knows) leave values over; these halve the widest gaps.
    """
    if num_bins < 2:
        raise UserError(f"quantile bins: num_bins {num_bins} must be at least 2")
    columns = (np.clip(column[known], -1, 1) for column, known in zip(action.T, mask.T, strict=True))
    return tuple(_quantiles(column, num_bins) for column in columns)


def _quantiles(samples: np.ndarray, count: int) -> tuple[float, ...]:
    # inverted_cdf takes values that occur: a mean of -1 and 1 would be a gripper position that no robot was ever sent to.
    steps = (np.arange(count - 2) + 0.5) / max(count - 2, 1)
    found = np.quantile(samples, steps, method="inverted_cdf") if samples.size else np.zeros(0)
    values = np.unique(np.concatenate([[-1.0, 1.0], found]).astype(np.float32))
    while len(values) < count:
        widest = int(np.argmax(np.diff(values)))
        middle = np.float32(0.5) * (values[widest] + values[widest + 1])
        values = np.insert(values, widest + 1, middle)
    return tuple(float(value) for value in values)


def tail_ids(vocab: int, n: int) -> tuple[int, ...]:
    """The last `n` ids of a vocabulary, ascending."""
    if not 0 < n <= vocab:
        raise UserError(f"actions as tokens: {n} ids do not fit into a vocabulary of {vocab}")
    return tuple(range(vocab - n, vocab))


def paligemma_ids(n: int = 256) -> tuple[int, ...]:
    """257,023 - t for bin t: down from `<loc1023>`, as openpi does. Beyond 1024 they are rare pieces of text."""
    return tuple(_PALIGEMMA_LAST - t for t in range(n))


def integer_ids(pieces: Sequence[str], n: int = 256) -> tuple[int, ...]:
    """For bin i the id of the piece that is the integer i, after a space if there is such a piece.

    `pieces[id]`: sentencepiece's own spelling. Raises UserError naming the first integers that have no piece.
    """
    known = {piece: id_ for id_, piece in reversed(list(enumerate(pieces)))}
    found = [known.get(f"\N{LOWER ONE EIGHTH BLOCK}{i}", known.get(str(i))) for i in range(n)]
    missing = [i for i, id_ in enumerate(found) if id_ is None]
    if missing:
        listed = ", ".join(map(str, missing[:5]))
        raise UserError(
            f"{len(missing)} of the integers 0 to {n - 1} have no token of their own in this vocabulary, the first are "
            f"{listed}; use tail_ids or rarest_ids"
        )
    return tuple(id_ for id_ in found if id_ is not None)


def rarest_ids(scores: Sequence[float], n: int = 256, *, keep: Collection[int] = ()) -> tuple[int, ...]:
    """The ids of the `n` pieces of lowest score (log probability, or minus the rank of a BPE merge), ascending.

    In a BPE model these are single letters, the rarest of its script: right for a vocabulary of 256,000 pieces, wrong for a
    small one. `keep`: ids that are no ordinary pieces (padding, end, unknown, bytes) and stay what they are. Of equal ones the
    later go.
    """
    kept = set(keep)
    free = sorted((score, -id_) for id_, score in enumerate(scores) if id_ not in kept)
    if len(free) < n:
        raise UserError(f"actions as tokens: {n} ids wanted, the vocabulary has {len(free)} ordinary pieces")
    return tuple(sorted(-negative for _, negative in free[:n]))


def language_table_text(action: Float[np.ndarray, " 2"]) -> str:
    """`"-3 10"`: a 2-D displacement in model space as Language-Table's two integers from -10 to 10 (21 values each)."""
    steps = np.rint(np.clip(action, -1, 1) * _STEPS).astype(int)
    return " ".join(map(str, steps.tolist()))


def parse_language_table(text: str) -> Float[np.ndarray, " 2"]:
    """Inverse of `language_table_text`, float32 in [-1, 1]. Raises NotAnAction for anything else."""
    words = text.split(" ")
    steps = [int(word) for word in words if _SIGNED.fullmatch(word)]
    if len(words) != 2 or len(steps) != 2 or max(map(abs, steps)) > _STEPS:
        raise NotAnAction(f"the answer {text[:80]!r} is no action: expected two integers from -{_STEPS} to {_STEPS}")
    return np.array(steps, np.float32) / _STEPS
