"""The loader on real Bridge recordings, held against TensorFlow's own reading of the same records."""

from __future__ import annotations

import hashlib
import importlib.util
import io
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from rtx.data.frames import Frames, ShardFiles
from rtx.data.inspect import inspect
from rtx.data.loader import Loader
from rtx.data.mixture import Mixture, MixtureEntry
from rtx.data.oxe.bridge import BRIDGE_DATASET
from rtx.data.prepare import prepare
from rtx.data.prepared import PreparedSet
from rtx.data.windows import windows
from tests.data.tiny_sets import LETTERS
from tests.real_data import bridge_dir

KEYS = {"primary": "image_0", "secondary": "image_1"}
READ_WITH_TENSORFLOW = """
import hashlib, json, sys
import tensorflow as tf
def sums(record, key):
    values = tf.train.Example.FromString(record).features.feature["steps/observation/" + key].bytes_list.value
    return [hashlib.sha256(value).hexdigest() for value in values]
records = [record.numpy() for record in tf.data.TFRecordDataset(sys.argv[1])]
print(json.dumps({key: [sums(record, key) for record in records] for key in sys.argv[2:]}))
"""


@pytest.fixture(scope="module")
def bridge(tmp_path_factory: pytest.TempPathFactory) -> PreparedSet:
    return prepare(BRIDGE_DATASET, bridge_dir(), tmp_path_factory.mktemp("bridge"), num_workers=1)


@pytest.mark.skipif(importlib.util.find_spec("tensorflow") is None, reason="needs the extra 'write' (TensorFlow)")
def test_every_picture_is_the_one_tensorflow_reads(bridge: PreparedSet):
    split = bridge.split("train")
    program = [sys.executable, "-c", READ_WITH_TENSORFLOW, str(split.shards[0]), *KEYS.values()]
    sums = json.loads(subprocess.run(program, capture_output=True, check=True, text=True).stdout)
    for role, key in KEYS.items():
        frames = Frames(split, role, size=None, files=ShardFiles(), label="bridge")
        got = {i: hashlib.sha256(data).hexdigest() for i, data in frames.encoded(np.arange(split.num_steps))}
        for episode in range(split.num_episodes):
            first, end = split.episode_start[episode], split.episode_start[episode + 1]
            # the record drops the first step, which does not move, and the last, which reaches nothing
            assert [got[step] for step in range(first, end)] == sums[key][episode][1 : 1 + end - first]


def test_a_batch_holds_the_pictures_of_its_samples(bridge: PreparedSet):
    split = bridge.split("train")
    shard = Path(split.shards[0]).read_bytes()
    mixture = Mixture(entries=(MixtureEntry(prepared=bridge),))
    options = {"history": 2, "chunk": 4, "roles": ("primary", "secondary"), "image_size": (64, 64), "seed": 0}
    with Loader(mixture, batch_size=16, tokenizers=LETTERS, **options) as loader:
        batch = next(loader)
        steps = loader.order.lookup(batch.sample).window
    at = windows(np.asarray(split.episode_start), steps, history=2, chunk=4)
    for role in KEYS:
        index = split.image(role)
        for row, t in np.ndindex(16, 2):
            start, length = int(index.offset[at.history[row, t]]), int(index.length[at.history[row, t]])
            with Image.open(io.BytesIO(shard[start : start + length])) as picture:
                np.testing.assert_array_equal(batch.images[role][row, t], np.asarray(picture))
    assert batch.action_mask[..., 7].sum() == 0, "Bridge records no terminate action"
    assert batch.image_mask["primary"][:, -1].all()


def test_the_page_shows_bridge(bridge: PreparedSet, tmp_path: Path):
    text = inspect(bridge, tmp_path, num_episodes=2).read_text()
    assert text.count("<img") == 2 * 2 * 8
    assert "sign turned" not in text.split("</table>")[1]
