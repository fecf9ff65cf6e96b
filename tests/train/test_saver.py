"""Saving beside the training: the loop goes on, the checkpoint is of the moment, failures are heard, what must be is."""

import dataclasses
import logging
import threading

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rtx.data.loader import LoaderState
from rtx.errors import UserError, WorldError
from rtx.train import checkpoint, pytree
from rtx.train.checkpoint import writing
from rtx.train.saver import Saver
from rtx.train.state import TrainState, from_tree, to_tree
from tests.train.checkpoints import HERE, SIDE


@jax.jit
def _made(step: jax.Array) -> TrainState:
    return from_tree(
        {
            "step": step,
            "variables": {"params": {"w": jnp.arange(2_000_000.0) * step, "b": jnp.ones(3)}},
            "ema": None,
            "opt_state": None,
            "rng": jnp.zeros(2, jnp.uint32),
            "nonfinite": jnp.int32(0),
            "nonfinite_in_a_row": jnp.int32(0),
        }
    )


def made(step: int) -> TrainState:
    return _made(jnp.int32(step))


def position(step: int) -> LoaderState:
    return LoaderState(next_sample=4 * step, fingerprint="f")


def side(at: LoaderState) -> checkpoint.SideFiles:
    return dataclasses.replace(SIDE, data=dataclasses.asdict(at))


class Disk:
    """Storage that stands still in the middle of a save until it is `released`; `broken` says which steps cannot be written."""

    def __init__(self, monkeypatch) -> None:
        self.reached, self.released, self.broken = threading.Event(), threading.Event(), set()
        write_manifest = writing.write_manifest

        def held(folder, step, files):
            self.reached.set()
            assert self.released.wait(60)
            if step in self.broken:
                raise OSError(28, "No space left on device")
            write_manifest(folder, step, files)

        monkeypatch.setattr(writing, "write_manifest", held)


@pytest.fixture
def disk(monkeypatch):
    return Disk(monkeypatch)


@pytest.fixture
def failures():
    return []


@pytest.fixture
def saver(tmp_path, failures):
    with Saver(tmp_path, keep=2, side=side, failed=lambda step, reason: failures.append((step, reason))) as made_here:
        yield made_here


def test_training_goes_on_while_storage_stands_still(tmp_path, disk, saver):
    """Steps that take the memory of the state that is being saved do not change what is saved."""
    step = jax.jit(lambda state: jax.tree.map(lambda leaf: leaf * 2 + 1, state), donate_argnums=0)
    state = made(3)
    saver.save(state, 3, position(3), must=False)
    for _ in range(5):
        state = step(state)
    jax.block_until_ready(state)
    assert disk.reached.wait(60)
    saver.poll()
    assert checkpoint.steps(tmp_path) == []
    disk.released.set()
    saver.wait()
    restored = checkpoint.restore(tmp_path, pytree.abstract(to_tree(made(3)), HERE))
    jax.tree.map(np.testing.assert_array_equal, from_tree(restored.state), made(3))
    assert restored.side.data == {"next_sample": 12, "fingerprint": "f"}


def test_the_next_save_waits_for_the_one_before_and_says_so(tmp_path, disk, saver):
    class Release(logging.Handler):
        def emit(self, record):
            said.append(record.getMessage())
            assert checkpoint.steps(tmp_path) == []
            disk.released.set()

    said, handler = [], Release(logging.WARNING)
    logging.getLogger("rtx.train.saver").addHandler(handler)
    try:
        saver.save(made(1), 1, position(1), must=False)
        saver.save(made(2), 2, position(2), must=False)
    finally:
        logging.getLogger("rtx.train.saver").removeHandler(handler)
    saver.wait()
    assert said == ["save waits for the one before: step=2 before=1; storage is slower than run.save_every"]
    assert checkpoint.steps(tmp_path) == [2, 1]


def test_a_failure_is_loud_at_once_and_reported_at_the_next_poll(tmp_path, disk, saver, failures, caplog):
    disk.released.set()
    disk.broken = {2, 3}
    for step in (1, 2):
        saver.save(made(step), step, position(step), must=False)
    saver._thread.join()
    assert "checkpoint not saved, the previous one is intact: step=2 cannot write" in caplog.text
    assert failures == []  # the loop writes its metrics itself
    saver.poll()
    assert [step for step, _ in failures] == [2]
    assert "the disk is full" in failures[0][1]
    assert [entry.name for entry in tmp_path.iterdir()] == ["1"]
    with pytest.raises(WorldError, match="the disk is full"):
        saver.save(made(3), 3, position(3), must=True)
    saver.save(made(4), 4, position(4), must=True)
    assert checkpoint.steps(tmp_path) == [4, 1]
    assert len(failures) == 1


def test_a_mistake_of_ours_is_no_failure_of_the_disk(tmp_path, failures):
    unserializable = dataclasses.replace(SIDE, config={"value": object()})
    saver = Saver(tmp_path, keep=2, side=lambda at: unserializable, failed=lambda step, reason: failures.append(step))
    saver.save(made(1), 1, position(1), must=False)
    with pytest.raises(TypeError):
        saver.wait()
    assert failures == []
    assert list(tmp_path.iterdir()) == []


def test_leaving_waits_for_what_is_under_way(tmp_path, failures):
    options = {"keep": 2, "side": side, "failed": lambda step, reason: failures.append(step)}
    with Saver(tmp_path, **options) as saver:
        saver.save(made(1), 1, position(1), must=False)
    assert checkpoint.verify(tmp_path / "1") == []


def test_an_error_of_the_loop_waits_too(tmp_path):
    def broken_loop():
        with Saver(tmp_path, keep=2, side=side, failed=lambda step, reason: None) as saver:
            saver.save(made(2), 2, position(2), must=False)
            raise KeyError("of the loop")

    with pytest.raises(KeyError, match="of the loop"):
        broken_loop()
    assert checkpoint.steps(tmp_path) == [2]


def test_a_start_sweeps_what_a_kill_left(tmp_path):
    (tmp_path / ".saving-7" / "state" / "d").mkdir(parents=True)
    (tmp_path / ".saving-7" / "state" / "d" / "half").write_bytes(b"x")
    with Saver(tmp_path, keep=2, side=side, failed=lambda step, reason: None) as saver:
        saver.save(made(7), 7, position(7), must=True)
    assert [entry.name for entry in tmp_path.iterdir()] == ["7"]
    assert not (tmp_path / "7" / "state" / "d" / "half").exists()
    with pytest.raises(UserError, match="at least 2"):
        Saver(tmp_path, keep=1, side=side, failed=lambda step, reason: None)
