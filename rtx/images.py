"""Pictures: encoded bytes -> uint8 RGB of the wanted size, by the ONE decoder and the ONE resize of the house.

Loader, server and evaluation all come here, so that a policy sees at the robot what it saw in training:

    JPEG --scaled decode (DCT, 1/2^n)--+
    PNG, array --box reduction (1/2^n)-+--> antialiased bilinear --> uint8[h, w, 3]

JPEG goes through libjpeg-turbo without a detour (`simplejpeg`), straight into the caller's memory where it has the size
wanted; PNG and all resizing go through Pillow. Pillow's own JPEG reader gives the same pixels at half the speed.

Both ways shrink by the same power of two first, the largest that leaves no side below the target; a
scaled JPEG decode and the full decode followed by `resize` therefore agree to 0.2 of 255 levels on average for camera
pictures, and to 0.6 on sharp saturated edges, where 4:2:0 colour is sampled at other places (1 % of the values differ by
up to 12 there; `tests/test_images.py`). Bilinear over the whole reduction would differ by 1.3 on camera pictures.

Fit "stretch" fills the target size and does not keep the aspect ratio, as in Octo and OpenVLA; "pad" keeps it and leaves
black bars, as in RT-1-X (`place_in`).
"""

from __future__ import annotations

import io
from typing import Literal, NamedTuple

import numpy as np
import simplejpeg
from jaxtyping import UInt8
from PIL import Image

from rtx.embodiment import Fit
from rtx.errors import UserError, WorldError

ChannelOrder = Literal["rgb", "bgr"]
Size = tuple[int, int]  # (height, width) in pixels

_MAX_PIXELS = 64 * 1024 * 1024  # beyond any camera: a damaged or hostile header, not a picture
_JPEG_START = b"\xff\xd8"
_MAX_SCALED_DECODE = 8  # the JPEG library decodes at 1/2, 1/4, 1/8


class Place(NamedTuple):
    """Where a picture lies in a larger one, in pixels."""

    top: int
    left: int
    height: int
    width: int

    @property
    def size(self) -> Size:
        return self.height, self.width

    def of(self, ground: np.ndarray) -> np.ndarray:
        """This part of an array [h, w, ...], as a view."""
        return ground[self.top : self.top + self.height, self.left : self.left + self.width]


def place_in(size: Size, height: int, width: int, fit: Fit) -> Place:
    """Where a picture of `height` x `width` comes to lie in one of `size`; at least one pixel.

    "pad" as in `tf.image.resize_with_pad` (TensorFlow 2.21), by which RT-X data are prepared: computed in float32, so that a
    side that should be filled can lack its last row or column.
    """
    if fit == "stretch":
        return Place(0, 0, *size)
    sides, wanted = np.array([height, width], np.float32), np.array(size, np.float32)
    scaled = sides / np.max(sides / wanted)
    bars, inner = np.maximum(np.floor((wanted - scaled) / 2), 0), np.maximum(np.floor(scaled), 1)
    return Place(int(bars[0]), int(bars[1]), int(inner[0]), int(inner[1]))


def decode(
    data: bytes | memoryview,
    size: Size | None = None,
    channel_order: ChannelOrder = "rgb",
    out: UInt8[np.ndarray, "h w 3"] | None = None,
    *,
    fit: Fit = "stretch",
) -> UInt8[np.ndarray, "h w 3"]:
    """A JPEG or PNG as RGB, brought to `size` (height, width) as `fit` says, or in its own size for None.

    `channel_order` says how the file stores its channels; the result is always RGB. Empty `data` means that there was no
    picture and gives black, which needs a `size`. `out` (C-contiguous, of `size`) receives the picture and is returned.
    Releases the GIL while it decodes and resizes.

    Raises UserError for an absent picture without a size, WorldError if the bytes are damaged, however slightly: what the
    JPEG library calls a warning (a tail that is missing or does not decode) would otherwise be grey blocks in training.
    """
    if not data:
        return _black(size, out)
    try:
        if data[:2] == _JPEG_START:
            return _decode_jpeg(data, size, channel_order, out, fit)
        return _decode_png(data, size, channel_order, out, fit)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise WorldError(f"damaged picture of {len(data)} bytes starting {data[:8].hex()}: {error}") from error


