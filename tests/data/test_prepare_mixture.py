"""Several sets in one go: a broken one is named at the end and stops nobody."""

import dataclasses

import pytest

from rtx.data import catalogue
from rtx.data.prepare_mixture import prepare_mixture
from rtx.data.prepared import PreparedSet
from rtx.errors import UserError, WorldError
from tests.fakes import write_widowx

NAMES = ("bridge_dataset", "sim_vx300s")


def test_every_set_gets_its_folder_and_is_left_alone_when_up_to_date(tmp_path, capfd):
    for name in NAMES:
        write_widowx(tmp_path / "tfds", name, shards=(2, 1))
    sets = prepare_mixture([*NAMES, NAMES[0]], tmp_path / "tfds", tmp_path / "out", num_workers=1)
    assert [prepared.path for prepared in sets] == [tmp_path / "out" / name for name in NAMES]
    assert capfd.readouterr().err.count("prepare ") == 2  # a bar each
    assert prepare_mixture(NAMES, tmp_path / "tfds", tmp_path / "out", num_workers=1) == sets
    assert capfd.readouterr().err == ""


def test_a_broken_set_is_named_and_the_others_are_ready(tmp_path):
    for name in NAMES:
        write_widowx(tmp_path / "tfds", name, shards=(2, 1))
    shard = next((tmp_path / "tfds" / NAMES[0]).glob("*/*00001-of*"))
    shard.write_bytes(shard.read_bytes()[:-3])
    with pytest.raises(WorldError) as caught:
        prepare_mixture([*NAMES, "sim_panda"], tmp_path / "tfds", tmp_path / "out", num_workers=1)
    for text in ("2 of 3 data sets were not prepared", "bridge_dataset: ", "00001-of-00002, byte", "sim_panda does not exist"):
        assert text in str(caught.value)
    assert PreparedSet.open(tmp_path / "out" / NAMES[1]).name == NAMES[1]
    with pytest.raises(UserError, match=r"1 of 1 data sets were not prepared.*\n  sim_panda: "):
        prepare_mixture(["sim_panda"], tmp_path / "tfds", tmp_path / "out")


def test_an_unknown_name_is_refused_before_anything_is_read(tmp_path):
    write_widowx(tmp_path / "tfds", NAMES[0])
    with pytest.raises(UserError, match="unknown data set 'brige_dataset'; did you mean 'bridge_dataset'"):
        prepare_mixture([NAMES[0], "brige_dataset"], tmp_path / "tfds", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_copy_under_another_name_is_found(tmp_path, monkeypatch):
    record = dataclasses.replace(catalogue.RECORDS[NAMES[0]], other_names=("bridge_copy",))
    monkeypatch.setattr(catalogue, "RECORDS", {NAMES[0]: record})
    write_widowx(tmp_path / "tfds", "bridge_copy", shards=(1,))
    (prepared,) = prepare_mixture([NAMES[0]], tmp_path / "tfds", tmp_path / "out", num_workers=1)
    assert (prepared.name, prepared.path.name) == (NAMES[0], NAMES[0])
