"""Episodes of plain numpy and bytes -> an RLDS data set that every RLDS tool reads, written by tensorflow-datasets itself.

    OUT/<name>/<version>/   <name>-train.tfrecord-00000-of-00001   one record an episode, encoded pictures as they came
                            features.json, dataset_info.json       what the records hold
                            metadata.json                          what the caller wants to remember

The only module of the house that imports TensorFlow, and only inside functions. A process that renders must never import
TensorFlow (software GL and its LLVM crash each other): write in a process of its own.
"""

from __future__ import annotations

import contextlib
import errno
import io
import os
import re
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from rtx.errors import UserError
from rtx.files import disk_errors

_MAGIC = {"jpeg": b"\xff\xd8\xff", "png": b"\x89PNG\r\n\x1a\n"}
_DISK_TROUBLE = {os.strerror(n): n for n in (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES)}
# tfds cuts a split into a power of two of shards, each at least this large: enough of them for parallel preparing.
_MIN_SHARD_BYTES = 2 << 20


@dataclass(frozen=True, kw_only=True)
class TensorFeature:
    """Numbers of one shape and dtype; `shape=()` for a single one."""

    shape: tuple[int, ...] = ()
    dtype: str = "float32"


@dataclass(frozen=True, kw_only=True)
class TextFeature:
    """A str, stored as UTF-8."""


@dataclass(frozen=True, kw_only=True)
class ImageFeature:
    """An encoded picture of `height` x `width` x 3; the caller's bytes are stored unchanged."""

    height: int
    width: int
    encoding: Literal["jpeg", "png"] = "jpeg"


Feature = TensorFeature | TextFeature | ImageFeature
FeatureTree = Mapping[str, "Feature | FeatureTree"]
Tree = Mapping[str, Any]  # the same keys with numpy arrays, numbers, str or encoded bytes as leaves


@dataclass(frozen=True, kw_only=True)
class RldsFeatures:
    """What every step and every episode of a set holds. RLDS wants is_first, is_last and is_terminal in the steps."""

    steps: FeatureTree
    episode: FeatureTree

    def __post_init__(self) -> None:
        missing = {"is_first", "is_last", "is_terminal", "observation", "action"} - set(self.steps)
        if missing:
            raise UserError(f"RLDS steps lack {', '.join(sorted(missing))}; they hold {', '.join(sorted(self.steps))}")


@dataclass(frozen=True, kw_only=True)
class RldsEpisode:
    """One episode; `key` is its name, unique within the split (it also places the episode in the shards)."""

    key: str
    steps: tuple[Tree, ...]
    metadata: Tree


def write_rlds(
    out: Path,
    *,
    name: str,
    features: RldsFeatures,
    splits: Mapping[str, Callable[[], Iterable[RldsEpisode]]],
    version: str = "1.0.0",
    description: str = "",
    metadata: Mapping[str, Any] | None = None,
    on_episode: Callable[[], object] = lambda: None,
) -> Path:
    """Writes `OUT/<name>/<version>` and returns it. The folder appears whole or not at all, whenever the process dies.

    Each split's function gives its episodes one by one; tensorflow-datasets orders them by a hash of the keys, so the same
    episodes give the same bytes in whatever order they come. It gathers a split in memory up to 1 GB and in files beyond
    that: the process stays below 2 GB plus an episode, and needs the split's size on disk twice. About 400 pictures a second.
    `metadata` is JSON data kept beside the records. `on_episode` is called after each episode; standard output is muted then.

    Raises UserError for an episode that does not fit `features`, a version that exists or TensorFlow missing;
    WorldError for a full or read-only disk.
    """
    target = out / name / version
    _check_request(out, target, name, version, splits)
    part = out / f".{name}-{version}.part"
    with disk_errors(target), _tensorflow_disk_errors():
        shutil.rmtree(part, ignore_errors=True)  # an earlier run died here
        part.mkdir(parents=True)
        try:
            _build(part, name, version, features, splits, description, dict(metadata or {}), on_episode)
            _sync(part / name / version)
            target.parent.mkdir(exist_ok=True)
            os.rename(part / name / version, target)
        finally:
            shutil.rmtree(part, ignore_errors=True)
    return target


