"""Shards of a TFDS folder, however old its dataset_info.json and however its files are called."""

import json
from pathlib import Path

import numpy as np
import pytest

from rtx.data.features import open_source
from rtx.data.prepare import prepare
from rtx.data.simulated import SIMULATED
from rtx.data.splits import read_splits
from rtx.errors import UserError, WorldError
from tests.fakes import WIDOWX_FEATURES, widowx_episode, write_rlds, write_widowx

NAME = "sim_vx300s"


@pytest.fixture
def folder(tmp_path):
    """Two shards of train (3 and 4 episodes), one of val (2)."""
    rng = np.random.default_rng(0)
    episodes = [widowx_episode(rng, 3 + i % 2) for i in range(9)]
    return write_rlds(tmp_path, NAME, WIDOWX_FEATURES, {"train": [episodes[:3], episodes[3:7]], "val": [episodes[7:]]})


def edit(folder, change):
    path = folder / "dataset_info.json"
    info = json.loads(path.read_text())
    for entry in info["splits"]:
        change(entry)
    path.write_text(json.dumps(info))


def counts(folder):
    source = open_source(folder)
    assert all(shard.path.is_file() for shards in source.splits.values() for shard in shards)
    return {name: [shard.num_episodes for shard in shards] for name, shards in source.splits.items()}


def rename(folder, template):
    """Files under another template, and said so."""
    for path in sorted(folder.glob("*tfrecord*")):
        split = "train" if "-train." in path.name else "val"
        index, total = path.name.rpartition("tfrecord-")[2].split("-of-")
        names = {"DATASET": NAME, "SPLIT": split, "FILEFORMAT": "tfrecord", "SHARD_INDEX": index, "NUM_SHARDS": total}
        new = folder / template.format(**names, SHARD_X_OF_Y=f"{index}-of-{total}")
        new.parent.mkdir(exist_ok=True)
        path.rename(new)
    edit(folder, lambda entry: entry.update(filepathTemplate=template))


def without_lengths(entry):
    entry["numShards"] = str(len(entry.pop("shardLengths")))


TEMPLATES = [
    "{DATASET}-{SPLIT}.{FILEFORMAT}-{SHARD_X_OF_Y}",
    "{SPLIT}/part_{SHARD_INDEX}.{FILEFORMAT}",
    "{SPLIT}.{FILEFORMAT}-{SHARD_INDEX}-{NUM_SHARDS}",
]


@pytest.mark.parametrize("template", TEMPLATES)
@pytest.mark.parametrize("age", ["new", "old", "nothing said"])
def test_templates_of_every_age(folder, template, age):
    rename(folder, template)
    if age != "new":
        edit(folder, without_lengths)
    if age == "nothing said":
        edit(folder, lambda entry: entry.pop("numShards"))
    assert counts(folder) == {"train": [3, 4], "val": [2]}


def test_a_set_without_lengths_prepares_alike(folder, tmp_path):
    whole = prepare(SIMULATED[NAME], folder, tmp_path / "new", num_workers=1)
    edit(folder, without_lengths)
    counted = prepare(SIMULATED[NAME], folder, tmp_path / "old", num_workers=1)
    assert counted.splits == whole.splits


def test_no_template_is_the_usual_one_and_an_empty_split_is_empty(folder):
    edit(folder, lambda entry: entry.pop("filepathTemplate"))
    info = json.loads((folder / "dataset_info.json").read_text())
    info["splits"].append({"name": "extra", "numBytes": "0"})
    (folder / "dataset_info.json").write_text(json.dumps(info))
    assert counts(folder) == {"train": [3, 4], "val": [2], "extra": []}


def test_more_shards_than_five_digits_hold():
    entry = {"name": "t", "shardLengths": ["1"] * 100_001}
    shards = read_splits(Path("/set"), {"name": "a", "splits": [entry]})["t"]
    assert shards[7].path == Path("/set/a-t.tfrecord-000007-of-100001")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda entry: entry.update(filepathTemplate="{NAME}-{SHARD_X_OF_Y}"), "cannot read the file name template"),
        (lambda entry: entry.update(filepathTemplate="../{SPLIT}"), "leads out of the folder"),
        (lambda entry: entry.update(filepathTemplate="/etc/{SPLIT}"), "leads out of the folder"),
        (lambda entry: entry.pop("name"), "not a list of objects with a name"),
    ],
)
def test_descriptions_nothing_follows_from_are_named(folder, change, message):
    edit(folder, change)
    with pytest.raises(WorldError, match=rf"dataset_info\.json.*{message}"):
        open_source(folder)


def test_counted_shards_must_all_be_there_and_hold_what_was_promised(folder):
    edit(folder, without_lengths)
    edit(folder, lambda entry: entry.update(statistics={"numExamples": "7"}))
    with pytest.raises(WorldError, match=r"split 'val' has 2 records in 1 shards, dataset_info\.json lists 7"):
        open_source(folder)
    next(folder.glob("*train*00001-of*")).unlink()
    with pytest.raises(WorldError, match=r"1 of 2 shards of split 'train' are not there, the first is .*00001-of-00002"):
        open_source(folder)
    edit(folder, lambda entry: entry.pop("numShards"))
    (folder / f"{NAME}-train.tfrecord-00000-of-00009").touch()
    with pytest.raises(WorldError, match=r"come from sets of \[2, 9\] shards"):
        open_source(folder)


def test_a_broken_tail_is_counted_so_that_reading_finds_it(folder, tmp_path):
    edit(folder, without_lengths)
    path = next(folder.glob("*train*00001-of*"))
    path.write_bytes(path.read_bytes()[:-30])
    assert counts(folder)["train"] == [3, 4]
    with pytest.raises(WorldError, match=r"00001-of-00002, byte \d+ \(record 3\): the file is truncated"):
        prepare(SIMULATED[NAME], folder, tmp_path / "out", num_workers=1)


def test_a_config_lies_between_name_and_version(tmp_path):
    version = write_widowx(tmp_path)
    config = version.parent / "rlds"
    config.mkdir()
    version.rename(config / "1.0.0")
    for path in (tmp_path, version.parent, config):
        assert open_source(path, "bridge_dataset").directory == config / "1.0.0"
    write_widowx(tmp_path / "more").rename(version.parent / "2.0.0")
    (version.parent / "other").mkdir()
    (version.parent / "2.0.0").rename(version.parent / "other" / "2.0.0")
    with pytest.raises(UserError, match=r"holds several data sets: other, rlds"):
        open_source(tmp_path, "bridge_dataset")
