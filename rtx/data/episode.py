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
from rtx.data.features import FeatureSpec
from rtx.data.leaves import decode_leaf
from rtx.data.pixels import pixel_format
from rtx.data.record import DatasetRecord, Trajectory, pixel_columns
from rtx.data.resample import resample
from rtx.data.sentences import check_finite
from rtx.data.texts import decode_text
from rtx.embodiment import Layout
from rtx.errors import UserError, WorldError

_JPEG, _PNG = 0xFFD8, 0x8950  # the first two bytes


@dataclass(frozen=True, kw_only=True)
class Episode:
    """Standardized steps of one episode. `spans` is, for each of `pixel_columns`, (offset in the file, length); length 0 where
    there is no image."""

    action: Float32[np.ndarray, "s a"]
    proprio: Float32[np.ndarray, "s p"]
    instructions: tuple[tuple[str, ...], ...]  # for each instruction key, one per step
    targets: tuple[tuple[str, ...], ...]  # for each target key, one per step
    spans: Mapping[str, Int[np.ndarray, "s 2"]]
    vectors: Float32[np.ndarray, "s d"] | None = None  # of the first instruction, of sets that store sentence vectors


def read_episode(
    payload: memoryview,
    *,
    offset: int,
    record: DatasetRecord,
    features: Mapping[str, FeatureSpec],
    index: int,
    where: str,
    decode: bool = False,
) -> Episode | None:
    """The episode in `payload`, which starts at byte `offset` of its file; None if `record.keep` filters it out.

    `index` counts the episodes of the split. `decode`: every picture too, to find those that are damaged.
    Raises WorldError for damaged data, UserError for a record that does not fit.
    """
    example = Example(payload, offset=offset, where=where)
    trajectory, num_steps = decode_trajectory(example, record=record, features=features, index=index, where=where)
    pixels = {name: features[record.full_path(key.path)] for name, key in pixel_columns(record.images, record.depth).items()}
    spans = {name: _spans(example, spec, num_steps, payload, offset, where) for name, spec in pixels.items()}
    if decode:
        for name, spec in pixels.items():
            _check_pictures(spec, spans[name], payload, offset, where)
    if record.keep is not None and not _run(record.keep, trajectory, record, where):
        return None
    if record.standardize is None or not num_steps:
        result = {**trajectory, **_nothing(record.layout, num_steps)}
    else:
        result = _run(record.standardize, trajectory, record, where, **record.options())
    frames = _checked(result, num_steps, record, where)
    if record.stride > 1:
        result = resample(result, record.layout, record.stride)
        frames = result["_frame_index"]
    texts = {
        path: _texts(result, len(frames), path, record, features, where) for path in (*record.instructions, *record.targets)
    }
    return Episode(
        action=result["action"].astype(np.float32),
        proprio=result["proprio"].astype(np.float32),
        instructions=tuple(texts[path] for path in record.instructions),
        targets=tuple(texts[path] for path in record.targets),
        spans={name: table[frames] for name, table in spans.items()},
        vectors=_vectors(result, len(frames), record, features, where),
    )


def decode_trajectory(
    example: Example, *, record: DatasetRecord, features: Mapping[str, FeatureSpec], index: int, where: str
) -> tuple[Trajectory, int]:
    """The record's keys as a `Trajectory` and its number of steps. Arrays may be read-only views of the payload."""
    paths = dict.fromkeys([*record.keys, *record.instructions, *record.targets])
    if record.vector_spec(features) is not None:
        paths[record.sentence_vector] = None
    specs = [spec for path in paths if (spec := record.find(features, path)) is not None]  # `validate` has found them all
    stepwise = [spec for spec in specs if spec.in_steps == (record.entries == "episodes")]
    leaves = {spec.path: decode_leaf(example, spec, where) for spec in stepwise}
    num_steps = _num_steps(leaves, example, record, features, where)
    trajectory: Trajectory = {}
    for path, array in leaves.items():
        _put(trajectory, _names(features[path]), array)
    outside = dict.fromkeys([*record.metadata, *(spec.path for spec in specs if spec.path not in leaves)])
    for path in outside:
        value = decode_leaf(example, features[path], where)
        if len(value) != 1:
            raise WorldError(f"{where}, key {path!r}: holds {len(value)} values, expected one an episode")
        _put(trajectory, ("traj_metadata", *features[path].names), np.repeat(value, num_steps, axis=0))
    trajectory["_len"] = np.full(num_steps, num_steps, np.int64)
    trajectory["_traj_index"] = np.full(num_steps, index, np.int64)
    trajectory["_frame_index"] = np.arange(num_steps)
    return trajectory, num_steps


def _num_steps(
    leaves: Mapping[str, np.ndarray], example: Example, record: DatasetRecord, features: Mapping[str, FeatureSpec], where: str
) -> int:
    counts = {path: len(array) for path, array in leaves.items()}
    if record.entries == "examples":
        counts["an example"] = 1
    elif not counts:
        paths = [record.full_path(key.path) for key in record.images.values()]
        counts = {path: len(_places(example, features[path])[0]) for path in paths}
    if len(set(counts.values())) > 1:
        raise WorldError(f"{where}: its keys have different numbers of steps: {counts}")
    return next(iter(counts.values()), 0)