def _check_request(out: Path, target: Path, name: str, version: str, splits: Mapping[str, Any]) -> None:
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name):
        raise UserError(f"data set name {name!r}: expected lower-case letters, digits and underscores, a letter first")
    if not re.fullmatch(r"\d+\.\d+\.\d+", version):
        raise UserError(f"data set version {version!r}: expected three numbers like 1.0.0")
    if not splits:
        raise UserError(f"data set {name!r}: no split to write")
    if out.exists() and not out.is_dir():
        raise UserError(f"{out} is a file; expected a folder to write data sets into")
    if target.exists():
        raise UserError(f"{target} exists already; delete it, or choose another folder or version")


def _build(
    part: Path, name: str, version: str, features: RldsFeatures, splits: Mapping[str, Callable[[], Iterable[RldsEpisode]]],
    description: str, metadata: dict[str, Any], on_episode: Callable[[], object],
) -> None:  # fmt: skip
    tfds = _import_tfds()

    class Builder(tfds.core.GeneratorBasedBuilder, skip_registration=True):  # type: ignore[name-defined,call-arg,misc]
        VERSION = tfds.core.Version(version)
        pkg_dir_path = part  # tfds looks for a README and a CITATIONS file beside the builder's code

        def _info(self) -> Any:
            return tfds.core.DatasetInfo(
                builder=self,
                description=description,
                features=_tfds_features(tfds, features),
                metadata=tfds.core.MetadataDict(metadata),
            )

        def _split_generators(self, dl_manager: Any) -> dict[str, Any]:
            return {split: self._generate_examples(episodes) for split, episodes in splits.items()}

        def _generate_examples(self, episodes: Callable[[], Iterable[RldsEpisode]]) -> Iterator[tuple[str, Any]]:
            episode = None
            for episode in episodes():
                yield episode.key, _encoded(episode, features)
                on_episode()
            if episode is None:
                raise UserError(f"data set {name!r}: a split without episodes; leave the split out")

        def _example_writer(self) -> Any:
            return _SortedKeys(super()._example_writer())

    Builder.name = name
    config = tfds.download.DownloadConfig(min_shard_size=_MIN_SHARD_BYTES, try_download_gcs=False)
    with contextlib.redirect_stdout(io.StringIO()):  # tfds prints two lines about downloading, which it does not do here
        builder = Builder(data_dir=os.fspath(part))
        builder.download_and_prepare(download_config=config, download_dir=os.fspath(part / "downloads"))


@dataclass(frozen=True)
class _SortedKeys:
    """An example writer of tensorflow-datasets that puts the keys of each record in order: protobuf's maps have none, so the
    same episodes would give other bytes in every process (seen 2026-11, protobuf 7).
    """

    plain: Any

    def write(self, path: Any, examples: Iterable[tuple[Any, bytes]]) -> Any:
        import tensorflow as tf

        parse = tf.train.Example.FromString
        return self.plain.write(path, ((key, parse(data).SerializeToString(deterministic=True)) for key, data in examples))


def _import_tfds() -> Any:
    # Before the import: TensorFlow announces oneDNN and the CPU's features on stderr, through the progress bar.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")
    if "mujoco" in sys.modules:
        raise RuntimeError("a process that renders must not import TensorFlow: they crash each other; write in another process")
    try:
        import tensorflow as tf
        import tensorflow_datasets as tfds
    except ImportError as error:
        raise UserError(f"writing RLDS needs TensorFlow ({error}); install it: pip install 'rtx-robotics[write]'") from error
    tf.config.set_visible_devices([], "GPU")  # for users with the full package: the accelerator belongs to jax
    tfds.disable_progress_bar()
    return tfds


def _tfds_features(tfds: Any, features: RldsFeatures) -> Any:
    return tfds.features.FeaturesDict(
        {
            "steps": tfds.features.Dataset(_tfds_tree(tfds, features.steps)),
            "episode_metadata": tfds.features.FeaturesDict(_tfds_tree(tfds, features.episode)),
        }
    )


def _tfds_tree(tfds: Any, tree: FeatureTree) -> dict[str, Any]:
    return {key: _tfds_feature(tfds, node) for key, node in tree.items()}


