"""Prepare on small genuine shards: the columns hold what the episodes held, once, whatever interrupts."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rtx.data import prepare as prepare_module
from rtx.data import shard as shard_module
from rtx.data.catalogue import RECORDS
from rtx.data.prepare import held_out, prepare
from rtx.data.prepared import PreparedSet
from rtx.errors import UserError, WorldError
from rtx.images import decode
from tests.fakes import WIDOWX_FEATURES, encode_example, encode_record, widowx_episode, write_rlds, write_widowx

ROOT = Path(__file__).parents[2]
BRIDGE = RECORDS["bridge_dataset"]
VX300S = RECORDS["sim_vx300s"]  # the same keys; keeps every step


def column_bytes(folder):
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.glob("*/*.npy"))}


def one_split(root, episodes, name="sim_vx300s"):
    return write_rlds(root, name, WIDOWX_FEATURES, {"train": [episodes]})


def test_columns_hold_the_episodes_and_images_lie_where_they_say(tmp_path):
    rng = np.random.default_rng(0)
    episodes = [widowx_episode(rng, 4 + i, instruction=f"task {i % 2}") for i in range(3)]
    val = [widowx_episode(rng, 5)]
    source = write_rlds(tmp_path, "bridge_dataset", WIDOWX_FEATURES, {"train": [episodes[:2], episodes[2:]], "val": [val]})
    prepared = prepare(BRIDGE, source, tmp_path / "out", num_workers=1)
    train = prepared.split("train")
    assert np.diff(train.episode_start).tolist() == [2, 3, 4]  # the idle start and the last step are gone
    assert train.num_steps == len(train.action) == len(train.proprio) == 9
    assert prepared.layout.action_mask == (True,) * 7 + (False,)
    assert [prepared.languages[i] for i in train.language_id[:, 0]] == ["task 0"] * 2 + ["task 1"] * 3 + ["task 0"] * 4
    for e, episode in enumerate(episodes):
        rows = slice(*train.episode_start[e : e + 2])
        state = episode["steps/observation/state"][1:]
        np.testing.assert_allclose(train.action[rows, :3], np.diff(state[:, :3], axis=0), atol=1e-6)
        np.testing.assert_array_equal(train.proprio[rows, :3], state[:-1, :3])
        for role, key in (("primary", "image_0"), ("secondary", "image_1")):
            index = train.image(role)
            assert index.channel_order == "rgb"
            for row, wanted in zip(range(rows.start, rows.stop), episode[f"steps/observation/{key}"][1:-1], strict=True):
                data = train.shards[index.shard[row]].read_bytes()
                assert data[index.offset[row] : index.offset[row] + index.length[row]] == wanted
    assert prepared.split("val").num_episodes == 1
    assert prepared.statistics.action.count == 9
    assert prepared.statistics.num_episodes == 3
    np.testing.assert_allclose(prepared.statistics.proprio.mean, train.proprio.mean(0), atol=1e-6)
    assert not (tmp_path / "out" / "parts").exists()


def test_any_number_of_workers_writes_the_same_bytes(tmp_path):
    source = write_widowx(tmp_path, shards=(3, 1, 4))
    one = prepare(BRIDGE, source, tmp_path / "one", num_workers=1)
    two = prepare(BRIDGE, source, tmp_path / "two", num_workers=2)
    assert column_bytes(tmp_path / "one") == column_bytes(tmp_path / "two")
    assert one.statistics == two.statistics
    assert one.languages == two.languages


@settings(max_examples=25)
@given(num_episodes=st.integers(0, 300), more=st.integers(0, 50))
def test_held_out_episodes_stay_when_the_set_grows(num_episodes, more):
    small, large = held_out("a", num_episodes), held_out("a", num_episodes + more)
    assert len(small) == num_episodes
    assert small.sum() >= (num_episodes > 1)
    if num_episodes > 100:  # beyond the rule that at least one is held out
        np.testing.assert_array_equal(small, large[:num_episodes])


def test_about_a_twentieth_is_held_out_and_sets_differ():
    assert 400 < held_out("a", 10_000).sum() < 600
    assert np.any(held_out("a", 1000) != held_out("b", 1000))


def test_without_a_validation_split_held_out_episodes_become_it(tmp_path):
    source = write_widowx(tmp_path, shards=(10, 15))
    prepared = prepare(BRIDGE, source, tmp_path / "out", num_workers=1)
    chosen = held_out("bridge_dataset", 25)
    assert prepared.split("val").num_episodes == chosen.sum() > 0
    assert prepared.split("train").num_episodes == 25 - chosen.sum()
    assert prepared.statistics.num_episodes == 25 - chosen.sum()
    np.testing.assert_allclose(prepared.statistics.action.mean, prepared.split("train").action.mean(0), atol=1e-6)
    assert prepared.counts["train"]["held_out"] == chosen.sum()


@pytest.fixture
def worked(monkeypatch):
    """Names of the shards that were really read, in this process."""
    names = []

    def counting(task, *args):
        names.append(task.path.name[:-9])
        return shard_module.prepare_shard(task, *args)

    monkeypatch.setattr(prepare_module, "prepare_shard", counting)
    return names


def test_an_interrupted_run_takes_up_finished_shards(tmp_path, worked):
    source = write_widowx(tmp_path, shards=(2, 2, 2))
    path = source / "bridge_dataset-train.tfrecord-00001-of-00003"
    whole = path.read_bytes()
    path.write_bytes(whole[:-5])
    with pytest.raises(WorldError, match=r"00001-of-00003, byte \d+ \(record 1\): the file is truncated"):
        prepare(BRIDGE, source, tmp_path / "out", num_workers=1)
    with pytest.raises(UserError, match="not prepared to the end"):
        PreparedSet.open(tmp_path / "out")
    path.write_bytes(whole)
    prepare(BRIDGE, source, tmp_path / "out", num_workers=1)
    names = [f"bridge_dataset-train.tfrecord-0000{i}" for i in range(3)]
    assert worked == [names[0], names[1], names[1], names[2]]
    prepare(BRIDGE, source, tmp_path / "clean", num_workers=1)
    assert column_bytes(tmp_path / "out") == column_bytes(tmp_path / "clean")


def test_an_up_to_date_set_is_left_alone_and_a_changed_shard_is_not(tmp_path, worked):
    source = write_widowx(tmp_path, shards=(2, 2))
    out = tmp_path / "out"
    prepare(BRIDGE, source, out, num_workers=1)
    assert len(worked) == 2
    prepare(BRIDGE, source, out, num_workers=1)
    path = source / "bridge_dataset-train.tfrecord-00000-of-00002"
    os.utime(path, (time.time() + 9, time.time() + 9))  # touched, same bytes
    prepare(BRIDGE, source, out, num_workers=1)
    assert len(worked) == 2
    other = [widowx_episode(np.random.default_rng(7), 8) for _ in range(2)]
    path.write_bytes(b"".join(encode_record(encode_example(e)) for e in other))
    prepare(BRIDGE, source, out, num_workers=1)
    assert len(worked) == 4
    prepare(BRIDGE, source, out, num_workers=1, resume=False)
    assert len(worked) == 6


def test_unchanged_shards_are_not_read_to_see_that_they_are(tmp_path, monkeypatch, worked):
    source = write_widowx(tmp_path, shards=(1,) * 20)
    out = tmp_path / "out"
    prepare(BRIDGE, source, out, num_workers=1)
    paths = sorted(source.glob("*tfrecord*"))
    os.utime(paths[3], (1e9, 1e9))  # touched: its bytes are read once, and its new time is noted
    prepare(BRIDGE, source, out, num_workers=1)
    monkeypatch.setattr(shard_module, "open_file", lambda place: pytest.fail(f"{place} was opened"))
    prepare(BRIDGE, source, out, num_workers=1)
    assert len(worked) == 20


KILLED = """
import os, signal, sys
from pathlib import Path
from rtx.data import merge, prepare
from rtx.data.catalogue import RECORDS

