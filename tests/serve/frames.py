"""Pictures that differ from frame to frame, of one camera."""

from __future__ import annotations

import numpy as np

from rtx.spec import Observation


def seen(steps: int, *, seed: int = 0, instruction: str = "", size: tuple[int, int] = (16, 20)) -> Observation:
    rng = np.random.default_rng(seed)
    return Observation(
        images={"primary": rng.integers(0, 256, (steps, *size, 3), dtype=np.uint8)},
        image_mask={"primary": np.ones(steps, bool)},
        proprio=np.zeros((steps, 10), np.float32),
        instruction=instruction,
        stamp_ns=7,
    )
