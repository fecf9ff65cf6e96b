"""What the stored reference and the tests share: three minute T5s, their weights under Hugging Face's names, their inputs."""

from __future__ import annotations

import zlib

import numpy as np

from rtx.models.vla.t5 import T5Config
from rtx.models.vla.vit import ViTConfig

VISION = ViTConfig(patch=8, width=24, depth=2, mlp=40, heads=3)
SIZE = 32  # pixels; 16 tokens a picture
_SIZES = {"vocab": 90, "width": 32, "mlp": 48, "heads": 3, "head_dim": 12, "encoder_depth": 3, "decoder_depth": 2}
CONFIGS = {
    "gelu": T5Config(**_SIZES),
    "silu": T5Config(**_SIZES, activation="silu"),
    "tied": T5Config(**_SIZES, buckets=16, max_distance=40, tied=True),
}

KEPT = 3  # every third logit is in the stored reference

PICTURE_MASK = np.array([[True, True, True], [True, False, True]])
PROMPT = np.zeros((2, 40), np.int32)  # long enough for every bucket of distance
PROMPT[0] = 2 + np.arange(40) * 7 % 80
PROMPT[1, :23] = 2 + np.arange(23) * 11 % 80
ANSWER = np.zeros((2, 24), np.int32)
ANSWER[0] = 3 + np.arange(24) * 13 % 80
ANSWER[1, :5] = [85, 4, 9, 60, 1]


def pictures() -> np.ndarray:
    """Uint8 [2, 3, 32, 32, 3]."""
    return np.random.default_rng(7).integers(0, 256, (*PICTURE_MASK.shape, SIZE, SIZE, 3), dtype=np.uint8)


def weight(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """A float32 array fixed by its name, of a size that leaves every part of the network its say."""
    normal = np.random.default_rng(zlib.crc32(name.encode())).standard_normal(shape).astype(np.float32)
    if len(shape) == 1:
        return 1 + np.float32(0.2) * normal
    if "relative" in name or "shared" in name:
        return normal
    return normal * np.float32(shape[1] ** -0.5 * (12**-0.25 if name.endswith(("q.weight", "k.weight")) else 1))


def vision_weight(path: str, shape: tuple[int, ...]) -> np.ndarray:
    """Of the vision transformer and the projection; `path` as in our tree."""
    normal = np.random.default_rng(zlib.crc32(path.encode())).standard_normal(shape).astype(np.float32)
    if path.endswith(("scale", "bias")):
        return np.float32(path.endswith("scale")) + np.float32(0.2) * normal
    return normal * np.float32(0.2)
