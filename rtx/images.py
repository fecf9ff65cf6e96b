"""Pictures: encoded bytes -> uint8 RGB of the wanted size, by the ONE decoder and the ONE resize of the house.

Loader, server and evaluation all come here, so that a policy sees at the robot what it saw in training:

    JPEG --scaled decode (DCT, 1/2^n)--+
    PNG, array --box reduction (1/2^n)-+--> antialiased bilinear --> uint8[h, w, 3]

Both ways shrink by the same power of two first, the largest that leaves no side below the target; a
scaled JPEG decode and the full decode followed by `resize` therefore agree to 0.2 of 255 levels on average for camera
pictures, and to 0.6 on sharp saturated edges, where 4:2:0 colour is sampled at other places (1 % of the values differ by
up to 12 there; `tests/test_images.py`). Bilinear over the whole reduction would differ by 1.3 on camera pictures. The aspect
ratio is not kept: the target size is filled, as in Octo and OpenVLA.
"""

from __future__ import annotations

import io
from typing import Literal

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from rtx.errors import UserError, WorldError

ChannelOrder = Literal["rgb", "bgr"]
Size = tuple[int, int]  # (height, width) in pixels

_MAX_PIXELS = 64 * 1024 * 1024  # beyond any camera: a damaged or hostile header, not a picture
_MAX_SCALED_DECODE = 8  # the JPEG library decodes at 1/2, 1/4, 1/8


def decode(data: bytes, size: Size | None = None, channel_order: ChannelOrder = "rgb") -> UInt8[np.ndarray, "h w 3"]:
    """A JPEG or PNG as RGB, filled to `size` (height, width) or in its own size for None.

    `channel_order` says how the file stores its channels; the result is always RGB. Empty `data` means that there was no
    picture and gives black, which needs a `size`. Releases the GIL while it decodes and resizes.

    Raises UserError for an absent picture without a size, WorldError if the bytes are damaged.
    """
    if not data:
        if size is None:
            raise UserError("an absent picture has no size of its own: pass size=(height, width)")
        return np.zeros((*size, 3), np.uint8)
    try:
        picture = _open(data, size)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise WorldError(f"damaged picture of {len(data)} bytes starting {data[:8].hex()}: {error}") from error
    array = np.asarray(picture)
    return np.ascontiguousarray(array[..., ::-1]) if channel_order == "bgr" else array


def resize(image: UInt8[np.ndarray, "*b h w 3"], size: Size) -> UInt8[np.ndarray, "*b h2 w2 3"]:
    """`image` filled to `size` (height, width), antialiased. Returns `image` itself where it already fits."""
    if image.shape[-3:-1] == tuple(size):
        return image
    flat = image.reshape(-1, *image.shape[-3:])
    small = [np.asarray(_resized(frame, size)) for frame in flat]
    return np.stack(small).reshape(*image.shape[:-3], *size, 3) if small else np.zeros((*image.shape[:-3], *size, 3), np.uint8)


def _resized(frame: np.ndarray, size: Size) -> Image.Image:
    picture = Image.fromarray(frame)
    return _shrink(picture, size, _reduction(picture, size))


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


def _open(data: bytes, size: Size | None) -> Image.Image:
    # Only these two formats: Pillow knows dozens more, each another parser for hostile bytes.
    picture: Image.Image = Image.open(io.BytesIO(data), formats=("JPEG", "PNG"))
    if picture.width * picture.height > _MAX_PIXELS:
        raise ValueError(f"{picture.width} x {picture.height} pixels, expected at most {_MAX_PIXELS}")
    if size is None:
        return _rgb(picture)
    reduction = _reduction(picture, size)
    # JPEG decodes at 1/2, 1/4 or 1/8 (None: a PNG, which does not); the rest of the reduction is ours.
    if picture.draft("RGB", (size[1], size[0])) is not None:
        reduction //= min(reduction, _MAX_SCALED_DECODE)
    return _shrink(_rgb(picture), size, max(reduction, 1))


def _rgb(picture: Image.Image) -> Image.Image:
    picture.load()
    return picture if picture.mode == "RGB" else picture.convert("RGB")


def _shrink(picture: Image.Image, size: Size, reduction: int) -> Image.Image:
    """Box reduction by a power of two, then antialiased bilinear."""
    if reduction > 1:
        picture = picture.reduce(reduction)
    wanted = (size[1], size[0])
    return picture if picture.size == wanted else picture.resize(wanted, Image.Resampling.BILINEAR)


def _reduction(picture: Image.Image, size: Size) -> int:
    """The largest power of two that leaves both sides at least as large as the target."""
    room = min(picture.width // size[1], picture.height // size[0])
    return 1 << max(room.bit_length() - 1, 0)
