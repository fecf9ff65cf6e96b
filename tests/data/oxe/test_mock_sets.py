"""Every data set as files: a directory with the published schema, written by tensorflow-datasets, prepared and loaded.

mock_rlds (own process, once for all sets and test workers) -> prepare -> rows = standardize(convention)
                                                                       -> loader -> colours of each camera, RGB
"""

import fcntl
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from rtx.data.loader import one_pass
from rtx.data.mixture import Mixture, MixtureEntry
from rtx.data.oxe import OXE
from rtx.data.oxe.schemas import schema
from rtx.data.prepare import held_out, prepare
from tests.data.oxe.episodes import sentence_vector, trajectory_of
from tests.data.oxe.mock_sets import DEPTH_SCALE, colours, mock_episodes, splits_of
from tests.data.tiny_sets import LETTERS

ROOT = Path(__file__).resolve().parents[3]
COLOUR_TOLERANCE = 6  # levels of 255: JPEG of flat colours, chroma rounded
SIZE = (16, 16)


@pytest.fixture(scope="session")
def mock_root(request, tmp_path_factory):
    """The folder of all mock sets that this run asks for; written by the first test worker that comes."""
    names = sorted({item.callspec.params["name"] for item in request.session.items if "mock_root" in item.fixturenames})
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    folder, done = shared / "mock_rlds", shared / "mock_rlds.done"
    with open(shared / "mock_rlds.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not done.exists():
            command = [sys.executable, "-m", "tests.data.oxe.mock_rlds", str(folder), *names]
            environment = os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3"}
            result = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=280)
            assert result.returncode == 0, result.stderr[-3000:]
            done.touch()
    return folder


@pytest.mark.parametrize("name", sorted(OXE))
def test_a_set_with_the_published_schema_is_prepared_and_loaded(name, mock_root, tmp_path):
    record, failed = OXE[name], mock_root / f"{name}.failed"
    assert not failed.exists(), failed.read_text()
    prepared = prepare(record, mock_root / name, tmp_path / "out", num_workers=1)
    assert prepared.version == schema(name).version
    expected = kept_episodes(record)
    assert {split: prepared.split(split).num_episodes for split in prepared.splits} == {s: len(e) for s, e in expected.items()}
    assert prepared.counts["train"]["filtered"] == sum(not episode.kept for episode in mock_episodes(name, "train"))
    for split, episodes in expected.items():
        if not episodes:  # the one that was held out is the one that the record drops
            assert prepared.split(split).num_steps == 0
            continue
        tables = [rows_of(record, episode) for episode in episodes]
        check_rows(prepared, split, tables)
        check_texts(record, prepared, split, episodes, tables)
        check_sentences(record, prepared, episodes)
        check_pixels(record, prepared, split, episodes, tables)
        check_depth(record, prepared, split, episodes, tables)


def kept_episodes(record):
    """By split of the prepared set: a part of the training episodes is held out where the source has no validation split."""
    by_split = {split: list(mock_episodes(record.name, split)) for split in splits_of(record.name)}
    train = by_split["train"]
    if record.val_split not in by_split:
        chosen = held_out(record.name, len(train))
        by_split["train"] = [e for e, out in zip(train, chosen, strict=True) if not out]
        by_split[record.val_split] = [e for e, out in zip(train, chosen, strict=True) if out]
    return {split: [e for e in episodes if e.kept] for split, episodes in by_split.items()}


def rows_of(record, episode):
    """What standardize makes of the episode: action, proprio and the numbers of the steps kept."""
    trajectory = trajectory_of(record, episode.values)
    if record.standardize is None:
        n = episode.num_steps
        widths = record.layout.action.width, record.layout.proprio_width
        return np.zeros((n, widths[0]), np.float32), np.zeros((n, widths[1]), np.float32), np.arange(n)
    out = record.standardize(trajectory, **record.options())
    return out["action"], out["proprio"], out["_frame_index"]


