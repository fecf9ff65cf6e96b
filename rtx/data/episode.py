"""One RLDS episode: from the bytes of a record to canonical rows, instructions and the places of its images.

payload --Example--> Trajectory (only the record's keys) --standardize--> action, proprio --checks--> Episode
                     spans of each camera's images -----_frame_index-----> offset, length per kept step
"""

from __future__ import annotations

import traceback
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float32, Int

from rtx.data.example import Example
from rtx.data.features import STEPS, FeatureSpec
from rtx.data.record import DatasetRecord, Trajectory
from rtx.errors import UserError, WorldError
from rtx.spec import Layout

_JPEG, _PNG = 0xFFD8, 0x8950  # the first two bytes


@dataclass(frozen=True, kw_only=True)
class Episode:
    """Standardized steps of one episode. `spans[role]` is (offset in the file, length), length 0 where there is no image."""

    action: Float32[np.ndarray, "s a"]
    proprio: Float32[np.ndarray, "s p"]
    instructions: tuple[tuple[str, ...], ...]  # for each instruction key, one per step
    spans: Mapping[str, Int[np.ndarray, "s 2"]]


def read_episode(
    payload: memoryview, *, offset: int, record: DatasetRecord, features: Mapping[str, FeatureSpec], index: int, where: str
) -> Episode | None:
    """The episode in `payload`, which starts at byte `offset` of its file; None if `record.keep` filters it out.

    `index` counts the episodes of the split. Raises WorldError for damaged data, UserError for a record that does not fit.
    """
    example = Example(payload, offset=offset, where=where)
    trajectory, num_steps = decode_trajectory(example, record=record, features=features, index=index, where=where)
    spans = {
        role: _spans(example, f"{STEPS}/{key.path}", num_steps, payload, offset, where) for role, key in record.images.items()
    }
    if record.keep is not None and not _run(record.keep, trajectory, record, where):
        return None
    result = _run(record.standardize, trajectory, record, where, **record.options()) if num_steps else _nothing(record.layout)
    frames = _checked(result, num_steps, record, where)
    return Episode(
        action=result["action"].astype(np.float32),
        proprio=result["proprio"].astype(np.float32),
        instructions=tuple(_instructions(result, frames, key, record, features, where) for key in record.instructions),
        spans={role: table[frames] for role, table in spans.items()},
    )


def decode_trajectory(
    example: Example, *, record: DatasetRecord, features: Mapping[str, FeatureSpec], index: int, where: str
) -> tuple[Trajectory, int]:
    """The record's keys as a `Trajectory` and its number of steps. Arrays may be read-only views of the payload."""
    paths = list(dict.fromkeys([*record.keys, *record.instructions]))
    leaves = {path: _decode(example, features[f"{STEPS}/{path}"], where) for path in paths}
    num_steps = _num_steps(leaves, example, record, where)
    trajectory: Trajectory = {}
    for path, array in leaves.items():
        _put(trajectory, features[f"{STEPS}/{path}"].names[1:], array)
    for path in record.metadata:
        value = _decode(example, features[path], where)
        if len(value) != 1:
            raise WorldError(f"{where}, key {path!r}: holds {len(value)} values, expected one an episode")
        _put(trajectory.setdefault("traj_metadata", {}), features[path].names, np.repeat(value, num_steps, axis=0))
    trajectory["_len"] = np.full(num_steps, num_steps, np.int64)
    trajectory["_traj_index"] = np.full(num_steps, index, np.int64)
    trajectory["_frame_index"] = np.arange(num_steps)
    return trajectory, num_steps


def _decode(example: Example, spec: FeatureSpec, where: str) -> np.ndarray:
    """One leaf, stacked over steps. TFDS keeps every float as float32 and every integer and bool as int64."""
    if spec.dtype == "string":
        flat = np.empty(len(strings := example.strings(spec.path)), object)
        flat[:] = strings
    elif spec.dtype.startswith(("float", "bfloat")):
        flat = example.floats(spec.path).astype(np.float32 if spec.dtype == "bfloat16" else spec.dtype, copy=False)
    else:
        flat = example.ints(spec.path).astype(spec.dtype)
    if spec.is_ragged or spec.size == 0 or len(flat) % spec.size:
        raise WorldError(f"{where}, key {spec.path!r}: {len(flat)} numbers are not a whole number of steps of {spec}")
    return flat.reshape(-1, *(n or 0 for n in spec.shape))


def _num_steps(leaves: Mapping[str, np.ndarray], example: Example, record: DatasetRecord, where: str) -> int:
    counts = {path: len(array) for path, array in leaves.items()}
    if not counts:
        counts = {key.path: len(example.spans(f"{STEPS}/{key.path}")[0]) for key in record.images.values()}
    if len(set(counts.values())) > 1:
        raise WorldError(f"{where}: its keys have different numbers of steps: {counts}")
    return next(iter(counts.values()), 0)


