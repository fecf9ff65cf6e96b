"""From draws to rows of a batch: step table -> windows, masks, model-space numbers; byte index -> pictures; texts -> tokens.

    (data set, window) --windows.py--> rows of the step table --+-- action, proprio --Normalizer--> model space
                                                                +-- frames.py ---> uint8 RGB, each frame decoded once
                                                                +-- texts --tokenizers.py, each once--> ids or vectors

An `Assembler` is shared by all threads of a loader: it holds mapped tables, caches and a bounded number of open files.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Int32, Int64

from rtx.data.frames import Frames, ShardFiles
from rtx.data.memory import PictureMemory
from rtx.data.mixture import Mixture, MixtureEntry
from rtx.data.order import mix
from rtx.data.tokenizers import Texts, Tokenizers
from rtx.data.windows import Windows, episode_of, windows
from rtx.embodiment import RELATIVE_KINDS
from rtx.spec import Batch, Contract

_GOAL_KEY = np.uint64(0x60A1)  # so that a sample's goal does not follow from its choice among several sentences
PADDING_SAMPLE = -1
"""`Batch.sample` of rows that only fill up the last batch of a pass; their `action_mask` is False."""

_MAX_FREE_PICTURES = 4  # batches whose memory waits for its next use: as many as are in flight


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Which windows make up a batch, one element per row. `number` is what becomes `Batch.sample`."""

    number: Int64[np.ndarray, " n"]
    entry: Int32[np.ndarray, " n"]
    window: Int64[np.ndarray, " n"]

    def __getitem__(self, rows: slice | Int64[np.ndarray, " k"]) -> Plan:
        return Plan(number=self.number[rows], entry=self.entry[rows], window=self.window[rows])


