"""Which files hold the splits of a TFDS folder, and how many episodes each: `dataset_info.json` of every age.

    filepathTemplate + shardLengths      TFDS since 2020: names and lengths are given
    numShards                            before: names are given, records are counted
    neither                              the folder is searched for files named as the template says

Source: tensorflow_datasets/core/naming.py (`ShardedFileTemplate`) and core/splits.py, 4.9.10.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from rtx.data.arrayrecord import count_array_records
from rtx.data.storage import Location, Url, children, open_file
from rtx.data.tfrecord import count_records
from rtx.errors import UserError, WorldError

FILE_FORMATS = ("tfrecord", "array_record")
_DEFAULT_TEMPLATE = "{DATASET}-{SPLIT}.{FILEFORMAT}-{SHARD_X_OF_Y}"
_COUNTING_THREADS = 16  # counting waits for the disk


@dataclass(frozen=True, kw_only=True)
class Shard:
    path: Location
    num_episodes: int


def read_splits(directory: Location, info: Mapping[str, Any]) -> dict[str, tuple[Shard, ...]]:
    """Every split of the folder. Raises WorldError for a format rtx cannot read, or a description nothing follows from."""
    file_format = file_format_of(info)
    if file_format == "array_record" and isinstance(directory, Url):
        raise UserError(f"{directory}: ArrayRecord files are read from a disk only; copy the folder there")
    if file_format not in FILE_FORMATS:
        raise WorldError(
            f"{directory}: its files are {file_format}, rtx reads {' and '.join(FILE_FORMATS)}; convert it with "
            "`tfds convert_format`"
        )
    splits = {str(entry["name"]): _Split(directory, info, entry, file_format).shards() for entry in _entries(directory, info)}
    if not splits:
        raise WorldError(f"{directory}/dataset_info.json lists no splits; the data set was not written to its end")
    return splits


def file_format_of(info: Mapping[str, Any]) -> str:
    return str(info.get("fileFormat") or "tfrecord")


def _entries(directory: Location, info: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    entries = info.get("splits", [])
    if not isinstance(entries, list) or not all(isinstance(entry, dict) and entry.get("name") for entry in entries):
        raise WorldError(f"{directory}/dataset_info.json: its splits are not a list of objects with a name")
    return entries


class _Split:
    """One entry of `splits`."""

    def __init__(self, directory: Location, info: Mapping[str, Any], entry: Mapping[str, Any], file_format: str) -> None:
        self._directory, self._entry = directory, entry
        self._template = str(entry.get("filepathTemplate") or _DEFAULT_TEMPLATE)
        self._known = {"DATASET": info.get("name", directory.parent.name), "SPLIT": entry["name"], "FILEFORMAT": file_format}

    def shards(self) -> tuple[Shard, ...]:
        lengths = [int(n) for n in self._entry.get("shardLengths", [])]
        if lengths:
            return tuple(Shard(path=self._path(i, len(lengths)), num_episodes=n) for i, n in enumerate(lengths))
        listed = self._entry.get("numShards")
        num_shards = int(listed) if listed is not None else self._search()
        return self._counted([self._path(i, num_shards) for i in range(num_shards)])

    def _counted(self, paths: Sequence[Location]) -> tuple[Shard, ...]:
        missing = [path for path in paths if not path.is_file()]
        if missing:
            raise WorldError(
                f"{self._directory}: {len(missing)} of {len(paths)} shards of split {self._entry['name']!r} are not there, the "
                f"first is {missing[0].name}; fetch them"
            )
        with ThreadPoolExecutor(_COUNTING_THREADS) as pool:
            counts = list(pool.map(_num_records, paths))
        promised = self._entry.get("statistics", {}).get("numExamples")
        if promised is not None and int(promised) != sum(counts):
            raise WorldError(
                f"{self._directory}: split {self._entry['name']!r} has {sum(counts)} records in {len(paths)} shards, "
                f"dataset_info.json lists {promised}; fetch it again"
            )
        return tuple(Shard(path=path, num_episodes=n) for path, n in zip(paths, counts, strict=True))

    def _search(self) -> int:
        """How many shards the files in the folder say there are; 0 if there are none."""
        folder, _, name = self._template.rpartition("/")
        pattern = re.escape(name)
        for key, value in self._known.items():
            pattern = pattern.replace(re.escape(f"{{{key}}}"), re.escape(str(value)))
            folder = folder.replace(f"{{{key}}}", str(value))
        pattern = pattern.replace(re.escape("{SHARD_X_OF_Y}"), r"\d{5,}-of-(?P<count>\d{5,})")
        pattern = pattern.replace(re.escape("{SHARD_INDEX}"), r"\d{5,}").replace(
            re.escape("{NUM_SHARDS}"), r"(?P<count>\d{5,})"
        )
        files = children(self._directory / folder if folder else self._directory)
        found = [match for file in files if (match := re.fullmatch(pattern, file.name))]
        counts = {int(match.groupdict().get("count") or len(found)) for match in found}
        if len(counts) > 1:
            raise WorldError(
                f"{self._directory}: files of split {self._entry['name']!r} come from sets of {sorted(counts)} shards; remove "
                "those that do not belong there"
            )
        return counts.pop() if counts else 0

    def _path(self, index: int, count: int) -> Location:
        digits = max(5, len(str(count)))
        number, total = f"{index:0{digits}d}", f"{count:0{digits}d}"
        numbers = {"SHARD_INDEX": number, "NUM_SHARDS": total, "SHARD_X_OF_Y": f"{number}-of-{total}"}
        try:
            name = self._template.format(**self._known, **numbers)
        except (KeyError, IndexError, ValueError) as error:
            raise self._error(f"cannot read the file name template {self._template!r}: {error!r}") from error
        if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
            raise self._error(f"the file name {name!r} leads out of the folder")
        return self._directory / name

    def _error(self, text: str) -> WorldError:
        return WorldError(f"{self._directory}/dataset_info.json, split {self._entry['name']!r}: {text}")


def _num_records(path: Location) -> int:
    if isinstance(path, Path) and ".array_record" in path.name:
        return count_array_records(path)
    with open_file(path) as file:
        return count_records(file)