def _put(tree: dict[str, Any], names: tuple[str, ...], value: Any) -> None:
    for name in names[:-1]:
        tree = tree.setdefault(name, {})
    tree[names[-1]] = value


def _spans(example: Example, key: str, num_steps: int, payload: memoryview, offset: int, where: str) -> np.ndarray:
    """[T, 2]. Every image must start as a JPEG or PNG does: a wrong key or a raw array is found here, not in training."""
    offsets, lengths = example.spans(key)
    if len(offsets) != num_steps:
        raise WorldError(f"{where}, key {key!r}: {len(offsets)} images for {num_steps} steps")
    there = offsets[lengths >= 2] - offset
    data = np.frombuffer(payload, np.uint8)
    magic = data[there].astype(np.int64) << 8 | data[there + 1]
    wrong = np.flatnonzero((magic != _JPEG) & (magic != _PNG))
    if len(wrong) or np.any(lengths == 1):
        step = int(wrong[0]) if len(wrong) else int(np.flatnonzero(lengths == 1)[0])
        raise WorldError(f"{where}, key {key!r}, step {step}, byte {offsets[step]}: neither JPEG nor PNG")
    return np.stack([offsets, lengths], -1)


def _run(function: Any, trajectory: Trajectory, record: DatasetRecord, where: str, **options: str) -> Any:
    """Calls the record's own code; what it raises becomes one sentence with the place in the data and in the code."""
    try:
        return function(trajectory, **options)
    except WorldError:
        raise
    except UserError as error:  # from our helpers about values: the data's fault
        raise WorldError(f"{where}: {error}") from error
    except KeyError as error:
        raise UserError(
            f"record {record.name!r}: {function.__name__} reads the key {error}, but it is given only "
            f"{sorted(record.keys)}; add it to DatasetRecord.keys"
        ) from error
    except Exception as error:
        frame = traceback.extract_tb(error.__traceback__)[-1]
        raise UserError(
            f"record {record.name!r}: {function.__name__} failed with {type(error).__name__}: {error} "
            f"({frame.filename}:{frame.lineno}) on {where}"
        ) from error


def _nothing(layout: Layout) -> Trajectory:
    return {
        "action": np.zeros((0, layout.action.width), np.float32),
        "proprio": np.zeros((0, layout.proprio_width), np.float32),
        "_frame_index": np.zeros(0, np.int64),
    }


def _checked(result: Trajectory, num_steps: int, record: DatasetRecord, where: str) -> Int[np.ndarray, " s"]:
    """The kept steps, after checking what standardize returned."""
    frames = np.asarray(result.get("_frame_index"))
    layout = record.layout
    for name, width, mask in (
        ("action", layout.action.width, layout.action_mask),
        ("proprio", layout.proprio_width, layout.proprio_mask),
    ):
        value = result.get(name)
        if not isinstance(value, np.ndarray) or value.shape != (len(frames), width):
            got = f"{value.dtype}{list(value.shape)}" if isinstance(value, np.ndarray) else type(value).__name__
            raise UserError(
                f"record {record.name!r}: standardize returned {name!r} as {got}, expected float32[{len(frames)}, {width}] "
                f"(as many steps as _frame_index); cut every array alike"
            )
        bad = np.argwhere(~np.isfinite(value))
        if len(bad):
            raise WorldError(
                f"{where}, step {frames[bad[0, 0]]}: {name}[{bad[0, 1]}] is {value[tuple(bad[0])]}, not a finite number"
            )
        unknown = ~np.array(mask, bool)
        if np.any(value[:, unknown]):
            raise UserError(
                f"record {record.name!r}: standardize returned {name!r} with other values than 0 in dimensions that its layout "
                f"calls unknown: {np.flatnonzero(unknown & np.any(value, axis=0)).tolist()}"
            )
    if len(frames) and not (frames.min() >= 0 and frames.max() < num_steps):
        raise UserError(f"record {record.name!r}: standardize returned _frame_index outside 0..{num_steps - 1}")
    return frames


def _instructions(
    result: Trajectory, frames: np.ndarray, key: str, record: DatasetRecord, features: Mapping[str, FeatureSpec], where: str
) -> tuple[str, ...]:
    if not len(frames):
        return ()
    value: Any = result
    for name in features[f"{STEPS}/{key}"].names[1:]:
        value = value.get(name) if isinstance(value, dict) else None
    if value is None or len(value) != len(frames):
        raise UserError(f"record {record.name!r}: standardize did not keep {key!r} with {len(frames)} steps")
    unique = {raw: _text(raw, key, where) for raw in set(value.tolist())}
    return tuple(unique[raw] for raw in value.tolist())


def _text(raw: bytes | str, key: str, where: str) -> str:
    if isinstance(raw, str):
        return raw
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise WorldError(f"{where}, key {key!r}: the instruction {raw[:40]!r} is not UTF-8 text") from error
