"""Run in a process of its own (TensorFlow): writes mock TFDS directories of published data sets, schema for schema.

python -m tests.data.oxe.mock_rlds FOLDER NAME...     FOLDER/<name>/<version>/..., each split in several shards;
                                                      <name>.failed says why one could not be written
"""

from __future__ import annotations

import io
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow_datasets as tfds

from rtx.data.features import FeatureSpec
from rtx.data.oxe.schemas import schema
from rtx.images import encode_jpeg, encode_png
from tests.data.oxe.mock_sets import NUM_SHARDS, mock_episodes, native_tree, splits_of


def encoded(picture: np.ndarray, spec: FeatureSpec, path: str) -> Any:
    """Bytes of the format that the schema names; where it names none, JPEG and PNG in turn, as both are found in the wild.

    What is no RGB picture (depth) or a plain tensor is left to tensorflow-datasets, which knows how to store it.
    """
    if spec.kind != "image" or picture.shape[-1] != 3:
        return picture
    kind = spec.encoding or ("jpeg" if len(path) % 2 else "png")
    return io.BytesIO(encode_jpeg(picture) if kind == "jpeg" else encode_png(picture))


def write(folder: Path, set_name: str) -> None:
    known = schema(set_name)

    class Builder(tfds.core.GeneratorBasedBuilder, skip_registration=True):
        name = set_name
        VERSION = tfds.core.Version(known.version)
        pkg_dir_path = folder

        def _info(self) -> tfds.core.DatasetInfo:
            features = tfds.features.FeatureConnector.from_json(known.tree)
            return tfds.core.DatasetInfo(builder=self, features=features, disable_shuffling=True)

        def _split_generators(self, dl_manager: Any) -> dict[str, Any]:
            return {split: self._generate_examples(split) for split in splits_of(set_name)}

        def _generate_examples(self, split: str) -> Iterator[tuple[int, Any]]:
            for episode in mock_episodes(set_name, split):
                yield episode.number, native_tree(episode, encoded)

    builder = Builder(data_dir=str(folder))
    builder.download_and_prepare(download_config=tfds.download.DownloadConfig(num_shards=NUM_SHARDS, compute_stats="skip"))


if __name__ == "__main__":
    tfds.disable_progress_bar()
    root = Path(sys.argv[1])
    for each in sys.argv[2:]:
        try:
            write(root, each)
        except Exception:  # of a convention that does not fit: only its own test fails
            root.mkdir(exist_ok=True)
            (root / f"{each}.failed").write_text(traceback.format_exc()[-3000:])
