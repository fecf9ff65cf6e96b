"""Run by test_tfds_layout.py in a process of its own: tensorflow-datasets writes a small RLDS set and reads it back.

python tfds_in_process.py FOLDER     writes FOLDER/zoo/1.0.0 and FOLDER/expected.npz (<episode>/<path under steps>)
"""

import sys
from pathlib import Path

import numpy as np
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
            }
        ),
        "action": {"move": tfds.features.Tensor(shape=(2,), dtype=np.float32), "stop": tfds.features.Scalar(np.int32)},
        "count": np.int64,
        "is_last": np.bool_,
        "language_instruction": tfds.features.Text(),
        "raw_text": tfds.features.Tensor(shape=(), dtype=np.str_),
    }
)


class Zoo(tfds.core.GeneratorBasedBuilder, skip_registration=True):
    VERSION = tfds.core.Version("1.0.0")
    name = "zoo"
    pkg_dir_path = FOLDER

    def _info(self):
        episode = {"steps": tfds.features.Dataset(STEP), "episode_metadata": {"number": np.int32}}
        return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict(episode))

    def _split_generators(self, dl_manager):
        return {"train": self._generate_examples(0, 5), "val": self._generate_examples(5, 7)}

    def _generate_examples(self, first, last):
        for number in range(first, last):
            rng = np.random.default_rng(number)
            steps = [step(rng, t, t == number) for t in range(number + 1)]
            yield f"{number}", {"steps": steps, "episode_metadata": {"number": number}}


def step(rng, t, is_last):
    return {
        "observation": {
            "image": rng.integers(0, 255, (12, 16, 3), dtype=np.uint8),
            "drawing": rng.integers(0, 255, (3 + t, 7, 3), dtype=np.uint8),
            "state": rng.normal(size=3).astype(np.float32),
            "wide": rng.normal(size=2).astype(np.float32).astype(np.float64),
            "pattern": rng.integers(0, 2, (4, 5)).astype(bool),
            "bytes": rng.integers(0, 255, (2, 2), dtype=np.uint8),
            "present/xyz": rng.normal(size=3).astype(np.float32),
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


builder = Zoo(data_dir=str(FOLDER))
builder.download_and_prepare(download_config=tfds.download.DownloadConfig(num_shards=2))
expected = {}
for split in ("train", "val"):
    decoded = tfds.as_numpy(builder.as_dataset(split))
    raw = tfds.as_numpy(builder.as_dataset(split, decoders={"steps": tfds.decode.SkipDecoding()}))
    for episode, undecoded in zip(decoded, raw, strict=True):
        number = int(episode["episode_metadata"]["number"])
        steps = [dict(flat(one)) for one in episode["steps"]]
        for path in steps[0]:
            values = [one[path] for one in steps]
            if path in ("observation/image", "observation/drawing"):  # as stored: byte for byte
                values = [data.hex() for data in undecoded["steps"]["observation"][path.partition("/")[2]]]
            expected[f"{number}/{path}"] = np.array([v.decode() if isinstance(v, bytes) else v for v in values])
np.savez(FOLDER / "expected.npz", **expected)
