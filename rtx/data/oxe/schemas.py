"""The feature structures of the 72 published Open X-Embodiment data sets, as TFDS serializes them: `schemas/<name>.json`.

Each file holds name, version, episodes per split and the `features.json` of the bucket copy. Records are checked against them
before any data is there, and test data is written from them. Source: the TFDS catalogue of the builders in
`tensorflow_datasets.robotics.rtx`, checked against an inventory of the stored files.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rtx.data.features import FeatureSpec, features_of
from rtx.errors import unknown_name
from rtx.files import read_json

_FOLDER = Path(__file__).parent / "schemas"


@dataclass(frozen=True, kw_only=True)
class Schema:
    """One published data set. `tree` is its features.json; `splits`: episodes per split."""

    name: str
    version: str
    splits: Mapping[str, int]
    tree: Any
    features: Mapping[str, FeatureSpec]


@functools.cache
def names() -> tuple[str, ...]:
    return tuple(sorted(path.stem for path in _FOLDER.glob("*.json")))


@functools.cache
def schema(name: str) -> Schema:
    """Raises UserError for a data set whose structure was never published."""
    if name not in names():
        raise unknown_name("published data set", name, names())
    path = _FOLDER / f"{name}.json"
    data = read_json(path)
    features = features_of(data["features"], where=str(path))
    return Schema(name=data["name"], version=data["version"], splits=data["splits"], tree=data["features"], features=features)
