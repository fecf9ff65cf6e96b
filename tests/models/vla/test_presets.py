"""Numbers of parameters against what is published. Nothing is computed: jax.eval_shape."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import pytest

from rtx.models.vla import presets
from rtx.models.vla.config import VLAConfig
from rtx.models.vla.model import network
from rtx.models.vla.vit import vit_e


def num_parameters(config: VLAConfig) -> dict[str, int]:
    """Of each part of the tree."""
    pictures = jnp.zeros((1, config.num_pictures, *config.image_size, 3), jnp.uint8)
    there, text = jnp.ones((1, config.num_pictures), bool), jnp.zeros((1, 4), jnp.int32)
    shapes = jax.eval_shape(network(config).init, jax.random.key(0), pictures, there, text, text)["params"]
    return {name: sum(leaf.size for leaf in jax.tree.leaves(part)) for name, part in shapes.items()}


@pytest.mark.parametrize(
    ("config", "billions"),
    [
        (presets.pali_x_55b(), 54.02),
        (presets.pali_x_5b(), 5.589),
        (presets.pali_3b(), 4.696),
        (presets.palm_e_12b(), 12.445),
        (presets.paligemma_3b(), 2.923_335_408),
        (presets.paligemma2_3b(), 3.032_094_960),
    ],
)
def test_numbers_of_parameters(config, billions):
    assert sum(num_parameters(config).values()) == pytest.approx(billions * 1e9, rel=0.002)


def test_the_parts_of_the_largest_are_the_published_ones():
    parts = num_parameters(presets.pali_x_55b())
    assert parts["img"] == pytest.approx(21.7e9, rel=0.005)  # ViT-22B
    assert parts["encoder"] + parts["decoder"] + parts["token_embedder"] == pytest.approx(32e9, rel=0.01)


def test_the_decoder_in_the_place_of_palm_has_its_size():
    parts = num_parameters(presets.palm_e_12b())
    assert parts["llm"] == pytest.approx(8.63e9, rel=0.002)  # PaLM 8B
    projection = vit_e().width * 4096 + 4096
    assert parts["img"] - projection == pytest.approx(3.9e9, rel=0.03)  # ViT-e; its pooling head is not needed here
