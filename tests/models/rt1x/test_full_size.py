"""RT-1-X in its released size against the published network written plainly: as in test_model.py, with nothing scaled down."""

from __future__ import annotations

import dataclasses
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from benchmarks.rt1x_plain import PlainRT1X
from rtx.models.protocol import Variables
from rtx.models.rt1x.config import rt1x
from rtx.models.rt1x.model import RT1X
from rtx.spec import Batch
from tests.models.rt1x.small import random_batch, random_like

MODEL, RNG = RT1X(rt1x()), jax.random.key(0)


def random_variables(batch: Batch) -> Variables:
    """Batch statistics within a fifth of what random weights make of two frames: through 26 blocks, others fade or explode."""
    drawn = random_like(jax.eval_shape(MODEL.init, RNG, batch))
    head = drawn["params"]["Transformer_0"]["Dense_2"]
    head["kernel"] /= 4  # logits up to 13, as a trained softmax has, and not up to 53
    start = {**drawn, "batch_stats": jax.tree.map(jnp.zeros_like, drawn["batch_stats"])}
    encode = partial(MODEL._network().apply, train=True, method="encode", mutable=["batch_stats"], rngs={"dropout": RNG})
    _, after = jax.jit(encode)(start, batch.images["primary"][:, :2], batch.text)
    rng = np.random.default_rng(1)

    def near(moved: Any) -> jax.Array:
        return jnp.asarray(moved * 100 * rng.uniform(0.8, 1.2, moved.shape), jnp.float32)  # momentum 0.99: a hundredth is new

    return {**drawn, "batch_stats": jax.tree.map(near, after["batch_stats"])}


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_all_logits_are_the_plain_networks() -> None:
    """15 frames x 11 tokens x 512 bins, float32: to 1e-4, of all frames and of the last alone."""
    batch = random_batch(MODEL.config, 1)
    variables = random_variables(batch)
    pictures = jnp.asarray(batch.images["primary"], jnp.float32) / 255
    square = jax.image.resize(pictures, (1, 15, 300, 300, 3), "bilinear", antialias=False)
    plain = np.asarray(jax.jit(PlainRT1X(MODEL.config).apply)(variables, square, batch.text))
    assert plain.shape == (1, 15, 11, 512)
    assert plain.std() > 0.3
    ours = {k: jax.jit(partial(MODEL.logits, num_steps=k, train=False)) for k in (15, 1)}
    for num_steps, logits in ours.items():
        found = np.asarray(logits(variables, batch, RNG)[0])
        print(f"{num_steps} steps: {np.abs(found - plain[:, -num_steps:]).max():.1e} of {np.abs(plain).max():.1f}")
        np.testing.assert_allclose(found, plain[:, -num_steps:], atol=1e-4, rtol=0)
    other = dataclasses.replace(batch, images=random_batch(MODEL.config, 1, seed=1).images)
    shown = np.abs(np.asarray(ours[1](variables, other, RNG)[0]) - plain[:, -1:]).max()
    print(f"other pictures: {shown:.3f}")
    assert shown > 0.05  # what the pictures show is in these numbers
