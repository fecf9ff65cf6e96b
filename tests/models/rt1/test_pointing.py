"""Does a token point where its query matches, and say nothing else?"""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rtx.models.rt1.image_tokenizer import grid_positions
from rtx.models.rt1.pointing import PointingTokenizer, read_maps, unit
from tests.models.rt1.small import CONFIG

RNG = jax.random.PRNGKey(0)


def test_unit_length_and_a_finite_gradient_at_zero() -> None:
    np.testing.assert_allclose(unit(jnp.asarray([30.0, 40.0])), [0.6, 0.8], rtol=1e-5)
    assert np.all(np.isfinite(jax.grad(lambda x: unit(x).sum())(jnp.zeros(3))))


def test_read_maps_by_hand() -> None:
    """Two of four cells in a row match fully (logit 8), the others not at all (-8): centre and spread of those two."""
    where = jnp.asarray([[-0.75, 0.0], [-0.25, 0.0], [0.25, 0.0], [0.75, 0.0]])
    logits = jnp.asarray([[[-8.0, -8.0, 8.0, 8.0]]])
    point = np.asarray(read_maps(logits, where, jnp.asarray([8.0])))[0, 0]
    np.testing.assert_allclose(point, [2 * 0.5, 0.0, 0.25**2, 10 * 0.5], atol=1e-5)


def test_a_map_over_everything_is_centred_and_wide() -> None:
    where = jnp.asarray(grid_positions(4, 4))
    point = np.asarray(read_maps(jnp.zeros((1, 1, 16)), where, jnp.zeros(1)))[0, 0]
    np.testing.assert_allclose(point, [0.0, 0.0, 2 * (0.25**2 + 0.75**2) / 2, 10.0], atol=1e-5)


@pytest.mark.parametrize(("row", "column"), [(0, 0), (2, 1), (3, 3)])
def test_learned_query_finds_the_coloured_patch_wherever_it_is(row: int, column: int) -> None:
    """A query set to a patch's own key points at that patch: x to the right, y down, twice the position."""
    config = dataclasses.replace(CONFIG, tokens_per_image=1)
    tokenizer = PointingTokenizer(config)
    image = np.full((1, 16, 16, 3), 90, np.uint8)
    image[0, 4 * row : 4 * row + 4, 4 * column : 4 * column + 4] = (220, 30, 30)
    sentence = jnp.ones((1, config.sentence_width))
    params = jax.jit(tokenizer.init)(RNG, image, sentence)["params"]
    red = key_of(params, (220, 30, 30)) - key_of(params, (90, 90, 90))
    params["query"] = {"kernel": jnp.zeros_like(params["query"]["kernel"]), "bias": red}
    params["temperature"] = jnp.full_like(params["temperature"], 200.0)
    x, y, spread, _ = jax.jit(tokenizer.apply)({"params": params}, image, sentence)[0, 0]
    np.testing.assert_allclose([x, y], 2 * grid_positions(4, 4)[4 * row + column], atol=1e-2)
    assert spread < 1e-2


def key_of(params: dict, colour: tuple[int, int, int]) -> jax.Array:
    """The key of a patch of one colour, from the parameters alone."""
    normalized = (np.asarray(colour) / 255 - (0.485, 0.456, 0.406)) / (0.229, 0.224, 0.225)
    x = jnp.asarray(np.tile(normalized, CONFIG.patch**2), jnp.float32)
    for name in ("patch_0", "patch_1"):
        x = jax.nn.gelu(x @ params[name]["kernel"] + params[name]["bias"])
    return unit(x @ params["key"]["kernel"] + params["key"]["bias"])
