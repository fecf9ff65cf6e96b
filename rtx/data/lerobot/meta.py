"""What a LeRobot data set says about itself, v2.0 / v2.1 and v3.0, as one description.

    meta/info.json                  version, fps, features, where the files are
    v2.x  meta/episodes.jsonl       one line an episode          data, videos: one file an episode
    v3.0  meta/episodes/*.parquet   one row an episode           data, videos: files of many episodes; where each lies in them

Source: the formats' descriptions in LeRobot's documentation and its converter from v2.1 to v3.0.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rtx.errors import UserError, WorldError
from rtx.files import read_json

VERSIONS = ("v2.0", "v2.1", "v3.0")
BOOKKEEPING = ("timestamp", "frame_index", "episode_index", "index", "task_index")
_IMAGE_KINDS = ("video", "image")


@dataclass(frozen=True, kw_only=True)
class LeRobotFeature:
    """One column. `shape` is per frame (of pictures height, width, channels); `names` one per number, if the set has them."""

    key: str
    dtype: str  # "video", "image", "string" or numpy's name
    shape: tuple[int, ...]
    names: tuple[str, ...]
    is_depth: bool

    @property
    def is_picture(self) -> bool:
        return self.dtype in _IMAGE_KINDS


@dataclass(frozen=True, kw_only=True)
class Clip:
    """One camera's pictures of one episode: frames with `start_s` <= time < `end_s` of the file at `path`."""

    path: Path
    start_s: float
    end_s: float


@dataclass(frozen=True, kw_only=True)
class LeRobotEpisode:
    index: int
    length: int
    data: Path  # the parquet file its rows are in, perhaps among others'
    clips: Mapping[str, Clip]


@dataclass(frozen=True, kw_only=True)
class LeRobotSet:
    root: Path
    version: str
    robot: str
    fps: float
    features: tuple[LeRobotFeature, ...]
    episodes: tuple[LeRobotEpisode, ...]
    tasks: Mapping[int, str]
    splits: Mapping[str, range]

    @property
    def pictures(self) -> tuple[LeRobotFeature, ...]:
        """Cameras; depth maps are not among them."""
        return tuple(f for f in self.features if f.is_picture and not f.is_depth)

    @property
    def numbers(self) -> tuple[LeRobotFeature, ...]:
        """What is neither picture nor bookkeeping."""
        return tuple(f for f in self.features if not f.is_picture and f.key not in BOOKKEEPING)


