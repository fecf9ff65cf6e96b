"""Run by test_tfds_layout.py in a process of its own: tensorflow-datasets writes a small RLDS set and reads it back.

python tfds_in_process.py FOLDER     writes FOLDER/<tfrecord, array_record>/zoo/1.0.0 (the same episodes) and
                                     FOLDER/expected.pkl: {<episode>/<path under steps>: one value a step}
"""

import pickle
import sys
from pathlib import Path

import ml_dtypes
import numpy as np
import tensorflow as tf
import tensorflow_datasets as tfds

FOLDER = Path(sys.argv[1])
STEP = tfds.features.FeaturesDict(
    {
        "observation": tfds.features.FeaturesDict(
            {
                "image": tfds.features.Image(shape=(12, 16, 3), encoding_format="jpeg"),
                "drawing": tfds.features.Image(shape=(None, None, 3), encoding_format="png"),
                "state": tfds.features.Tensor(shape=(3,), dtype=np.float32),
                "wide": tfds.features.Tensor(shape=(2,), dtype=np.float64),
                "pattern": tfds.features.Tensor(shape=(4, 5), dtype=np.bool_),
                "bytes": tfds.features.Tensor(shape=(2, 2), dtype=np.uint8),
                "present/xyz": tfds.features.Tensor(shape=(3,), dtype=np.float32),
                "grey": tfds.features.Image(shape=(6, 4, 1), encoding_format="jpeg"),
                "millimetres": tfds.features.Image(shape=(6, 4, 1), dtype=np.uint16, encoding_format="png"),
                "depth_png": tfds.features.Image(shape=(6, 4, 1), dtype=np.float32),
                "depth": tfds.features.Tensor(shape=(6, 4), dtype=np.float32),
                "depth_int": tfds.features.Tensor(shape=(6, 4, 1), dtype=np.int32),
                "pixels": tfds.features.Tensor(shape=(6, 4, 3), dtype=np.uint8),
                "pixels_zlib": tfds.features.Tensor(shape=(6, 4, 3), dtype=np.uint8, encoding="zlib"),
                "pixels_bytes": tfds.features.Tensor(shape=(6, 4, 3), dtype=np.uint8, encoding="bytes"),
                "zlib": tfds.features.Tensor(shape=(7,), dtype=np.float32, encoding="zlib"),
                "bytes_wide": tfds.features.Tensor(shape=(2, 3), dtype=np.float64, encoding="bytes"),
                "bytes_flag": tfds.features.Tensor(shape=(3,), dtype=np.bool_, encoding="bytes"),
                "half": tfds.features.Tensor(shape=(2,), dtype=np.float16),
                "brain_bytes": tfds.features.Tensor(shape=(2,), dtype=ml_dtypes.bfloat16, encoding="bytes"),
                "unsigned": tfds.features.Tensor(shape=(2,), dtype=np.uint64),
                "sheet": tfds.features.Tensor(shape=(None, None), dtype=np.int16, encoding="zlib"),
                "objects": tfds.features.Sequence(
                    {"name": tfds.features.Text(), "box": tfds.features.Tensor(shape=(4,), dtype=np.float32)}
                ),
                "nested": tfds.features.Sequence(tfds.features.Sequence(np.int64)),
                "kind": tfds.features.ClassLabel(names=["cup", "pot"]),
            }
        ),
        "action": {"move": tfds.features.Tensor(shape=(2,), dtype=np.float32), "stop": tfds.features.Scalar(np.int32)},
        "count": np.int64,
        "is_last": np.bool_,
        "language_instruction": tfds.features.Text(),
        "raw_text": tfds.features.Tensor(shape=(), dtype=np.str_),
    }
)
META = tfds.features.FeaturesDict(
    {
        "number": np.int32,
        "growing": tfds.features.Tensor(shape=(None, 2), dtype=np.float32),
        "parts": tfds.features.Sequence(np.int64),
        "fixed": tfds.features.Sequence(np.int32, length=3),
        "trees": tfds.features.Sequence(tfds.features.Sequence(tfds.features.Text())),
    }
)


class Zoo(tfds.core.GeneratorBasedBuilder, skip_registration=True):
    VERSION = tfds.core.Version("1.0.0")
    name = "zoo"
    pkg_dir_path = FOLDER

    def _info(self):
        episode = {"steps": tfds.features.Dataset(STEP), "episode_metadata": META}
        return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict(episode))

    def _split_generators(self, dl_manager):
        return {"train": self._generate_examples(0, 5), "val": self._generate_examples(5, 7)}

    def _generate_examples(self, first, last):
        for number in range(first, last):
            rng = np.random.default_rng(number)
            steps = [step(rng, t, t == number) for t in range(number + 1)]
            yield f"{number}", {"steps": steps, "episode_metadata": metadata(number)}


