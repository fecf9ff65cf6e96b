"""Checkpoints: bit-equal round trip, never fewer than two, leftovers swept, opened for use, refused where they do not fit."""

import dataclasses
import shutil
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rtx.errors import UserError, WorldError
from rtx.files import read_json
from rtx.train import checkpoint, pytree
from rtx.train.checkpoint import retention
from rtx.versions import versions
from tests.train.checkpoints import CONTRACT, HERE, SIDE, arrays_file, assert_equal, flip, make_state, restore, save


def test_round_trip_is_bit_equal(tmp_path):
    save(tmp_path, 3)
    restored = restore(tmp_path)
    assert restored.step == 3
    assert restored.side == SIDE
    assert_equal(restored.state, make_state(3))


def test_a_relative_folder_is_as_good_as_any(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    root, state = Path("runs") / "checkpoints", make_state(3)
    checkpoint.save(root, step=3, state=state, side=SIDE)
    restored = checkpoint.restore(root, pytree.abstract(state, HERE))
    assert restored is not None
    assert restored.step == checkpoint.open_checkpoint("runs").step == 3


def test_nothing_saved_yet(tmp_path):
    assert restore(tmp_path / "checkpoints") is None


def test_saving_a_sound_step_again_leaves_it(tmp_path):
    save(tmp_path, 1)
    before = (tmp_path / "1" / "manifest.json").stat()
    save(tmp_path, 1)
    assert (tmp_path / "1" / "manifest.json").stat() == before


def test_retention_never_counts_damaged_ones(tmp_path):
    save(tmp_path, 1, 2, 3)
    assert checkpoint.steps(tmp_path) == [3, 2]
    arrays_file(tmp_path / "3").unlink()
    save(tmp_path, 4)
    assert checkpoint.steps(tmp_path) == [4, 3, 2]  # 4 and 2 are sound; 3 is evidence
    with pytest.raises(UserError, match="at least 2"):
        save(tmp_path, 5, keep=1)


def test_nothing_is_removed_before_two_others_have_been_read_back(tmp_path, caplog):
    """A bit has turned in the second newest: its size is right, so only reading it tells. The one before it stays."""
    save(tmp_path, 1, 2, 3)
    flip(arrays_file(tmp_path / "3"))
    save(tmp_path, 4)
    assert checkpoint.steps(tmp_path) == [4, 3, 2]
    assert "damaged checkpoint kept as it is: step=3" in caplog.text
    save(tmp_path, 5, 6)
    assert checkpoint.steps(tmp_path) == [6, 5, 3]  # what is damaged is evidence, however old


def test_at_every_instant_two_sound_ones_are_there(tmp_path, monkeypatch):
    """Looked at whenever a name in the folder changes."""
    save(tmp_path, 1, 2)
    counts, rename = [], Path.rename

    def looked(path, target):
        counts.append(sum(not checkpoint.verify(tmp_path / str(step)) for step in checkpoint.steps(tmp_path)))
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", looked)
    save(tmp_path, 3, 4, keep=2)
    assert counts == [3, 3]  # before each of the two removals


def test_old_ones_that_cannot_be_removed_are_no_failure(tmp_path, monkeypatch, caplog):
    save(tmp_path, 1, 2)

    def refuse(root, old):
        raise WorldError("no permission")

    monkeypatch.setattr(retention, "_remove", refuse)
    save(tmp_path, 3)
    assert checkpoint.steps(tmp_path) == [3, 2, 1]
    assert "old checkpoints not removed: step=3 no permission" in caplog.text


def test_the_code_that_wrote_it_travels_along(tmp_path):
    save(tmp_path, 1)
    assert read_json(tmp_path / "1" / "code.json") == versions()


def test_leftovers_of_a_kill_are_no_checkpoints_and_are_swept(tmp_path):
    save(tmp_path, 1, 2)
    shutil.copytree(tmp_path / "2", tmp_path / ".saving-3")
    shutil.copytree(tmp_path / "1", tmp_path / ".removing-0")
    assert restore(tmp_path).step == 2
    save(tmp_path, 4)
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["2", "4"]


def test_a_save_that_fails_leaves_the_previous_and_no_rubbish(tmp_path):
    """A folder in the place of a file of the checkpoint stands for any disk error in the middle."""
    save(tmp_path, 1)
    side = dataclasses.replace(SIDE, config={"unserializable": object()})
    with pytest.raises(TypeError):
        checkpoint.save(tmp_path, step=2, state=make_state(2), side=side)
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["1"]
    assert restore(tmp_path).step == 1


def test_another_model_is_refused_with_the_paths_that_differ(tmp_path):
    save(tmp_path, 1)
    target = make_state(0)
    target["variables"]["params"] = {"dense": {"kernel": jnp.zeros((3, 5))}, "head": jnp.zeros(2)}
    with pytest.raises(
        UserError, match=r"(?s)variables/params/head: missing.*bias: not expected.*float32\[3, 4\], expected float32\[3, 5\]"
    ):
        checkpoint.restore(tmp_path, pytree.abstract(target, HERE))


@pytest.mark.parametrize("give", ["run", "checkpoints", "step"])
def test_open_reads_averaged_variables_as_numpy(tmp_path, give):
    root = tmp_path / "run" / "checkpoints"
    save(root, 1, 2)
    opened = checkpoint.open_checkpoint({"run": root.parent, "checkpoints": root, "step": root / "2"}[give])
    state = make_state(2)
    assert opened.step == 2
    assert opened.contract == CONTRACT
    assert opened.data_state == SIDE.data
    assert set(opened.variables) == {"params", "batch_stats"}
    assert all(type(leaf) is np.ndarray for leaf in jax.tree.leaves(opened.variables))
    expected = {"params": state["ema"], "batch_stats": state["variables"]["batch_stats"]}
    jax.tree.map(np.testing.assert_array_equal, opened.variables, expected)


def test_open_without_average_reads_the_parameters(tmp_path):
    checkpoint.save(tmp_path, step=1, state=make_state(1, ema=False), side=SIDE)
    opened = checkpoint.open_checkpoint(tmp_path, 1)
    jax.tree.map(np.testing.assert_array_equal, opened.variables, make_state(1)["variables"])


def test_open_tells_what_is_there(tmp_path):
    run = tmp_path / "run"
    save(run / "checkpoints", 1, 2)
    with pytest.raises(UserError, match="no such folder"):
        checkpoint.open_checkpoint(tmp_path / "nowhere")
    with pytest.raises(UserError, match=r"no checkpoint of step 7; it has 2, 1"):
        checkpoint.open_checkpoint(run, 7)
    with pytest.raises(UserError, match="step 1 cannot be chosen"):
        checkpoint.open_checkpoint(run / "checkpoints" / "2", 1)
    (tmp_path / "photos").mkdir()
    with pytest.raises(UserError, match="found nothing"):
        checkpoint.open_checkpoint(tmp_path / "photos")
    (tmp_path / "photos" / "cat.jpg").touch()
    with pytest.raises(UserError, match=r"expected a run folder .* found cat\.jpg"):
        checkpoint.open_checkpoint(tmp_path / "photos")
    with pytest.raises(UserError, match="is a file"):
        checkpoint.open_checkpoint(tmp_path / "photos" / "cat.jpg")
    (tmp_path / "early").mkdir()
    for name in ("config.json", "metrics.jsonl"):
        (tmp_path / "early" / name).touch()
    with pytest.raises(UserError, match="no checkpoint yet"):
        checkpoint.open_checkpoint(tmp_path / "early")


def test_open_a_damaged_step_is_an_error(tmp_path):
    save(tmp_path, 1, 2)
    flip(arrays_file(tmp_path / "2"))
    assert checkpoint.open_checkpoint(tmp_path).step == 1
    with pytest.raises(WorldError, match="sha256"):
        checkpoint.open_checkpoint(tmp_path, 2)


def test_every_step_of_a_run_in_a_table(tmp_path):
    save(tmp_path, 1, 2, 3, keep=3)
    flip(arrays_file(tmp_path / "2"))
    (tmp_path / "3" / "manifest.json").write_bytes(b"[]")
    (tmp_path / "1.damaged-1").mkdir()
    (tmp_path / ".saving-4").mkdir()
    text, num_damaged = checkpoint.verify_text(tmp_path)
    assert num_damaged == 2
    lines = text.splitlines()
    assert lines[0] == f"checkpoints in {tmp_path}"
    assert lines[1].split() == ["step", "written", "files", "size", "state"]
    assert [(line.split()[0], line.split()[-1]) for line in lines[3:6]] == [("3", "damaged"), ("2", "damaged"), ("1", "sound")]
    files = len(read_json(tmp_path / "1" / "manifest.json")["files"])
    assert lines[5].split()[3] == str(files)
    assert lines[6:] == [
        f"damaged: {tmp_path / '3' / 'manifest.json'}: not a manifest",
        f"damaged: {arrays_file(tmp_path / '2')}: contents differ from the manifest's sha256",
        f"set aside: {tmp_path / '1.damaged-1'}",
        f"left by a kill, the next start removes it: {tmp_path / '.saving-4'}",
    ]
