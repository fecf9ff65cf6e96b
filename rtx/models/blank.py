"""Batches of black pictures, in which a caller needs to fill in only what matters: shapes, or a question."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from rtx.spec import Batch


def blank_batch(
    text: np.ndarray,
    *,
    roles: Sequence[str],
    image_size: tuple[int, int],
    history: int,
    proprio: int = 0,
    action: tuple[int, int] | None = None,
    **rest: Any,
) -> Batch:
    """A sample for each row of `text`, all of it valid, with the loader's dtypes.

    `proprio`: numbers of a frame's state. `action`: (steps, numbers of one); None where nobody moves. `rest`: fields of the
    batch that are given.
    """
    b, there = len(text), np.ones((len(text), history), bool)
    fields: dict[str, Any] = {
        "images": {role: np.zeros((b, history, *image_size, 3), np.uint8) for role in roles},
        "image_mask": dict.fromkeys(roles, there),
        "history_mask": there,
        "proprio": np.zeros((b, history, proprio), np.float32),
        "text": text,
        "action": None if action is None else np.zeros((b, *action), np.float32),
        "action_mask": None if action is None else np.ones((b, *action), bool),
        "embodiment": np.zeros(b, np.int32),
        "sample": np.zeros(b, np.int64),
    }
    return Batch(**fields | rest)