class Assembler:
    """Fills batches for one mixture, split and window shape."""

    def __init__(
        self,
        mixture: Mixture,
        contract: Contract,
        *,
        split: str,
        tokenizers: Tokenizers,
        cache_bytes: int = 0,
        depth: Sequence[str] = (),
        goals: bool = False,
        frame_actions: bool = False,
    ) -> None:
        """`cache_bytes`: decoded pictures stay in memory if those of the whole mixture fit into so many bytes.

        `depth`: cameras whose depth maps come along; `goals`: a goal picture of every camera too. `frame_actions`: the
        actions of the history's frames instead of those ahead.
        """
        self._num_actions = contract.history if frame_actions else contract.chunk
        self._frame_actions = frame_actions
        self.contract, self._depth, self._goals = contract, tuple(depth), goals
        mixture.warn_unsettled()
        roles, size = contract.roles, contract.image_size
        self.num_frames = sum(
            n * len(_having(e, roles)) for e, n in zip(mixture.entries, mixture.num_steps(split), strict=True)
        )
        self.caches_frames = self.num_frames * size[0] * size[1] * 3 <= cache_bytes
        self._files = ShardFiles()
        self._tables = {
            i: _Table(entry, contract, split=split, rows=kept.rows, files=self._files, keep=self.caches_frames, depth=depth)
            for i, (entry, kept) in enumerate(zip(mixture.entries, mixture.kept(split), strict=True))
            if split in entry.prepared.splits
        }
        places = list(contract.embodiments)
        self._embodiment = np.array([places.index(name) for name in mixture.names], np.int32)
        self._texts = Texts(tokenizers, mixture)
        self._memory = PictureMemory(max_free=_MAX_FREE_PICTURES * len(roles))

    def empty(self, num_rows: int) -> Batch:
        """A batch to be filled. Its pictures hold anything until then: their memory is used again (`rtx.data.memory`)."""
        c, n = self.contract, num_rows
        pixels = (n, c.history, *c.image_size, 3)
        return Batch(
            images={role: self._memory.array(pixels) for role in c.roles},
            image_mask={role: np.zeros((n, c.history), bool) for role in c.roles},
            history_mask=np.zeros((n, c.history), bool),
            proprio=np.zeros((n, c.history, sum(f.width for f in c.proprio)), np.float32),
            text=self._texts.empty_text(n),
            action=np.zeros((n, self._num_actions, c.action.width), np.float32),
            action_mask=np.zeros((n, self._num_actions, c.action.width), bool),
            embodiment=np.zeros(n, np.int32),
            sample=np.full(n, PADDING_SAMPLE, np.int64),
            target=self._texts.empty_target(n),
            depth={role: np.zeros(pixels[:-1], np.float32) for role in self._depth} or None,
            depth_mask={role: np.zeros((n, c.history), bool) for role in self._depth} or None,
            goal={role: self._memory.array((n, *c.image_size, 3)) for role in c.roles} if self._goals else None,
            goal_mask={role: np.zeros(n, bool) for role in c.roles} if self._goals else None,
        )

    def fill(self, batch: Batch, plan: Plan, rows: slice) -> None:
        """Writes the `rows` of `plan` into the same rows of `batch`. Threads may fill different rows at once."""
        first, part = rows.start, plan[rows]
        batch.embodiment[rows], batch.sample[rows] = self._embodiment[part.entry], part.number
        for e in np.unique(part.entry):
            of_entry = np.flatnonzero(part.entry == e)
            self._fill_entry(batch, self._tables[int(e)], part[of_entry], of_entry + first)
        is_sample = part.number != PADDING_SAMPLE
        batch.action_mask[rows] &= is_sample[:, None, None]
        if batch.target is not None:
            batch.target[rows] *= is_sample[:, None]

    def close(self) -> None:
        self._files.close()

    def batch_bytes(self, num_rows: int) -> int:
        """Of a batch of so many rows."""
        row = self.empty(1)
        fields = (getattr(row, field.name) for field in dataclasses.fields(row))
        arrays = (array for value in fields for array in (value.values() if isinstance(value, Mapping) else [value]))
        return num_rows * sum(array.nbytes for array in arrays if array is not None)

    def table_bytes(self) -> tuple[int, int]:
        """(bytes of files that are mapped, bytes of memory) of the tables; `cache_bytes` not counted."""
        tables = self._tables.values()
        chosen = {id(table.rows): table.rows.nbytes for table in tables if table.rows is not None}
        return sum(table.mapped_bytes() for table in tables), sum(chosen.values())

    def _fill_entry(self, batch: Batch, table: _Table, plan: Plan, rows: np.ndarray) -> None:
        steps = plan.window if table.rows is None else table.rows[plan.window].astype(np.int64)
        at = windows(table.episode_start, steps, history=self.contract.history, chunk=self.contract.chunk)
        batch.history_mask[rows] = at.history_mask
        batch.proprio[rows] = table.normalize_proprio(table.proprio[at.history])
        acted, known = (at.history, at.history_mask) if self._frame_actions else (at.chunk, at.chunk_mask)
        batch.action[rows] = table.normalize_action(table.actions(acted, known))
        batch.action_mask[rows] = known[..., None] & table.action_mask
        batch.text[rows] = self._texts.text(table.instructions(steps, plan.number), robot=table.is_robot)
        if table.target_id is not None and self._texts.answers(table.is_robot):
            batch.target[rows] = self._texts.target(table.targets(steps, plan.number), robot=table.is_robot)
        for role, images in batch.images.items():
            if frames := table.frames.get(role):
                batch.image_mask[role][rows] = at.history_mask & frames.present(at.history)
                _fill_pictures(images, frames, at, rows)
            else:
                images[rows] = 0
        if batch.goal is not None:
            self._fill_goals(batch, table, table.goals(steps, plan.number), rows)
        for (role, metres), mask in zip((batch.depth or {}).items(), (batch.depth_mask or {}).values(), strict=True):
            if frames := table.depth.get(role):
                mask[rows] = at.history_mask & frames.present(at.history)
                _fill_pictures(metres, frames, at, rows)

    def _fill_goals(self, batch: Batch, table: _Table, steps: np.ndarray, rows: np.ndarray) -> None:
        assert batch.goal is not None
        assert batch.goal_mask is not None
        for role, images in batch.goal.items():
            if frames := table.frames.get(role):
                batch.goal_mask[role][rows] = frames.present(steps)
                frames.fill(steps, images, [[row] for row in rows.tolist()])
            else:
                images[rows] = 0


def _fill_pictures(images: np.ndarray, frames: Frames, at: Windows, rows: np.ndarray) -> None:
    """Decodes each different frame once and copies it to everywhere it is seen."""
    history = at.history.shape[1]
    seen_at: dict[int, list[int]] = {}  # row of the step table -> frames of the batch
    for row, first in zip(at.history.tolist(), (rows * history).tolist(), strict=True):
        for t, step in enumerate(row):
            seen_at.setdefault(step, []).append(first + t)
    different = np.fromiter(seen_at, np.int64, len(seen_at))
    frames.fill(different, images.reshape(-1, *images.shape[2:]), list(seen_at.values()))


