"""What tensorflow-datasets writes and reads back is what our own reader finds, for every kind of leaf a step may have."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np

from rtx.data.episode import decode_trajectory
from rtx.data.example import Example
from rtx.data.features import open_source
from rtx.data.record import DatasetRecord, ImageKey
from rtx.data.tfrecord import RecordReader
from rtx.robots.widowx import WIDOWX_250

_SCRIPT = Path(__file__).with_name("tfds_in_process.py")
IMAGES = ("observation/image", "observation/drawing")


def test_every_kind_of_leaf(tmp_path):
    done = subprocess.run(
        [sys.executable, str(_SCRIPT), str(tmp_path)], capture_output=True, text=True, env=os.environ, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    expected = np.load(tmp_path / "expected.npz")
    source = open_source(tmp_path, "zoo")
    assert {split: source.num_episodes(split) for split in source.splits} == {"train": 5, "val": 2}
    assert len(source.splits["train"]) == 2
    record = DatasetRecord(
        name="zoo",
        embodiment=WIDOWX_250,
        images={"primary": ImageKey(path=IMAGES[0]), "secondary": ImageKey(path=IMAGES[1])},
        instructions=("language_instruction",),
        keys={
            path.removeprefix("steps/"): spec.shape
            for path, spec in source.features.items()
            if path.startswith("steps/") and spec.kind != "image"
        },
        standardize=lambda trajectory: trajectory,
        metadata=("episode_metadata/number",),
    )
    record.validate(source.features, where="zoo")
    seen = set()
    for shards in source.splits.values():
        for shard in shards:
            data = shard.path.read_bytes()
            with open(shard.path, "rb") as file:
                records = list(RecordReader(file, shard.path.name))
            assert len(records) == shard.num_episodes
            for found in records:
                example = Example(found.payload, offset=found.offset)
                trajectory, num_steps = decode_trajectory(
                    example, record=record, features=source.features, index=0, where="zoo"
                )
                number = int(trajectory["traj_metadata"]["episode_metadata"]["number"][0])
                assert num_steps == number + 1
                check_leaves(trajectory, record, expected, number)
                check_images(example, data, expected, number)
                seen.add(number)
    assert seen == set(range(7))


def check_leaves(trajectory, record, expected, number):
    for path in record.keys:
        value = trajectory
        for name in path.split("/", 1) if path.startswith(("observation", "action")) else [path]:
            value = value[name]
        wanted = expected[f"{number}/{path}"]
        if value.dtype == object:
            value = np.array([item.decode() for item in value])
        else:
            assert value.dtype == wanted.dtype, path
        np.testing.assert_array_equal(value, wanted, err_msg=path)


def check_images(example, data, expected, number):
    for path in IMAGES:
        offsets, lengths = example.spans(f"steps/{path}")
        stored = [data[o : o + n].hex() for o, n in zip(offsets.tolist(), lengths.tolist(), strict=True)]
        assert stored == expected[f"{number}/{path}"].tolist()
