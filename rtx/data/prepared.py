"""A prepared data set, read side: memory-mapped columns, and where each image lies inside the original TFRecords.

    with PreparedSet.open(folder): set.split("train").action[s]                     row s of the step table
                                   set.split("train").image("primary")              shard, offset, length per step

Opening costs a few files and no data. Layout and writing: `rtx.data.merge`.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32, Int32, Int64

from rtx.data.features import open_source
from rtx.data.pixels import PICTURE, PixelFormat
from rtx.data.record import DatasetRecord, depth_column
from rtx.data.storage import Location, location, stats
from rtx.embodiment import Embodiment, Layout
from rtx.errors import UserError, WorldError, unknown_name
from rtx.files import read_json
from rtx.images import ChannelOrder
from rtx.spec import Statistics
from rtx.typed_json import from_json

FORMAT = 5
MANIFEST = "manifest.json"
LANGUAGES = "languages.json"
SENTENCES = "sentences.npy"


@dataclass(frozen=True, kw_only=True)
class ImageIndex:
    """Where each step's encoded pixels lie: `length` bytes at `offset` of `PreparedSplit.shards[shard]`; length 0 = none.

    `channel_order` is of colour, `metres_per_unit` of depth.
    """

    shard: Int32[np.ndarray, " s"]
    offset: Int64[np.ndarray, " s"]
    length: Int32[np.ndarray, " s"]
    channel_order: ChannelOrder
    pixels: PixelFormat = PICTURE
    metres_per_unit: float = 1.0


@dataclass(frozen=True, kw_only=True)
class PreparedSplit:
    """Columns over the steps of all episodes, one after another; episode e is rows `episode_start[e]:episode_start[e + 1]`.

    All arrays are read-only memory maps. Pickles as its folder, not its contents.
    """

    name: str
    folder: Path
    shards: tuple[Location, ...]
    images: Mapping[str, Mapping[str, Any]]
    num_episodes: int
    num_steps: int
    depths: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    @functools.cached_property
    def episode_start(self) -> Int64[np.ndarray, " e"]:
        return self._column("episode_start")

    @functools.cached_property
    def action(self) -> Float32[np.ndarray, "s a"]:
        """In the set's layout, physical units."""
        return self._column("action")

    @functools.cached_property
    def proprio(self) -> Float32[np.ndarray, "s p"]:
        """In the set's layout, physical units."""
        return self._column("proprio")

    @functools.cached_property
    def language_id(self) -> Int32[np.ndarray, "s l"]:
        """Into `PreparedSet.languages`, one column per instruction key of the record."""
        return self._column("language_id")

    @functools.cached_property
    def target_id(self) -> Int32[np.ndarray, "s m"]:
        """Into `PreparedSet.languages`, one column per key of `PreparedSet.targets`; only of sets that have some."""
        return self._column("target_id")

    def image(self, role: str) -> ImageIndex:
        """Raises UserError for a camera the set does not have."""
        if role not in self.images:
            raise unknown_name("camera role", role, self.images)
        return self._index(role, self.images[role])

    def depth(self, role: str) -> ImageIndex:
        """Raises UserError for a camera of which the set has no depth."""
        if role not in self.depths:
            raise unknown_name("depth camera role", role, self.depths)
        return self._index(depth_column(role), self.depths[role])

    def _index(self, column: str, entry: Mapping[str, Any]) -> ImageIndex:
        return ImageIndex(
            shard=self._column("shard"),
            offset=self._column(f"{column}_offset"),
            length=self._column(f"{column}_length"),
            channel_order=entry.get("channel_order", "rgb"),
            pixels=PixelFormat.from_json(entry) if "encoding" in entry else PICTURE,
            metres_per_unit=entry.get("metres_per_unit", 1.0),
        )

    def __getstate__(self) -> dict[str, Any]:
        """Without the mapped columns: a pickled memory map would carry all its data."""
        return {name: self.__dict__[name] for name in self.__dataclass_fields__}

    def _column(self, name: str) -> np.ndarray:
        path = self.folder / f"{name}.npy"
        try:
            return np.load(path, mmap_mode="r" if self.num_steps or name == "episode_start" else None)
        except FileNotFoundError as error:
            raise WorldError(f"{path} is missing from the prepared set; prepare it again") from error
        except ValueError as error:
            raise WorldError(f"{path} is damaged ({error}); prepare it again with resume=False") from error


