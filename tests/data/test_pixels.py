"""Pixels that are no JPEG of three channels. That the places and values are TFDS's own: test_tfds_layout.py."""

import io
import zlib

import numpy as np
import pytest
from PIL import Image

from rtx.data.pixels import PICTURE, PixelFormat
from rtx.errors import UserError, WorldError
from rtx.images import encode_jpeg, encode_png
from tests.fakes import varint

FLOATS = PixelFormat(encoding="float32", shape=(4, 6), dtype="float32")
MILLIMETRES = PixelFormat(encoding="uint16_png", shape=(4, 6, 1), dtype="uint16")
BYTES = PixelFormat(encoding="varint", shape=(4, 6, 3), dtype="uint8")
RNG = np.random.default_rng(0)


def png(array):
    out = io.BytesIO()
    Image.fromarray(array).save(out, "PNG")
    return out.getvalue()


def test_depth_takes_the_nearest_pixel_and_never_a_mean():
    stored = np.arange(24, dtype="<f4").reshape(4, 6)
    small = FLOATS.depth(stored.tobytes(), (2, 3), 1.0)
    assert small.tolist() == [[7, 9, 11], [19, 21, 23]]
    large = FLOATS.depth(stored.tobytes(), (8, 12), 1.0)
    np.testing.assert_array_equal(large, stored.repeat(2, 0).repeat(2, 1))
    assert set(np.unique(FLOATS.depth(stored.tobytes(), (3, 5), 1.0))) <= set(stored.ravel())


def test_depth_is_padded_as_its_picture_is():
    """4 x 6 in 4 x 3: rows 1 and 2, by hand; nothing was measured in the bars."""
    stored = np.arange(1, 25, dtype="<f4").reshape(4, 6)
    assert FLOATS.depth(stored.tobytes(), (4, 3), 1.0, fit="pad").tolist() == [[0] * 3, [8, 10, 12], [20, 22, 24], [0] * 3]
    pixels = RNG.integers(1, 256, (4, 6, 3), dtype=np.uint8)
    shown = PICTURE.colour(png(pixels), (4, 3), fit="pad")
    assert shown.any(-1).tolist() == [[False] * 3, [True] * 3, [True] * 3, [False] * 3]
    raw = PixelFormat(encoding="bytes", shape=(4, 6, 3), dtype="uint8")
    np.testing.assert_array_equal(raw.colour(pixels.tobytes(), (4, 3), fit="pad"), shown)


def test_depth_is_in_metres_and_zero_where_nothing_was_measured():
    stored = np.array([[0, np.nan, np.inf, -np.inf, 2, 3]] * 4, "<f4")
    assert FLOATS.depth(stored.tobytes(), None, 0.5)[0].tolist() == [0, 0, 0, 0, 1, 1.5]
    deep = np.full((4, 6), 65535, np.uint16)
    np.testing.assert_allclose(MILLIMETRES.depth(png(deep), None, 0.001), 65.535, rtol=1e-6)
    assert not FLOATS.depth(b"", (2, 2), 1.0).any()
    with pytest.raises(UserError, match="has no size of its own"):
        FLOATS.depth(b"", None, 1.0)


def test_raw_pixels_are_resized_as_pictures_are():
    pixels = RNG.integers(0, 256, (4, 6, 3), dtype=np.uint8)
    data = b"".join(varint(int(n)) for n in pixels.ravel())
    np.testing.assert_array_equal(BYTES.colour(data), pixels)
    np.testing.assert_array_equal(BYTES.colour(data, (2, 3)), PICTURE.colour(png(pixels), (2, 3)))
    out = np.zeros((2, 3, 3), np.uint8)
    assert BYTES.colour(data, (2, 3), "bgr", out) is out
    np.testing.assert_array_equal(out, PICTURE.colour(png(pixels[..., ::-1].copy()), (2, 3)))
    assert not BYTES.colour(b"", (2, 3)).any()
    grey = PixelFormat(encoding="bytes", shape=(4, 6, 1), dtype="uint8")
    np.testing.assert_array_equal(grey.colour(pixels[..., :1].tobytes()), pixels[..., :1].repeat(3, -1))


def test_grey_pictures_may_be_stored_with_three_channels():
    grey = PixelFormat(encoding="picture", shape=(8, 8, 1), dtype="uint8")
    flat = np.full((8, 8, 3), 77, np.uint8)
    for data in (encode_png(flat), encode_jpeg(flat)):
        np.testing.assert_array_equal(grey.depth(data, None, 1.0), np.full((8, 8), 77, np.float32))


@pytest.mark.parametrize(
    ("form", "data"),
    [
        (FLOATS, bytes(4 * 23)),
        (FLOATS, bytes(3)),
        (BYTES, b"\x01" * 71),
        (BYTES, b"\x01" * 71 + b"\x81"),
        (PixelFormat(encoding="zlib", shape=(4, 6), dtype="float32"), zlib.compress(bytes(96))[:-2]),
        (PixelFormat(encoding="float_png", shape=(4, 6, 1), dtype="float32"), png(np.zeros((4, 6), np.uint16))),
        (MILLIMETRES, png(np.zeros((4, 6, 3), np.uint8))),
        (MILLIMETRES, png(RNG.integers(0, 65535, (4, 6), dtype=np.uint16))[:-30]),
        (MILLIMETRES, png(np.zeros((4, 7), np.uint16))),
        (PICTURE, png(RNG.integers(0, 255, (40, 60, 3), dtype=np.uint8))[:1000]),
        (PixelFormat(encoding="picture", shape=(4, 7, 3), dtype="uint8"), png(np.zeros((4, 6, 3), np.uint8))),
    ],
)
def test_damage_and_other_shapes_are_found(form, data):
    with pytest.raises(WorldError, match=r"damaged|a picture of \d+"):
        form.check(data)


def test_a_picture_of_another_size_can_be_loaded_though_it_is_not_as_described():
    other = PixelFormat(encoding="picture", shape=(4, 7, 3), dtype="uint8")
    data = png(np.zeros((4, 6, 3), np.uint8))
    other.check(data, any_size=True)
    with pytest.raises(WorldError, match=r"a picture of 4 x 6 x 3 \(\d+ bytes\), features\.json says 4 x 7 x 3"):
        other.check(data)


@pytest.mark.parametrize("encode", [encode_png, encode_jpeg])
def test_damage_in_the_middle_of_a_picture_is_found(encode):
    """JPEG: where it breaks the code, which most places do; a bit that merely changes a colour leaves a valid picture."""
    data = bytearray(encode(RNG.integers(0, 255, (64, 64, 3), dtype=np.uint8)))
    middle = len(data) // 2
    data[middle : middle + 40] = bytes(40)
    with pytest.raises(WorldError, match="damaged"):
        PICTURE.check(bytes(data))
