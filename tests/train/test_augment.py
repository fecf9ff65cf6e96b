"""Augmentation: a draw belongs to (seed, sample, camera, operation) and to nothing else."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.ndimage import map_coordinates

from rtx.spec import Batch
from rtx.train.augment import _crop, _hue_matrix, _recolour, augment, augment_batch, draws
from rtx.train.config import AugmentConfig

OFF = AugmentConfig(shift_px=0, brightness=0.0, contrast=0.0, hue=0.0)
SHIFT = AugmentConfig(shift_px=3, brightness=0.0, contrast=0.0, hue=0.0)
ALL = AugmentConfig(saturation=0.3, crop_scale=(0.5, 1.0), crop_ratio=(0.8, 1.25))
CROP = AugmentConfig(**{**vars(OFF), "crop_scale": (0.5, 1.0), "crop_ratio": (0.8, 1.25)})
RNG = np.random.default_rng(0)
IMAGES = {role: RNG.integers(0, 256, (6, 2, 16, 12, 3), np.uint8) for role in ("primary", "wrist")}
NUMBERS = np.array([[i, i // 3] for i in range(6)], np.uint32)


def run(images=IMAGES, numbers=NUMBERS, config=ALL, seed=0):
    out = jax.jit(augment, static_argnames="config")(images, numbers, jax.random.key(seed), config=config)
    return {role: np.asarray(image) for role, image in out.items()}


def test_off_is_the_identity():
    for role, image in run(config=OFF).items():
        np.testing.assert_array_equal(image, IMAGES[role])


@pytest.mark.parametrize("config", [SHIFT, CROP, ALL])
def test_a_sample_is_changed_alike_in_any_batch(config):
    whole = run(config=config)
    order = np.array([4, 1, 5])
    part = run({role: image[order] for role, image in IMAGES.items()}, NUMBERS[order], config)
    for role in IMAGES:
        np.testing.assert_array_equal(part[role], whole[role][order])


@pytest.mark.parametrize("part", ["shift_px", "crop_scale", "crop_ratio", "brightness", "contrast", "saturation", "hue"])
def test_each_operation_draws_anew_per_sample_camera_word_and_seed(part):
    config = AugmentConfig(**{**vars(OFF), part: getattr(ALL, part)})
    same = np.broadcast_to(IMAGES["primary"][:1], IMAGES["primary"].shape)
    out = run({"primary": same, "wrist": same}, NUMBERS, config)
    high = run({"primary": same}, NUMBERS + np.array([0, 7], np.uint32), config)["primary"]
    other = run({"primary": same}, NUMBERS, config, seed=1)["primary"]
    assert len({image.tobytes() for image in out["primary"]}) > 3  # 81 shifts: two of six may coincide
    for different in (out["wrist"], high, other):
        assert sum(a.tobytes() == b.tobytes() for a, b in zip(out["primary"], different, strict=True)) < 3


def test_adding_an_operation_leaves_the_draws_of_the_others():
    """Brightness of 1 and a shift: with hue switched on, greys (which hue cannot change) come out the same."""
    grey = {"primary": np.repeat(RNG.integers(100, 150, (6, 1, 16, 12, 1), np.uint8), 3, axis=-1)}
    with_hue = run(grey, config=AugmentConfig(hue=0.5))["primary"].astype(int)
    without = run(grey, config=AugmentConfig(hue=0.0))["primary"].astype(int)
    assert np.abs(with_hue - without).max() <= 1  # rounding of the colour matrix


def test_shift_moves_all_frames_of_a_sample_together_and_repeats_the_edge():
    ramp = np.broadcast_to(np.arange(16, dtype=np.uint8)[:, None, None], (6, 2, 16, 12, 3))
    out = run({"primary": ramp}, config=SHIFT)["primary"].astype(int)
    np.testing.assert_array_equal(out[:, 0], out[:, 1])
    moved = out[:, 0, 8, 0, 0] - 8
    assert np.abs(moved).max() <= 3
    assert len(set(moved.tolist())) > 1
    for image, dy in zip(out[:, 0, :, 0, 0], moved, strict=True):
        np.testing.assert_array_equal(image, np.clip(np.arange(16) + dy, 0, 15))


def test_hue_keeps_greys_and_turns_round():
    np.testing.assert_allclose(_hue_matrix(jax.numpy.float32(0.3)) @ np.ones(3), np.ones(3), atol=1e-3)  # published digits
    np.testing.assert_allclose(_hue_matrix(jax.numpy.float32(1.0)), np.eye(3), atol=1e-5)
    third = np.asarray(_hue_matrix(jax.numpy.float32(1 / 3)) @ np.array([1.0, 0, 0]))
    assert third.argmax() in (1, 2)  # red is not red any more


def test_black_stays_black_also_beside_real_frames():
    """A camera that is absent is black and masked; augmentation must not paint it."""
    half_black = IMAGES["primary"].copy()
    half_black[:, 0] = 0
    out = run({"primary": half_black})["primary"]
    assert not out[:, 0].any()
    assert out[:, 1].any()


def test_a_goal_changes_as_the_frames_of_its_sample_do():
    """A goal equal to the last frame stays equal to it; without goals the frames come out the same."""
    rest = dict.fromkeys(("history_mask", "proprio", "text", "action", "action_mask", "embodiment"))
    plain = Batch(images=IMAGES, image_mask={}, sample=NUMBERS, **rest)
    goal = {role: image[:, -1] for role, image in IMAGES.items()}
    both = jax.jit(lambda batch: augment_batch(batch, jax.random.key(0), ALL))
    with_goal, without = both(dataclasses.replace(plain, goal=goal)), both(plain)
    assert without.goal is None
    for role in IMAGES:
        np.testing.assert_array_equal(with_goal.goal[role], with_goal.images[role][:, -1])
        assert np.abs(np.asarray(with_goal.images[role], int) - np.asarray(without.images[role], int)).max() <= 1  # fused anew
        assert (np.asarray(with_goal.goal[role]) != goal[role]).any()


def test_draws_are_independent_of_each_other_and_reproducible():
    """Over 4,096 samples and both cameras no two draws know of each other: |r| of independent ones is 0.016, here below five
    times that. (In the loader that Octo uses all draws of an image have r = 1.)
    """

    def of_sample(number):
        keys = [jax.random.fold_in(jax.random.fold_in(jax.random.key(7), number), camera) for camera in range(2)]
        return {f"{name} {i}": value for i, key in enumerate(keys) for name, value in draws(key, ALL).items()}

    drawn = jax.vmap(of_sample)(jnp.arange(4096, dtype=jnp.uint32))
    again = jax.vmap(of_sample)(jnp.arange(4096, dtype=jnp.uint32))
    table = np.stack([np.asarray(column) for column in drawn.values()])
    np.testing.assert_array_equal(table, np.stack([np.asarray(column) for column in again.values()]))
    correlation = np.corrcoef(table) - np.eye(len(table))
    assert len(table) == 16
    assert np.abs(correlation).max() < 5 / np.sqrt(4096)
    ranges = {"brightness": (0.8, 1.2), "saturation": (0.7, 1.3), "hue": (-0.05, 0.05), "crop_scale": (0.5, 1.0)}
    for name, (low, high) in ranges.items() | {("crop_ratio", (0.8, 1.25)), ("crop_y", (0.0, 1.0))}:
        column = np.asarray(drawn[f"{name} 0"])
        assert low <= column.min() < low + 0.01 * (high - low), name
        assert high - 0.01 * (high - low) < column.max() <= high, name


def test_a_crop_is_a_bilinear_view_of_its_box():
    """Against scipy's interpolation at the centres of the target pixels."""
    frames = IMAGES["primary"][0]
    drawn = {"crop_scale": 0.6, "crop_ratio": 1.2, "crop_y": 0.25, "crop_x": 0.9}
    out = np.asarray(_crop(jnp.asarray(frames), {name: jnp.float32(value) for name, value in drawn.items()}))
    height, width = np.sqrt(0.6 / 1.2) * 16, np.sqrt(0.6 * 1.2) * 12
    y = 0.25 * (16 - height) + (np.arange(16) + 0.5) * height / 16 - 0.5
    x = 0.9 * (12 - width) + (np.arange(12) + 0.5) * width / 12 - 0.5
    for t in range(2):
        for channel in range(3):
            plane = frames[t, :, :, channel].astype(float)
            expected = map_coordinates(plane, np.meshgrid(y, x, indexing="ij"), order=1, mode="nearest")
            assert np.abs(out[t, :, :, channel] - expected).max() <= 0.51


