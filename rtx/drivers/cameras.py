"""Pictures for a real robot: uint8 RGB, stamped when they arrived, and never an old one taken for a new one.

    v4l2:/dev/video0         a camera of the kernel's, through PyAV          pip install rtx-robotics[cameras]
    realsense:SERIAL         the colour stream of a RealSense                pip install rtx-robotics[realsense]
    video:PATH, pictures:DIR a film, a folder of PNG and JPEG: one picture a call, over and over; for tests and dry runs

Options follow a question mark, `v4l2:/dev/video0?size=480x640&fps=30&fit=pad`: `size` is height x width as asked of the
camera, `fit` how its pictures come to the embodiment's resolution; without it another resolution is refused.
"""

from __future__ import annotations

import importlib
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol, runtime_checkable
from urllib.parse import parse_qsl

import numpy as np
from jaxtyping import UInt8

from rtx.embodiment import Camera, Fit
from rtx.errors import UserError, WorldError, unknown_name
from rtx.images import resize

Picture = UInt8[np.ndarray, "h_ w_ 3"]
Clock = Callable[[], int]
_FIRST_S = 5.0  # a camera takes a second or two to wake up
_OLDEST_S = 0.5
_SUFFIXES = (".png", ".jpg", ".jpeg")


@runtime_checkable
class CameraSource(Protocol):
    """One camera of a robot. All raise WorldError with advice when it fails."""

    def open(self) -> None:
        """Starts it and waits for its first picture. Safe to repeat."""

    def newest(self) -> tuple[Picture, int]:
        """The last picture and the monotonic time (ns) at which it arrived; raises WorldError if it is too old."""

    def close(self) -> None: ...


class LiveCamera:
    """Reads in a thread of its own, so that asking never waits, and keeps the newest picture.

    `start()` gives an endless iterator of RGB pictures; closing it lets go of the device.
    """

    def __init__(self, name: str, start: Callable[[], Iterator[np.ndarray]], *, clock_ns: Clock = time.monotonic_ns) -> None:
        self._name, self._start, self._clock_ns = name, start, clock_ns
        self._changed = threading.Condition()
        self._last: tuple[np.ndarray, int] | None = None
        self._error: str | None = None
        self._thread: threading.Thread | None = None
        self._wanted = False

    def open(self) -> None:
        with self._changed:
            if self._thread is not None and self._thread.is_alive():
                return
            self._last, self._error, self._wanted = None, None, True
            self._thread = threading.Thread(target=self._run, name=f"camera {self._name}", daemon=True)
            self._thread.start()
            self._changed.wait_for(lambda: self._last is not None or self._error is not None, timeout=_FIRST_S)
            if self._last is None:
                raise WorldError(
                    f"{self._name}: {self._error or f'no picture within {_FIRST_S:g} s'}; is it plugged in and free?"
                )

    def newest(self) -> tuple[Picture, int]:
        with self._changed:
            if self._error is not None:
                raise WorldError(f"{self._name} failed: {self._error}; plug it in again, then call connect()")
            if self._last is None:
                raise WorldError(f"{self._name} is not open: call connect() first")
            picture, stamp_ns = self._last
        age_s = (self._clock_ns() - stamp_ns) * 1e-9
        if age_s > _OLDEST_S:
            raise WorldError(f"{self._name}: its last picture is {age_s:.2f} s old; it hangs, or its cable or hub is too slow")
        return picture, stamp_ns

    def close(self) -> None:
        self._wanted = False
        if self._thread is not None:
            self._thread.join(timeout=_FIRST_S)
            self._thread = None
        self._last = None

    def _run(self) -> None:
        try:
            for picture in self._start():
                with self._changed:
                    self._last = (picture, self._clock_ns())
                    self._changed.notify_all()
                if not self._wanted:
                    return
            raise WorldError("it ended")
        except Exception as error:  # the edge of a thread: `newest` raises it where somebody listens
            with self._changed:
                self._error = f"{type(error).__name__}: {error}" if not isinstance(error, WorldError) else str(error)
                self._changed.notify_all()


class StillCamera:
    """Recorded pictures, one a call, from the first again after the last. The stamp is the call's."""

    def __init__(self, name: str, read: Callable[[], Iterator[np.ndarray]], *, clock_ns: Clock = time.monotonic_ns) -> None:
        self._name, self._read, self._clock_ns = name, read, clock_ns
        self._pictures: Iterator[np.ndarray] | None = None

    def open(self) -> None:
        self._pictures = self._pictures or self._read()

    def newest(self) -> tuple[Picture, int]:
        if self._pictures is None:
            raise WorldError(f"{self._name} is not open: call connect() first")
        picture = next(self._pictures, None)
        if picture is None:
            self._pictures = self._read()
            picture = next(self._pictures, None)
        if picture is None:
            raise WorldError(f"{self._name} holds no picture")
        return picture, self._clock_ns()

    def close(self) -> None:
        self._pictures = None


