"""Memory of pictures that is used again: a batch of pictures is tens of megabytes, and the kernel takes 7 % of the loader's
time to give that much anew and zeroed for every batch.

Whoever holds an array, or any view of it, holds its memory: it comes back when the last one is gone, so a batch may be kept
for ever, sliced, or taken over without a copy (jax on the CPU does that, and keeps a reference as long as it reads).
"""

from __future__ import annotations

import math
import weakref
from collections import deque

import numpy as np
from jaxtyping import UInt8

_ALIGNMENT = 64  # bytes; less, and jax on the CPU copies


class PictureMemory:
    """Arrays of bytes for one loader. Safe to use from several threads."""

    def __init__(self, max_free: int) -> None:
        """At most `max_free` arrays of each size wait for their next use; more are given back to the system."""
        self._max_free = max_free
        self._free: dict[int, deque[np.ndarray]] = {}

    def array(self, shape: tuple[int, ...]) -> UInt8[np.ndarray, ...]:
        """An array whose content is whatever was there before."""
        num_bytes = math.prod(shape)
        free = self._free.setdefault(num_bytes, deque(maxlen=self._max_free))
        try:
            block = free.pop()
        except IndexError:
            block = np.empty(num_bytes + _ALIGNMENT, np.uint8)
        start = -block.ctypes.data % _ALIGNMENT
        # Its base is a memoryview, no array: numpy lets every view of it refer to `whole`, not past it to `block`.
        whole = np.frombuffer(block.data[start : start + num_bytes], np.uint8)
        # A deque needs no lock; the collector may run this in any thread, also in one that is just in `array`.
        weakref.finalize(whole, free.append, block).atexit = False
        return whole.reshape(shape)
