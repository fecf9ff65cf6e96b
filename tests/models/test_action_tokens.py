"""Action bins against hand-computed values and their properties."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rtx.errors import UserError
from rtx.models.action_tokens import UniformTokenizer

TOKENIZER = UniformTokenizer()
VALUES = np.concatenate([np.random.default_rng(0).uniform(-1, 1, 4000), [-1, 0, 1]]).astype(np.float32)


def test_hand_computed() -> None:
    action = jnp.asarray([[-1.0, 0.0, 1.0, 0.1]])
    assert TOKENIZER.encode(action).tolist() == [[0, 128, 255, 140]]  # 127.5 rounds to even, 140.25 down
    assert UniformTokenizer(rounding="truncate").encode(action).tolist() == [[0, 127, 255, 140]]
    assert UniformTokenizer(num_bins=3).encode(jnp.asarray([-1.0, -0.4, 0.6])).tolist() == [0, 1, 2]
    np.testing.assert_allclose(UniformTokenizer(num_bins=3).decode(jnp.asarray([0, 1, 2])), [-1.0, 0.0, 1.0])


def test_round_trip_is_off_by_half_a_bin_at_most() -> None:
    back = TOKENIZER.decode(TOKENIZER.encode(jnp.asarray(VALUES)))
    assert np.max(np.abs(np.asarray(back) - VALUES)) <= TOKENIZER.bin_width / 2 + 1e-6


def test_truncation_decodes_low_by_less_than_a_bin() -> None:
    tokenizer = UniformTokenizer(rounding="truncate")
    low_by = VALUES - np.asarray(tokenizer.decode(tokenizer.encode(jnp.asarray(VALUES))))
    assert np.all(low_by >= -1e-6)
    assert np.all(low_by < tokenizer.bin_width + 1e-6)


def test_monotone() -> None:
    tokens = np.asarray(TOKENIZER.encode(jnp.asarray(np.sort(VALUES))))
    assert np.all(np.diff(tokens) >= 0)


@pytest.mark.parametrize("num_bins", [8, 256, 512])
def test_compiled_bins_end_at_one(num_bins: int) -> None:
    tokenizer = UniformTokenizer(num_bins=num_bins)
    as_served = {"xla_backend_optimization_level": 3, "xla_llvm_disable_expensive_passes": False}  # not as tests compile
    decode = jax.jit(tokenizer.decode, compiler_options=as_served)
    assert decode(jnp.asarray([0, num_bins - 1])).tolist() == [-1.0, 1.0]


def test_every_token_survives_decode_and_encode() -> None:
    tokens = jnp.asarray(TOKENIZER.token_ids)
    assert TOKENIZER.encode(TOKENIZER.decode(tokens)).tolist() == list(TOKENIZER.token_ids)


def test_clips_before_binning() -> None:
    assert TOKENIZER.encode(jnp.asarray([-7.0, 7.0])).tolist() == [0, 255]
    assert TOKENIZER.decode(jnp.asarray([-3, 999])).tolist() == [-1.0, 1.0]


def test_first_id_shifts_the_vocabulary() -> None:
    tokenizer = UniformTokenizer(num_bins=4, first_id=100)
    assert tokenizer.token_ids == (100, 101, 102, 103)
    assert tokenizer.encode(jnp.asarray([-1.0, 1.0])).tolist() == [100, 103]
    assert tokenizer.decode(jnp.asarray([100, 103])).tolist() == [-1.0, 1.0]


def test_soft_labels_center_on_the_value_not_on_its_bin() -> None:
    tokenizer = UniformTokenizer(num_bins=5)  # bin width 0.5
    action = jnp.asarray([0.25])  # halfway between bins 2 and 3
    labels = np.asarray(tokenizer.soft_labels(action, sigma_bins=1.0))[0]
    weight = np.exp(-0.5 * np.square(np.arange(5) - 2.5))
    np.testing.assert_allclose(labels, weight / weight.sum(), rtol=1e-5)
    assert labels[2] == pytest.approx(labels[3])


def test_soft_labels_without_width_are_one_hot() -> None:
    labels = TOKENIZER.soft_labels(jnp.asarray([[0.1, 2.0]]), sigma_bins=0.0)
    assert np.argmax(labels, -1).tolist() == [[140, 255]]
    assert np.asarray(labels).sum() == 2.0
    assert np.asarray(labels).max() == 1.0


def test_expectation_stays_at_the_mode_when_there_are_two() -> None:
    tokenizer = UniformTokenizer(num_bins=11)  # values -1, -0.8, ... 1
    logits = jnp.log(jnp.asarray([[0.0, 0.1, 0.3, 0.2, 0.0, 0.0, 0.0, 0.0, 0.1, 0.2, 0.1]]) + 1e-9)
    value = float(tokenizer.expectation(logits, radius_bins=2)[0])
    assert value == pytest.approx((0.1 * -0.8 + 0.3 * -0.6 + 0.2 * -0.4) / 0.6, abs=1e-5)


def test_expectation_of_its_own_soft_label_is_the_value() -> None:
    inside = jnp.asarray(VALUES) * 0.8  # away from the ends, where the Gaussian is cut off
    logits = jnp.log(TOKENIZER.soft_labels(inside, sigma_bins=2.0) + 1e-30)
    np.testing.assert_allclose(TOKENIZER.expectation(logits, radius_bins=12), inside, atol=2e-4)


def test_expectation_of_radius_zero_is_argmax() -> None:
    logits = jnp.asarray(np.random.default_rng(0).normal(size=(3, 256)), jnp.float32)
    best = TOKENIZER.decode(jnp.argmax(logits, -1))
    np.testing.assert_allclose(TOKENIZER.expectation(logits, radius_bins=0), best, atol=1e-6)


def test_refuses_nonsense() -> None:
    with pytest.raises(UserError, match="num_bins 1 must be at least 2"):
        UniformTokenizer(num_bins=1)