def _names(spec: FeatureSpec) -> tuple[str, ...]:
    """Where a leaf is in the trajectory."""
    return spec.names[1:] if spec.in_steps else spec.names


def _put(tree: dict[str, Any], names: tuple[str, ...], value: Any) -> None:
    for name in names[:-1]:
        tree = tree.setdefault(name, {})
    tree[names[-1]] = value


def _spans(example: Example, spec: FeatureSpec, num_steps: int, payload: memoryview, offset: int, where: str) -> np.ndarray:
    """[T, 2]: where each step's pixels lie in the file, in whatever encoding (`rtx.data.pixels`)."""
    offsets, lengths = _places(example, spec)
    if len(offsets) != num_steps:
        raise WorldError(f"{where}, key {spec.path!r}: {len(offsets)} images for {num_steps} steps")
    if spec.kind == "image":
        _check_starts(offsets, lengths, spec.path, payload, offset, where)
    return np.stack([offsets, lengths], -1)


def _places(example: Example, spec: FeatureSpec) -> tuple[np.ndarray, np.ndarray]:
    """Offset and length of each step's pixels."""
    if spec.kind == "image" or spec.encoding in ("bytes", "zlib"):
        return example.spans(spec.path)
    return example.number_spans(spec.path, spec.size)


def _check_starts(offsets: np.ndarray, lengths: np.ndarray, key: str, payload: memoryview, offset: int, where: str) -> None:
    """Every image must start as a JPEG or PNG does: a wrong key or a raw array is found here, not in training."""
    there = offsets[lengths >= 2] - offset
    data = np.frombuffer(payload, np.uint8)
    magic = data[there].astype(np.int64) << 8 | data[there + 1]
    wrong = np.flatnonzero((magic != _JPEG) & (magic != _PNG))
    if len(wrong) or np.any(lengths == 1):
        step = int(np.flatnonzero(lengths >= 2)[wrong[0]] if len(wrong) else np.flatnonzero(lengths == 1)[0])
        raise WorldError(f"{where}, key {key!r}, step {step}, byte {offsets[step]}: neither JPEG nor PNG")


def _check_pictures(spec: FeatureSpec, table: np.ndarray, payload: memoryview, offset: int, where: str) -> None:
    pixels = pixel_format(spec)
    assert pixels is not None  # `validate` has made sure
    for step, (start, length) in enumerate(table.tolist()):
        try:
            if length:
                pixels.check(payload[start - offset :][:length], any_size=True)
        except WorldError as error:
            raise WorldError(f"{where}, key {spec.path!r}, step {step}, byte {start}: {error}") from error


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


def _nothing(layout: Layout, num_steps: int) -> Trajectory:
    return {
        "action": np.zeros((num_steps, layout.action.width), np.float32),
        "proprio": np.zeros((num_steps, layout.proprio_width), np.float32),
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


def _texts(
    result: Trajectory, num_steps: int, path: str, record: DatasetRecord, features: Mapping[str, FeatureSpec], where: str
) -> tuple[str, ...]:
    """The text of each kept step at `path`. Most episodes repeat one text, so each different value is decoded once."""
    if not num_steps:
        return ()
    spec = record.find(features, path)
    assert spec is not None
    stepwise = spec.in_steps or record.entries == "examples"
    value: Any = result
    for name in _names(spec) if stepwise else ("traj_metadata", *spec.names):
        value = value.get(name) if isinstance(value, dict) else None
    if value is None or len(value) != num_steps:
        raise UserError(f"record {record.name!r}: standardize did not keep {path!r} with {num_steps} steps")
    known: dict[Any, str] = {}
    texts = []
    for raw in value:
        key = _hashable(raw)
        if key not in known:
            known[key] = decode_text(raw, path, where)
        texts.append(known[key])
    return tuple(texts)


def _vectors(
    result: Trajectory, num_steps: int, record: DatasetRecord, features: Mapping[str, FeatureSpec], where: str
) -> np.ndarray | None:
    """The stored sentence vector of each kept step, if there are any."""
    spec = record.vector_spec(features)
    if spec is None:
        return None
    value: Any = result
    for name in _names(spec):
        value = value.get(name) if isinstance(value, dict) else None
    if not isinstance(value, np.ndarray) or len(value) != num_steps:
        raise UserError(f"record {record.name!r}: standardize did not keep {record.sentence_vector!r} with {num_steps} steps")
    vectors = value.astype(np.float32).reshape(num_steps, spec.size)
    check_finite(vectors, f"{where}, key {record.sentence_vector!r}")
    return vectors


def _hashable(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return tuple(map(_hashable, value)) if value.dtype == object else value.tobytes()
    return value
