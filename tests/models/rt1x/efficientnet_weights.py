"""Random weights of an EfficientNet-B3 that any library can be given: each leaf from its name alone, by a frozen generator."""

from __future__ import annotations

import zlib

import numpy as np

GAIN = 1.15
"""Of the kernels: the picture neither fades nor grows through 26 blocks."""


def leaf(path: str, shape: tuple[int, ...]) -> np.ndarray:
    """`path` as in the released tree, without its root: "Stem_0/conv2d/kernel". float32."""
    random = np.random.RandomState(zlib.crc32(path.encode()))  # its stream never changes
    name = path.split("/")[-1]
    if name.endswith("kernel"):
        fan_in = np.prod(shape[:2] if name == "depthwise_kernel" else shape[:3])
        values = random.normal(0, GAIN * fan_in**-0.5, shape)
    elif name in ("var", "scale"):
        values = random.uniform(0.7, 1.3, shape)
    else:
        values = random.normal(0, 0.2, shape)
    return values.astype(np.float32)


def picture() -> np.ndarray:
    """Normalised like ImageNet's, with structure at every scale: float32 [1, 300, 300, 3]."""
    random = np.random.RandomState(7)
    layers = [np.kron(random.normal(0, 1, (300 // s, 300 // s, 3)), np.ones((s, s, 1))) for s in (1, 3, 10, 30, 100)]
    return (sum(layers) / 5**0.5).astype(np.float32)[None]