def killing(function, calls):
    left = [calls]
    def replacement(*args, **kwargs):
        left[0] -= 1
        if left[0] < 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return function(*args, **kwargs)
    return replacement

where, calls = sys.argv[3].split(":")
module, name = where.split(".")
module = {"merge": merge, "prepare": prepare}[module]
setattr(module, name, killing(getattr(module, name), int(calls)))
prepare.prepare(RECORDS["bridge_dataset"], Path(sys.argv[1]), Path(sys.argv[2]), num_workers=1)
"""


@pytest.mark.parametrize(
    ("where", "redone"),
    [("prepare.prepare_shard:2", 1), ("merge._append:4", 0), ("merge.write_json:1", 0)],
)
def test_a_kill_at_any_point_costs_no_finished_shard(tmp_path, worked, where, redone):
    source = write_widowx(tmp_path, shards=(10, 8, 8))
    out = tmp_path / "out"
    done = subprocess.run([sys.executable, "-c", KILLED, str(source), str(out), where], cwd=ROOT, capture_output=True)
    assert done.returncode == -signal.SIGKILL
    with pytest.raises(UserError, match="not prepared to the end"):
        PreparedSet.open(out)
    prepare(BRIDGE, source, out, num_workers=1)
    assert len(worked) == redone
    prepare(BRIDGE, source, tmp_path / "clean", num_workers=1)
    assert column_bytes(out) == column_bytes(tmp_path / "clean")
    assert not list(out.rglob(".*"))  # nor anything half written


def test_a_kill_after_the_manifest_leaves_a_whole_set(tmp_path, worked):
    source = write_widowx(tmp_path, shards=(2, 2))
    out = tmp_path / "out"
    command = [sys.executable, "-c", KILLED, str(source), str(out), "prepare._remove_parts:0"]
    assert subprocess.run(command, cwd=ROOT, capture_output=True).returncode == -signal.SIGKILL
    assert (out / "parts").exists()
    prepare(BRIDGE, source, out, num_workers=1)
    assert worked == []
    assert not (out / "parts").exists()


def test_chosen_splits_only_and_another_choice_is_another_set(tmp_path, worked):
    rng = np.random.default_rng(0)
    shards = {name: [[widowx_episode(rng, 5)]] for name in ("train", "val", "test")}
    source = write_rlds(tmp_path, "bridge_dataset", WIDOWX_FEATURES, shards)
    out = tmp_path / "out"
    assert list(prepare(BRIDGE, source, out, splits=["val", "train"], num_workers=1).splits) == ["train", "val"]
    assert len(worked) == 2
    assert set(prepare(BRIDGE, source, out, num_workers=1).splits) == {"train", "val", "test"}
    with pytest.raises(UserError, match=r"leave out 'train', which statistics are computed from"):
        prepare(BRIDGE, source, out, splits=["test"])


def test_a_quarantined_set_is_up_to_date_only_below_the_share_asked_for(tmp_path, worked):
    source = write_widowx(tmp_path, shards=(2, 2, 2))
    path = source / "bridge_dataset-train.tfrecord-00002-of-00003"
    path.write_bytes(path.read_bytes()[:-5])
    out = tmp_path / "out"
    with pytest.raises(WorldError, match=r"bridge_dataset: 1 of 6 episodes are damaged, more than the allowed share 0\.1"):
        prepare(BRIDGE, source, out, num_workers=1, quarantine=True, max_quarantined=0.1)
    prepared = prepare(BRIDGE, source, out, num_workers=1, quarantine=True, max_quarantined=0.2)
    assert prepared.counts["train"]["quarantined"] == 1
    assert prepare(BRIDGE, source, out, num_workers=1, quarantine=True, max_quarantined=0.2) == prepared
    with pytest.raises(WorldError, match=r"bridge_dataset: 1 of 6 episodes are damaged, more than the allowed share 0\.1"):
        prepare(BRIDGE, source, out, num_workers=1, quarantine=True, max_quarantined=0.1)
    assert len(worked) == 3  # the bad share costs no shard either
    with pytest.raises(WorldError, match="truncated"):  # strict is strict, whatever was prepared
        prepare(BRIDGE, source, out, num_workers=1)


def test_wrong_requests_get_one_sentence_before_data_is_read(tmp_path):
    source = write_widowx(tmp_path)
    out = tmp_path / "out"
    with pytest.raises(UserError, match=r"unknown split of .* 'trian'; did you mean 'train'"):
        prepare(BRIDGE, source, out, splits=["trian"])
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.jpg").touch()
    with pytest.raises(UserError, match=r"not empty and holds no prepared set"):
        prepare(BRIDGE, source, tmp_path / "photos")
    with pytest.raises(UserError, match=r"num_workers is 0"):
        prepare(BRIDGE, source, out, num_workers=0)
    with pytest.raises(
        UserError, match=r"(?s)camera 'wrist': unknown image key 'observation/wrist_image'.*steps/observation/state"
    ):
        prepare(RECORDS["sim_panda"], source.rename(source.parent / "2.0.0"), out)
    with pytest.raises(UserError, match=r"calls itself 'bridge_dataset', this record is for 'sim_vx300s'"):
        prepare(VX300S, source.parent / "2.0.0", out)
    with pytest.raises(UserError, match=r"cannot make the folder .*a\.jpg/out"):
        prepare(BRIDGE, source.parent / "2.0.0", tmp_path / "photos" / "a.jpg" / "out")
    next((source.parent / "2.0.0").glob("*00001-of*")).unlink()
    with pytest.raises(WorldError, match=r"1 shards that dataset_info.json lists are not there"):
        prepare(BRIDGE, source.parent / "2.0.0", out)
    assert not out.exists() or not list(out.iterdir())


def test_moved_shards_are_named_and_found_again(tmp_path, worked):
    source = write_widowx(tmp_path / "here", shards=(3,))
    prepared = prepare(BRIDGE, source, tmp_path / "out", num_workers=1)
    (tmp_path / "here").rename(tmp_path / "there")
    with pytest.raises(UserError, match=r"1 of 1 shards are not at .* source=NEW FOLDER"):
        prepared.split("train")
    moved = PreparedSet.open(tmp_path / "out", source=tmp_path / "there").split("train")
    index = moved.image("primary")
    data = moved.shards[0].read_bytes()[index.offset[0] :][: index.length[0]]
    assert decode(data).shape == (16, 16, 3)
    again = prepare(BRIDGE, tmp_path / "there", tmp_path / "out", num_workers=1)
    assert worked == ["bridge_dataset-train.tfrecord-00000"]
    assert again.split("train").shards == moved.shards == PreparedSet.open(tmp_path / "out").split("train").shards
    moved.shards[0].write_bytes(b"")
    with pytest.raises(WorldError, match="it was replaced"):
        PreparedSet.open(tmp_path / "out", source=tmp_path / "there").split("train")


def test_names_that_are_not_there_are_answered_with_those_that_are(tmp_path):
    prepared = prepare(BRIDGE, write_widowx(tmp_path, shards=(1,)), tmp_path / "out", num_workers=1)
    assert list(prepared.splits) == ["train"]  # nothing to hold out of one episode
    with pytest.raises(UserError, match=r"unknown split of bridge_dataset 'val'"):
        prepared.split("val")
    with pytest.raises(UserError, match=r"unknown camera role 'wrist'.*primary, secondary"):
        prepared.split("train").image("wrist")
    with pytest.raises(UserError, match="holds no prepared data set"):
        PreparedSet.open(tmp_path)
    with pytest.raises(UserError, match="another version of the record"):
        PreparedSet.open(tmp_path / "out", VX300S)
    assert PreparedSet.open(tmp_path / "out", BRIDGE) == prepared


def test_a_split_travels_as_its_folder(tmp_path):
    import pickle

    split = prepare(BRIDGE, write_widowx(tmp_path, shards=(3,), steps=40), tmp_path / "out", num_workers=1).split("train")
    assert len(split.action) > 0
    data = pickle.dumps(split)
    assert len(data) < 3000
    np.testing.assert_array_equal(pickle.loads(data).action, split.action)
