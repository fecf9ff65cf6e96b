"""Every kind of damage to the newest checkpoint: the one before is restored, the file at fault named, the evidence left."""

import logging
import shutil

import pytest

from rtx.errors import WorldError
from rtx.train import checkpoint
from tests.train.checkpoints import arrays_file, flip, restore, save


def copied_without_manifest(folder):
    """As a copy that was broken off, under the number of a later step."""
    shutil.copytree(folder, folder.with_name("3"))
    (folder.with_name("3") / "manifest.json").unlink()
    shutil.rmtree(folder)


DAMAGE = {
    "truncated": (lambda folder: arrays_file(folder).write_bytes(arrays_file(folder).read_bytes()[:-1]), "bytes, expected"),
    "emptied": (lambda folder: arrays_file(folder).write_bytes(b""), "0 bytes, expected"),
    "flipped": (lambda folder: flip(arrays_file(folder)), "contents differ"),
    "shard deleted": (lambda folder: arrays_file(folder).unlink(), "missing"),
    "all shards deleted": (lambda folder: shutil.rmtree(folder / "state"), "missing"),
    "contract edited": (lambda folder: flip(folder / "contract.json"), "contract.json: contents differ"),
    "position lost": (lambda folder: (folder / "data.json").unlink(), "data.json: missing"),
    "no manifest": (lambda folder: (folder / "manifest.json").unlink(), "manifest.json: missing"),
    "empty manifest": (lambda folder: (folder / "manifest.json").write_bytes(b""), "manifest.json: not a manifest"),
    "binary manifest": (lambda folder: (folder / "manifest.json").write_bytes(b"\xff\xfe\x00"), "not a manifest"),
    "half a manifest": (
        lambda folder: (folder / "manifest.json").write_bytes((folder / "manifest.json").read_bytes()[:100]),
        "not a manifest",
    ),
    "manifest of nothing": (
        lambda folder: (folder / "manifest.json").write_text('{"format": "rtx-checkpoint-1", "step": 2, "files": {}}'),
        "does not list all of",
    ),
    "copied without the manifest": (copied_without_manifest, "3/manifest.json: missing"),
    "copied under another number": (lambda folder: shutil.copytree(folder, folder.with_name("3")), "of step 2"),
    "an empty folder": (lambda folder: [shutil.rmtree(folder), folder.mkdir()], "manifest.json: missing"),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_falls_back_to_the_previous_and_names_the_file(tmp_path, caplog, damage):
    save(tmp_path, 1, 2)
    harm, problem = DAMAGE[damage]
    harm(tmp_path / "2")
    newest = checkpoint.steps(tmp_path)[0]
    before = sorted(str(path) for path in tmp_path.rglob("*"))
    with caplog.at_level(logging.WARNING):
        restored = restore(tmp_path)
    assert restored.step == restored.state["step"] == (2 if damage == "copied under another number" else 1)
    found = checkpoint.verify(tmp_path / str(newest))
    assert any(problem in line for line in found)
    assert f"damaged checkpoint passed over: step={newest} problem={found[0]} more={len(found) - 1}" in caplog.text
    assert str(tmp_path / str(newest)) in found[0]
    assert sorted(str(path) for path in tmp_path.rglob("*")) == before


def test_all_damaged_is_an_error_not_a_fresh_start(tmp_path):
    save(tmp_path, 1, 2)
    flip(arrays_file(tmp_path / "1"))
    (tmp_path / "2" / "model.json").unlink()
    with pytest.raises(WorldError, match=r"every checkpoint .* damaged: .*model\.json: missing.*differ"):
        restore(tmp_path)


def test_saving_a_damaged_step_again_keeps_the_evidence(tmp_path):
    save(tmp_path, 1, 2)
    flip(arrays_file(tmp_path / "2"))
    save(tmp_path, 2)
    assert checkpoint.verify(tmp_path / "2") == []
    assert checkpoint.verify(tmp_path / "2.damaged-1") != []
    assert restore(tmp_path).step == 2


def test_a_file_that_cannot_be_read_is_damage(tmp_path, monkeypatch):
    """A disk that has lost a sector."""
    save(tmp_path, 1, 2)
    sha256 = checkpoint.sound.sha256

    def failing(path, **options):
        if path == arrays_file(tmp_path / "2"):
            raise OSError(5, "Input/output error")
        return sha256(path, **options)

    monkeypatch.setattr(checkpoint.sound, "sha256", failing)
    assert restore(tmp_path).step == 1
    assert checkpoint.verify(tmp_path / "2") == [f"{arrays_file(tmp_path / '2')}: cannot be read: Input/output error"]
