"""FAST: round trips within the bound, the tokenizers library's BPE, host and compiled decoder alike, real compression."""

from __future__ import annotations

import dataclasses
import functools
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.fft import dct

from rtx.data.oxe.bridge import BRIDGE_DATASET
from rtx.data.prepare import prepare
from rtx.errors import UserError
from rtx.models.vla.action_tokens import NotAnAction, paligemma_ids
from rtx.models.vla.fast import FastActions, fit_merges, symbol_limit, symbols_of
from rtx.spec import action_normalizer
from tests.real_data import bridge_dir

REFERENCE = np.load(Path(__file__).with_name("fast_reference.npz"))
FRESH = REFERENCE["fresh"]  # chunks of 12 actions in 4 dimensions that the merges were not fitted to
MERGES = tuple((int(first), int(second)) for first, second in REFERENCE["merges"])
FAST = FastActions(chunk=12, action_dims=4, merges=MERGES, ids=tuple(range(1000, 1300)))
END = 1


@functools.cache
def decoder(actions: FastActions):
    return jax.jit(functools.partial(actions.decode, end=END))


def said(row: np.ndarray) -> np.ndarray:
    return row[row != 0]


def test_frequencies_by_hand() -> None:
    # the mean of (1, 1) and of (-1, 1) times sqrt(2), then their half difference times -sqrt(2): 14.14, 0, 0, -14.14
    action = np.array([[[1.0, -1.0], [1.0, 1.0]]])
    assert symbols_of(action, 10.0).tolist() == [[14, 0, 0, -14]]
    tokens = FastActions(chunk=2, action_dims=2, merges=((14, 14),), ids=tuple(range(100, 130)))
    assert tokens.num_symbols == 29
    assert tokens.encode(action).tolist() == [[128, 129, 100, 0]]  # 14, the two zeros in one, -14
    np.testing.assert_allclose(tokens.read([128, 129, 100]), [[0.99, -0.99], [0.99, 0.99]], atol=1e-3)


def test_the_tokens_are_those_of_the_tokenizers_library() -> None:
    rows = FAST.encode(FRESH)
    symbols = np.rint(dct(FRESH.astype(np.float64), axis=1, norm="ortho") * 10).reshape(len(FRESH), -1)
    np.testing.assert_array_equal(symbols_of(FRESH, 10.0), symbols)
    for row, expected in zip(rows, REFERENCE["tokens"], strict=True):
        assert (said(row) - 1000).tolist() == expected[expected >= 0].tolist()


def test_merges_by_hand() -> None:
    # chunk 1, scale 1: symbols -1, 0, 1 are tokens 0, 1, 2. Rows: 1 1 1 1 / 1 1 1 0 / -1 0 -1 0
    rows = np.array([[[0.0, 0, 0, 0]], [[0, 0, 0, -1]], [[-1, 1, -1, 1]]])
    merges = fit_merges(rows, num_tokens=9, scale=1.0)
    # (1, 1) occurs 5 times: token 3. Then 3 3 / 3 1 0 / 0 2 0 2: (0, 2) twice: token 4. Then nothing twice.
    assert merges == ((1, 1), (0, 2))
    assert fit_merges(rows[::-1].copy(), num_tokens=9, scale=1.0) == merges
    assert fit_merges(rows, num_tokens=4, scale=1.0) == merges[:1]
    once = fit_merges(rows, num_tokens=99, scale=1.0, min_count=1)
    tokens = FastActions(chunk=1, action_dims=4, merges=once, ids=tuple(range(1, 99)), scale=1.0)
    assert (tokens.encode(rows) != 0).sum(axis=1).tolist() == [1, 1, 1]
    with pytest.raises(UserError, match="below the 3 symbols"):
        fit_merges(rows, num_tokens=2, scale=1.0)