def _tfds_feature(tfds: Any, node: Feature | FeatureTree) -> Any:
    if isinstance(node, Mapping):
        return tfds.features.FeaturesDict(_tfds_tree(tfds, node))
    if isinstance(node, ImageFeature):
        return tfds.features.Image(shape=(node.height, node.width, 3), dtype=np.uint8, encoding_format=node.encoding)
    if isinstance(node, TextFeature):
        return tfds.features.Text()
    if node.shape == ():
        return tfds.features.Scalar(dtype=np.dtype(node.dtype))
    return tfds.features.Tensor(shape=node.shape, dtype=np.dtype(node.dtype))


def _encoded(episode: RldsEpisode, features: RldsFeatures) -> dict[str, Any]:
    """The episode as tensorflow-datasets wants it, every leaf checked: its own errors name no key and print whole episodes."""
    if not episode.steps:
        raise UserError(f"episode {episode.key!r} has no steps")
    return {
        "steps": [_tree(step, features.steps, f"episode {episode.key!r} step {i}") for i, step in enumerate(episode.steps)],
        "episode_metadata": _tree(episode.metadata, features.episode, f"episode {episode.key!r} metadata"),
    }


def _tree(value: Any, tree: FeatureTree, where: str) -> dict[str, Any]:
    if not isinstance(value, Mapping) or set(value) != set(tree):
        got = sorted(value) if isinstance(value, Mapping) else type(value).__name__
        raise UserError(f"{where}: got {got}, expected the keys {sorted(tree)}")
    return {key: _node(value[key], node, f"{where}, {key}") for key, node in tree.items()}


def _node(value: Any, node: Feature | FeatureTree, where: str) -> Any:
    return _tree(value, node, where) if isinstance(node, Mapping) else _leaf(value, node, where)


def _leaf(value: Any, feature: Feature, where: str) -> Any:
    if isinstance(feature, ImageFeature):
        return _image(value, feature, where)
    if isinstance(feature, TextFeature):
        if not isinstance(value, str):
            raise UserError(f"{where}: got {type(value).__name__}, expected text")
        return value
    array = np.asarray(value)
    if array.shape != feature.shape or not np.can_cast(array.dtype, feature.dtype, "same_kind"):
        raise UserError(f"{where}: got {array.dtype}{list(array.shape)}, expected {feature.dtype}{list(feature.shape)}")
    if array.dtype.kind == "f" and not np.all(np.isfinite(array)):
        raise UserError(f"{where}: holds a non-finite value: {array}")
    return array.astype(feature.dtype)


def _image(data: Any, feature: ImageFeature, where: str) -> io.BytesIO:
    from PIL import Image

    if not isinstance(data, bytes) or not data.startswith(_MAGIC[feature.encoding]):
        got = data[:4].hex() if isinstance(data, bytes) else type(data).__name__
        raise UserError(f"{where}: got {got}, expected the bytes of a {feature.encoding.upper()} picture")
    with Image.open(io.BytesIO(data)) as picture:  # reads the header only
        size = (picture.height, picture.width)
    if size != (feature.height, feature.width):
        raise UserError(f"{where}: got a picture of {size[0]} x {size[1]}, expected {feature.height} x {feature.width}")
    return io.BytesIO(data)  # tfds stores what a file object holds, byte for byte


def _sync(folder: Path) -> None:
    """Bytes on disk before the rename, so that a power cut cannot leave a whole-looking folder of empty files."""
    for path in (*folder.iterdir(), folder):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


@contextlib.contextmanager
def _tensorflow_disk_errors() -> Iterator[None]:
    """TensorFlow reports the disk's refusals as errors of its own, recognisable by their text only: makes OSErrors of them."""
    try:
        yield
    except Exception as error:
        number = _disk_errno(error)
        if number is None:
            raise
        raise OSError(number, os.strerror(number)) from error


def _disk_errno(error: BaseException | None) -> int | None:
    while error is not None:  # tfds wraps them in a RuntimeError with a prefix
        if type(error).__module__.startswith("tensorflow"):
            return next((number for text, number in _DISK_TROUBLE.items() if text in str(error)), None)
        error = error.__cause__
    return None