def resize(image: UInt8[np.ndarray, "*b h w 3"], size: Size, fit: Fit = "stretch") -> UInt8[np.ndarray, "*b h2 w2 3"]:
    """`image` brought to `size` (height, width), antialiased. Returns `image` itself where it already fits."""
    if image.shape[-3:-1] == tuple(size):
        return image
    flat = image.reshape(-1, *image.shape[-3:])
    place = place_in(size, image.shape[-3], image.shape[-2], fit)
    reduction = _reduction(image.shape[-3], image.shape[-2], place.size)
    small = [_placed(_filled(frame, place.size, reduction), place, size, None) for frame in flat]
    return np.stack(small).reshape(*image.shape[:-3], *size, 3) if small else np.zeros((*image.shape[:-3], *size, 3), np.uint8)


def encode_jpeg(image: UInt8[np.ndarray, "h w 3"], quality: int = 95) -> bytes:
    """Baseline JPEG (4:2:0) of an RGB picture; `quality` 1 to 95."""
    return _encode(image, "JPEG", quality=quality)


def encode_png(image: UInt8[np.ndarray, "h w 3"]) -> bytes:
    """Lossless PNG of an RGB picture."""
    return _encode(image, "PNG")


def _encode(image: np.ndarray, kind: str, **options: int) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, kind, **options)
    return buffer.getvalue()


def _black(size: Size | None, out: np.ndarray | None) -> np.ndarray:
    if size is None:
        raise UserError("an absent picture has no size of its own: pass size=(height, width)")
    if out is None:
        return np.zeros((*size, 3), np.uint8)
    out[...] = 0
    return out


def _given(picture: np.ndarray, out: np.ndarray | None) -> np.ndarray:
    """`picture`, in the caller's memory if there is such."""
    if out is None:
        return picture
    out[...] = picture
    return out


def _placed(picture: np.ndarray, place: Place, size: Size, out: np.ndarray | None) -> np.ndarray:
    """`picture` on black of `size`, in the caller's memory if there is such."""
    if place.size == tuple(size):
        return _given(picture, out)
    ground = _black(size, out)
    place.of(ground)[...] = picture
    return ground


def _decode_jpeg(
    data: bytes | memoryview, size: Size | None, channel_order: ChannelOrder, out: np.ndarray | None, fit: Fit
) -> np.ndarray:
    height, width, _, _ = simplejpeg.decode_jpeg_header(data)
    _check_pixels(height, width)
    if size is None or (height, width) == tuple(size):
        return simplejpeg.decode_jpeg(data, channel_order, buffer=out)
    place = place_in(size, height, width, fit)
    reduction = _reduction(height, width, place.size)
    scale = min(reduction, _MAX_SCALED_DECODE)
    # The library takes the smallest scale that leaves at least this much, which is 1 / scale.
    small = simplejpeg.decode_jpeg(data, channel_order, min_height=-(-height // scale), min_width=-(-width // scale))
    return _placed(_filled(small, place.size, reduction // scale), place, size, out)


def _decode_png(
    data: bytes | memoryview, size: Size | None, channel_order: ChannelOrder, out: np.ndarray | None, fit: Fit
) -> np.ndarray:
    picture = _open_png(data)
    own = (picture.height, picture.width)
    place = place_in(size or own, *own, fit)
    array = np.asarray(_shrink(picture, place.size, _reduction(*own, place.size)))
    array = np.ascontiguousarray(array[..., ::-1]) if channel_order == "bgr" else array
    return _placed(array, place, size or own, out)


def _open_png(data: bytes | memoryview) -> Image.Image:
    # Only this format: Pillow knows dozens more, each another parser for hostile bytes.
    picture: Image.Image = Image.open(io.BytesIO(data), formats=("PNG",))
    _check_pixels(picture.height, picture.width)
    picture.load()
    return picture if picture.mode == "RGB" else picture.convert("RGB")


def _check_pixels(height: int, width: int) -> None:
    if height * width > _MAX_PIXELS:
        raise ValueError(f"{width} x {height} pixels, expected at most {_MAX_PIXELS}")


def _filled(frame: np.ndarray, size: Size, reduction: int) -> np.ndarray:
    return frame if frame.shape[:2] == tuple(size) else np.asarray(_shrink(Image.fromarray(frame), size, reduction))


def _shrink(picture: Image.Image, size: Size, reduction: int) -> Image.Image:
    """Box reduction by a power of two, then antialiased bilinear."""
    if reduction > 1:
        picture = picture.reduce(reduction)
    wanted = (size[1], size[0])
    return picture if picture.size == wanted else picture.resize(wanted, Image.Resampling.BILINEAR)


def _reduction(height: int, width: int, size: Size) -> int:
    """The largest power of two that leaves both sides at least as large as the target."""
    room = min(width // size[1], height // size[0])
    return 1 << max(room.bit_length() - 1, 0)
