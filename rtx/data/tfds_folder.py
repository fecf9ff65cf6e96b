"""A TFDS folder of single examples, written without TensorFlow: pictures as they came, and texts.

    <folder>/features.json, dataset_info.json, <name>-<split>.tfrecord-00000-of-00003, ...

The writing side of `rtx.data.example` and `rtx.data.tfrecord`, as small as these two kinds of value allow. Sources: the
protocol buffers encoding guide, tensorflow/core/example/feature.proto, tensorflow/core/lib/io/record_writer.h, and what
tensorflow-datasets 4.9 writes itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from rtx.data.protobuf import field
from rtx.data.tfrecord import frame
from rtx.files import atomic, write_json

TEMPLATE = "{DATASET}-{SPLIT}.{FILEFORMAT}-{SHARD_X_OF_Y}"
_FEATURES = "tensorflow_datasets.core.features"
_LEAVES: Mapping[str, Any] = {
    "text": {"pythonClassName": f"{_FEATURES}.text_feature.Text", "text": {}},
    "image": {
        "pythonClassName": f"{_FEATURES}.image_feature.Image",
        "image": {"shape": {"dimensions": ["-1", "-1", "3"]}, "dtype": "uint8"},  # JPEG or PNG, of any size
    },
}


@dataclass(frozen=True, kw_only=True)
class ShardCount:
    """What one shard holds."""

    num_examples: int
    num_bytes: int


def shard_path(folder: Path, name: str, split: str, index: int, count: int) -> Path:
    return folder / f"{name}-{split}.tfrecord-{index:05d}-of-{count:05d}"


def write_shard(path: Path, examples: Iterable[Mapping[str, bytes]]) -> ShardCount:
    """One TFRecord file, whole or absent; one example in memory at a time."""
    num_examples = num_bytes = 0
    with atomic(path) as file:
        for example in examples:
            payload = encode_example(example)
            file.writelines(frame(payload))
            num_examples, num_bytes = num_examples + 1, num_bytes + len(payload)
    return ShardCount(num_examples=num_examples, num_bytes=num_bytes)


def write_description(
    folder: Path,
    *,
    name: str,
    version: str,
    features: Mapping[str, Literal["image", "text"]],
    splits: Mapping[str, Sequence[ShardCount]],
    description: str,
) -> None:
    """features.json and dataset_info.json: with them the shards are a data set for tensorflow-datasets and for us."""
    leaves = {key: _LEAVES[kind] for key, kind in features.items()}
    tree = {"pythonClassName": f"{_FEATURES}.features_dict.FeaturesDict", "featuresDict": {"features": leaves}}
    info = {
        "description": description,
        "fileFormat": "tfrecord",
        "name": name,
        "version": version,
        "releaseNotes": {version: "Brought in by rtx."},
        "splits": [
            {
                "name": split,
                "filepathTemplate": TEMPLATE,
                "shardLengths": [str(shard.num_examples) for shard in shards],
                "numBytes": str(sum(shard.num_bytes for shard in shards)),
            }
            for split, shards in splits.items()
        ],
    }
    write_json(folder / "features.json", tree)
    write_json(folder / "dataset_info.json", info)


def encode_example(values: Mapping[str, bytes]) -> bytes:
    """A tf.train.Example in which each key holds one byte string."""
    entries = (field(1, field(1, key.encode()) + field(2, field(1, field(1, value)))) for key, value in sorted(values.items()))
    return field(1, b"".join(entries))
