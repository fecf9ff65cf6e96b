"""What the mock data sets hold: a few episodes a split, in native keys where a convention gives them, filler elsewhere.

Pure numpy, a function of names and numbers alone: the process that writes the files and the tests that read them ask the
same functions. A picture is two flat halves whose colours say set, key, split, episode and step; flat colours survive JPEG.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from rtx.data.features import FeatureSpec
from rtx.data.oxe import OXE
from rtx.data.oxe.schemas import Schema, schema
from tests.data.oxe.convention import Convention
from tests.data.oxe.conventions import CONVENTIONS
from tests.data.oxe.episodes import TEXT, native_values
from tests.data.oxe.poses import Poses, make_poses

TRAIN_LENGTHS, OTHER_LENGTHS, FILTERED_LENGTH = (3, 6, 4), (4, 3), 3
NUM_SHARDS = 2
NUM_COLOURS = 8
DEPTH_SCALE = {"uint8": 1.0, "uint16": 10.0, "int32": 10.0, "float32": 0.01}
"""Of what is no colour picture: its stored number is the red of the colours times this."""


@dataclass(frozen=True, kw_only=True)
class MockEpisode:
    """`values`: full path -> [T, ...] (one value outside the steps); the others are filler. `kept`: by the record's filter."""

    name: str
    split: str
    number: int
    num_steps: int
    text: str
    values: Mapping[str, np.ndarray]
    kept: bool = True


def splits_of(name: str) -> tuple[str, ...]:
    return tuple(schema(name).splits) or ("train",)


def mock_episodes(name: str, split: str) -> Iterator[MockEpisode]:
    """In the order of the files. An episode that the record's filter drops comes last in "train"."""
    conventions = CONVENTIONS.get(name)
    lengths = TRAIN_LENGTHS if split == "train" else OTHER_LENGTHS
    for number, num_steps in enumerate(lengths):
        yield _episode(name, split, number, num_steps, conventions[0] if conventions else None)
    if split == "train" and conventions and conventions[0].filtered:
        dropped = _episode(name, split, len(lengths), FILTERED_LENGTH, conventions[0])
        extra = {path: np.asarray(value) for path, value in conventions[0].filtered.items()}
        yield MockEpisode(**{**vars(dropped), "values": {**dropped.values, **extra}, "kept": False})


def _episode(name: str, split: str, number: int, num_steps: int, convention: Convention | None) -> MockEpisode:
    text = TEXT.format(colour=f"{split} {number}")
    seed = zlib.crc32(f"{name} {split} {number}".encode())
    poses: Poses = convention.poses(num_steps, seed) if convention else make_poses(num_steps, seed)
    bare = convention or Convention(native=lambda poses: {})
    values = native_values(name, bare, poses, text)
    return MockEpisode(name=name, split=split, number=number, num_steps=num_steps, text=text, values=values)


def colours(name: str, path: str, split: str, number: int, step: int) -> np.ndarray:
    """uint8 [2, 3] RGB of the upper and the lower half: the two halves differ, and so do red and blue in each."""
    rng = np.random.default_rng(zlib.crc32(f"{name} {path} {split} {number} {step}".encode()))
    levels = np.stack([rng.permutation(NUM_COLOURS)[:3] for _ in range(2)])
    if levels[0, 1] == levels[1, 1]:
        levels[1, 1] = (levels[1, 1] + 4) % NUM_COLOURS
    return (20 + 30 * levels).astype(np.uint8)


def picture(episode: MockEpisode, spec: FeatureSpec, path: str, step: int) -> np.ndarray:
    """As the file stores it, [h, w, c] in the feature's type; channels in the order that the record claims."""
    height, width = (n or 64 for n in spec.shape[:2])
    upper, lower = colours(episode.name, path, episode.split, episode.number, step)
    image = np.empty((height, width, 3), np.uint8)
    image[: height // 2], image[height // 2 :] = upper, lower
    if any(key.path == path and key.channel_order == "bgr" for key in OXE[episode.name].images.values()):
        image = image[..., ::-1]
    if spec.shape[2:] == (3,):
        return np.ascontiguousarray(image)
    depth = image[..., :1] * DEPTH_SCALE[spec.dtype]
    return depth.astype(spec.dtype).reshape(height, width, *spec.shape[2:])


def filler(spec: FeatureSpec, episode: MockEpisode) -> Any:
    """A plausible value of a leaf nobody reads: of one step, or of the episode."""
    if spec.num_sequences:
        one = filler(_inside(spec), episode)
        return [one] * (spec.shape[0] or 2)
    shape = tuple(n or 2 for n in spec.shape)
    if spec.dtype == "string":
        text = f"{spec.path} of {episode.number}"
        return np.full(shape, text, object) if shape else text
    if spec.dtype.startswith("float"):
        return np.full(shape, 0.25, spec.dtype)
    return np.full(shape, 1, spec.dtype)


def _inside(spec: FeatureSpec) -> FeatureSpec:
    """One item of the outermost sequence."""
    return FeatureSpec(
        names=spec.names, kind=spec.kind, dtype=spec.dtype, shape=spec.shape[1:], encoding=spec.encoding,
        num_sequences=spec.num_sequences - 1,
    )  # fmt: skip


def native_tree(episode: MockEpisode, encode: Any) -> dict[str, Any]:
    """The whole episode as nested dictionaries, `steps` a list of them; `encode(picture, spec, path)` makes picture leaves."""
    known: Schema = schema(episode.name)
    record = OXE[episode.name]
    pixels = {key.path for key in (*record.images.values(), *record.depth.values())}
    outside: dict[str, Any] = {"episode_metadata": {}} if has_empty_metadata(known) else {}
    steps: list[dict[str, Any]] = [{} for _ in range(episode.num_steps)]
    for spec in known.features.values():
        value = episode.values.get(spec.path)
        if not spec.in_steps:
            _put(outside, spec.names, _plain(value) if value is not None else filler(spec, episode))
            continue
        path = "/".join(spec.names[1:])
        for t, step in enumerate(steps):
            if spec.kind == "image" or path in pixels:
                leaf = encode(picture(episode, spec, path, t), spec, path)
            else:
                leaf = _plain(value[t]) if value is not None else filler(spec, episode)
            _put(step, spec.names[1:], leaf)
    return {**outside, "steps": steps}


def has_empty_metadata(known: Schema) -> bool:
    """stanford_kuka_multimodal has a folder of metadata without anything in it."""
    is_empty = not any(path.startswith("episode_metadata/") for path in known.features)
    return is_empty and '"episode_metadata"' in json.dumps(known.tree)


def _plain(value: Any) -> Any:
    """A 0-d array or a number of numpy as it is; bytes as bytes."""
    return value.item() if isinstance(value, np.ndarray) and value.shape == () and value.dtype == object else value


def _put(tree: dict[str, Any], names: tuple[str, ...], value: Any) -> None:
    for name in names[:-1]:
        tree = tree.setdefault(name, {})
    tree[names[-1]] = value
