"""Augmentation: a draw belongs to (seed, sample, camera, operation) and to nothing else."""

import jax
import numpy as np
import pytest

from rtx.train.augment import _hue_matrix, augment
from rtx.train.config import AugmentConfig

OFF = AugmentConfig(shift_px=0, brightness=0.0, contrast=0.0, hue=0.0)
SHIFT = AugmentConfig(shift_px=3, brightness=0.0, contrast=0.0, hue=0.0)
ALL = AugmentConfig()
RNG = np.random.default_rng(0)
IMAGES = {role: RNG.integers(0, 256, (6, 2, 16, 12, 3), np.uint8) for role in ("primary", "wrist")}
NUMBERS = np.array([[i, i // 3] for i in range(6)], np.uint32)


def run(images=IMAGES, numbers=NUMBERS, config=ALL, seed=0):
    out = jax.jit(augment, static_argnames="config")(images, numbers, jax.random.key(seed), config=config)
    return {role: np.asarray(image) for role, image in out.items()}


def test_off_is_the_identity():
    for role, image in run(config=OFF).items():
        np.testing.assert_array_equal(image, IMAGES[role])


@pytest.mark.parametrize("config", [SHIFT, ALL])
def test_a_sample_is_changed_alike_in_any_batch(config):
    whole = run(config=config)
    order = np.array([4, 1, 5])
    part = run({role: image[order] for role, image in IMAGES.items()}, NUMBERS[order], config)
    for role in IMAGES:
        np.testing.assert_array_equal(part[role], whole[role][order])


@pytest.mark.parametrize("part", ["shift_px", "brightness", "contrast", "hue"])
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


def test_black_stays_black():
    """A camera that is absent is black and masked; augmentation must not paint it."""
    black = {"primary": np.zeros((6, 1, 8, 8, 3), np.uint8)}
    assert not run(black)["primary"].any()
