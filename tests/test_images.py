"""The one decoder and the one resize: both ways to a size agree, channel order is settled, damage is named."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from rtx.embodiment import Fit
from rtx.errors import UserError, WorldError
from rtx.images import ChannelOrder, Place, decode, encode_jpeg, encode_png, place_in, resize


def scene(height: int, width: int, seed: int = 0) -> np.ndarray:
    """A rendered-looking picture: smooth ground, coloured boxes with sharp edges, a little noise."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width] / max(height, width)
    picture = np.stack([90 + 100 * x, 120 + 60 * y, 150 - 80 * x * y], axis=-1)
    for _ in range(8):
        top, left = rng.integers(0, height - 8), rng.integers(0, width - 8)
        bottom, right = top + rng.integers(8, height // 2), left + rng.integers(8, width // 2)
        picture[top:bottom, left:right] = rng.uniform(20, 235, 3)
    return np.clip(picture + rng.normal(0, 2, picture.shape), 0, 255).astype(np.uint8)


def test_png_is_lossless_and_jpeg_is_close():
    picture = scene(60, 80)
    np.testing.assert_array_equal(decode(encode_png(picture)), picture)
    assert np.abs(decode(encode_jpeg(picture)).astype(int) - picture).mean() < 6  # mostly colour at sharp edges (4:2:0)


@pytest.mark.parametrize("source", [(256, 256), (480, 640), (255, 511), (2050, 1030)])
@pytest.mark.parametrize("size", [(128, 128), (64, 64), (100, 100), (96, 128), (224, 224)])
def test_scaled_decode_agrees_with_resize_of_the_full_decode(source: tuple[int, int], size: tuple[int, int]):
    """The bounds of the module's docstring; a plain bilinear over the whole reduction misses them."""
    data = encode_jpeg(scene(*source))
    scaled, resized = decode(data, size), resize(decode(data), size)
    assert scaled.shape == resized.shape == (*size, 3)
    difference = np.abs(scaled.astype(int) - resized)
    assert difference.mean() <= 0.65
    assert np.percentile(difference, 99) <= 12


def test_png_decode_and_resize_are_one_function():
    picture = scene(200, 300)
    np.testing.assert_array_equal(decode(encode_png(picture), (64, 64)), resize(picture, (64, 64)))


def test_resize_is_antialiased_and_keeps_the_mean():
    """One-pixel stripes must become grey; a resize that picks pixels would keep them black or white."""
    stripes = np.zeros((128, 128, 3), np.uint8)
    stripes[:, ::2] = 255
    assert np.abs(resize(stripes, (32, 32)).astype(int) - 127).max() <= 1
    picture = scene(240, 320)
    assert abs(resize(picture, (64, 64)).mean() - picture.mean()) < 1


def test_resize_takes_leading_dimensions_and_leaves_a_fit_alone():
    frames = np.stack([scene(96, 96, seed) for seed in range(6)]).reshape(2, 3, 96, 96, 3)
    small = resize(frames, (32, 48))
    assert small.shape == (2, 3, 32, 48, 3)
    np.testing.assert_array_equal(small[1, 2], resize(frames[1, 2], (32, 48)))
    assert resize(frames, (96, 96)) is frames
    assert resize(frames[:0], (32, 48)).shape == (0, 3, 32, 48, 3)


def test_enlarging_works():
    assert decode(encode_jpeg(scene(32, 32)), (96, 64)).shape == (96, 64, 3)


@pytest.mark.parametrize(
    ("height", "width", "size", "expected"),
    [
        (2, 4, (4, 4), Place(1, 0, 2, 4)),  # two rows of black above and below make four
        (4, 2, (4, 5), Place(0, 1, 4, 2)),  # three columns over: one to the left, two to the right
        (2, 4, (4, 6), Place(0, 0, 3, 6)),  # 1.5 times as large: one row over, below
        (3, 4, (4, 6), Place(0, 0, 4, 5)),  # 5.33 columns become 5, and 0.67 / 2 is no bar: the black column is the last
        (256, 256, (256, 320), Place(0, 32, 256, 256)),  # Bridge for RT-X
        (480, 640, (256, 320), Place(8, 0, 240, 320)),
        (256, 320, (256, 320), Place(0, 0, 256, 320)),
        (1, 900, (4, 4), Place(1, 0, 1, 4)),  # nothing vanishes
    ],
)
def test_padding_by_hand(height: int, width: int, size: tuple[int, int], expected: Place):
    assert place_in(size, height, width, "pad") == expected
    assert place_in(size, height, width, "stretch") == Place(0, 0, *size)
    shown = resize(np.full((height, width, 3), 200, np.uint8), size, "pad")
    inside = np.zeros(size, bool)
    expected.of(inside)[...] = True
    assert (shown == np.where(inside, 200, 0)[..., None]).all()


def test_padding_is_tensorflows():
    """`tf.image.resize_with_pad`, which the RT-X data were prepared with: 405 sizes, and the pixels of two."""
    root = Path(__file__).resolve().parents[1]
    done = subprocess.run(
        [sys.executable, "-m", "tests.pad_in_process"], cwd=root, env=os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3"},
        capture_output=True, text=True, timeout=200, check=False,
    )  # fmt: skip
    assert done.stdout.split() == ["ok"], done.stderr[-2000:]


@pytest.mark.parametrize("size", [(60, 50), (48, 100), (24, 60), (96, 160)])
@pytest.mark.parametrize("channel_order", ["rgb", "bgr"])
def test_padding_keeps_the_picture_and_blackens_the_rest(size: tuple[int, int], channel_order: ChannelOrder):
    """Decoded or resized, into given memory or new, in one array or several: the stretched picture at its place."""
    picture = scene(48, 64)
    place = place_in(size, 48, 64, "pad")
    expected = np.zeros((*size, 3), np.uint8)
    place.of(expected)[...] = resize(picture, place.size)
    assert 0 < (expected.any(-1)).mean() < 1
    stored = picture if channel_order == "rgb" else np.ascontiguousarray(picture[..., ::-1])
    out = np.full((*size, 3), 7, np.uint8)
    assert decode(encode_png(stored), size, channel_order, out, fit="pad") is out
    for shown in (out, decode(encode_png(stored), size, channel_order, fit="pad"), resize(picture, size, "pad")):
        np.testing.assert_array_equal(shown, expected)
    np.testing.assert_array_equal(resize(np.stack([picture] * 2)[None], size, "pad")[0, 1], expected)
    data = encode_jpeg(stored)
    jpeg = np.zeros_like(expected)
    place.of(jpeg)[...] = decode(data, place.size, channel_order)
    np.testing.assert_array_equal(decode(data, size, channel_order, fit="pad"), jpeg)


@pytest.mark.parametrize("fit", ["stretch", "pad"])
def test_a_fit_in_its_own_size_is_the_picture(fit: Fit):
    picture = scene(40, 60)
    for size in (None, (40, 60)):
        np.testing.assert_array_equal(decode(encode_png(picture), size, fit=fit), picture)
    assert resize(picture, (40, 60), fit) is picture


def test_bgr_files_come_out_rgb():
    picture = scene(64, 64)
    stored = encode_png(np.ascontiguousarray(picture[..., ::-1]))
    np.testing.assert_array_equal(decode(stored, channel_order="bgr"), picture)
    np.testing.assert_array_equal(decode(stored, (32, 32), "bgr"), resize(picture, (32, 32)))


def test_grey_and_transparent_pictures_become_rgb():
    for mode, kind in [("L", "JPEG"), ("L", "PNG"), ("RGBA", "PNG"), ("CMYK", "JPEG"), ("P", "PNG")]:
        buffer = io.BytesIO()
        Image.fromarray(scene(40, 40)).convert(mode).save(buffer, kind)
        assert decode(buffer.getvalue(), (20, 20)).shape == (20, 20, 3)


@pytest.mark.parametrize("encode", [encode_jpeg, encode_png])
@pytest.mark.parametrize("channel_order", ["rgb", "bgr"])
@pytest.mark.parametrize("size", [(48, 64), (24, 32), (20, 50)])
def test_a_picture_goes_into_the_memory_it_is_given(encode, channel_order: ChannelOrder, size: tuple[int, int]):
    data = encode(scene(48, 64))
    rows = np.full((3, *size, 3), 7, np.uint8)
    decode(memoryview(data), size, channel_order, rows[1])
    np.testing.assert_array_equal(rows[1], decode(data, size, channel_order))
    assert (rows[[0, 2]] == 7).all(), "its neighbours are left alone"
    decode(b"", size, out=rows[1])
    assert not rows[1].any()


def test_jpeg_gives_the_pixels_that_pillow_gives():
    """Pillow reads JPEG by the same library: an independent path through it, at full size and scaled by 1/2."""
    data = encode_jpeg(scene(120, 160))
    with Image.open(io.BytesIO(data)) as picture:
        np.testing.assert_array_equal(decode(data), np.asarray(picture))
    with Image.open(io.BytesIO(data)) as picture:
        picture.draft("RGB", (80, 60))
        np.testing.assert_array_equal(decode(data, (60, 80)), np.asarray(picture))


def test_an_absent_picture_is_black():
    picture = decode(b"", (24, 32))
    assert picture.shape == (24, 32, 3)
    assert not picture.any()
    with pytest.raises(UserError, match="has no size"):
        decode(b"")


@pytest.mark.parametrize("encode", [encode_jpeg, encode_png])
def test_damage_is_a_world_error(encode):
    data = encode(scene(64, 64))
    for damaged in (
        data[: len(data) // 2],
        data[:-100],
        data[:20],
        b"\x00" + data[1:],
        b"version https://git-lfs.github.com/spec/v1\n",
    ):
        with pytest.raises(WorldError, match="damaged picture of"):
            decode(damaged, (32, 32))


def test_a_monstrous_header_is_refused():
    """A tiny file may claim to be 60000 x 60000: refused before memory is asked for."""
    data = bytearray(encode_png(scene(32, 32)))
    data[16:24] = (60000).to_bytes(4, "big") * 2
    data[29:33] = zlib.crc32(bytes(data[12:29])).to_bytes(4, "big")
    with pytest.raises(WorldError, match="damaged picture"):
        decode(bytes(data), (32, 32))
