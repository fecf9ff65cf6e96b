"""Short samples do not pay for long ones: a batch as a few groups of rows of similar length, each only as wide as it must be.

    batch [b]  --sort rows by length, cut into g equal parts-->  g batches [b / g]  --cut `text`, `target`-->  their own widths

      ROBOT ....                      ROBOT
      a long question . its answer    ROBOT
      ROBOT ....                      a long question . its answer
      another long one, its answer    another long one, its answer

The step adds up the groups' gradients, weighted by what their losses are means over: the result is that of the whole batch.

A width is the full one, its half, quarter or eighth, and no less than 16: w <= 4 of them. So the step is compiled for at most
w^(2 g) shapes, 16 for one group and 256 for two; in truth for a handful, because lengths go with the kind of data (each new
one is logged). The choice depends on the batch alone, so a resumed run makes it again.
"""

from __future__ import annotations

import dataclasses

import jax
import numpy as np
from jaxtyping import Int, Shaped

import rtx.models.protocol  # noqa: F401 (makes a Batch a pytree)
from rtx.errors import UserError
from rtx.spec import Batch

_MAX_WIDTHS = 4
_MIN_WIDTH = 16  # a picture alone is 64 tokens and more: to cut further saves next to nothing, and costs programs


def split(batch: Batch, num_groups: int) -> tuple[Batch, ...]:
    """Host batch to `num_groups` of equal size, the shortest rows first. Raises UserError where it cannot be cut equally."""
    b = len(batch.sample)
    if b % num_groups:
        raise UserError(f"a batch of {b} rows cannot be cut into train.groups = {num_groups} equal groups")
    if num_groups == 1:
        return (batch,)
    order = np.argsort(_row_lengths(batch), kind="stable")
    return tuple(take_rows(batch, rows) for rows in np.split(order, num_groups))


def narrowed(batch: Batch) -> Batch:
    """`batch` with `text` and `target` cut to the narrowest of their `widths` that holds the longest row. Only padding (0) at
    the right is cut."""
    target = None if batch.target is None else _narrowed(batch.target)
    return dataclasses.replace(batch, text=_narrowed(batch.text), target=target)


def widths(full: int) -> tuple[int, ...]:
    """What tokens that are `full` wide may be cut to, the widest first."""
    halves = (-(-full // 2**i) for i in range(1, _MAX_WIDTHS))
    return (full, *(width for width in halves if width >= _MIN_WIDTH))


def take_rows(batch: Batch, rows: Int[np.ndarray, " n"]) -> Batch:
    """These rows, in this order."""
    return jax.tree.map(lambda array: array[rows], batch)


def num_tokens(batch: Batch) -> tuple[int, int]:
    """(text tokens that are there, text tokens that are computed with), prompts and targets together."""
    texts = [batch.text] if batch.target is None else [batch.text, batch.target]
    return sum(int(np.count_nonzero(text)) for text in texts), sum(text.size for text in texts)


def lengths(tokens: Shaped[np.ndarray, "b l"]) -> Int[np.ndarray, " b"]:
    """Up to the last token that is no padding."""
    there = tokens != 0
    return np.where(there.any(1), tokens.shape[1] - np.argmax(there[:, ::-1], axis=1), 0)


def _row_lengths(batch: Batch) -> Int[np.ndarray, " b"]:
    return lengths(batch.text) + (0 if batch.target is None else lengths(batch.target))


def _narrowed(tokens: Shaped[np.ndarray, "b l"]) -> Shaped[np.ndarray, "b w"]:
    longest = int(lengths(tokens).max(initial=0))
    return tokens[:, : min(width for width in widths(tokens.shape[1]) if width >= longest)]
