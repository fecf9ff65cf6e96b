"""EfficientNet-B3 against another library's on the same weights, and its parts against sums written out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rtx.models.rt1x.depthwise import depthwise
from rtx.models.rt1x.efficientnet import EfficientNetWithFilm, padding_of, scaled_channels, scaled_stages
from tests.models.rt1x.efficientnet_weights import leaf, picture

REFERENCE = Path(__file__).with_name("efficientnet_reference.npz")  # made by make_efficientnet_reference.py


def given_weights(net: EfficientNetWithFilm, image: jax.Array, condition: jax.Array) -> Any:
    """FiLM at zero, so that it is the plain network; every other leaf from its name."""

    def value(path: Any, like: jax.ShapeDtypeStruct) -> jax.Array:
        name = "/".join(key.key for key in path[1:])
        return jnp.zeros(like.shape) if "FilmConditioning" in name else jnp.asarray(leaf(name, like.shape))

    shapes = jax.eval_shape(lambda *inputs: net.init(jax.random.key(0), *inputs, train=False), image, condition)
    return jax.tree_util.tree_map_with_path(value, shapes)


@pytest.mark.parametrize("grid", ["same", pytest.param("tf", marks=pytest.mark.slow)])
def test_another_librarys_efficientnet_b3(grid: Any) -> None:
    """`transformers` (PyTorch), random weights, 26 blocks at 300 px: 32 channels of every cell, to 1e-4 of their spread."""
    net = EfficientNetWithFilm(1.2, 1.4, grid, drop_connect=0.0)
    image, condition = jnp.asarray(picture()), jnp.zeros((1, 4))
    variables = given_weights(net, image, condition)
    with np.load(REFERENCE) as reference:
        for mode in ("eval", "train"):
            run = jax.jit(lambda v, x, c, train=mode == "train": net.apply(v, x, c, train=train, mutable=["batch_stats"])[0])
            got, expected = run(variables, image, condition)[0, ..., ::48], reference[f"{grid}_{mode}"]
            assert got.shape == expected.shape == ((10, 10, 32) if grid == "same" else (9, 9, 32))
            assert expected.std() > 0.1
            np.testing.assert_allclose(got, expected, atol=1e-4 * max(1.0, float(np.abs(expected).max())))


def test_b3_is_scaled_as_published() -> None:
    """26 blocks: repeats 2 3 3 5 5 6 2, channels 24 32 48 96 136 232 384, stem 40, head 1536."""
    blocks = scaled_stages(1.2, 1.4)
    repeats = dict.fromkeys((stage.channels for stage in blocks), 0)
    for stage in blocks:
        repeats[stage.channels] += 1
    assert repeats == {24: 2, 32: 3, 48: 3, 96: 5, 136: 5, 232: 6, 384: 2}
    assert [stage.stride for stage in blocks].count(2) == 4
    assert (scaled_channels(32, 1.2), scaled_channels(1280, 1.2)) == (40, 1536)


def test_paddings_of_both_grids() -> None:
    """Sides halve to 150 75 38 19 10 or to 150 75 37 18 9."""
    assert [padding_of(side, k, 2, "same") for side, k in ((300, 3), (150, 3), (75, 5), (38, 3), (19, 5))] == [
        (0, 1), (0, 1), (2, 2), (0, 1), (2, 2)
    ]  # fmt: skip
    assert [padding_of(side, k, 2, "tf") for side, k in ((300, 3), (75, 5), (19, 5))] == [(0, 1), (1, 2), (1, 2)]
    assert padding_of(19, 5, 1, "tf") == padding_of(19, 5, 1, "same") == (2, 2)


@pytest.mark.parametrize(("kernel", "stride", "side"), [(3, 1, 5), (5, 2, 7), (5, 2, 8), (3, 2, 6)])
def test_depthwise_by_hand(kernel: int, stride: int, side: int) -> None:
    """Against the sum in double precision, one output at a time."""
    rng, padding = np.random.default_rng(0), padding_of(side, kernel, stride, "same")
    x, w = rng.normal(size=(2, side, side, 3)), rng.normal(size=(kernel, kernel, 3, 1))
    padded = np.pad(x, ((0, 0), padding, padding, (0, 0)))
    size = -(-side // stride)
    expected = np.zeros((2, size, size, 3))
    for i in range(size):
        for j in range(size):
            window = padded[:, i * stride : i * stride + kernel, j * stride : j * stride + kernel]
            expected[:, i, j] = (window * w[None, ..., 0]).sum((1, 2))
    inputs = jnp.asarray(x, jnp.float32), jnp.asarray(w, jnp.float32)
    got = depthwise(*inputs, stride=stride, padding=(padding, padding))
    np.testing.assert_allclose(got, expected, atol=1e-5)

    def of_grouped(x: jax.Array, w: jax.Array) -> jax.Array:
        return jax.lax.conv_general_dilated(
            x, w.transpose(0, 1, 3, 2), (stride, stride), (padding, padding), dimension_numbers=("NHWC", "HWIO", "NHWC"),
            feature_group_count=3,
        )  # fmt: skip

    weight = jnp.asarray(rng.normal(size=expected.shape), jnp.float32)
    ours, theirs = (
        jax.grad(lambda x, w, f=f: jnp.sum(f(x, w) * weight), (0, 1))(*inputs)
        for f in (lambda x, w: depthwise(x, w, stride=stride, padding=(padding, padding)), of_grouped)
    )
    for mine, other in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(mine, other, atol=1e-4)
