"""Windows: step t of an episode, the `history` frames that end at t and the `chunk` actions that start at t.

    episode steps      0  1  2  3  4                  history 3, chunk 3
    window of step 0: [0  0  0] [0  1  2]             history mask  . . x   chunk mask  x x x
    window of step 4: [2  3  4] [4  4  4]             history mask  x x x   chunk mask  x . .

Before the start the first frame is repeated, after the end the last row; the masks (True = real) say which are.
Every step of an episode is a window, so a split has as many windows as steps. Windows never cross episodes.
Actions after the end are then made neutral in physical units (`rtx.data.assemble`): no motion where the field is relative, the
last value where it is absolute. A zero written after normalisation, as Octo and OpenVLA do, is a motion wherever the
bounds are not symmetric.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Int64


@dataclass(frozen=True, kw_only=True)
class Windows:
    """Rows of the step table that make up `n` windows, oldest first, and which of them are real."""

    history: Int64[np.ndarray, "n t"]
    history_mask: Bool[np.ndarray, "n t"]
    chunk: Int64[np.ndarray, "n k"]
    chunk_mask: Bool[np.ndarray, "n k"]


def windows(episode_start: Int64[np.ndarray, " e"], steps: Int64[np.ndarray, " n"], *, history: int, chunk: int) -> Windows:
    """The windows of `steps` (rows of the step table). `episode_start` has one element more than there are episodes; episodes
    without steps are allowed.
    """
    episode = episode_of(episode_start, steps)
    first, last = episode_start[episode][:, None], episode_start[episode + 1][:, None] - 1
    past = steps[:, None] + np.arange(1 - history, 1)
    future = steps[:, None] + np.arange(chunk)
    return Windows(
        history=np.maximum(past, first), history_mask=past >= first, chunk=np.minimum(future, last), chunk_mask=future <= last
    )


def episode_of(episode_start: Int64[np.ndarray, " e"], steps: Int64[np.ndarray, " n"]) -> Int64[np.ndarray, " n"]:
    """The episode of each row of the step table: the last one that starts at or before it."""
    return np.searchsorted(episode_start, steps, side="right") - 1
