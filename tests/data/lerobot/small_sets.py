"""Small real LeRobot data sets, v2.1 and v3.0, written with pyarrow and PyAV. Each video frame shows its own number.

Two cameras: observation.images.top is a video, observation.images.wrist_cam lies as PNG in the parquet files.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from rtx.images import encode_png

FPS = 10
SIZE = (48, 64)
LENGTHS = (7, 12, 9)
TASKS = ("stack the cups", "open the drawer")
VIDEO, EMBEDDED = "observation.images.top", "observation.images.wrist_cam"
JOINTS = ("shoulder.pos", "elbow.pos", "gripper.pos")
_BITS, _CELL = 10, 6


def number_picture(number: int) -> np.ndarray:
    """uint8 [48, 64, 3]: the bits of `number` as black and white cells of 6 pixels, which no compression turns over."""
    picture = np.full((*SIZE, 3), 90, np.uint8)
    for bit in range(_BITS):
        picture[8:40, 2 + bit * _CELL : 2 + (bit + 1) * _CELL] = 255 * (number >> bit & 1)
    return picture


def number_in(picture: np.ndarray) -> int:
    cells = [picture[10:38, 4 + b * _CELL : 6 + b * _CELL].mean() > 128 for b in range(_BITS)]
    return sum(1 << b for b, on in enumerate(cells) if on)


def number_of(episode: int, step: int) -> int:
    return 40 * episode + step + 1


def embedded_picture(episode: int, step: int) -> bytes:
    return encode_png(np.random.default_rng([episode, step]).integers(0, 256, (8, 8, 3), np.uint8))


def action_of(episode: int, step: int) -> np.ndarray:
    return np.array([step, 10 * episode, 0.5 * step], np.float32)


def write_set(root: Path, version: str, *, frames_lacking: Sequence[tuple[int, int]] = (), codec: str = "libx264") -> Path:
    """`frames_lacking`: (episode, step) left out of the video, as a recorder that drops frames does."""
    root.mkdir(parents=True)
    is_v3 = version == "v3.0"
    _json(root / "meta" / "info.json", _info(version))
    rows = [_rows(e, length) for e, length in enumerate(LENGTHS)]
    clips = [
        [(s / FPS, number_picture(number_of(e, s))) for s in range(length) if (e, s) not in frames_lacking]
        for e, length in enumerate(LENGTHS)
    ]
    (_write_v3 if is_v3 else _write_v2)(root, rows, clips, codec)
    return root


def _write_v2(root: Path, rows: list[dict[str, Any]], clips: list[Any], codec: str) -> None:
    for e, (columns, clip) in enumerate(zip(rows, clips, strict=True)):
        _table(root / f"data/chunk-000/episode_{e:06d}.parquet", columns)
        encode(root / f"videos/chunk-000/{VIDEO}/episode_{e:06d}.mp4", clip, codec)
    episodes = [{"episode_index": e, "tasks": [TASKS[e % 2]], "length": n} for e, n in enumerate(LENGTHS)]
    _lines(root / "meta" / "episodes.jsonl", episodes)
    _lines(root / "meta" / "tasks.jsonl", [{"task_index": i, "task": task} for i, task in enumerate(TASKS)])


def _write_v3(root: Path, rows: list[dict[str, Any]], clips: list[Any], codec: str) -> None:
    """Episodes 0 and 1 share a video file, 2 has one of its own; all rows lie in one data file."""
    merged = {key: [value for columns in rows for value in columns[key]] for key in rows[0]}
    _table(root / "data/chunk-000/file-000.parquet", merged)
    start = LENGTHS[0] / FPS
    encode(root / f"videos/{VIDEO}/chunk-000/file-000.mp4", clips[0] + [(t + start, p) for t, p in clips[1]], codec)
    encode(root / f"videos/{VIDEO}/chunk-000/file-001.mp4", clips[2], codec)
    starts = (0.0, start, 0.0)
    episodes = {
        "episode_index": [0, 1, 2],
        "tasks": [[TASKS[e % 2]] for e in range(3)],
        "length": list(LENGTHS),
        "data/chunk_index": [0, 0, 0],
        "data/file_index": [0, 0, 0],
        f"videos/{VIDEO}/chunk_index": [0, 0, 0],
        f"videos/{VIDEO}/file_index": [0, 0, 1],
        f"videos/{VIDEO}/from_timestamp": list(starts),
        f"videos/{VIDEO}/to_timestamp": [s + n / FPS for s, n in zip(starts, LENGTHS, strict=True)],
        "stats/action/mean": [[0.0] * 3] * 3,
    }
    _table(root / "meta/episodes/chunk-000/file-000.parquet", episodes)
    _table(root / "meta/tasks.parquet", {"task_index": [0, 1], "__index_level_0__": list(TASKS)})


def _rows(episode: int, length: int) -> dict[str, Any]:
    steps = range(length)
    return {
        "action": [action_of(episode, s).tolist() for s in steps],
        "observation.state": [(action_of(episode, s) - 1).tolist() for s in steps],
        EMBEDDED: [{"bytes": embedded_picture(episode, s), "path": f"{s}.png"} for s in steps],
        "next.done": [s == length - 1 for s in steps],
        "timestamp": np.arange(length, dtype=np.float32) / np.float32(FPS),
        "frame_index": list(steps),
        "episode_index": [episode] * length,
        "index": [sum(LENGTHS[:episode]) + s for s in steps],
        "task_index": [episode % 2] * length,
    }


def _info(version: str) -> dict[str, Any]:
    is_v3 = version == "v3.0"
    numbers = {"dtype": "float32", "shape": [3], "names": list(JOINTS)}
    video = {"dtype": "video", "shape": [3, *SIZE] if is_v3 else [*SIZE, 3]}
    scalar = {"shape": [1], "names": None}
    return {
        "codebase_version": version,
        "robot_type": "So-100",
        "total_episodes": len(LENGTHS),
        "total_frames": sum(LENGTHS),
        "chunks_size": 1000,
        "fps": FPS,
        "splits": {"train": "0:3"},
        "data_path": "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
        if is_v3
        else "data/chunk-{episode_chunk:03d}/episode_{episode_index:06d}.parquet",
        "video_path": "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4"
        if is_v3
        else "videos/chunk-{episode_chunk:03d}/{video_key}/episode_{episode_index:06d}.mp4",
        "features": {
            "action": numbers if is_v3 else {**numbers, "names": {"motors": list(JOINTS)}},
            "observation.state": numbers,
            VIDEO: {**video, "names": ["channels", "height", "width"] if is_v3 else ["height", "width", "channel"]},
            EMBEDDED: {"dtype": "image", "shape": [8, 8, 3], "names": ["height", "width", "channel"]},
            "next.done": {"dtype": "bool", **scalar},
            "timestamp": {"dtype": "float32", **scalar},
            **{key: {"dtype": "int64", **scalar} for key in ("frame_index", "episode_index", "index", "task_index")},
        },
    }


def encode(path: Path, clip: Sequence[tuple[float, np.ndarray]], codec: str) -> None:
    """Each picture at its own time; key frames are rare, so that reading from the middle must go back to one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=FPS)
        stream.height, stream.width = SIZE
        stream.pix_fmt, stream.time_base = "yuv420p", Fraction(1, 10 * FPS)
        stream.codec_context.time_base = stream.time_base
        stream.options = {"g": "50"}
        for seconds, picture in clip:
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts, frame.time_base = round(seconds * 10 * FPS), stream.time_base
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


def _table(path: Path, columns: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    arrays = {k: pa.array(v, pa.list_(pa.float32())) if k in ("action", "observation.state") else v for k, v in columns.items()}
    pq.write_table(pa.table(arrays), path)


def _json(path: Path, data: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(data))


def _lines(path: Path, rows: Sequence[Any]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
