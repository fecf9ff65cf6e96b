"""Filters drop samples, count them, and leave windows whole."""

from pathlib import Path

import numpy as np
import pytest

from rtx.data.filters import Filters, kept
from rtx.data.loader import Loader
from rtx.data.mixture import Mixture, MixtureEntry
from rtx.data.prepared import PreparedSet
from rtx.errors import UserError
from tests.data.tiny_sets import LETTERS, tiny_set

OPTIONS = {
    "batch_size": 128,
    "history": 2,
    "chunk": 2,
    "roles": ("primary",),
    "image_size": (8, 6),
    "tokenizers": LETTERS,
    "seed": 3,
}


@pytest.fixture
def prepared(tmp_path: Path) -> PreparedSet:
    return tiny_set(tmp_path / "tiny", lengths=(6, 6))


def rewrite(prepared: PreparedSet, column: str, values: np.ndarray) -> None:
    np.save(prepared.path / "train" / f"{column}.npy", values)


def test_no_filter_keeps_no_list(prepared: PreparedSet):
    found = kept(prepared, "train", Filters())
    assert (found.rows, found.num_steps, found.dropped) == (None, 12, {})


def test_steps_without_an_instruction(prepared: PreparedSet):
    found = kept(prepared, "train", Filters(unlabeled=True))  # the third text of a tiny set is ""
    assert found.rows is not None
    assert found.rows.tolist() == [s for s in range(12) if s % 3 != 2]
    assert (found.num_steps, found.dropped) == (8, {"unlabeled": 4})


def test_idle_steps_are_those_that_neither_move_nor_use_the_gripper(prepared: PreparedSet):
    action = np.zeros((12, 8), np.float32)
    action[1, 0], action[2, 5], action[3, 0], action[4, 3] = 0.02, 0.02, 0.005, 0.005
    action[6:, 6] = 1  # the gripper opens at step 6
    action[:, 7] = 0.7  # masked: says nothing
    rewrite(prepared, "action", action)
    found = kept(prepared, "train", Filters(idle_m=0.01, idle_rad=0.01))
    assert found.rows is not None
    assert found.rows.tolist() == [1, 2, 6]
    assert found.dropped == {"idle": 9}


def test_a_step_counts_for_the_first_filter_that_drops_it(prepared: PreparedSet):
    action = np.tile(np.linspace(-1, 1, 12, dtype=np.float32)[:, None], (1, 8))
    action[5, 2] = 100.0
    rewrite(prepared, "action", action)
    both = kept(prepared, "train", Filters(unlabeled=True, beyond=3.0))
    assert both.dropped == {"unlabeled": 4, "beyond": 0}, "step 5 has no instruction either"
    assert kept(prepared, "train", Filters(beyond=3.0)).dropped == {"beyond": 1}


def test_the_loader_draws_only_kept_steps_and_keeps_their_neighbours(prepared: PreparedSet):
    mixture = Mixture(entries=(MixtureEntry(prepared=prepared, filters=Filters(unlabeled=True)),))
    plain = Mixture(entries=(MixtureEntry(prepared=prepared),))
    assert mixture.num_steps("train") == (8,)
    assert mixture.fingerprint("train") != plain.fingerprint("train")
    assert "4 steps left out: unlabeled" in mixture.describe()
    with Loader(mixture, **OPTIONS) as loader, Loader(plain, **OPTIONS) as all_steps:
        batch, whole = next(loader), next(all_steps)
        seen = np.delete(np.arange(12), np.arange(2, 12, 3))[loader.order.lookup(batch.sample).window]
        at = {int(step): row for row, step in enumerate(all_steps.order.lookup(whole.sample).window)}
    assert set(seen.tolist()) == {s for s in range(12) if s % 3 != 2}
    assert set(at) == set(range(12))
    for row, step in enumerate(seen.tolist()):
        np.testing.assert_array_equal(batch.images["primary"][row], whole.images["primary"][at[step]])
        np.testing.assert_array_equal(batch.action[row], whole.action[at[step]])


@pytest.mark.parametrize("options", [{"idle_m": -1.0}, {"beyond": 0.5}])
def test_filters_that_make_no_sense_are_refused(options: dict[str, float]):
    with pytest.raises(UserError, match="filters"):
        Filters(**options)
