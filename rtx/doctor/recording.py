"""Recorded episodes of a robot as the doctor looks at them: pictures by role, canonical state and action, words, stamps.

    RLDS shards --read_episode, by the set's own record--> Recorded (pictures still encoded, decoded when looked at)

The record's `standardize` is the robot's inverse direction: native command and state to the layout the policy was trained in.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float32, Int64, UInt8

from rtx.data.episode import read_episode
from rtx.data.example import Example
from rtx.data.features import Source, open_source
from rtx.data.leaves import decode_leaf
from rtx.data.record import DatasetRecord
from rtx.data.storage import open_file
from rtx.data.tfrecord import RecordReader
from rtx.embodiment import Layout
from rtx.errors import UserError, WorldError
from rtx.images import ChannelOrder, decode

STAMP = "steps/stamp_ns"
"""Where `rtx serve --record` keeps the monotonic time of each frame."""


@dataclass(frozen=True, kw_only=True)
class Recorded:
    """One episode of T frames. `action[t]` is what was sent at frame t; both vectors are in `layout`, physical units."""

    name: str
    split: str
    is_served: bool = False  # `rtx serve --record` wrote it: the actions are a policy's own
    layout: Layout
    control_hz: float  # as the record's embodiment has it
    encoded: Mapping[str, tuple[bytes, ...]]  # role -> T pictures; b"" where there is none
    channel_order: Mapping[str, ChannelOrder]
    proprio: Float32[np.ndarray, "t p"]
    action: Float32[np.ndarray, "t a"]
    instructions: tuple[str, ...]
    stamp_ns: Int64[np.ndarray, " t"] | None = None

    def __len__(self) -> int:
        return len(self.action)

    def picture(self, role: str, t: int) -> UInt8[np.ndarray, "h w 3"] | None:
        """RGB as the record understands it; None for a lost frame."""
        data = self.encoded[role][t]
        return decode(data, None, self.channel_order[role]) if data else None


def load_episodes(path: Path | str, record: DatasetRecord, *, most: int) -> list[Recorded]:
    """Up to `most` episodes, those held out for validation first: a policy knows by heart what it was trained on.

    Raises UserError for a folder without RLDS, a record that does not fit it or a set without episodes; WorldError for damage.
    """
    found = list(itertools.islice(each_episode(path, record), most))
    if not found:
        raise UserError(f"{path} holds no episode with a step in it")
    return found


def each_episode(path: Path | str, record: DatasetRecord) -> Iterator[Recorded]:
    """Those of at least one step, one after the other, those held out for validation first. Raises as `load_episodes`."""
    source = open_source(path, record.name)
    if source.file_format != "tfrecord":
        raise UserError(
            f"{path} is stored as {source.file_format}; the doctor reads TFRecord files, as `rtx data write` makes them"
        )
    record.validate(source.features, where=str(source.directory))
    yield from (episode for episode in _episodes(source, record) if len(episode))


def _episodes(source: Source, record: DatasetRecord) -> Iterator[Recorded]:
    splits = sorted(source.splits, key=lambda split: split != record.val_split)
    for split in splits:
        index = 0
        for shard in source.splits[split]:
            with open_file(shard.path) as file:
                for entry in RecordReader(file, str(shard.path)):
                    where = f"{shard.path}, episode {entry.number}"
                    episode = _episode(source, record, entry.payload, index, f"{split} {index}", where)
                    index += 1
                    if episode is not None:
                        yield episode


def _episode(source: Source, record: DatasetRecord, payload: memoryview, index: int, name: str, where: str) -> Recorded | None:
    # offset=0: places of pictures are then places in the payload
    read = read_episode(payload, offset=0, record=record, features=source.features, index=index, where=where)
    if read is None:
        return None
    spans = {role: read.spans[role] for role in record.images}
    return Recorded(
        name=name,
        split=name.split()[0],
        is_served=source.name.startswith("served_"),
        layout=record.layout,
        control_hz=record.embodiment.control_hz,
        encoded={role: tuple(bytes(payload[o : o + n]) for o, n in table.tolist()) for role, table in spans.items()},
        channel_order={role: key.channel_order for role, key in record.images.items()},
        proprio=read.proprio,
        action=read.action,
        instructions=tuple(map(_first, zip(*read.instructions, strict=True))),
        stamp_ns=_stamps(source, payload, len(read.action), where),
    )


def _first(texts: Sequence[str]) -> str:
    """Of several instruction keys the first that says something."""
    return next((text for text in texts if text), "")


def _stamps(source: Source, payload: memoryview, num_steps: int, where: str) -> np.ndarray | None:
    spec = source.features.get(STAMP)
    if spec is None:
        return None
    stamps = np.asarray(decode_leaf(Example(payload, where=where), spec, where), np.int64).reshape(-1)
    if len(stamps) != num_steps:  # standardize has dropped steps: what is left has no even rate
        return None
    if np.any(np.diff(stamps) <= 0):
        raise WorldError(f"{where}: stamp_ns does not grow from frame to frame; the recorder's clock is not monotonic")
    return stamps