class _Table:
    """One data set of the mixture, ready to be indexed by rows of its step table."""

    def __init__(
        self,
        entry: MixtureEntry,
        contract: Contract,
        *,
        split: str,
        rows: np.ndarray | None,
        files: ShardFiles,
        keep: bool,
        depth: Sequence[str],
    ) -> None:
        prepared = entry.prepared
        self.rows = rows  # of the step table that are samples; None: all
        part = prepared.split(split)
        # np.asarray: plain views of the maps; indexing an np.memmap itself costs several times as much.
        self.episode_start = np.asarray(part.episode_start)
        self.action, self.proprio = np.asarray(part.action), np.asarray(part.proprio)
        self.language_id, self.languages = np.asarray(part.language_id), prepared.languages
        self.target_id = np.asarray(part.target_id) if prepared.targets else None
        self.is_robot, self.action_mask = prepared.is_robot, contract.action_mask(prepared.name)
        self.normalize_action = contract.action_normalizer(prepared.name).forward
        self.normalize_proprio = contract.proprio_normalizer(prepared.name).forward
        self._is_relative = prepared.layout.action.per_dim(lambda f: f.kind in RELATIVE_KINDS).astype(bool)
        self._none = self.languages.index("") if "" in self.languages else -1
        label = f"data set {prepared.name!r}, split {split!r}"
        shown: dict[str, Any] = {"size": contract.image_size, "fit": contract.fit, "files": files, "label": label}
        self.frames: Mapping[str, Frames] = {
            role: Frames(part, role, keep=keep, **shown) for role in _having(entry, contract.roles)
        }
        self.depth: Mapping[str, Frames] = {
            role: Frames(part, role, depth=True, **shown) for role in depth if role in prepared.depths
        }

    def mapped_bytes(self) -> int:
        columns = [self.episode_start, self.action, self.proprio, self.language_id, self.target_id]
        indexes = [frames.index for frames in (*self.frames.values(), *self.depth.values())]
        columns += [shard for shard, _, _ in indexes[:1]]  # the same file for all cameras
        columns += [column for _, offset, length in indexes for column in (offset, length)]
        return sum(column.nbytes for column in columns if column is not None)

    def actions(self, steps: np.ndarray, known: np.ndarray) -> np.ndarray:
        """Of the windows, physical; outside the episode the arm stands still: no motion, same gripper."""
        actions = self.action[steps]
        actions[~known[..., None] & self._is_relative] = 0
        return actions

    def goals(self, steps: np.ndarray, numbers: np.ndarray) -> np.ndarray:
        """For each sample a row of the step table from its own to the last of its episode, all equally likely: hindsight
        relabelling as in Octo ("uniform"). Drawn by the sample's number."""
        last = self.episode_start[episode_of(self.episode_start, steps) + 1] - 1
        share = mix(mix(numbers.astype(np.uint64)) + _GOAL_KEY) >> np.uint64(11)  # 53 bits: exact as float64
        return steps + np.floor(share.astype(np.float64) / 2.0**53 * (last - steps + 1)).astype(np.int64)

    def instructions(self, steps: np.ndarray, numbers: np.ndarray) -> list[str]:
        """One per sample: where a step has several that are not empty, drawn by the sample's number."""
        return self._drawn(self.language_id[steps], numbers)

    def targets(self, steps: np.ndarray, numbers: np.ndarray) -> list[str]:
        """Likewise, of a set that has some."""
        assert self.target_id is not None
        return self._drawn(self.target_id[steps], numbers)

    def _drawn(self, ids: np.ndarray, numbers: np.ndarray) -> list[str]:
        if ids.shape[1] > 1:
            order = np.argsort(ids == self._none, axis=1, kind="stable")  # those that say something first
            num_said = np.maximum((ids != self._none).sum(axis=1), 1)
            pick = (mix(numbers.astype(np.uint64)) % num_said.astype(np.uint64)).astype(np.int64)
            rows = np.arange(len(ids))
            ids = ids[rows, order[rows, pick]][:, None]
        return [self.languages[row[0]] if row.size else "" for row in ids]


def _having(entry: MixtureEntry, roles: Sequence[str]) -> list[str]:
    return [role for role in roles if role in entry.prepared.roles]


def batch_digest(batch: Batch) -> str:
    """SHA-256 over every array of a batch (names, dtypes, shapes, bytes): equal digests, equal batches."""
    digest = hashlib.sha256()
    for field in dataclasses.fields(batch):
        value = getattr(batch, field.name)
        if value is None:
            continue
        arrays = value if isinstance(value, Mapping) else {"": value}
        for name in sorted(arrays):
            array = np.ascontiguousarray(arrays[name])
            digest.update(f"{field.name}.{name} {array.dtype.str} {array.shape}".encode())
            digest.update(array.tobytes())
    return digest.hexdigest()