def test_a_crop_of_everything_changes_nothing():
    drawn = {"crop_scale": 1.0, "crop_ratio": 1.0, "crop_y": 0.3, "crop_x": 0.6}
    out = _crop(jnp.asarray(IMAGES["primary"][0]), {name: jnp.float32(value) for name, value in drawn.items()})
    np.testing.assert_array_equal(out, IMAGES["primary"][0])


def test_cameras_named_uncropped_are_not_cropped():
    out = run(config=AugmentConfig(**{**vars(CROP), "uncropped": ("wrist",)}))
    np.testing.assert_array_equal(out["wrist"], IMAGES["wrist"])
    np.testing.assert_array_equal(out["primary"], run(config=CROP)["primary"])
    assert (out["primary"] != IMAGES["primary"]).any()


def test_saturation_keeps_greys_and_scales_colours_about_them():
    config = AugmentConfig(**{**vars(OFF), "saturation": 0.9})
    grey = {"primary": np.repeat(IMAGES["primary"][..., :1], 3, axis=-1)}
    np.testing.assert_allclose(run(grey, config=config)["primary"].astype(int), grey["primary"], atol=1)
    drawn = {name: jnp.float32(value) for name, value in {"saturation": 0.5, "hue": 0, "contrast": 1, "brightness": 1}.items()}
    red = np.broadcast_to(np.array([150, 90, 90], np.uint8), (1, 8, 8, 3))
    luma = 90 + 0.299 * 60
    np.testing.assert_allclose(_recolour(jnp.asarray(red), drawn)[0, 0, 0], luma + 0.5 * (red[0, 0, 0] - luma), atol=0.6)


