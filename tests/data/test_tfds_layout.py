"""What tensorflow-datasets writes and reads back is what our own reader finds, for every kind of leaf a step may have."""

import dataclasses
import os
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from rtx.data.episode import read_episode
from rtx.data.example import Example
from rtx.data.features import open_source
from rtx.data.leaves import decode_leaf
from rtx.data.pixels import pixel_format
from rtx.data.prepare import prepare
from rtx.data.prepared import PreparedSet
from rtx.data.record import NO_ACTION, DatasetRecord, DepthKey, ImageKey
from rtx.data.tfrecord import RecordReader
from rtx.data.verify import verify, verify_source
from rtx.embodiment import Camera
from rtx.robots.widowx import WIDOWX_250

_SCRIPT = Path(__file__).with_name("tfds_in_process.py")
AS_STORED = ("image", "drawing", "grey")  # expected byte for byte
COLOUR = ("pixels", "pixels_zlib", "pixels_bytes")
DEPTH = ("millimetres", "depth_png", "depth", "depth_int", "grey")


@pytest.fixture(scope="module")
def zoo(tmp_path_factory):
    """Both file formats' sources, and what TFDS itself reads from the first."""
    folder = tmp_path_factory.mktemp("zoo")
    done = subprocess.run(
        [sys.executable, str(_SCRIPT), str(folder)], capture_output=True, text=True, env=os.environ, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    sources = [open_source(folder / name, "zoo") for name in ("tfrecord", "array_record")]
    return *sources, pickle.loads((folder / "expected.pkl").read_bytes())


def records(source):
    """(shard's bytes, record, Example, number of the episode)."""
    for shards in source.splits.values():
        for shard in shards:
            data = shard.path.read_bytes()
            with open(shard.path, "rb") as file:
                found = list(RecordReader(file, shard.path.name))
            assert len(found) == shard.num_episodes
            for record in found:
                example = Example(record.payload, offset=record.offset)
                yield data, record, example, int(example.ints("episode_metadata/number")[0])


def test_splits_and_shards(zoo):
    source, _, _ = zoo
    assert {split: source.num_episodes(split) for split in source.splits} == {"train": 5, "val": 2}
    assert len(source.splits["train"]) == 2


def test_every_leaf_that_is_no_image_reads_as_tfds_reads_it(zoo):
    source, _, expected = zoo
    seen = set()
    for _, _, example, number in records(source):
        for path, spec in source.features.items():
            if spec.kind != "image":
                value = decode_leaf(example, spec, "zoo")
                wanted = expected[f"{number}/{path.removeprefix('steps/')}"]
                assert len(value) == len(wanted) == (number + 1 if spec.in_steps else 1), path
                for ours, theirs in zip(value, wanted, strict=True):
                    same(ours, theirs, path)
        seen.add(number)
    assert seen == set(range(7))


def same(ours, theirs, path):
    """Lists of lists may be empty, and then have no type."""
    if isinstance(theirs, list):
        assert len(ours) == len(theirs), path
        for a, b in zip(ours, theirs, strict=True):
            same(a, b, path)
        return
    theirs = np.asarray(theirs)
    if theirs.dtype.kind in "SO":  # texts
        assert np.asarray(ours, object).tolist() == theirs.astype(object).tolist(), path
        return
    assert ours.dtype == theirs.dtype or not theirs.size, path
    np.testing.assert_array_equal(ours, theirs, err_msg=path)


def camera_record(images, depth):
    roles = ("primary", "secondary", "tertiary", "quaternary", "wrist")
    cameras = tuple(Camera(role=role, resolution=(6, 4)) for role, _ in zip(roles, images, strict=False))
    return DatasetRecord(
        name="zoo",
        embodiment=dataclasses.replace(WIDOWX_250, cameras=cameras),
        images={role: ImageKey(path=f"observation/{name}") for role, name in zip(roles, images, strict=False)},
        depth={role: DepthKey(path=f"observation/{name}") for role, name in zip(roles, depth, strict=False)},
        instructions=("language_instruction",),
        targets=("observation/objects/name",),
        keys={"observation/zlib": (7,)},
        standardize=None,
        layout=NO_ACTION,
        metadata=("episode_metadata/number",),
    )


@pytest.mark.parametrize("images", [AS_STORED, COLOUR])
def test_the_places_of_pixels_hold_what_tfds_reads(zoo, images):
    source, _, expected = zoo
    record = camera_record(images, DEPTH)
    record.validate(source.features, where="zoo")
    for data, found, _, number in records(source):
        episode = read_episode(
            found.payload, offset=found.offset, record=record, features=source.features, index=0, where="zoo"
        )
        assert [set(texts) for texts in episode.instructions] == [{"saisis le cube doré"}]
        assert list(episode.targets[0]) == [f"thing {0}" if t else "" for t in range(number + 1)]
        for name, table in zip([*images, *DEPTH], episode.spans.values(), strict=True):
            form = pixel_format(source.features[f"steps/observation/{name}"])
            for (start, length), wanted in zip(table.tolist(), expected[f"{number}/observation/{name}"], strict=True):
                stored = data[start : start + length]
                form.check(stored)
                if name in AS_STORED:
                    assert stored == wanted
                elif name in COLOUR:
                    np.testing.assert_array_equal(form.colour(stored), wanted)
                    np.testing.assert_array_equal(form.colour(stored, None, "bgr"), wanted[..., ::-1])
                else:
                    metres = wanted.reshape(6, 4).astype(np.float32) * np.float32(0.001)
                    np.testing.assert_array_equal(form.depth(stored, None, 0.001), metres)


def test_array_record_files_prepare_to_the_same_set(zoo, tmp_path):
    """TFDS compresses them, so their records are unpacked; every picture is then what the other format holds."""
    plain, packed, _ = zoo
    record = camera_record(AS_STORED, DEPTH)
    assert [shard.num_episodes for shard in packed.splits["train"]] == [shard.num_episodes for shard in plain.splits["train"]]
    assert "all good" in verify_source(packed).text()
    one = prepare(record, plain.directory, tmp_path / "plain", num_workers=1)
    two = prepare(record, packed.directory, tmp_path / "packed", num_workers=1)
    assert [one.splits[name]["num_steps"] for name in one.splits] == [two.splits[name]["num_steps"] for name in two.splits]
    assert one.languages == two.languages
    for name in one.splits:
        a, b = one.split(name), two.split(name)
        np.testing.assert_array_equal(a.target_id, b.target_id)
        for x, y in [*((a.image(role), b.image(role)) for role in one.roles), (a.depth("wrist"), b.depth("wrist"))]:
            assert list(stored(x, a.shards)) == list(stored(y, b.shards))
    assert "all good" in verify(two).text()
    for path in packed.directory.glob("*.array_record*"):
        path.unlink()
    assert PreparedSet.open(tmp_path / "packed").split("train").num_episodes  # the originals are needed no more


def stored(index, shards):
    data = [path.read_bytes() for path in shards]
    for shard, offset, length in zip(index.shard.tolist(), index.offset.tolist(), index.length.tolist(), strict=True):
        yield data[shard][offset : offset + length]
