"""One LeRobot episode: rows of its parquet file, and the pictures that belong to them, each proven to be of its row.

A video frame belongs to the row whose time is its own: decoded in order, every frame between the episode's ends, and as many
of them as there are rows. One frame too few, too many or off by more than the tolerance is an error, never a shift.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float64

from rtx.data.foreign import JPEG_QUALITY, Recording
from rtx.data.lerobot.meta import Clip, LeRobotEpisode, LeRobotFeature, LeRobotSet, inside, read_parquet
from rtx.errors import UserError, WorldError
from rtx.images import encode_jpeg

TOLERANCE_S = 1e-4  # between a row's time and its frame's, as in LeRobot itself


def read_recording(source: LeRobotSet, episode: LeRobotEpisode) -> Recording:
    """Raises WorldError naming file, episode and frame for rows and pictures that do not belong together."""
    where = f"{episode.data}, episode {episode.index}"
    table = read_parquet(episode.data, filters=[("episode_index", "=", episode.index)])
    _check_rows(table, source, episode, where)
    timestamp = _numbers(table, "timestamp", where).reshape(-1)
    _check_times(timestamp, source.fps, where)
    texts = {f.key: tuple(map(str, _column(table, f.key, where))) for f in source.numbers if f.dtype == "string"}
    columns = {f.key: _shaped(table, f, where) for f in source.numbers if f.dtype != "string"}
    pictures = {
        f.key: _from_video(f, episode.clips[f.key], timestamp, episode.index)
        if f.dtype == "video"
        else _from_parquet(table, f, source.root, where)
        for f in source.pictures
    }
    done = columns.get("next.done")  # LeRobot says of no episode whether it ended itself, unless it has this
    return Recording(
        ended=done is not None and bool(np.any(done[-1])),
        columns={**columns, "timestamp": timestamp.astype(np.float32)},
        pictures=pictures,
        texts=texts,
        instructions=_instructions(table, source, where),
    )


def _check_rows(table: Any, source: LeRobotSet, episode: LeRobotEpisode, where: str) -> None:
    if table.num_rows != episode.length:
        raise WorldError(
            f"{where}: {table.num_rows} rows, the list of episodes says {episode.length}; fetch the data set again"
        )
    frames = _numbers(table, "frame_index", where).reshape(-1)
    wrong = np.flatnonzero(frames != np.arange(len(frames)))
    if len(wrong):
        raise WorldError(f"{where}: row {wrong[0]} has frame_index {frames[wrong[0]]:g}, expected them in order from 0")


def _check_times(timestamp: Float64[np.ndarray, " t"], fps: float, where: str) -> None:
    """One frame a period, from 0: a gap would make two actions of one."""
    off = np.abs(timestamp - np.arange(len(timestamp)) / fps)
    late = np.flatnonzero(~(off <= TOLERANCE_S + 1e-6 * timestamp))  # and float32's own rounding
    if len(late):
        at = int(late[0])
        raise WorldError(
            f"{where}: row {at} has timestamp {timestamp[at]:.6f} s, expected {at / fps:.6f} s at {fps:g} frames a second; the "
            "recording has gaps or another rate than meta/info.json says"
        )


def _from_video(feature: LeRobotFeature, clip: Clip, timestamp: Float64[np.ndarray, " t"], episode: int) -> tuple[bytes, ...]:
    """The clip's frames as JPEG. LeRobot's own times: seconds from the start of the file."""
    where = f"{clip.path}, episode {episode}"
    wanted = clip.start_s + timestamp
    encoded: list[bytes] = []
    for time, picture in _frames(clip, where):
        if len(encoded) < len(wanted):
            _check_frame(feature, picture, time - wanted[len(encoded)], len(encoded), where)
            encoded.append(encode_jpeg(picture, JPEG_QUALITY))
        else:
            encoded.append(b"")  # counted only
    if len(encoded) != len(wanted):
        raise WorldError(f"{where}: {len(encoded)} frames for {len(wanted)} rows of the parquet file; fetch the data set again")
    return tuple(encoded)


def _check_frame(feature: LeRobotFeature, picture: np.ndarray, off: float, number: int, where: str) -> None:
    if abs(off) > TOLERANCE_S + 1e-6:
        raise WorldError(
            f"{where}: frame {number} is {1000 * abs(off):.1f} ms {'late' if off > 0 else 'early'} against its row, "
            f"more than {1000 * TOLERANCE_S:g} ms: a frame is missing, or video and rows were recorded at different rates"
        )
    if picture.shape != feature.shape:
        raise WorldError(f"{where}: frames of {list(picture.shape)}, meta/info.json says {list(feature.shape)}")


def _frames(clip: Clip, where: str) -> Any:
    """(seconds, RGB) of each frame of the clip, in order of time."""
    try:
        import av
    except ImportError as error:
        raise UserError(f"LeRobot's videos need PyAV ({error}); install: pip install 'rtx-robotics[lerobot]'") from error
    if not clip.path.is_file():
        raise WorldError(f"{where}: the video is missing; fetch the data set again")
    try:
        with av.open(str(clip.path)) as container:
            stream = container.streams.video[0]
            stream.thread_type = "SLICE"  # episodes are already read in parallel
            if clip.start_s > 0 and stream.time_base:
                container.seek(int(clip.start_s / stream.time_base), stream=stream, backward=True)
            for frame in container.decode(stream):
                if frame.time >= clip.end_s - TOLERANCE_S:
                    break
                if frame.time >= clip.start_s - TOLERANCE_S:
                    yield float(frame.time), frame.to_ndarray(format="rgb24")
    except (av.FFmpegError, IndexError) as error:
        raise WorldError(f"{where}: the video is damaged ({error}); is it a Git LFS pointer? fetch it again") from error


def _from_parquet(table: Any, feature: LeRobotFeature, root: Path, where: str) -> tuple[bytes, ...]:
    """Embedded bytes as they are; where a row only names a file, that file's."""
    found = []
    for row, cell in enumerate(_column(table, feature.key, where)):
        data, path = (cell or {}).get("bytes"), (cell or {}).get("path")
        if not data and path and inside(root, path).is_file():
            data = inside(root, path).read_bytes()
        if not data:
            raise WorldError(f"{where}, row {row}: no picture of {feature.key!r} ({path or 'neither bytes nor a path'})")
        found.append(data)
    return tuple(found)


def _instructions(table: Any, source: LeRobotSet, where: str) -> tuple[str, ...]:
    numbers = [int(n) for n in _column(table, "task_index", where)]
    unknown = set(numbers) - set(source.tasks)
    if unknown:
        raise WorldError(f"{where}: task_index {min(unknown)} is not in the list of tasks")
    return tuple(source.tasks[number] for number in numbers)


def _column(table: Any, key: str, where: str) -> list[Any]:
    if key not in table.column_names:
        raise WorldError(f"{where}: no column {key!r}; it has {', '.join(table.column_names)}")
    values: list[Any] = table[key].to_pylist()
    return values


def _numbers(table: Any, key: str, where: str) -> Float64[np.ndarray, ...]:
    return np.asarray(_column(table, key, where), np.float64)


def _shaped(table: Any, feature: LeRobotFeature, where: str) -> np.ndarray:
    """[T, *shape], in the feature's own type."""
    try:
        return np.asarray(_column(table, feature.key, where), feature.dtype).reshape(table.num_rows, *feature.shape)
    except (TypeError, ValueError) as error:
        raise WorldError(
            f"{where}, column {feature.key!r}: not {feature.dtype}{list(feature.shape)} per row ({error})"
        ) from error
