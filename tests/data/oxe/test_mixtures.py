"""The published mixtures: which sets, which weights, which convention."""

from pathlib import Path

import numpy as np
import pytest

from rtx.data.oxe.mixtures import MIXTURES, find_mixture, open_mixture
from rtx.data.oxe.schemas import names
from rtx.errors import UserError
from tests.data.tiny_sets import save_manifest, tiny_set


def test_rt_x_is_the_papers_twelve_sets_weighted_per_sample():
    mixture = find_mixture("rt_x")
    assert (len(mixture.weights), sum(mixture.weights.values()), mixture.balance) == (12, 323, False)
    assert mixture.weights["fractal20220817_data"] == 150
    assert mixture.weights["bridge"] == 50


def test_octo_and_openvla_multiply_by_steps():
    sizes = {name: (len(m.weights), m.balance) for name, m in MIXTURES.items()}
    assert sizes == {"rt_x": (12, False), "octo": (25, True), "openvla": (23, True), "openvla_plus": (27, True)}
    assert MIXTURES["octo"].weights["kuka"] == pytest.approx(0.8341046294)
    only_octo = set(MIXTURES["octo"].weights) - set(MIXTURES["openvla"].weights)
    assert only_octo == {"bc_z", "nyu_door_opening_surprising_effectiveness"}


def test_every_set_of_a_mixture_has_a_published_structure():
    assert {name for mixture in MIXTURES.values() for name in mixture.weights} <= set(names())


def test_a_mixture_of_ones_own_and_both_weight_conventions(tmp_path: Path):
    save_manifest(tiny_set(tmp_path / "one", name="one", lengths=(5,)))
    save_manifest(tiny_set(tmp_path / "two", name="two", lengths=(15,)))
    per_sample = open_mixture([("one", 3.0), ("two", 1.0)], tmp_path)
    np.testing.assert_allclose(per_sample.shares(), [0.75, 0.25])
    by_steps = open_mixture([("one", 3.0), ("two", 1.0)], tmp_path, balance=True)
    np.testing.assert_allclose(by_steps.shares(), [0.5, 0.5])
    assert open_mixture([("one", 3.0), ("two", 1.0)], tmp_path, without=("two",)).names == ("one",)
    with pytest.raises(UserError, match="unknown data set of the mixture 'three'"):
        open_mixture([("one", 3.0)], tmp_path, without=("three",))


def test_sets_that_are_not_prepared_are_named_all_at_once(tmp_path: Path):
    with pytest.raises(UserError, match=r"12 of the mixture's 12 data sets are not prepared.*fractal20220817_data, kuka"):
        open_mixture("rt_x", tmp_path)
    with pytest.raises(UserError, match="did you mean 'rt_x'"):
        open_mixture("rtx", tmp_path)
