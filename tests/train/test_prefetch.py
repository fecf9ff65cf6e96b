"""One batch ahead: on the device before it is asked for, and unknown to the saved position until it is taken."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

from rtx.data.loader import Loader
from rtx.data.mixture import Mixture, MixtureEntry
from rtx.errors import WorldError
from rtx.train.prefetch import Prefetch
from tests.data.tiny_sets import LETTERS, tiny_set

OPTIONS: dict[str, Any] = {
    "batch_size": 4,
    "history": 2,
    "chunk": 2,
    "roles": ("primary", "wrist"),
    "image_size": (8, 6),
    "tokenizers": LETTERS,
    "seed": 1,
}


@pytest.fixture
def mixture(tmp_path: Path) -> Mixture:
    return Mixture(entries=(MixtureEntry(prepared=tiny_set(tmp_path / "one", name="one")),))


def test_batches_come_in_order_on_the_device_with_the_position_of_the_taken(mixture: Mixture):
    with Loader(mixture, **OPTIONS) as plain, Loader(mixture, **OPTIONS) as loader:
        ahead = Prefetch(loader)
        assert ahead.state() == plain.state()
        for _ in range(6):
            expected, (batch, wait_s) = next(plain), ahead.take()
            assert wait_s >= 0
            assert isinstance(batch.action, jax.Array)
            np.testing.assert_array_equal(batch.action, expected.action)
            np.testing.assert_array_equal(batch.images["wrist"], expected.images["wrist"])
            np.testing.assert_array_equal(batch.sample, np.stack([expected.sample, expected.sample * 0], axis=-1))
            assert ahead.state() == plain.state()
            ahead.prepare()
            ahead.prepare()  # one ahead, not two
            assert ahead.state() == plain.state()
            assert loader.state().next_sample == ahead.state().next_sample + 4


def test_going_on_from_its_state_gives_the_batch_that_waited(mixture: Mixture):
    with Loader(mixture, **OPTIONS) as loader, Loader(mixture, **OPTIONS) as other:
        ahead = Prefetch(loader)
        ahead.take()
        ahead.prepare()
        other.restore(ahead.state())
        np.testing.assert_array_equal(Prefetch(other).take()[0].action, ahead.take()[0].action)


def test_an_error_waits_until_its_batch_is_asked_for(mixture: Mixture, tmp_path: Path):
    for shard in (tmp_path / "one").glob("shard*"):
        shard.write_bytes(bytes(shard.stat().st_size))
    with Loader(mixture, **OPTIONS) as loader:
        ahead = Prefetch(loader)
        ahead.prepare()
        with pytest.raises(WorldError, match="data set 'one'"):
            ahead.take()
        assert ahead.state().next_sample == 0


class Running:
    """A step's result that is there, or is not."""

    def __init__(self, is_there: bool) -> None:
        self.is_ready = lambda: is_there


def test_who_waits_is_the_device(mixture: Mixture):
    """A batch that comes while the step before still runs cost nothing."""
    with Loader(mixture, **OPTIONS) as loader:
        ahead = Prefetch(loader)
        waits = []
        for is_there in (True, False):
            ahead.prepare(Running(is_there))
            waits.append(ahead.take()[1])
    assert waits[0] > 0
    assert waits[1] == 0
