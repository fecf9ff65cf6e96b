"""Actions as tokens: RT-2's string by hand, agreement with the bins of RT-1, and the refusal of everything else."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtx.errors import UserError
from rtx.models.action_tokens import UniformTokenizer
from rtx.models.vla.action_tokens import (
    BinnedActions,
    NotAnAction,
    integer_ids,
    language_table_text,
    paligemma_ids,
    parse_language_table,
    quantile_values,
    rarest_ids,
    tail_ids,
)

RT2 = BinnedActions(chunk=1, action_dims=8, ids=tuple(range(256)), terminate=7)
CHUNK = BinnedActions(chunk=3, action_dims=10, ids=paligemma_ids(), terminate=7)
RNG = np.random.default_rng(0)
NARROW = np.clip(RNG.normal(0, 0.1, (2000, 10)), -1, 1).astype(np.float32)
QUANTILES = BinnedActions(
    chunk=3,
    action_dims=10,
    ids=tail_ids(1000, 256),
    terminate=7,
    values=quantile_values(NARROW, np.ones_like(NARROW, bool)),
)
TERMINATE = np.where(RNG.uniform(size=(5, 3)) < 0.5, -1, 1)
ACTION = RNG.uniform(-1.2, 1.2, (5, 3, 10)).astype(np.float32)
ACTION[..., 7] = TERMINATE
KNOWN = jnp.ones(ACTION.shape, bool)


def test_the_string_of_an_action_by_hand() -> None:
    # delta_pos, delta_rot, gripper, terminate. 0 is 127.5, rounded to even; 0.1 is 140.25; -0.2 is 102.
    action = jnp.asarray([[[0.0, 0.1, 1.0, -1.0, -0.2, 3.0, 1.0, -1.0]]])
    assert RT2.to_text(np.asarray(RT2.bin(action))[0]) == "0 128 140 255 0 102 255 255"
    done = action.at[..., 7].set(1.0).at[..., 6].set(-1.0)
    assert RT2.to_text(np.asarray(RT2.bin(done))[0]) == "1 128 140 255 0 102 255 0"
    # the sample of section 4.4 of the paper
    bins = RT2.parse_text("1 128 124 136 121 158 111 255")
    back = np.asarray(RT2.unbin(jnp.asarray(bins)[None]))[0, 0]
    np.testing.assert_allclose(back, [1 / 255, -7 / 255, 17 / 255, -13 / 255, 61 / 255, -33 / 255, 1, 1], atol=1e-6)


@pytest.mark.parametrize(
    "text",
    [
        "", "1 128 91 241 5 101 127", "1 128 91 241 5 101 127 0 0", "2 128 91 241 5 101 127 0", "1 256 91 241 5 101 127 0",
        "1  128 91 241 5 101 127", "1 128 91 241 5 101 127 0 ", "1 128 91 241 5 101 127 0\n", "1 128 91 -1 5 101 127 0",
        "1 128 91 241.0 5 101 127 0", "01 128 91 241 5 101 127 0", "1 128 91 241 five 101 127 0", "1,128,91,241,5,101,127,0",
        "1 128 91 \N{ARABIC-INDIC DIGIT TWO} 5 101 127 0", "1 128 91 " + "9" * 9000 + " 5 101 127 0", "pick up the can",
    ],
)  # fmt: skip
def test_whatever_else_is_no_action(text: str) -> None:
    with pytest.raises(NotAnAction, match="is no action"):
        RT2.parse_text(text)


@given(st.text(alphabet="0123456789 -\n", max_size=40))
def test_a_text_is_refused_or_comes_back_as_it_was(text: str) -> None:
    try:
        bins = RT2.parse_text(text)
    except NotAnAction:
        return
    assert RT2.to_text(bins) == text


def test_the_bins_are_those_of_rt1_and_terminate_goes_first() -> None:
    uniform = UniformTokenizer()
    ids, known = CHUNK.encode(jnp.asarray(ACTION), KNOWN)
    assert (ids.dtype, ids.shape, known.shape) == (jnp.int32, (5, 30), (5, 30))
    bins = np.array(uniform.encode(jnp.asarray(ACTION)))
    bins[..., 7] = TERMINATE > 0
    said = bins[..., [7, 0, 1, 2, 3, 4, 5, 6, 8, 9]].reshape(5, 30)
    np.testing.assert_array_equal(ids, 257_023 - said)
    rest = [d for d in range(10) if d != 7]
    back = np.asarray(CHUNK.decode(ids))
    np.testing.assert_array_equal(back[..., rest], np.asarray(uniform.decode(jnp.asarray(bins)))[..., rest])
    np.testing.assert_array_equal(back[..., 7], TERMINATE)


@pytest.mark.parametrize("tokens", [RT2, CHUNK, QUANTILES])
def test_every_allowed_id_is_a_finite_value_in_range_and_comes_back(tokens: BinnedActions) -> None:
    columns = [np.resize(np.array(ids), 256) for ids in tokens.allowed]
    ids = jnp.asarray(np.stack(columns, axis=1))
    assert np.asarray(tokens.valid(ids)).all()
    action = jax.jit(tokens.decode)(ids)
    assert np.isfinite(action).all()
    assert np.abs(action).max() <= 1
    again, _ = jax.jit(tokens.encode)(action, jnp.ones(action.shape, bool))
    np.testing.assert_array_equal(again, ids)


def test_every_other_id_is_refused() -> None:
    ids = np.array(CHUNK.encode(jnp.asarray(ACTION), KNOWN)[0][0])
    np.testing.assert_array_equal(CHUNK.ids[0] - ids, CHUNK.bins_of(ids))
    for position in (0, 1, 9, 10, 29):
        others = [i for i in (-1, 0, 1, 108, 256_767, 257_024, 257_151) if i not in CHUNK.allowed[position]]
        others += [CHUNK.ids[2]] if position in (0, 10) else []  # a third value of terminate
        for other in others:
            wrong = ids.copy()
            wrong[position] = other
            both = jnp.asarray(np.stack([wrong, ids]))
            assert CHUNK.valid(both).tolist() == [False, True]
            assert np.isnan(CHUNK.decode(both)).all(axis=(1, 2)).tolist() == [True, False]
            with pytest.raises(NotAnAction, match=f"id {other} at position {position}"):
                CHUNK.bins_of(wrong)
    with pytest.raises(NotAnAction, match="29 numbers, expected 30"):
        CHUNK.bins_of(ids[1:])


def test_the_mask_over_bins_says_what_allowed_says() -> None:
    for mask, ids in zip(CHUNK.allowed_bins, CHUNK.allowed, strict=True):
        assert tuple(np.array(CHUNK.ids)[mask].tolist()) == ids
    assert [len(ids) for ids in CHUNK.allowed[:10]] == [2, *[256] * 9]


def test_an_unknown_dimension_is_told_apart_and_holds_the_token_of_zero() -> None:
    mask = np.ones(ACTION.shape, bool)
    mask[:, 1, 7], mask[:, 2, 0] = False, False
    ids, known = CHUNK.encode(jnp.asarray(ACTION), jnp.asarray(mask))
    assert np.argwhere(~np.asarray(known)[0]).ravel().tolist() == [10, 21]
    assert set(np.asarray(ids)[:, 21].tolist()) == {257_023 - 128}
    assert set(np.asarray(ids)[:, 10].tolist()) == {257_023}


def test_without_terminate_the_order_stays() -> None:
    tokens = BinnedActions(chunk=1, action_dims=2, ids=(7, 5, 9), terminate=None)
    ids, _ = tokens.encode(jnp.asarray([[[-1.0, 0.9]]]), jnp.ones((1, 1, 2), bool))
    assert ids.tolist() == [[7, 9]]
    assert tokens.allowed == ((7, 5, 9), (7, 5, 9))


def test_quantile_bins_lie_where_the_data_do() -> None:
    ids, _ = QUANTILES.encode(jnp.asarray(NARROW[:30].reshape(1, 30, 10)[:, :3]), jnp.ones((1, 3, 10), bool))
    back = np.asarray(QUANTILES.decode(ids))[0]
    rest = [d for d in range(10) if d != 7]
    fine = np.abs(back - NARROW[:3])[:, rest].mean()
    uniform = UniformTokenizer()
    coarse = np.abs(np.asarray(uniform.decode(uniform.encode(jnp.asarray(NARROW)))) - NARROW).mean()
    assert fine < coarse / 2


def test_fitted_values_hold_what_occurs_and_fill_what_is_left() -> None:
    gripper = np.where(np.arange(100)[:, None] % 3 == 0, -1.0, 1.0).astype(np.float32)
    samples = np.concatenate([gripper, np.full((100, 1), 0.25, np.float32), np.ones((100, 1), np.float32)], axis=1)
    mask = np.ones(samples.shape, bool)
    mask[:, 2] = False
    two_valued, constant, unknown = quantile_values(samples, mask, num_bins=9)
    np.testing.assert_allclose(two_valued, np.linspace(-1, 1, 9))
    np.testing.assert_allclose(unknown, np.linspace(-1, 1, 9))
    assert len(constant) == 9
    assert 0.25 in constant
    assert np.all(np.diff(constant) > 0)


def test_ids_of_the_backbones() -> None:
    assert paligemma_ids()[:2] == (257_023, 257_022)
    assert min(paligemma_ids()) == 256_768 > 256_000  # still a <loc> token
    assert tail_ids(1000, 4) == (996, 997, 998, 999)
    with pytest.raises(UserError, match="300 ids do not fit into a vocabulary of 256"):
        tail_ids(256, 300)
    assert rarest_ids([0.0, -9.0, -1.0, -3.0, -3.0, -2.0], 3, keep=(1,)) == (3, 4, 5)
    assert rarest_ids([0.0, -9.0, -1.0, -3.0, -3.0, -2.0], 1, keep=(1,)) == (4,)
    with pytest.raises(UserError, match="256 ids wanted, the vocabulary has 2"):
        rarest_ids([0.0, -1.0, -2.0], keep=(0,))


def test_integers_with_a_token_of_their_own() -> None:
    pieces = ["<pad>", "0", "\u2581one", "\u25811", "1", "\u25810", "2", "\u25813"]
    assert integer_ids(pieces, 4) == (5, 3, 6, 7)
    with pytest.raises(UserError, match=r"2 of the integers 0 to 5 have no token of their own.*the first are 4, 5; use"):
        integer_ids(pieces, 6)


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"ids": (1, 1)}, "2 different numbers"), ({"terminate": 2}, "terminate 2 is no dimension of 2"),
        ({"chunk": 0}, "chunk 0"), ({"values": ((0.0, 1.0),)}, "2 numbers for each of 2"),
        ({"values": ((0.0, 1.0), (1.0, 1.0))}, "finite and increase"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_configuration(changes: dict, match: str) -> None:
    with pytest.raises(UserError, match=match):
        BinnedActions(**({"chunk": 1, "action_dims": 2, "ids": (1, 2), "terminate": None} | changes))


def test_language_tables_two_integers() -> None:
    assert language_table_text(np.array([-0.31, 1.4], np.float32)) == "-3 10"
    np.testing.assert_allclose(parse_language_table("-3 10"), [-0.3, 1.0])
    texts = {f"{x} {y}" for x in range(-10, 11) for y in (-10, 0, 7)}
    assert {language_table_text(parse_language_table(text)) for text in texts} == texts
    for text in ("", "3", "1 2 3", "11 0", "1  2", "-0 1", "+1 2", "1 2 ", "x 1"):
        with pytest.raises(NotAnAction, match="two integers from -10 to 10"):
            parse_language_table(text)