def metadata(number):
    return {
        "number": number,
        "growing": np.arange(2 * number, dtype=np.float32).reshape(-1, 2),
        "parts": list(range(number)),
        "fixed": [number, 1, 2],
        "trees": [["a", "b"], [], ["c"]][: number + 1],
    }


def step(rng, t, is_last):
    number = int(rng.bit_generator.seed_seq.entropy)
    return {
        "observation": {
            "image": rng.integers(0, 255, (12, 16, 3), dtype=np.uint8),
            "drawing": rng.integers(0, 255, (3 + t, 7, 3), dtype=np.uint8),
            "state": rng.normal(size=3).astype(np.float32),
            "wide": rng.normal(size=2).astype(np.float32).astype(np.float64),
            "pattern": rng.integers(0, 2, (4, 5)).astype(bool),
            "bytes": rng.integers(0, 255, (2, 2), dtype=np.uint8),
            "present/xyz": rng.normal(size=3).astype(np.float32),
            "grey": rng.integers(0, 255, (6, 4, 1), dtype=np.uint8),
            "millimetres": rng.integers(0, 65536, (6, 4, 1), dtype=np.uint16),
            "depth_png": rng.normal(size=(6, 4, 1)).astype(np.float32),
            "depth": rng.normal(size=(6, 4)).astype(np.float32),
            "depth_int": rng.integers(-5, 70000, (6, 4, 1), dtype=np.int32),
            **{key: rng.integers(0, 256, (6, 4, 3), dtype=np.uint8) for key in ("pixels", "pixels_zlib", "pixels_bytes")},
            "zlib": rng.normal(size=7).astype(np.float32),
            "bytes_wide": rng.normal(size=(2, 3)),
            "bytes_flag": rng.integers(0, 2, 3).astype(bool),
            "half": rng.normal(size=2).astype(np.float16),
            "brain_bytes": rng.normal(size=2).astype(ml_dtypes.bfloat16),
            "unsigned": rng.integers(0, 2**64, 2, dtype=np.uint64),
            "sheet": rng.integers(-9, 9, (t + 1, 2), dtype=np.int16),
            "objects": [{"name": f"thing {i}", "box": rng.normal(size=4).astype(np.float32)} for i in range(t)],
            "nested": [list(range(i)) for i in range((t + number) % 3)],
            "kind": int(t % 2),
        },
        "action": {"move": rng.normal(size=2).astype(np.float32), "stop": np.int32(-t)},
        "count": int(rng.integers(-(2**62), 2**62)),
        "is_last": is_last,
        "language_instruction": "saisis le cube doré",
        "raw_text": f"step {t}",
    }


def flat(tree, names=()):
    for name, value in tree.items():
        if isinstance(value, dict):
            yield from flat(value, (*names, name))
        else:
            yield "/".join((*names, name)), value


def plain(value):
    """Without types of TensorFlow or ml_dtypes, which the reader need not have."""
    if isinstance(value, tf.compat.v1.ragged.RaggedTensorValue | tf.RaggedTensor):
        return [np.asarray(row) for row in value.to_list()]
    return value.astype(np.float32) if getattr(value, "dtype", None) == ml_dtypes.bfloat16 else value


IMAGES = ("image", "drawing", "grey")  # JPEG decoders differ by a level: these are compared byte for byte
SKIP = {"steps": {"observation": {name: tfds.decode.SkipDecoding() for name in IMAGES}}}
for file_format in ("array_record", "tfrecord"):
    builder = Zoo(data_dir=str(FOLDER / file_format), file_format=file_format)
    builder.download_and_prepare(download_config=tfds.download.DownloadConfig(num_shards=2))
expected = {}
for split in ("train", "val"):
    for episode in tfds.as_numpy(builder.as_dataset(split, decoders=SKIP)):
        number = int(episode["episode_metadata"]["number"])
        steps = [dict(flat(one)) for one in episode["steps"]]
        expected |= {f"{number}/{path}": [plain(one[path]) for one in steps] for path in steps[0]}
        expected |= {f"{number}/{path}": [plain(v)] for path, v in flat(episode["episode_metadata"], ("episode_metadata",))}
(FOLDER / "expected.pkl").write_bytes(pickle.dumps(expected))
