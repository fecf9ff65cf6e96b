"""Episodes to look at, for a page: their videos and a strip of frames each, failures first.

Everything is inside the page, within `MAX_BYTES`. Where there is no more room for a video its strip stands alone, and where
there is none for that either the page says how many are left in the folder.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from html import escape
from pathlib import Path

import numpy as np
from PIL import Image

from rtx.eval import video
from rtx.eval.outcome import Outcome
from rtx.eval.results import Evaluation

MAX_BYTES = 13_000_000  # of all of them together, before base64 adds a third: the page stays under 20 MB
_STRIP_RESERVE = 2_000_000  # of it, for strips of episodes whose video has no room
_FRAMES, _FRAME_PX = 6, 100


def films_section(evaluation: Evaluation) -> str:
    """Failures of the policy in question first: they teach most. The others' come last."""
    recorded = [outcome for outcome in evaluation.outcomes if outcome.video and (evaluation.videos / outcome.video).exists()]
    if not recorded:
        return ""
    recorded.sort(key=lambda outcome: (list(evaluation.policies).index(outcome.policy), outcome.success))
    cards, rest = film_cards([(outcome, evaluation.videos / str(outcome.video)) for outcome in recorded])
    note = (
        "Failures first, baselines last; at the robot's own speed. Left: a view for people. Right: what the policy sees. "
        f"Below: the instruction, and the actions as they were executed.{rest}"
    )
    return f"<h2>Episodes</h2><p class='note'>{note}</p><div class='videos'>{''.join(cards)}</div>"


def film_cards(films: Sequence[tuple[Outcome, Path]]) -> tuple[list[str], str]:
    """A card for each film that has room, in their order, and a sentence about the others."""
    cards, left = [], MAX_BYTES
    for outcome, path in films:
        strip = film_strip(path)
        size = path.stat().st_size + len(strip)
        if size <= left - _STRIP_RESERVE:
            cards.append(_card(outcome, strip, video.data_url(path)))
        elif (size := len(strip)) <= left:
            cards.append(_card(outcome, strip, ""))
        else:
            continue
        left -= size
    missing = len(films) - len(cards)
    return cards, f" {missing} more are in the folder of videos." if missing else ""


def film_strip(path: Path) -> bytes:
    """A JPEG of frames from the first to the last, side by side, of what the video shows to people."""
    import av

    with av.open(str(path)) as container:
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    side = video.VIEW_PX
    strip = Image.new("RGB", (_FRAMES * _FRAME_PX, _FRAME_PX))
    for column, index in enumerate(np.linspace(0, len(frames) - 1, _FRAMES).round().astype(int).tolist()):
        picture = Image.fromarray(frames[index][:side, :side]).resize((_FRAME_PX, _FRAME_PX), Image.Resampling.BILINEAR)
        strip.paste(picture, (column * _FRAME_PX, 0))
    file = io.BytesIO()
    strip.save(file, "JPEG", quality=65)
    return file.getvalue()


def _card(outcome: Outcome, strip: bytes, url: str) -> str:
    mark = "<span class='mark better'>solved</span>" if outcome.success else "<span class='mark worse'>not solved</span>"
    missing = f", {100 * outcome.final_distance_m:.0f} cm to go" if outcome.final_distance_m and not outcome.success else ""
    split = f", {escape(outcome.split.replace('_', ' '))}" if outcome.split else ""
    what = f"{escape(outcome.policy)}, {escape(outcome.arm)}, {escape(outcome.task)}{split}, {outcome.seconds:.1f} s{missing}"
    film = f"<video controls muted loop playsinline preload='metadata' src='{url}'></video>" if url else ""
    picture = f"data:image/jpeg;base64,{base64.b64encode(strip).decode()}"
    return (
        f"<div class='video'>{film}<img alt='from the first frame to the last' src='{picture}'>"
        f"<div>{mark}<b>{escape(outcome.instruction)}</b><span class='dim'>{what}</span></div></div>"
    )
