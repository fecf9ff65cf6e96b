"""Videos of episodes for people: H.264 in MP4 that any browser plays from a file, small enough to live inside a report.

    +---------------------------+-----------+
    |                           |  primary  |     what the policy sees,
    |   the simulator's view    +-----------+     enlarged
    |                           |   wrist   |
    +---------------------------+-----------+
    | instruction                 step  time|
    +---------------------------------------+
    | actions so far (rtx.eval.report.traces)      |
    +---------------------------------------+

yuv420p and "faststart" are what browsers need; the rate is capped, so that length bounds the size.
"""

from __future__ import annotations

import base64
import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageDraw, ImageFont

from rtx.errors import UserError
from rtx.eval.play import Environment, Frame
from rtx.eval.report.traces import HEIGHT_PX, Traces
from rtx.files import atomic

VIEW_PX, EYE_PX, STRIP_PX = 320, 160, 48
SIZE = (VIEW_PX + EYE_PX, VIEW_PX + STRIP_PX)  # width, height; even, as yuv420p wants
TRACED_SIZE = (SIZE[0], SIZE[1] + HEIGHT_PX)
MAX_BITS_PER_S = 160_000  # 300 kB for 15 s; typical episodes need a third
_HOLD_S = 1.0  # the last frame stays, so that the verdict can be read
_INK, _PAPER, _GOOD, _BAD, _DIM = "#f4f4f5", "#18181b", "#4ade80", "#f87171", "#a1a1aa"


@dataclass(frozen=True)
class _Moment:
    view: np.ndarray
    eyes: tuple[np.ndarray, ...]
    title: str
    status: str
    success: bool

    def picture(self, verdict: str, traces: Traces | None) -> np.ndarray:
        return compose(self.view, self.eyes, title=self.title, status=self.status, verdict=verdict, traces=traces)


class EpisodeVideo:
    """Records one episode frame by frame, in real robot time. Use `open`."""

    def __init__(self, container: Any, stream: Any, hz: float, traces: Traces) -> None:
        self._container, self._stream, self._hz, self._traces = container, stream, hz, traces
        self._last: _Moment | None = None

    @classmethod
    @contextlib.contextmanager
    def open(cls, path: Path, *, hz: float, traces: Traces) -> Iterator[EpisodeVideo]:
        """The file appears when the block ends well, with the verdict on its last second."""
        with encoder(path, hz=hz, size=TRACED_SIZE) as (container, stream):
            video = cls(container, stream, hz, traces)
            yield video
            video._finish()

    def add(self, env: Environment, frame: Frame, *, action: np.ndarray | None, step: int, seconds: float) -> None:
        """`frame` must hold pictures; the view for people is rendered here."""
        if action is not None:
            self._traces.add(action)
        eyes = tuple(frame.images[role] for role in sorted(frame.images))[:2]
        self._last = _Moment(
            env.render_view(VIEW_PX), eyes, env.instruction, f"step {step}  {seconds:.1f} s", bool(env.success)
        )
        encode(self._container, self._stream, self._last.picture("solved" if self._last.success else "", self._traces))

    def _finish(self) -> None:
        if self._last is not None:
            picture = self._last.picture("solved" if self._last.success else "not solved", self._traces)
            for _ in range(max(1, round(_HOLD_S * self._hz))):
                encode(self._container, self._stream, picture)


def compose(
    view: UInt8[np.ndarray, "h w 3"], eyes: Sequence[np.ndarray], *, title: str, status: str, verdict: str = "",
    traces: Traces | None = None,
) -> UInt8[np.ndarray, "h2 w2 3"]:  # fmt: skip
    """One video frame: `view` large, up to two smaller pictures beside it, the text below. RGB of `SIZE`, of
    `TRACED_SIZE` with traces under it."""
    canvas = Image.new("RGB", TRACED_SIZE if traces else SIZE, _PAPER)
    canvas.paste(_fitted(view, VIEW_PX), (0, 0))
    for row, eye in enumerate(eyes[:2]):
        canvas.paste(_fitted(eye, EYE_PX), (VIEW_PX, row * EYE_PX))
    draw = ImageDraw.Draw(canvas)
    width, top = SIZE[0], VIEW_PX
    draw.text((8, top + 6), _shortened(draw, title, width - 16), font=_font(14), fill=_INK)
    draw.text((8, top + 27), status, font=_font(13), fill=_DIM)
    if verdict:
        draw.text((width - 8, top + 26), verdict, font=_font(14), fill=_GOOD if verdict == "solved" else _BAD, anchor="ra")
    if traces is not None:
        traces.draw(draw, left=0, top=SIZE[1], width=width, font=_font(11))
    return np.asarray(canvas)


def _fitted(image: np.ndarray, side: int) -> Image.Image:
    picture = Image.fromarray(np.ascontiguousarray(image))
    return picture if picture.size == (side, side) else picture.resize((side, side), Image.Resampling.BICUBIC)


def _font(size: int) -> Any:
    return ImageFont.load_default(size)


def _shortened(draw: ImageDraw.ImageDraw, text: str, width: int) -> str:
    font = _font(14)
    if draw.textlength(text, font=font) <= width:
        return text
    while text and draw.textlength(text + "...", font=font) > width:
        text = text[:-1]
    return text + "..."


@contextlib.contextmanager
def encoder(path: Path, *, hz: float, size: tuple[int, int] = SIZE) -> Iterator[tuple[Any, Any]]:
    """A PyAV container and its video stream; `size` is (width, height). `path` appears whole when the block ends well.

    Raises UserError if PyAV is not installed.
    """
    try:
        import av
    except ImportError as error:
        raise UserError("videos need PyAV: pip install 'rtx-robotics[sim]'") from error
    faststart = {"movflags": "+faststart"}
    # The container is written under the temporary name, which `atomic` then makes final.
    with atomic(path) as file, av.open(file.name, "w", format="mp4", options=faststart) as container:
        stream: Any = container.add_stream("libx264", rate=Fraction(hz).limit_denominator(1000))
        stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
        rate = str(MAX_BITS_PER_S)
        stream.options = {"preset": "veryfast", "crf": "27", "maxrate": rate, "bufsize": rate, "threads": "1"}
        yield container, stream
        container.mux(stream.encode(None))


def encode(container: Any, stream: Any, picture: UInt8[np.ndarray, "h w 3"]) -> None:
    import av

    container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))


def data_url(path: Path) -> str:
    """The file as a `data:` URL, for a `<video>` that needs no network."""
    return "data:video/mp4;base64," + base64.b64encode(path.read_bytes()).decode()
