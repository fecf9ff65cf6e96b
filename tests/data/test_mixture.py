"""Mixtures: weights in both conventions, names, and a fingerprint that sees what matters."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from rtx.data.mixture import Mixture, MixtureEntry
from rtx.data.prepared import PreparedSet
from rtx.data.record import NO_ACTION
from rtx.errors import UserError
from tests.data.tiny_sets import tiny_set


@pytest.fixture(scope="module")
def sets(tmp_path_factory: pytest.TempPathFactory) -> tuple[PreparedSet, PreparedSet]:
    folder = tmp_path_factory.mktemp("sets")
    return tiny_set(folder / "a", name="a", lengths=(10, 20)), tiny_set(
        folder / "b", name="b", lengths=(10,), roles=("secondary",)
    )


def mix(sets: tuple[PreparedSet, ...], weights: tuple[float, ...] = (1.0, 2.0), balance: bool = False) -> Mixture:
    entries = tuple(MixtureEntry(prepared=s, weight=w) for s, w in zip(sets, weights, strict=True))
    return Mixture(entries=entries, balance=balance)


def test_weights_are_per_sample_or_times_steps(sets):
    assert mix(sets).shares() == pytest.approx((1 / 3, 2 / 3))
    assert mix(sets, balance=True).shares() == pytest.approx((30 / 50, 20 / 50))
    entry = mix(sets, weights=(3.0, 1.0)).order(seed=0).lookup(np.arange(1024)).entry
    assert np.bincount(entry).tolist() == [768, 256]


def test_equal_balanced_weights_mean_equal_epochs(sets):
    order = mix(sets, weights=(1.0, 1.0), balance=True).order(seed=0)
    np.testing.assert_allclose(order.epochs(100 * order.block_size), order.epochs(100 * order.block_size)[0], rtol=0.02)


@pytest.mark.parametrize("share", [0.5, 0.66])
@pytest.mark.parametrize("balance", [False, True])
def test_robots_get_their_share_whatever_the_weights(sets, tmp_path: Path, share: float, balance: bool):
    web = tuple(dataclasses.replace(tiny_set(tmp_path / n, name=n), layout=NO_ACTION) for n in ("c", "d"))
    whole = dataclasses.replace(mix((*sets, *web), weights=(1.0, 3.0, 10.0, 30.0), balance=balance), robot_share=share)
    plain = dataclasses.replace(whole, robot_share=None).shares()
    shares = whole.shares()
    assert whole.robots() == pytest.approx(share, abs=1e-12)
    assert sum(shares) == pytest.approx(1.0)
    assert shares[0] / shares[1] == pytest.approx(plain[0] / plain[1]), "among robots the weights count as before"
    assert shares[2] / shares[3] == pytest.approx(plain[2] / plain[3])
    order = whole.order(seed=0)
    drawn = order.lookup(np.arange(4 * order.block_size)).entry
    assert abs(np.isin(drawn, (0, 1)).mean() - share) < 0.01 * share
    assert whole.fingerprint("train") != dataclasses.replace(whole, robot_share=None).fingerprint("train")


def test_a_share_needs_both_kinds(sets):
    with pytest.raises(UserError, match="2 of 2 are of robots"):
        dataclasses.replace(mix(sets), robot_share=0.5)


def test_names_roles_and_languages(sets):
    mixture = mix(sets)
    assert mixture.names == ("a", "b")
    assert mixture.roles == ("primary", "wrist", "secondary")
    assert mixture.languages == ("", "do a", "do b", "undo a", "undo b")
    assert mixture.num_steps("train") == (30, 10)


def test_the_fingerprint_sees_content_and_weights_but_not_the_place(sets, tmp_path: Path):
    plain = mix(sets).fingerprint("train")
    assert mix((dataclasses.replace(sets[0], source=tmp_path), sets[1])).fingerprint("train") == plain
    assert mix(sets, weights=(2.0, 4.0)).fingerprint("train") == plain, "only ratios of weights matter"
    other = dataclasses.replace(sets[0], statistics=dataclasses.replace(sets[0].statistics, source="changed"))
    different = [mix((other, sets[1])), mix(sets[::-1]), mix(sets, weights=(1.0, 3.0)), mix(sets, balance=True)]
    assert len({plain, *(m.fingerprint("train") for m in different)}) == 5


def test_what_cannot_be_mixed_is_named(sets):
    with pytest.raises(UserError, match="no data sets"):
        Mixture(entries=())
    with pytest.raises(UserError, match=r"'a' has weight -1\.0.*'b' has weight nan"):
        mix(sets, weights=(-1.0, float("nan")))
    with pytest.raises(UserError, match="'a' appears 2 times"):
        mix((sets[0], sets[0]))


def test_the_table_tells_what_will_be_drawn(sets):
    table = mix(sets, weights=(3.0, 1.0)).describe()
    assert [line.split(maxsplit=5) for line in table.splitlines()[2:]] == [
        ["a", "2", "30", "75.00%", "75.00%", "primary, wrist"],
        ["b", "1", "10", "25.00%", "25.00%", "secondary"],
    ]


def test_assumed_conventions_are_told_once(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    prepared = dataclasses.replace(tiny_set(tmp_path), fingerprint="told once", unsettled={"gripper": "Is 1 open? one"})
    mixture = Mixture(entries=(MixtureEntry(prepared=prepared),))
    for _ in range(2):
        mixture.warn_unsettled()
    (told,) = caplog.messages
    assert "tiny: assumed where its sources disagree: Is 1 open? one (--choose gripper=...)" in told
