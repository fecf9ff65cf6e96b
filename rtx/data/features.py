"""What a TFDS directory says about itself: where its version folder is, and `features.json` as typed leaves.

    <root>/<name>[/<config>]/<version>/features.json, dataset_info.json, <name>-<split>.tfrecord-00000-of-00012, ...

A leaf under `steps/` is stored stacked: a number of shape [...] as one flat list over all steps, an image or string as one
byte string per step, bool as int64, all under the key `steps/a/b` (`rtx.data.leaves`). Splits and shards: `rtx.data.splits`.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from rtx.data.splits import Shard, file_format_of, read_splits
from rtx.data.storage import Location, Url, children, location
from rtx.errors import UserError, WorldError
from rtx.files import read_json

LeafKind = Literal["tensor", "image", "text", "other"]
STEPS = "steps"
_VERSION = re.compile(r"\d+\.\d+\.\d+")


@dataclass(frozen=True, kw_only=True)
class FeatureSpec:
    """One leaf. `names` is the way to it (a name may hold a slash itself); `shape` is per step, None where it varies.

    The first `num_sequences` dimensions of `shape` are sequences inside the step (inside the episode, for leaves outside the
    steps), the others a tensor's own. TFDS stores the two in different ways.
    """

    names: tuple[str, ...]
    kind: LeafKind
    dtype: str
    shape: tuple[int | None, ...]
    encoding: str  # "none", "zlib", "bytes"; of images "jpeg", "png", "" if not said
    num_sequences: int = 0

    @property
    def path(self) -> str:
        """The key in the Example."""
        return "/".join(self.names)

    @property
    def is_ragged(self) -> bool:
        return self.kind != "image" and None in self.shape

    @property
    def in_steps(self) -> bool:
        return self.names[0] == STEPS

    @property
    def tensor_shape(self) -> tuple[int | None, ...]:
        """Of one item of the innermost sequence."""
        return self.shape[self.num_sequences :]

    @property
    def size(self) -> int:
        """Numbers per step; only of leaves that are not ragged."""
        return math.prod(n or 0 for n in self.shape)

    def __str__(self) -> str:
        shape = ", ".join("?" if n is None else str(n) for n in self.shape)
        encoding = "" if self.encoding in ("none", "") else f" ({self.encoding})"
        return f"{self.path}: {self.kind if self.kind != 'tensor' else ''} {self.dtype}[{shape}]{encoding}".replace(":  ", ": ")


@dataclass(frozen=True, kw_only=True)
class Source:
    """One version of one data set on disk. `features` is keyed by `FeatureSpec.path`; `splits` holds shards in order."""

    directory: Location
    name: str
    version: str
    features: Mapping[str, FeatureSpec]
    splits: Mapping[str, tuple[Shard, ...]]
    file_format: str  # "tfrecord", "array_record"

    def num_episodes(self, split: str) -> int:
        return sum(shard.num_episodes for shard in self.splits[split])


def open_source(path: str | Location, name: str = "") -> Source:
    """Reads the two JSON files of `path`: a version folder, a data set folder (newest version), or a TFDS root holding `name`.

    Raises UserError if there is no such data set, WorldError if its files are damaged or of an unreadable kind.
    """
    directory = _version_dir(location(path), name)
    info = read_json(directory / "dataset_info.json")
    features = read_features(directory / "features.json")
    splits = read_splits(directory, info)
    return Source(
        directory=directory,
        name=str(info.get("name", directory.parent.name)),
        version=str(info.get("version", directory.name)),
        features=features,
        splits=splits,
        file_format=file_format_of(info),
    )


def read_features(path: Location) -> dict[str, FeatureSpec]:
    """The leaves of a TFDS `features.json`, keyed by path."""
    return features_of(read_json(path), where=str(path))


def features_of(tree: Any, *, where: str) -> dict[str, FeatureSpec]:
    """The leaves of a feature description as JSON. Raises WorldError if it is none."""
    try:
        leaves = {leaf.path: leaf for leaf in _leaves(_root(tree), (), ())}
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise WorldError(f"{where}: not a TFDS feature description ({error!r})") from error
    if not leaves:
        raise WorldError(f"{where}: a feature description without a single feature")
    return leaves


def _version_dir(path: Location, name: str) -> Location:
    """The version folder `path` means: itself, or the newest inside, or inside its only config (`mt_opt/rlds/1.0.0`)."""
    for base in [path, path / name] if name else [path]:
        if (base / "features.json").is_file():
            return base
        if found := _newest(base):
            return found
        configs = {d.name: version for d in children(base) if (version := _newest(d))} if base.name == name or not name else {}
        if len(configs) > 1:
            raise UserError(f"{base} holds several data sets: {', '.join(sorted(configs))}; pass one of these folders")
        if configs:
            return next(iter(configs.values()))
    if isinstance(path, Url) and path.text.startswith("http"):
        raise UserError(f"{path}: no features.json there; a web server lists no folders: pass <data set>/<version> itself")
    if not path.exists():
        raise UserError(f"source folder {path} does not exist; pass the TFDS folder, <root>/<data set>/<version>")
    inside = "a file" if path.is_file() else ", ".join(d.name for d in children(path)[:8])
    wanted = f" of {name!r}" if name else ""
    places = f"there, in <version>/ or in {name or '<data set>'}/<version>/"
    raise UserError(f"{path} holds no TFDS data set{wanted}: no features.json {places}; it holds {inside or 'nothing'}")


def _newest(base: Location) -> Location | None:
    """The highest version in a data set's folder."""
    versions = [d for d in children(base) if _VERSION.fullmatch(d.name) and (d / "features.json").is_file()]
    return max(versions, key=lambda d: tuple(int(n) for n in d.name.split(".")), default=None)