@dataclass(frozen=True, kw_only=True)
class PreparedSet:
    """One prepared data set. `counts` says per source split what was left out and why."""

    path: Path
    name: str
    version: str
    source: Location  # the TFDS version folder its images are in
    fingerprint: str  # of the record it was prepared with
    embodiment: Embodiment
    statistics: Statistics  # of the train split
    images: Mapping[str, Mapping[str, Any]]  # role -> {"path", "channel_order", ...}, how they are stored: `rtx.data.pixels`
    layout: Layout
    choices: Mapping[str, str]  # switches of the record that were set
    unsettled: Mapping[str, str]  # switch -> question and the default that was taken
    counts: Mapping[str, Mapping[str, Any]]
    splits: Mapping[str, Mapping[str, Any]]
    shards: tuple[Mapping[str, Any], ...]
    targets: tuple[str, ...] = ()  # keys of the texts to answer; empty for sets without questions
    depths: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)  # role -> {"path", "metres_per_unit", ...}
    sentence_counts: Mapping[str, Any] | None = None  # "width", "missing", "clashes", ...; None: no sentence vectors

    @classmethod
    def open(cls, path: Path, record: DatasetRecord | None = None, *, source: str | Location | None = None) -> PreparedSet:
        """Opens the folder `prepare` wrote. `record`: refuse data prepared with another version of it.

        `source`: where the original shards are now, if they moved (TFDS version folder, data set folder or root).
        Raises UserError if there is no prepared set, if it is unfinished, or made with another record.
        """
        path = Path(path).expanduser().absolute()
        manifest = _manifest(path)
        fingerprint = manifest["request"]["fingerprint"]
        if record is not None and record.fingerprint() != fingerprint:
            raise UserError(
                f"{path} was prepared with another version of the record {record.name!r} ({fingerprint}, now "
                f"{record.fingerprint()}); run `rtx data prepare` again"
            )
        directory = open_source(source, manifest["name"]).directory if source else location(manifest["source"])
        return cls(
            path=path,
            name=manifest["name"],
            version=manifest["version"],
            source=directory,
            fingerprint=fingerprint,
            embodiment=from_json(Embodiment, manifest["embodiment"], "embodiment"),
            statistics=from_json(Statistics, manifest["statistics"], "statistics"),
            images=manifest["images"],
            layout=from_json(Layout, manifest["layout"], "layout"),
            choices=manifest["choices"],
            unsettled=manifest["unsettled"],
            counts=manifest["counts"],
            splits=manifest["splits"],
            shards=tuple(manifest["shards"]),
            targets=tuple(manifest["targets"]),
            depths=manifest["depths"],
            sentence_counts=manifest["sentence_counts"],
        )

    @property
    def roles(self) -> tuple[str, ...]:
        return tuple(self.images)

    @property
    def is_robot(self) -> bool:
        """Whether anything is known of its actions; of web data nothing is (`NO_ACTION`)."""
        return any(self.layout.action_mask)

    @functools.cached_property
    def languages(self) -> tuple[str, ...]:
        """Every instruction and every text to answer once; "" is no instruction."""
        return tuple(read_json(self.path / LANGUAGES))

    @functools.cached_property
    def sentences(self) -> Float32[np.ndarray, "n d"] | None:
        """The stored sentence vector of each of `languages`, NaN where there is none; None for sets that store none."""
        if self.sentence_counts is None:
            return None
        try:
            return np.load(self.path / SENTENCES)
        except (FileNotFoundError, ValueError) as error:
            raise WorldError(f"{self.path / SENTENCES} is missing or damaged; prepare it again with resume=False") from error

    @functools.cached_property
    def _places(self) -> tuple[Location, ...]:
        """The shards, all of them there; looked at once, for in a bucket each is a request."""
        places = tuple(self.place(shard) for shard in self.shards)
        _check_shards(self, places)
        return places

    def place(self, shard: Mapping[str, Any]) -> Location:
        """The file that the places of pictures refer to: the original, or what it was unpacked to."""
        return self.path / shard["pack"]["file"] if "pack" in shard else self.source / shard["file"]

    def split(self, name: str) -> PreparedSplit:
        """Raises UserError for a split that is not there or whose shards are gone, WorldError if they have another size."""
        if name not in self.splits:
            raise unknown_name(f"split of {self.name}", name, self.splits)
        return PreparedSplit(
            name=name,
            folder=self.path / name,
            shards=self._places,
            images=self.images,
            depths=self.depths,
            num_episodes=self.splits[name]["num_episodes"],
            num_steps=self.splits[name]["num_steps"],
        )

    def __getstate__(self) -> dict[str, Any]:
        return {name: self.__dict__[name] for name in self.__dataclass_fields__}


def _manifest(path: Path) -> Any:
    if not (path / MANIFEST).is_file():
        if (path / "parts").is_dir():
            raise UserError(f"{path} was not prepared to the end; run `rtx data prepare` again, it carries on")
        raise UserError(f"{path} holds no prepared data set ({MANIFEST} is missing); make one with `rtx data prepare`")
    manifest = read_json(path / MANIFEST)
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        raise UserError(f"{path} was prepared by another version of rtx; run `rtx data prepare` again")
    return manifest


def _check_shards(prepared: PreparedSet, paths: tuple[Location, ...]) -> None:
    found = stats(paths)
    missing = [path for path, now in zip(paths, found, strict=True) if now is None]
    if missing:
        raise UserError(
            f"{prepared.name}: {len(missing)} of {len(paths)} shards are not at {prepared.source} any more, the first is "
            f"{missing[0].name}; prepared data reads its images from there. If the data set moved, run `rtx data prepare` with "
            "its new folder (that only notes the place), or open it with source=NEW FOLDER"
        )
    for path, now, shard in zip(paths, found, prepared.shards, strict=True):
        size = shard.get("pack", shard)["identity"]["size"]
        if now is not None and now.size != size:
            raise WorldError(
                f"{path} has {now.size} bytes, {size} when it was prepared: it was replaced; run `rtx data prepare` again"
            )
