"""How the pixels of one camera lie in a file, and how its bytes become a colour picture or a depth map.

    what the data set declares              encoding      the bytes of one step
    Image uint8                             picture       a JPEG or PNG file
    Image uint16, one channel               uint16_png    a PNG file
    Image float32, one channel              float_png     a PNG file whose four channels are the bytes of one float32
    Tensor of integers                      varint        the step's run of an int64 list: variable-length numbers
    Tensor of floats                        float32       the step's run of a float list: 4 bytes each
    Tensor, encoding bytes or zlib          bytes, zlib   the array itself, as it was or compressed

Nothing is copied or converted by prepare: each is decoded from its place in the original file. Source:
tensorflow_datasets/core/features/image_feature.py (`_FloatImageEncoder`) and example_serializer.py, 4.9.10.
"""

from __future__ import annotations

import io
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import simplejpeg
from jaxtyping import Float32, UInt8
from PIL import Image

from rtx.data.example import Malformed, varints
from rtx.data.features import FeatureSpec
from rtx.embodiment import Fit
from rtx.errors import UserError, WorldError
from rtx.images import ChannelOrder, Size, decode, place_in, resize

Encoding = Literal["picture", "uint16_png", "float_png", "varint", "float32", "bytes", "zlib"]
FILES = ("picture", "uint16_png", "float_png")  # encodings that are a JPEG or PNG file
JPEG_START, PNG_START = b"\xff\xd8", b"\x89P"
_INTEGERS = ("uint8", "uint16", "uint32", "int8", "int16", "int32", "int64")
_FLOATS = ("float16", "float32", "float64")
_DAMAGE = (
    OSError, SyntaxError, ValueError, zlib.error, Malformed, Image.DecompressionBombError, Image.DecompressionBombWarning,
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class PixelFormat:
    """Of one camera. `shape` (height, width) or (height, width, channels) as declared, None where it varies."""

    encoding: Encoding
    shape: tuple[int | None, ...]
    dtype: str

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> PixelFormat:
        return cls(encoding=data["encoding"], shape=tuple(data["shape"]), dtype=data["dtype"])

    def to_json(self) -> dict[str, Any]:
        return {"encoding": self.encoding, "shape": list(self.shape), "dtype": self.dtype}

    @property
    def is_colour(self) -> bool:
        """Whether it can be shown as RGB: grey or three channels of bytes, or a PNG that has transparency besides."""
        channels = (1, 3, 4) if self.encoding == "picture" else (1, 3)
        return self.dtype == "uint8" and (len(self.shape) == 2 or self.shape[-1] in channels)

    @property
    def is_depth(self) -> bool:
        """Whether it holds one number a pixel."""
        return len(self.shape) == 2 or self.shape[-1] == 1

    def colour(
        self,
        data: bytes | memoryview,
        size: Size | None = None,
        channel_order: ChannelOrder = "rgb",
        out: UInt8[np.ndarray, "h w 3"] | None = None,
        *,
        fit: Fit = "stretch",
    ) -> UInt8[np.ndarray, "h w 3"]:
        """As `rtx.images.decode`, whatever the encoding. Raises WorldError for damaged bytes."""
        if self.encoding == "picture" or not data:
            return decode(data, size, channel_order, out, fit=fit)
        pixels = self._array(data)
        pixels = np.broadcast_to(pixels.reshape(*pixels.shape[:2], -1), (*pixels.shape[:2], 3))
        picture = np.ascontiguousarray(pixels[..., ::-1] if channel_order == "bgr" else pixels)
        picture = picture if size is None else resize(picture, size, fit)
        if out is None:
            return picture
        out[...] = picture
        return out

    def depth(
        self, data: bytes | memoryview, size: Size | None, metres_per_unit: float, *, fit: Fit = "stretch"
    ) -> Float32[np.ndarray, "h w"]:
        """In metres, 0 where nothing was measured (stored as 0, NaN or infinite). Empty `data`: no depth map, all 0.

        Resized by taking the nearest pixel: a mean over the edge of an object would be a distance at which nothing is.
        Raises UserError for absent data without a size, WorldError for damaged bytes.
        """
        if not data:
            if size is None:
                raise UserError("an absent depth map has no size of its own: pass size=(height, width)")
            return np.zeros(size, np.float32)
        pixels = self._array(data)
        pixels = pixels.reshape(pixels.shape[:2])
        pixels = _nearest(pixels, size, fit) if size else pixels
        metres = pixels.astype(np.float32) * np.float32(metres_per_unit)
        return np.where(np.isfinite(metres), metres, np.float32(0))

    def check(self, data: bytes | memoryview, *, any_size: bool = False) -> None:
        """Decodes in full size. Raises WorldError if the bytes are damaged, or the picture has not the declared shape.

        `any_size`: as the loader, which takes it in any shape.
        """
        pixels = self._array(data)
        if any_size:
            return
        declared = (*self.shape[:2], 3) if self.encoding == "picture" and self.shape[-1] == 4 else self.shape
        _check_shape(pixels.shape, declared, data)

    def _array(self, data: bytes | memoryview) -> np.ndarray:
        """Pixels in their own type: [h, w] or [h, w, channels]."""
        try:
            if self.encoding in FILES:
                return self._from_file(data)
            return self._numbers(data).reshape([n or 0 for n in self.shape])
        except _DAMAGE as error:
            raise WorldError(
                f"damaged {self.encoding} of {len(data)} bytes starting {bytes(data[:8]).hex()}: {error}"
            ) from error

    def _numbers(self, data: bytes | memoryview) -> np.ndarray:
        if self.encoding == "varint":
            return varints(np.frombuffer(data, np.uint8)).astype(self.dtype)
        if self.encoding == "float32":
            return np.frombuffer(data, "<f4")
        raw = zlib.decompress(data) if self.encoding == "zlib" else data
        return np.frombuffer(raw, np.dtype(self.dtype).newbyteorder("<"))

    def _from_file(self, data: bytes | memoryview) -> np.ndarray:
        if self.encoding == "picture" and self.shape[-1] != 1:
            return decode(data)
        if data[:2] == JPEG_START:
            return simplejpeg.decode_jpeg(data, "GRAY")
        picture: Image.Image = Image.open(io.BytesIO(data), formats=("PNG",))
        picture.load()
        if self.encoding == "picture":
            return np.asarray(picture.convert("L"))[..., None]
        expected = "RGBA" if self.encoding == "float_png" else "I"
        if not picture.mode.startswith(expected):
            raise ValueError(f"a PNG of mode {picture.mode}, expected {expected} for {self.dtype}")
        pixels = np.ascontiguousarray(picture)
        return pixels.view("<f4") if self.encoding == "float_png" else pixels.astype(np.uint16)[..., None]


PICTURE = PixelFormat(encoding="picture", shape=(None, None, 3), dtype="uint8")
"""What nearly every camera has."""


def pixel_format(spec: FeatureSpec) -> PixelFormat | None:
    """How the pixels of a leaf are stored; None if it does not hold one picture a step."""
    encoding = _encoding(spec) if not spec.num_sequences and len(spec.shape) in (2, 3) else None
    return PixelFormat(encoding=encoding, shape=spec.shape, dtype=spec.dtype) if encoding else None


def _encoding(spec: FeatureSpec) -> Encoding | None:
    if spec.kind == "image":
        files: dict[str, Encoding] = {"uint8": "picture", "uint16": "uint16_png", "float32": "float_png"}
        return files.get(spec.dtype)
    if spec.kind != "tensor" or None in spec.shape or spec.dtype not in (*_INTEGERS, *_FLOATS):
        return None
    if spec.encoding == "bytes":
        return "bytes"
    if spec.encoding == "zlib":
        return "zlib"
    return "varint" if spec.dtype in _INTEGERS else "float32"


def _nearest(pixels: np.ndarray, size: Size, fit: Fit) -> np.ndarray:
    """The pixel under the middle of each target pixel; 0 in bars."""
    place = place_in(size, pixels.shape[0], pixels.shape[1], fit)
    rows, columns = ((np.arange(n) * 2 + 1) * have // (2 * n) for n, have in zip(place.size, pixels.shape, strict=True))
    ground = np.zeros(size, pixels.dtype)
    place.of(ground)[...] = pixels[rows[:, None], columns]
    return ground


def _check_shape(found: tuple[int, ...], declared: tuple[int | None, ...], data: bytes | memoryview) -> None:
    if len(found) != len(declared) or any(n is not None and n != m for n, m in zip(declared, found, strict=True)):
        wanted = " x ".join("?" if n is None else str(n) for n in declared)
        raise WorldError(f"a picture of {' x '.join(map(str, found))} ({len(data)} bytes), features.json says {wanted}")
