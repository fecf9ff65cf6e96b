"""Pictures of a prepared set as they stand in a page: film strips of episodes, in colour and of depth, and single examples."""

from __future__ import annotations

import base64
import html
from collections.abc import Sequence

import numpy as np

from rtx.data.frames import Frames, ShardFiles
from rtx.data.prepared import PreparedSet, PreparedSplit
from rtx.images import encode_jpeg

STRIP_HEIGHT = 128  # pixels
_FRAMES_PER_STRIP = 10


def strips(prepared: PreparedSet, part: PreparedSplit, episode: int) -> str:
    """One strip a camera, evenly spaced steps, then one for each camera with depth."""
    rows = _spaced_rows(part, episode)
    colour = "".join(f"<h3>{html.escape(role)}</h3>{_strip(prepared, part, role, rows)}" for role in prepared.roles)
    depth = "".join(
        f"<h3>{html.escape(role)}, depth</h3>{_depth_strip(prepared, part, role, rows)}" for role in prepared.depths
    )
    return colour + depth


def gallery(prepared: PreparedSet, part: PreparedSplit, rows: Sequence[int], captions: Sequence[str]) -> str:
    """Single pictures of the first camera with what belongs to them; `captions` are HTML."""
    chosen = np.array(rows, np.int64)
    pictures = _pictures(prepared, part, prepared.roles[0], chosen) if prepared.roles else [None] * len(chosen)
    cells = (_cell(picture, caption) for picture, caption in zip(pictures, captions, strict=True))
    return f'<div class="film gallery">{"".join(cells)}</div>'


def _strip(prepared: PreparedSet, part: PreparedSplit, role: str, rows: np.ndarray) -> str:
    return _film([(picture, "") for picture in _pictures(prepared, part, role, rows)], rows)


def _depth_strip(prepared: PreparedSet, part: PreparedSplit, role: str, rows: np.ndarray) -> str:
    """Near is bright, nothing measured is black; the caption says the metres."""
    return _film([_shown_depth(metres) for metres in _pictures(prepared, part, role, rows, depth=True)], rows)


def _film(cells: Sequence[tuple[np.ndarray | None, str]], rows: np.ndarray) -> str:
    first = int(rows[0]) if len(rows) else 0
    steps = (
        f"{row - first}{text if picture is not None else ': no picture'}"
        for row, (picture, text) in zip(rows, cells, strict=True)
    )
    return f'<div class="film">{"".join(_cell(picture, step) for (picture, _), step in zip(cells, steps, strict=True))}</div>'


def _cell(picture: np.ndarray | None, caption: str) -> str:
    shown = np.zeros((STRIP_HEIGHT, STRIP_HEIGHT, 3), np.uint8) if picture is None else picture
    data = base64.b64encode(encode_jpeg(shown, 90)).decode()
    return f'<figure><img src="data:image/jpeg;base64,{data}" alt=""><figcaption>{caption}</figcaption></figure>'


def _pictures(
    prepared: PreparedSet, part: PreparedSplit, role: str, rows: np.ndarray, *, depth: bool = False
) -> list[np.ndarray | None]:
    """In their own size, depth in metres; None where there is none. Raises WorldError for one that cannot be read."""
    files = ShardFiles()
    frames = Frames(part, role, size=None, files=files, label=f"data set {prepared.name!r}, split {part.name!r}", depth=depth)
    there = np.flatnonzero(frames.present(rows))
    found: list[np.ndarray | None] = [None] * len(rows)
    for i, picture in frames.decoded(rows[there]):
        found[there[i]] = picture
    files.close()
    return found


def _shown_depth(metres: np.ndarray | None) -> tuple[np.ndarray | None, str]:
    if metres is None:
        return None, ""
    seen = metres[metres > 0]
    if not seen.size:
        return np.zeros((*metres.shape, 3), np.uint8), ": nothing measured"
    near, far = np.quantile(seen, [0.02, 0.98])
    bright = 255 - 215 * np.clip((metres - near) / max(far - near, 1e-6), 0, 1)
    grey = np.where(metres > 0, bright, 0).astype(np.uint8)
    return np.repeat(grey[..., None], 3, axis=-1), f": {near:.2f} to {far:.2f} m"


def _spaced_rows(part: PreparedSplit, episode: int) -> np.ndarray:
    first, end = int(part.episode_start[episode]), int(part.episode_start[episode + 1])
    if end == first:
        return np.zeros(0, np.int64)
    return np.unique(np.linspace(first, end - 1, _FRAMES_PER_STRIP).round().astype(np.int64))
