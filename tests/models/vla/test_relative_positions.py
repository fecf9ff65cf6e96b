from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rtx.models.vla.relative_positions import RelativePositions, bucket

T5_SIZES = {"buckets": 32, "max_distance": 128}  # every T5's
NEAR = {"buckets": 8, "max_distance": 10}


def test_buckets_of_the_encoder_by_hand():
    """8 + floor(8 log(d / 8) / log(16)) from 8 on; 16 more for keys ahead."""
    by_hand = {0: 0, 1: 1, 7: 7, 8: 8, 11: 8, 12: 9, 15: 9, 16: 10, 22: 10, 23: 11, 32: 12, 45: 12, 46: 13, 64: 14, 90: 14,
               91: 15, 128: 15, 129: 15, 5000: 15}  # fmt: skip
    behind = bucket(-jnp.asarray(list(by_hand)), **T5_SIZES, bidirectional=True)
    assert behind.tolist() == list(by_hand.values())
    ahead = bucket(jnp.asarray(list(by_hand)[1:]), **T5_SIZES, bidirectional=True)
    assert ahead.tolist() == [16 + b for b in list(by_hand.values())[1:]]


def test_buckets_of_the_decoder_by_hand():
    """16 + floor(16 log(d / 16) / log(8)) from 16 on; what lies ahead counts as 0."""
    by_hand = {-3: 0, 0: 0, 1: 1, 15: 15, 16: 16, 32: 21, 64: 26, 112: 30, 113: 31, 128: 31, 999: 31}
    assert bucket(-jnp.asarray(list(by_hand)), **T5_SIZES, bidirectional=False).tolist() == list(by_hand.values())


@pytest.mark.parametrize("n", [1, 2, 7])
@pytest.mark.parametrize("bidirectional", [True, False])
def test_the_bias_laid_out_is_the_bias_looked_up(n, bidirectional):
    module = RelativePositions(heads=2, **NEAR, bidirectional=bidirectional)
    params = module.init(jax.random.key(0), n)
    offset = jnp.arange(n) - jnp.arange(n)[:, None]
    np.testing.assert_array_equal(module.apply(params, n)[0], module.apply(params, offset, method="at"))


def test_the_gradient_of_the_bias_counts_the_entries_of_each_bucket():
    module = RelativePositions(heads=2, **NEAR, bidirectional=True)
    params = module.init(jax.random.key(0), 6)
    count = jax.grad(lambda p: module.apply(p, 6).sum())(params)["params"]["rel_embedding"]
    # Of six tokens, distance d occurs 6 - d times on either side; ahead there is no distance 0.
    np.testing.assert_allclose(count, [[6, 5, 4 + 3 + 2, 1, 0, 5, 4 + 3 + 2, 1]] * 2)
    assert bucket(-jnp.arange(6), **NEAR, bidirectional=True).tolist() == [0, 1, 2, 2, 2, 3]
