"""Pixels in the right place: patches, positions, and whether a map finds a dot."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np

from rtx.models.rt1.image_tokenizer import grid_positions, join_patches, normalize_image, position_features, spread_patches


def test_normalize() -> None:
    image = jnp.asarray([[[[0, 255, 51]]]], jnp.uint8)
    expected = [(0 - 0.485) / 0.229, (1 - 0.456) / 0.224, (0.2 - 0.406) / 0.225]
    np.testing.assert_allclose(normalize_image(image, jnp.float32)[0, 0, 0], expected, rtol=1e-5)


def test_join_patches_keeps_each_patch_together() -> None:
    image = jnp.arange(16.0).reshape(1, 4, 4, 1)
    patches = join_patches(image, 2)
    assert patches.shape == (1, 2, 2, 4)
    assert patches[0, 0, 1].tolist() == [2.0, 3.0, 6.0, 7.0]  # top right


def test_spread_inverts_join() -> None:
    x = jnp.asarray(np.random.default_rng(0).normal(size=(2, 8, 4, 3)), jnp.float32)
    np.testing.assert_array_equal(spread_patches(join_patches(x, 2), 2), x)


def test_grid_positions_are_cell_centres_with_x_to_the_right() -> None:
    assert grid_positions(2, 4).tolist() == [
        [-0.75, -0.5], [-0.25, -0.5], [0.25, -0.5], [0.75, -0.5],
        [-0.75, 0.5], [-0.25, 0.5], [0.25, 0.5], [0.75, 0.5],
    ]  # fmt: skip


def test_position_features_tell_all_cells_apart() -> None:
    features = np.asarray(position_features(jnp.asarray(grid_positions(16, 16))))
    assert features.shape == (256, 18)
    distance = np.linalg.norm(features[:, None] - features[None], axis=-1)
    assert distance[~np.eye(256, dtype=bool)].min() > 0.5