def open_lerobot(root: Path) -> LeRobotSet:
    """Reads the folder's `meta`. Raises UserError if it holds no set of a version we read, WorldError if it is damaged."""
    root = Path(root).expanduser().absolute()
    if not (root / "meta" / "info.json").is_file():
        raise UserError(
            f"{root} holds no LeRobot data set: meta/info.json is missing; pass the folder that holds meta/ and data/"
        )
    info = read_json(root / "meta" / "info.json")
    version = str(info.get("codebase_version", "unknown"))
    if version not in VERSIONS:
        raise UserError(
            f"{root} is a LeRobot data set of version {version}, rtx reads {', '.join(VERSIONS)}; convert it with LeRobot's "
            "converters (lerobot.datasets.v30.convert_dataset_v21_to_v30 and its predecessors)"
        )
    try:
        features = tuple(_feature(key, data) for key, data in info["features"].items())
        videos = [f.key for f in features if f.dtype == "video" and not f.is_depth]
        read = _episodes_v3 if version == "v3.0" else _episodes_v2
        episodes = sorted(read(root, info, videos), key=lambda episode: episode.index)
        found = LeRobotSet(
            root=root,
            version=version,
            robot=str(info.get("robot_type") or "robot"),
            fps=float(info["fps"]),
            features=features,
            episodes=tuple(episodes),
            tasks=_tasks_v3(root) if version == "v3.0" else _tasks_v2(root),
            splits=_splits(info, len(episodes)),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise WorldError(f"{root}/meta: not the description of a LeRobot {version} data set ({error!r})") from error
    _check(found, int(info.get("total_episodes", len(episodes))))
    return found


def read_parquet(path: Path, **options: Any) -> Any:
    """A pyarrow table. Raises WorldError if the file is missing or damaged, UserError without pyarrow."""
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError as error:
        raise UserError(
            f"LeRobot data sets are parquet files ({error}); install: pip install 'rtx-robotics[lerobot]'"
        ) from error
    try:
        return pq.read_table(path, partitioning=None, **options)
    except FileNotFoundError as error:
        raise WorldError(f"{path} is missing: the data set is incomplete; fetch it again") from error
    except (pa.ArrowInvalid, pa.ArrowKeyError, OSError) as error:
        raise WorldError(f"{path} cannot be read as parquet ({error}); is it a Git LFS pointer? fetch it again") from error


def inside(root: Path, name: str) -> Path:
    """A file of the data set. Raises WorldError for a name that leads out of its folder: the set may be a stranger's."""
    if Path(name).is_absolute() or ".." in Path(name).parts:
        raise WorldError(f"{root}: the data set names the file {name!r}, which lies outside of it")
    return root / name


def _feature(key: str, data: Mapping[str, Any]) -> LeRobotFeature:
    shape = tuple(int(n) for n in data["shape"])
    names = _names(data.get("names"))
    details = {**(data.get("info") or {}), **(data.get("video_info") or {})}
    if data["dtype"] in _IMAGE_KINDS and len(shape) == 3 and names[:1] in (("channels",), ("channel",)):
        shape = (shape[1], shape[2], shape[0])
    depth = bool(details.get("video.is_depth_map") or details.get("is_depth_map"))
    return LeRobotFeature(key=key, dtype=str(data["dtype"]), shape=shape, names=names, is_depth=depth)


def _names(names: Any) -> tuple[str, ...]:
    """["a", "b"], or {"motors": ["a", "b"]}, or {"a": 0, "b": 1}, or nothing."""
    if isinstance(names, Mapping):
        values = list(names.values())
        names = values[0] if len(values) == 1 and isinstance(values[0], list) else sorted(names, key=lambda n: names[n])
    return tuple(str(name) for name in names or ())


def _episodes_v2(root: Path, info: Mapping[str, Any], videos: list[str]) -> Iterator[LeRobotEpisode]:
    for line in _json_lines(root / "meta" / "episodes.jsonl"):
        number = int(line["episode_index"])
        places = {"episode_index": number, "episode_chunk": number // int(info["chunks_size"])}
        clips = {
            key: Clip(path=inside(root, info["video_path"].format(video_key=key, **places)), start_s=0.0, end_s=math.inf)
            for key in videos
        }
        yield LeRobotEpisode(
            index=number, length=int(line["length"]), data=inside(root, info["data_path"].format(**places)), clips=clips
        )


def _episodes_v3(root: Path, info: Mapping[str, Any], videos: list[str]) -> Iterator[LeRobotEpisode]:
    columns = ["episode_index", "length", "data/chunk_index", "data/file_index"]
    parts = ("chunk_index", "file_index", "from_timestamp", "to_timestamp")
    columns += [f"videos/{key}/{part}" for key in videos for part in parts]
    for path in _parquet_files(root / "meta" / "episodes"):
        for row in read_parquet(path, columns=columns).to_pylist():
            yield LeRobotEpisode(
                index=int(row["episode_index"]),
                length=int(row["length"]),
                data=inside(
                    root, info["data_path"].format(chunk_index=row["data/chunk_index"], file_index=row["data/file_index"])
                ),
                clips={key: _clip_v3(root, info, key, [row[f"videos/{key}/{part}"] for part in parts]) for key in videos},
            )


def _clip_v3(root: Path, info: Mapping[str, Any], key: str, place: list[Any]) -> Clip:
    chunk, file, start, end = place
    path = inside(root, info["video_path"].format(video_key=key, chunk_index=chunk, file_index=file))
    return Clip(path=path, start_s=float(start), end_s=float(end))


def _tasks_v2(root: Path) -> dict[int, str]:
    return {int(line["task_index"]): str(line["task"]) for line in _json_lines(root / "meta" / "tasks.jsonl")}


def _tasks_v3(root: Path) -> dict[int, str]:
    """A pandas table whose index, the sentence, is a column under one of several names."""
    table = read_parquet(root / "meta" / "tasks.parquet")
    (text,) = [name for name in table.column_names if name != "task_index"]
    return dict(zip(table["task_index"].to_pylist(), table[text].to_pylist(), strict=True))


def _splits(info: Mapping[str, Any], num_episodes: int) -> dict[str, range]:
    """`{"train": "0:45", "val": "45:50"}`; anything else is one training split."""
    told = {str(name): str(text).split(":") for name, text in (info.get("splits") or {}).items()}
    if not told or not all(len(ends) == 2 and all(end.isdigit() for end in ends) for ends in told.values()):
        return {"train": range(num_episodes)}
    return {name: range(int(first), int(end)) for name, (first, end) in told.items() if int(end) > int(first)}


def _check(found: LeRobotSet, total: int) -> None:
    """Raises WorldError for lists that do not agree, UserError for what cannot become RLDS."""
    numbers = [episode.index for episode in found.episodes]
    if numbers != list(range(total)):
        raise WorldError(f"{found.root}/meta: info.json counts {total} episodes, the list of episodes holds {len(numbers)}")
    if not numbers:
        raise UserError(f"{found.root} holds no episode")
    if not any(f.key == "action" or f.key.startswith("action.") for f in found.numbers):
        raise UserError(f"{found.root} has no feature 'action'; it has {', '.join(f.key for f in found.features)}")
    if not found.fps > 0:
        raise WorldError(f"{found.root}/meta/info.json: fps is {found.fps}")


def _parquet_files(folder: Path) -> list[Path]:
    files = sorted(folder.glob("chunk-*/file-*.parquet"))
    if not files:
        raise WorldError(f"{folder} holds no parquet file: the data set is incomplete; fetch it again")
    return files


def _json_lines(path: Path) -> Iterator[dict[str, Any]]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError as error:
        raise WorldError(f"{path} is missing: the data set is incomplete; fetch it again") from error
    for number, line in enumerate(lines, 1):
        if line.strip():
            try:
                yield json.loads(line)
            except json.JSONDecodeError as error:
                raise WorldError(f"{path}, line {number}: not JSON ({error})") from error