def _root(tree: Mapping[str, Any]) -> Mapping[str, Any]:
    """Older TFDS wraps the tree: {"type": ..., "content": tree or the tree as a string, "proto_cls": ...}."""
    if "content" not in tree:
        return tree
    content = tree["content"]
    return {"featuresDict": json.loads(content) if isinstance(content, str) else content}


def _leaves(node: Mapping[str, Any], names: tuple[str, ...], outer: tuple[int | None, ...]) -> Iterator[FeatureSpec]:
    """Depth first. `outer` collects the lengths of sequences nested inside a step."""
    if "featuresDict" in node:
        for name, child in node["featuresDict"].get("features", {}).items():
            yield from _leaves(child, (*names, name), outer)
    elif "sequence" in node:
        length = int(node["sequence"].get("length", -1))
        inside = outer if names == (STEPS,) else (*outer, None if length < 0 else length)
        yield from _leaves(node["sequence"]["feature"], names, inside)
    else:
        yield _leaf(node, names, outer)


def _leaf(node: Mapping[str, Any], names: tuple[str, ...], outer: tuple[int | None, ...]) -> FeatureSpec:
    kind: LeafKind = "other"
    dtype, shape, encoding = str(node.get("pythonClassName", "?")).rpartition(".")[2], outer, "none"
    if "tensor" in node:
        kind, dtype, encoding = "tensor", node["tensor"]["dtype"], node["tensor"].get("encoding", "none")
        shape = (*outer, *_shape(node["tensor"]))
    elif "image" in node:
        kind, dtype, encoding = "image", node["image"].get("dtype") or "uint8", node["image"].get("encodingFormat") or ""
        shape = (*outer, *_shape(node["image"]))
    elif "text" in node:
        kind, dtype = "text", "string"
    elif "classLabel" in node:
        kind, dtype = "tensor", "int64"
    return FeatureSpec(names=names, kind=kind, dtype=dtype, shape=shape, encoding=encoding, num_sequences=len(outer))


def _shape(node: Mapping[str, Any]) -> tuple[int | None, ...]:
    dimensions = [int(n) for n in node.get("shape", {}).get("dimensions", [])]
    return tuple(None if n < 0 else n for n in dimensions)