@settings(max_examples=60)
@given(st.integers(1, 9), st.integers(1, 4), st.floats(0.4, 40.0), st.integers(0, 2**32 - 1))
def test_any_chunk_comes_back_within_the_bound(chunk: int, dims: int, scale: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    kinds = [rng.uniform(-1, 1, (6, chunk, dims)), rng.choice([-1.0, 1.0], (6, chunk, dims)), np.ones((2, chunk, dims))]
    action = np.concatenate(kinds)
    merges = fit_merges(action[:8], num_tokens=2 * symbol_limit(chunk, scale) + 9, scale=scale)
    ids = tuple(int(i) for i in 1 + rng.permutation(2000))
    tokens = FastActions(chunk=chunk, action_dims=dims, merges=merges, ids=ids, scale=scale)
    rows = tokens.encode(action)
    back = np.stack([tokens.read(said(row)) for row in rows])
    assert np.abs(back - action).max() <= tokens.error_bound + 1e-9
    assert np.abs(back).max() <= 1


def test_the_bound_is_what_the_worst_rounding_does() -> None:
    cosines = dct(np.eye(12), axis=0, norm="ortho")  # [frequency, time]
    half_a_step = 0.5 / 10 * np.sign(cosines)  # of every coefficient, each column against one moment
    worst = np.abs(cosines.T @ half_a_step).max()
    assert worst == pytest.approx(FAST.error_bound, rel=1e-9)
    assert FAST.error_bound < 0.5 / 10 * np.sqrt(12)


def test_the_compiled_decoder_is_the_hosts() -> None:
    rows = FAST.encode(FRESH)
    rows[3, np.count_nonzero(rows[3])] = END
    action, valid = decoder(FAST)(jnp.asarray(rows))
    assert np.asarray(valid).all()
    assert (action.dtype, action.shape) == (jnp.float32, FRESH.shape)
    expected = np.stack([FAST.read(row[row > END]) for row in rows])
    np.testing.assert_allclose(action, expected, atol=2e-6)  # float32 sums of 12 products


def test_what_is_no_chunk_is_refused_by_both() -> None:
    good = FAST.encode(FRESH[:1])[0]
    n = np.count_nonzero(good)
    short, long, gap, foreign, late, empty = (good.copy() for _ in range(6))
    short[n - 1] = 0
    long[n] = good[0]
    gap[1:] = np.insert(good[1:], 1, 0)[: len(good) - 1]
    foreign[2] = 999
    late[n], late[n + 1] = END, good[0]
    empty[:] = 0
    above = good.copy()
    above[0] = 1000 + FAST.num_tokens
    rows = np.stack([good, short, long, gap, foreign, late, empty, above])
    action, valid = decoder(FAST)(jnp.asarray(rows))
    assert valid.tolist() == [True, *[False] * 7]
    assert np.isfinite(action[0]).all()
    assert np.isnan(action[1:]).all()
    for row in (short, long, foreign, empty, above):
        with pytest.raises(NotAnAction, match=r"no FAST token|coefficients, expected 48"):
            FAST.read(said(row))


def test_a_decoder_that_keeps_to_what_is_allowed_always_ends_with_a_chunk() -> None:
    rng = np.random.default_rng(0)
    rows, said = np.zeros((64, FAST.length), np.int32), np.zeros(64, np.int32)
    allowed = jax.jit(FAST.allowed_after)
    for position in range(FAST.length):
        may = np.asarray(allowed(jnp.asarray(said)))
        draws = np.argmax(np.where(may, rng.uniform(size=may.shape), -1), axis=1)
        rows[:, position] = np.where(may.any(axis=1), 1000 + draws, 0)
        said += np.where(may.any(axis=1), FAST.lengths[draws], 0)
    assert (said == FAST.length).all()
    action, valid = decoder(FAST)(jnp.asarray(rows))
    assert np.asarray(valid).all()
    assert np.isfinite(action).all()
    assert 1 < np.count_nonzero(rows, axis=1).min() < FAST.length


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"ids": (5, 6)}, "2 ids for 300 tokens"), ({"ids": tuple(range(300))}, "above 0, which is padding"),
        ({"scale": 0.0}, "must be positive"), ({"merges": ((0, 71),), "ids": tuple(range(1, 99))}, "come after it"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_configuration(changes: dict, match: str) -> None:
    with pytest.raises(UserError, match=match):
        dataclasses.replace(FAST, **changes)


def test_real_motion_takes_fewer_tokens(tmp_path: Path) -> None:
    """One second of Bridge: 5 steps in 7 dimensions. Merges from some episodes, counted on others."""
    prepared = prepare(BRIDGE_DATASET, bridge_dir(), tmp_path, num_workers=1)
    split = prepared.split("train")
    normalizer = action_normalizer(prepared.layout.action, prepared.statistics.action)
    action = normalizer.forward(split.action)[:, :7]
    chunks = [
        np.stack([action[i : i + 5] for i in range(first, end - 4)])
        for first, end in zip(split.episode_start[:-1], split.episode_start[1:], strict=True)
    ]
    fitted, fresh = np.concatenate(chunks[:20]), np.concatenate(chunks[20:])
    merges = fit_merges(fitted, num_tokens=1024)
    tokens = FastActions(chunk=5, action_dims=7, merges=merges, ids=paligemma_ids(1024))
    rows = tokens.encode(fresh)
    count = np.count_nonzero(rows, axis=1).mean()
    seen = np.count_nonzero(tokens.encode(fitted), axis=1).mean()
    print(f"fitted={len(fitted)} fresh={len(fresh)} tokens={tokens.num_tokens} seen={seen:.1f} count={count:.1f} of 35")
    assert count < 30
    back = np.asarray(decoder(tokens)(jnp.asarray(rows))[0])
    assert np.abs(back - fresh).max() <= tokens.error_bound + 1e-5