def check_rows(prepared, split, tables):
    got = prepared.split(split)
    np.testing.assert_array_equal(got.action, np.concatenate([action for action, _, _ in tables]))
    np.testing.assert_array_equal(got.proprio, np.concatenate([proprio for _, proprio, _ in tables]))
    assert np.isfinite(got.action).all()
    low, high = (prepared.layout.action.per_dim(lambda f, side=side: getattr(f, side)) for side in ("low", "high"))
    assert ((low <= got.action) & (got.action <= high)).all()


def check_texts(record, prepared, split, episodes, tables):
    """Every instruction key holds the episode's text in every kept step, letters beyond ASCII unharmed."""
    texts = np.array(prepared.languages, object)[prepared.split(split).language_id]
    expected = [[e.text] * len(record.instructions) for e, (_, _, frames) in zip(episodes, tables, strict=True) for _ in frames]
    assert texts.reshape(-1, len(record.instructions)).tolist() == (expected if record.instructions else [[]] * len(texts))


def check_sentences(record, prepared, episodes):
    """The stored vector of each episode's text, and a note of how many there are."""
    if not record.sentence_vector:
        assert prepared.sentences is None
        return
    rows = [prepared.languages.index(episode.text) for episode in episodes]
    expected = [sentence_vector(episode.text, 512) for episode in episodes]
    np.testing.assert_array_equal(prepared.sentences[rows], expected)
    assert (prepared.sentence_counts["clashes"], prepared.sentence_counts["width"]) == (0, 512)
    assert prepared.sentence_counts["missing"] == np.isnan(prepared.sentences[:, 0]).sum()


def check_depth(record, prepared, split, episodes, tables):
    """Each depth map of each step: the bytes that the index names, decoded to metres."""
    got = prepared.split(split)
    steps = [(e, t) for e, (_, _, frames) in zip(episodes, tables, strict=True) for t in frames.tolist()]
    for role, key in record.depth.items():
        index, scale = got.depth(role), DEPTH_SCALE[schema(record.name).features[f"steps/{key.path}"].dtype]
        assert len(index.offset) == len(steps)
        for row, (e, t) in enumerate(steps):
            with open(got.shards[index.shard[row]], "rb") as file:
                file.seek(index.offset[row])
                metres = index.pixels.depth(file.read(index.length[row]), SIZE, index.metres_per_unit)
            stored = colours(record.name, key.path, e.split, e.number, t)[:, 0] * scale
            for half, number in zip((metres[: SIZE[0] // 2], metres[SIZE[0] // 2 :]), stored, strict=True):
                wrong = np.abs(half - number * key.metres_per_unit).max()
                assert wrong <= COLOUR_TOLERANCE * scale * key.metres_per_unit, f"{role}, step {t}: {half[0, 0]}"


def check_pixels(record, prepared, split, episodes, tables):
    """Each camera's picture of each step, through the loader: the right file bytes, decoded, RGB, the right way up."""
    if not record.images:
        return
    roles = tuple(record.images)
    steps = [(e, t) for e, (_, _, frames) in zip(episodes, tables, strict=True) for t in frames.tolist()]
    (batch,) = one_pass(
        Mixture(entries=(MixtureEntry(prepared=prepared),)), batch_size=len(steps), history=1, chunk=1, roles=roles,
        image_size=SIZE, tokenizers=LETTERS, split=split, num_threads=1,
    )  # fmt: skip
    for role, key in record.images.items():
        assert batch.image_mask[role].all()
        expected = [colours(record.name, key.path, e.split, e.number, t) for e, t in steps]
        halves = batch.images[role][:, 0].reshape(len(steps), 2, SIZE[0] // 2, SIZE[1], 3)[:, :, 2:-2]
        middle = np.median(halves, axis=(2, 3))
        assert np.abs(middle - np.array(expected)).max() < COLOUR_TOLERANCE, f"{role}: {middle[0]} for {expected[0]}"
