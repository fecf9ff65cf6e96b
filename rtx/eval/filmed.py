"""A film of recorded frames, as `rtx.eval.video` makes them of simulated ones: the outer camera large, two others beside it."""

from __future__ import annotations

from collections.abc import Callable, Collection
from pathlib import Path

import numpy as np
from jaxtyping import Int64, UInt8

from rtx.eval.video import compose, encode, encoder

Picture = Callable[[str, int], UInt8[np.ndarray, "h w 3"] | None]  # role, frame -> RGB


def film(
    path: Path, picture: Picture, roles: Collection[str], *, stamps_ns: Int64[np.ndarray, " t"], hz: float, title: str
) -> None:  # fmt: skip
    """An MP4 at `path` that appears when it is whole: the frames one after the other at `hz`, each with its own time.

    A lost picture is black. Raises UserError where PyAV is not installed.
    """
    large, *small = sorted(roles, key=lambda role: (role != "primary", role))
    with encoder(path, hz=hz) as (container, stream):
        for t, stamp_ns in enumerate(stamps_ns):
            view, *eyes = (_or_black(picture(role, t)) for role in (large, *small[:2]))
            status = f"frame {t + 1} of {len(stamps_ns)}   {(stamp_ns - stamps_ns[0]) * 1e-9:.2f} s"
            encode(container, stream, compose(view, eyes, title=title, status=status))


def _or_black(picture: np.ndarray | None) -> np.ndarray:
    return np.zeros((32, 32, 3), np.uint8) if picture is None else picture