def test_ranges_that_cannot_be_are_refused():
    assert not AugmentConfig.octo().problems()
    for wrong in ({"crop_scale": (0.9, 0.8)}, {"crop_scale": (0.5, 1.5)}, {"crop_ratio": (0.0, 1.0)}, {"saturation": 2.0}):
        (problem,) = AugmentConfig(**wrong).problems()
        assert next(iter(wrong)) in problem


def test_padding_is_black_and_moves_rows_and_columns_apart():
    """RT-X: up to 2 rows and 5 columns of black come in, all frames of a sample alike."""
    ones = np.full((64, 2, 16, 12, 3), 255, np.uint8)
    padded = dataclasses.replace(AugmentConfig.rt_x(), pad_px=(2, 5))
    numbers = np.stack([np.arange(64), np.zeros(64)], -1).astype(np.uint32)
    out = run({"primary": ones}, numbers, padded)["primary"]
    np.testing.assert_array_equal(out[:, 0], out[:, 1])
    black_rows, black_columns = (out[:, 0, :, :, 0] == 0).all(2).sum(1), (out[:, 0, :, :, 0] == 0).all(1).sum(1)
    assert sorted(set(black_rows.tolist())) == [0, 1, 2]
    assert sorted(set(black_columns.tolist())) == [0, 1, 2, 3, 4, 5]
    assert set(np.unique(out)) == {0, 255}
