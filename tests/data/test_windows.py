"""Windows against their definition, spelled out step by step, for every step of every (history, chunk)."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from rtx.data.windows import episode_of, windows

LENGTHS = (3, 1, 0, 7, 2)  # one step, no step, shorter and longer than a window
STARTS = np.concatenate([[0], np.cumsum(LENGTHS)]).astype(np.int64)


def by_definition(step: int, history: int, chunk: int) -> tuple[list[int], list[bool], list[int], list[bool]]:
    episode = next(e for e in range(len(LENGTHS)) if STARTS[e] <= step < STARTS[e + 1])
    rows = list(range(STARTS[episode], STARTS[episode + 1]))
    t = rows.index(step)
    past = [t - back for back in reversed(range(history))]
    future = [t + ahead for ahead in range(chunk)]
    return (
        [rows[i] if i >= 0 else rows[0] for i in past],
        [i >= 0 for i in past],
        [rows[i] if i < len(rows) else rows[-1] for i in future],
        [i < len(rows) for i in future],
    )


@pytest.mark.parametrize(("history", "chunk"), list(itertools.product(range(1, 10), repeat=2)))
def test_every_window_is_as_defined(history: int, chunk: int):
    steps = np.arange(STARTS[-1])
    got = windows(STARTS, steps, history=history, chunk=chunk)
    for step in steps:
        past, past_mask, future, future_mask = by_definition(step, history, chunk)
        assert got.history[step].tolist() == past
        assert got.history_mask[step].tolist() == past_mask
        assert got.chunk[step].tolist() == future
        assert got.chunk_mask[step].tolist() == future_mask


def test_the_step_itself_is_always_real():
    got = windows(STARTS, np.arange(STARTS[-1]), history=4, chunk=4)
    assert got.history_mask[:, -1].all()
    assert got.chunk_mask[:, 0].all()
    np.testing.assert_array_equal(got.history[:, -1], got.chunk[:, 0])


def test_any_order_and_repetition_of_steps():
    steps = np.array([12, 0, 3, 3, 7])
    got, whole = (windows(STARTS, s, history=3, chunk=2) for s in (steps, np.arange(STARTS[-1])))
    np.testing.assert_array_equal(got.history, whole.history[steps])
    np.testing.assert_array_equal(got.chunk_mask, whole.chunk_mask[steps])


def test_episode_of_skips_empty_episodes():
    assert episode_of(STARTS, np.arange(STARTS[-1])).tolist() == [0] * 3 + [1] + [3] * 7 + [4] * 2