class FittedCamera:
    """Another camera, with its pictures at the resolution the embodiment says."""

    def __init__(self, name: str, inner: CameraSource, camera: Camera, fit: Fit | None) -> None:
        self._name, self._inner, self._camera, self._fit = name, inner, camera, fit

    def open(self) -> None:
        self._inner.open()

    def newest(self) -> tuple[Picture, int]:
        picture, stamp_ns = self._inner.newest()
        if picture.shape[:2] == self._camera.resolution:
            return picture, stamp_ns
        if self._fit is None:
            got, wanted = "{} x {}".format(*picture.shape[:2]), "{} x {}".format(*self._camera.resolution)
            raise WorldError(
                f"{self._name} delivers {got} (height x width), the embodiment's {self._camera.role!r} is {wanted}; ask the "
                "camera for it (?size=HxW), say how it is to be fitted (?fit=stretch or ?fit=pad), or correct the embodiment"
            )
        return resize(picture, self._camera.resolution, self._fit), stamp_ns

    def close(self) -> None:
        self._inner.close()


def open_camera(source: str, camera: Camera, *, clock_ns: Clock = time.monotonic_ns) -> CameraSource:
    """A camera by name, not opened yet. Raises UserError for an unknown kind or option, or a package that is missing."""
    head, _, query = source.partition("?")
    kind, _, where = head.partition(":")
    options = {"size": "", "fps": "30", "fit": "", **dict(parse_qsl(query, keep_blank_values=True))}
    for key in options:
        if key not in ("size", "fps", "fit"):
            raise unknown_name(f"option of camera {head!r}", key, ("size", "fps", "fit"))
    if options["fit"] not in ("", "stretch", "pad"):
        raise unknown_name(f"fit of camera {head!r}", options["fit"], ("stretch", "pad"))
    height, width = _size(options["size"], head) if options["size"] else camera.resolution
    if kind not in ("v4l2", "realsense", "video", "pictures"):
        raise unknown_name("kind of camera", kind, ("v4l2", "realsense", "video", "pictures"))
    if not where:
        raise UserError(f"camera {source!r} needs an address after the colon, like {kind}:/dev/video0")
    inner: CameraSource
    if kind == "v4l2":
        av = _need("av", "cameras", head)
        asked = {"video_size": f"{width}x{height}", "framerate": options["fps"]}
        inner = LiveCamera(head, lambda: _decoded(av, where, "v4l2", asked), clock_ns=clock_ns)
    elif kind == "realsense":
        rs = _need("pyrealsense2", "realsense", head)
        inner = LiveCamera(head, lambda: _realsense(rs, where, height, width, int(options["fps"])), clock_ns=clock_ns)
    elif kind == "video":
        av = _need("av", "cameras", head)
        _need_path(where, head)
        inner = StillCamera(head, lambda: _decoded(av, where, None, {}), clock_ns=clock_ns)
    else:
        _need_path(where, head)
        inner = StillCamera(head, lambda: _pictures(Path(where)), clock_ns=clock_ns)
    fits: Mapping[str, Fit | None] = {"": None, "stretch": "stretch", "pad": "pad"}
    return FittedCamera(head, inner, camera, fits[options["fit"]])


def open_cameras(sources: Mapping[str, str], cameras: tuple[Camera, ...]) -> dict[str, CameraSource]:
    """By role. Roles without a source have no pictures: the policy's mask says so."""
    return {camera.role: open_camera(sources[camera.role], camera) for camera in cameras if camera.role in sources}


def _decoded(av: Any, where: str, form: str | None, options: Mapping[str, str]) -> Iterator[np.ndarray]:
    try:
        with av.open(where, format=form, options=dict(options)) as container:
            for frame in container.decode(video=0):
                yield frame.to_ndarray(format="rgb24")
    except (av.FFmpegError, OSError) as error:
        raise WorldError(f"cannot read {where}: {error}") from None


def _realsense(rs: Any, serial: str, height: int, width: int, fps: int) -> Iterator[np.ndarray]:
    pipeline, config = rs.pipeline(), rs.config()
    config.enable_device(serial)
    config.enable_stream(rs.stream.color, width, height, rs.format.rgb8, fps)
    pipeline.start(config)
    try:
        while True:
            yield np.array(pipeline.wait_for_frames().get_color_frame().get_data())
    finally:
        pipeline.stop()


def _pictures(folder: Path) -> Iterator[np.ndarray]:
    from PIL import Image

    for path in sorted(p for p in folder.iterdir() if p.suffix.lower() in _SUFFIXES):
        try:
            with Image.open(path) as image:
                picture = np.asarray(image.convert("RGB"))
        except OSError as error:
            raise WorldError(f"cannot read {path}: {error}") from None
        yield picture


def _need(package: str, extra: str, head: str) -> Any:
    try:
        return importlib.import_module(package)
    except ImportError as error:
        raise UserError(f"camera {head!r} needs {package}: pip install rtx-robotics[{extra}] ({error})") from None


def _need_path(where: str, head: str) -> None:
    if not Path(where).exists():
        raise UserError(f"camera {head!r}: there is no {where}")


def _size(text: str, head: str) -> tuple[int, int]:
    height, _, width = text.partition("x")
    if not (height.isdigit() and width.isdigit()):
        raise UserError(f"camera {head!r}: size={text!r} must be HEIGHTxWIDTH, like 480x640")
    return int(height), int(width)
