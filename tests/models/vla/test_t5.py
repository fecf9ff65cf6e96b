from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rtx.errors import UserError
from rtx.models.vla import t5
from rtx.models.vla.t5 import Decoder, Encoder, T5Config

TINY = T5Config(vocab=20, width=8, mlp=12, heads=2, head_dim=6, encoder_depth=2, decoder_depth=2)


def influence(function, x: jax.Array) -> np.ndarray:
    """Which row of the result (row) changes with which row of x (column), of the only sample."""
    moved = x + 0.5 * jnp.eye(x.shape[1])[:, None, :, None]  # [n, 1, n, d]
    rows = jax.jit(jax.vmap(function))(jnp.concatenate([x[None], moved]))[:, 0]
    return np.any(np.abs(rows[1:] - rows[0]) > 1e-6, axis=-1).T.astype(int)


def test_nobody_sees_padding_in_the_encoder():
    encoder = Encoder(TINY)
    x = jax.random.normal(jax.random.key(1), (1, 5, 8))
    valid = jnp.array([[True, True, False, True, False]])
    params = jax.jit(encoder.init)(jax.random.key(0), x, valid)
    seen = influence(lambda x: encoder.apply(params, x, valid), x)
    assert seen.tolist() == [
        [1, 1, 0, 1, 0],
        [1, 1, 0, 1, 0],
        [1, 1, 1, 1, 0],  # padding reads itself, through the residual, and is read by nobody
        [1, 1, 0, 1, 0],
        [1, 1, 0, 1, 1],
    ]


def test_the_decoder_is_causal_and_reads_the_valid_tokens_of_the_encoder():
    decoder = Decoder(TINY)
    x = jax.random.normal(jax.random.key(1), (1, 4, 8))
    encoded = jax.random.normal(jax.random.key(2), (1, 3, 8))
    valid = jnp.array([[True, False, True]])
    params = jax.jit(decoder.init)(jax.random.key(0), x, encoded, valid)
    own = influence(lambda x: decoder.apply(params, x, encoded, valid), x)
    assert own.tolist() == [[1, 0, 0, 0], [1, 1, 0, 0], [1, 1, 1, 0], [1, 1, 1, 1]]
    cross = influence(lambda e: decoder.apply(params, x, e, valid), encoded)
    assert cross.tolist() == [[1, 0, 1]] * 4


def test_padding_between_written_tokens_is_seen_by_nobody_and_takes_no_position():
    decoder = Decoder(TINY)
    x = jax.random.normal(jax.random.key(1), (1, 5, 8))
    encoded, valid = jax.random.normal(jax.random.key(2), (1, 3, 8)), jnp.ones((1, 3), bool)
    params = jax.jit(decoder.init)(jax.random.key(0), x, encoded, valid)

    def rows(x):
        first, cache = decoder.apply(params, x[:, :1], encoded, valid, room=7, method="read")
        out, _ = decoder.apply(params, x[:, 1:], jnp.array([[True, False, True, True]]), cache, method="write")
        return jnp.concatenate([first, out], 1)

    assert influence(rows, x)[[0, 1, 3, 4]].tolist() == [[1, 0, 0, 0, 0], [1, 1, 0, 0, 0], [1, 1, 0, 1, 0], [1, 1, 0, 1, 1]]
    without = jax.jit(decoder.apply)(params, x[:, [0, 1, 3, 4]], encoded, valid)
    np.testing.assert_allclose(jax.jit(rows)(x)[:, [0, 1, 3, 4]], without, atol=1e-5)


def test_norm_of_a_row_by_hand():
    out = t5.RMSNorm().apply({"params": {"scale": jnp.array([1.0, 2.0])}}, jnp.array([[3.0, 4.0]]))
    np.testing.assert_allclose(out, [[3 / 12.5**0.5, 2 * 4 / 12.5**0.5]], rtol=1e-6)  # no mean is taken off


def test_all_problems_of_a_config_are_named():
    with pytest.raises(UserError, match=r"width 0 .*heads -1 .*buckets 30"):
        T5Config(vocab=9, width=0, mlp=9, heads=-1, head_dim=1, encoder_depth=1, decoder_depth=1, buckets=30)


def parameter_count(config: T5Config) -> int:
    """Of encoder, decoder, embedding and head, by eval_shape."""

    def init(key: jax.Array):
        x, valid = jnp.zeros((1, 1, config.width)), jnp.ones((1, 1), bool)
        decoder = Decoder(config)

        def everything(module: Decoder):
            return module.logits(module(x, x, valid), jnp.zeros((config.vocab, config.width)), None)

        return Encoder(config).init(key, x, valid), decoder.init(key, method=everything)

    shapes = jax.eval_shape(init, jax.random.key(0))
    return sum(leaf.size for leaf in jax.tree.leaves(shapes)) + config.vocab * config.width


@pytest.mark.parametrize(
    ("config", "millions"),
    [(t5.small(), 77), (t5.base(), 248), (t5.large(), 783), (t5.xl(), 2850), (t5.xxl(), 11_135), (t5.ul2(), 19_500)],
)
def test_presets_have_the_published_number_of_parameters(config, millions):
    assert parameter_count(config) == pytest.approx(millions * 1e6, rel=0.005)
