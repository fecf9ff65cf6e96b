"""Depth maps on request: metres, nearest pixel, masked where a data set or a step has none."""

import dataclasses

import numpy as np
import pytest

from rtx.data.features import features_of
from rtx.data.loader import Loader, one_pass
from rtx.data.mixture import Mixture, MixtureEntry
from rtx.data.prepare import prepare
from rtx.data.record import DepthKey
from rtx.data.simulated import SIMULATED
from rtx.data.verify import verify
from rtx.errors import UserError, WorldError
from tests.data.tiny_sets import LETTERS, tiny_set
from tests.fakes import WIDOWX_FEATURES, feature, features_json, widowx_episode, write_rlds

ROLES = tuple(SIMULATED["sim_vx300s"].images)
RECORD = dataclasses.replace(
    SIMULATED["sim_vx300s"],
    depth={
        ROLES[0]: DepthKey(path="observation/depth"),
        ROLES[1]: DepthKey(path="observation/millimetres", metres_per_unit=0.001),
    },
)
FEATURES = {
    **WIDOWX_FEATURES,
    "steps/observation/depth": feature("tensor", (4, 6)),
    "steps/observation/millimetres": feature("tensor", (4, 6, 1), dtype="int32"),
}


def episode(number, num_steps):
    rng = np.random.default_rng(number)
    return {
        **widowx_episode(rng, num_steps),
        "steps/observation/depth": rng.uniform(0.1, 9, (num_steps, 4, 6)).astype(np.float32),
        "steps/observation/millimetres": rng.integers(0, 70_000, (num_steps, 4, 6, 1)),
    }


EPISODES = [episode(0, 3), episode(1, 4)]
OPTIONS = {"history": 2, "chunk": 1, "roles": ROLES, "tokenizers": LETTERS}


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    root = tmp_path_factory.mktemp("depth")
    source = write_rlds(root, RECORD.name, FEATURES, {"train": [[EPISODES[0]], [EPISODES[1]]], "val": [[]]})
    return prepare(RECORD, source, root / "out", num_workers=1)


def test_depth_comes_in_metres_with_the_window(prepared):
    mixture = Mixture(entries=(MixtureEntry(prepared=prepared),))
    (batch,) = one_pass(mixture, split="train", batch_size=7, image_size=(4, 6), depth=ROLES[:2], **OPTIONS)
    metres = np.concatenate([one["steps/observation/depth"] for one in EPISODES])
    millimetres = np.concatenate([one["steps/observation/millimetres"] for one in EPISODES])[..., 0] * np.float32(0.001)
    for role, stored in zip(ROLES, (metres, millimetres), strict=False):
        assert batch.depth[role].dtype == np.float32
        np.testing.assert_allclose(batch.depth[role][:, 1], stored, rtol=1e-6)
        np.testing.assert_array_equal(batch.depth_mask[role], batch.history_mask)
        real = batch.history_mask[:, 0]
        np.testing.assert_allclose(batch.depth[role][real, 0], stored[np.flatnonzero(real) - 1], rtol=1e-6)


def test_depth_is_resized_by_nearest_pixel_and_absent_unless_asked_for(prepared):
    mixture = Mixture(entries=(MixtureEntry(prepared=prepared),))
    (small,) = one_pass(mixture, split="train", batch_size=7, image_size=(2, 3), depth=ROLES[:1], **OPTIONS)
    stored = np.concatenate([one["steps/observation/depth"] for one in EPISODES])
    np.testing.assert_array_equal(small.depth[ROLES[0]][:, 1], stored[:, 1::2, 1::2])
    (without,) = one_pass(mixture, split="train", batch_size=7, image_size=(2, 3), **OPTIONS)
    assert without.depth is None
    assert without.depth_mask is None


def test_a_set_without_depth_in_a_mixture_is_masked(prepared, tmp_path):
    other = tiny_set(tmp_path / "tiny", roles=ROLES)
    mixture = Mixture(entries=(MixtureEntry(prepared=prepared), MixtureEntry(prepared=other)))
    with Loader(mixture, batch_size=32, image_size=(4, 6), seed=0, depth=ROLES[:1], **OPTIONS) as loader:
        batch = next(loader)
    has = batch.embodiment == 0
    assert 0 < has.sum() < 32
    assert batch.depth_mask[ROLES[0]][has, 1].all()
    assert not batch.depth_mask[ROLES[0]][~has].any()
    assert not batch.depth[ROLES[0]][~has].any()


def test_a_camera_without_depth_is_an_error(prepared):
    mixture = Mixture(entries=(MixtureEntry(prepared=prepared),))
    with pytest.raises(UserError, match=rf"unknown camera with depth 'tertiary'.*{ROLES[0]}"):
        one_pass(mixture, split="train", batch_size=7, image_size=(4, 6), depth=("tertiary",), **OPTIONS)
    with pytest.raises(UserError, match="unknown depth camera role"):
        prepared.split("train").depth("tertiary")


def test_verify_looks_at_depth_and_damage_is_named_with_its_place(prepared, tmp_path):
    found = verify(prepared)
    assert (found.num_problems, found.num_images) == (0, 7 * 2 * 2)
    bad = dataclasses.replace(
        prepared, depths={role: {**entry, "shape": [5, 6]} for role, entry in prepared.depths.items()}
    )  # as if the index pointed to something else
    mixture = Mixture(entries=(MixtureEntry(prepared=bad),))
    with pytest.raises(
        WorldError, match=rf"depth of camera '{ROLES[0]}', episode 0, step 0, bytes \d+ to \d+ of .*damaged float32"
    ):
        list(one_pass(mixture, split="train", batch_size=7, image_size=(4, 6), depth=ROLES[:1], **OPTIONS))
    assert verify(bad).num_problems == 14


def test_a_record_whose_depth_is_no_depth_is_refused():
    wrong = dataclasses.replace(
        RECORD, depth={ROLES[0]: DepthKey(path="observation/image_0"), ROLES[1]: DepthKey(path="observation/state")}
    )
    with pytest.raises(UserError, match=r"(?s)observation/image_0 has several numbers a pixel.*observation/state is no image"):
        wrong.validate(features_of(features_json(FEATURES), where="x"), where="x")
    with pytest.raises(UserError, match=r"metres_per_unit 0\.0 must be positive"):
        DepthKey(path="x", metres_per_unit=0.0)
