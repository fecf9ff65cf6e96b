"""An episode in a data set's own keys, typed as its schema says: as `standardize` gets it, for replays and files."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np
from scipy.spatial.transform import Rotation

from rtx.data.features import STEPS, FeatureSpec
from rtx.data.oxe import OXE
from rtx.data.oxe.schemas import schema
from rtx.data.record import DatasetRecord, Trajectory
from tests.data.oxe.convention import Convention
from tests.data.oxe.conventions import CONVENTIONS
from tests.data.oxe.poses import Poses

TEXT = "push the {colour} cube beside the café"
"""Not ASCII, as some instructions are not."""


def native_values(name: str, convention: Convention, poses: Poses, text: str) -> dict[str, np.ndarray]:
    """Full path -> [T, ...] in steps, one value outside: what the convention writes, the flags, and the instructions."""
    features, record = schema(name).features, OXE[name]
    told = {**_instructions(record, len(poses), text), **_sentence_vectors(record, len(poses), text)}
    values: dict[str, Any] = {**_flags(poses), **told, **convention.native(poses)}
    typed = {}
    for path, value in values.items():
        spec = record.find(features, path)
        if spec is not None:  # not every set has every flag
            typed[spec.path] = _typed(value, spec, len(poses))
        else:
            assert path in _flags(poses), f"the convention of {name} writes {path!r}, which its schema lacks"
    return typed


def trajectory_of(record: DatasetRecord, values: Mapping[str, np.ndarray]) -> Trajectory:
    """dlimp's form, with the record's keys and nothing else. Raises KeyError for a key that the convention leaves out."""
    features = schema(record.name).features
    num_steps = len(next(value for path, value in values.items() if path.startswith(f"{STEPS}/")))
    trajectory: Trajectory = {
        "_len": np.full(num_steps, num_steps, np.int64),
        "_traj_index": np.zeros(num_steps, np.int64),
        "_frame_index": np.arange(num_steps),
    }
    vectors = (record.sentence_vector,) if record.sentence_vector else ()
    for path in (*record.keys, *record.instructions, *vectors, *record.metadata):
        spec = record.find(features, path)
        assert spec is not None, f"{record.name}: its schema lacks {path!r}"
        value = values[spec.path]
        if spec.in_steps:
            _put(trajectory, spec.names[1:], value)
        else:
            _put(trajectory, ("traj_metadata", *spec.names), np.repeat(value[None], num_steps, axis=0))
    return trajectory


def _flags(poses: Poses) -> dict[str, np.ndarray]:
    return {
        "is_first": np.arange(len(poses)) == 0,
        "is_last": poses.is_last,
        "is_terminal": poses.is_last,
        "reward": poses.is_last.astype(float),
        "discount": np.ones(len(poses)),
    }


def _instructions(record: DatasetRecord, num_steps: int, text: str) -> dict[str, Any]:
    """The text under every instruction key; integers spell it."""
    values: dict[str, Any] = {}
    for path in record.instructions:
        spec = record.find(schema(record.name).features, path)
        assert spec is not None, f"{record.name}: its schema lacks {path!r}"
        value: Any = text.encode()
        if spec.dtype != "string":
            value = np.zeros(spec.shape, np.int64)
            value[: len(text)] = [ord(letter) for letter in text]
        values[path] = [value] * num_steps if spec.in_steps else value
    return values


def sentence_vector(text: str, width: int) -> np.ndarray:
    """float32 [width] of length 1, another one for every text."""
    drawn = np.random.default_rng(zlib.crc32(text.encode())).normal(size=width)
    return (drawn / np.linalg.norm(drawn)).astype(np.float32)


def _sentence_vectors(record: DatasetRecord, num_steps: int, text: str) -> dict[str, Any]:
    if not record.sentence_vector:
        return {}
    spec = schema(record.name).features[f"{STEPS}/{record.sentence_vector}"]
    assert spec.shape[0] is not None
    return {record.sentence_vector: np.tile(sentence_vector(text, spec.shape[0]), (num_steps, 1))}


def _typed(value: Any, spec: FeatureSpec, num_steps: int) -> np.ndarray:
    """As the file holds it: the declared type and shape, stacked over steps."""
    expected = (num_steps, *spec.shape) if spec.in_steps else spec.shape
    if spec.dtype == "string":
        array = np.empty(expected[: 1 if spec.in_steps else 0], object)
        array[...] = value
    else:
        array = np.asarray(value)
        array = np.round(array) if spec.dtype.startswith(("int", "uint")) else array
        if spec.dtype == "float64":
            array = array.astype(np.float32)  # a tf.train.Example has no other floats
        array = array.astype(spec.dtype)
        if array.shape == (*expected, 1):
            array = array[..., 0]
    assert array.shape == expected, f"{spec}: the convention wrote {array.shape}, expected {expected}"
    return array


def _put(tree: dict[str, Any], names: tuple[str, ...], value: Any) -> None:
    for name in names[:-1]:
        tree = tree.setdefault(name, {})
    tree[names[-1]] = value


def episode(name: str, num_steps: int = 31, seed: int = 3, **choices: str) -> tuple[Poses, dict[str, np.ndarray]]:
    """Poses and native keys by the convention of these choices, else by the first of the set."""
    known = CONVENTIONS[name]
    convention = next((c for c in known if choices and c.choices == choices), known[0])
    poses = convention.poses(num_steps, seed)
    return poses, native_values(name, convention, poses, TEXT)


def standardized(name: str, values: Mapping[str, np.ndarray], **choices: str) -> Trajectory:
    record = OXE[name].choose(choices)
    assert record.standardize is not None
    return record.standardize(trajectory_of(record, values), **record.options())


def rotation_of(rot6d: np.ndarray) -> Rotation:
    """Rotation of [n, 6]: two columns, the third is their cross product."""
    first, second = rot6d[:, :3], rot6d[:, 3:]
    return Rotation.from_matrix(np.stack([first, second, np.cross(first, second)], -1))


def angle(one: Rotation, other: Rotation) -> float:
    """The largest between them, radians."""
    return float((one * other.inv()).magnitude().max())
