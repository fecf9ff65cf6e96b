"""A policy saved and opened again gives the same answers; a folder that holds none says so."""

import dataclasses

import numpy as np
import pytest

from rtx.errors import UserError, WorldError
from rtx.models.families import model_to_json
from rtx.serve.policy import load_policy
from rtx.train.checkpoint import SideFiles, save
from tests.small_policy import TOKENIZER, contract, observation, rt1_policy


def side(policy, **changes):
    whole = SideFiles(
        contract=policy.contract, model=model_to_json(policy.model), tokenizer=TOKENIZER.to_json(),
        data={"next_sample": 0, "fingerprint": "none"}, config={},
    )  # fmt: skip
    return dataclasses.replace(whole, **changes)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Steps 1 and 2 of one run; step 2 has twice the weights, and their average as in step 1."""
    folder, policy = tmp_path_factory.mktemp("run"), rt1_policy()
    variables = {"params": _scaled(policy._variables["params"], 1.0)}
    save(folder / "checkpoints", step=1, state={"variables": variables}, side=side(policy))
    doubled = {"params": _scaled(variables["params"], 2.0)}
    save(folder / "checkpoints", step=2, state={"variables": doubled, "ema": variables["params"]}, side=side(policy))
    return folder


def _scaled(tree, factor):
    return {k: _scaled(v, factor) if isinstance(v, dict) else np.asarray(v) * np.float32(factor) for k, v in tree.items()}


def test_the_same_answers_as_before_it_was_saved(run):
    here, seen = rt1_policy(), observation(steps=2, level=60)
    there = load_policy(run, step=1)
    assert there.contract == contract()
    assert there.fingerprint == here.fingerprint
    assert there.name == str(run / "checkpoints" / "1")
    np.testing.assert_array_equal(there.act(seen, robot="sim_panda").actions, here.act(seen, robot="sim_panda").actions)


def test_the_newest_is_opened_with_its_averaged_weights(run):
    newest = load_policy(run)
    assert newest.name.endswith("/2")
    assert newest.fingerprint == load_policy(run / "checkpoints" / "1").fingerprint


def test_what_is_not_there(run, tmp_path):
    with pytest.raises(UserError, match="no such folder"):
        load_policy(tmp_path / "none")
    with pytest.raises(UserError, match="holds no checkpoint"):
        load_policy(tmp_path)
    with pytest.raises(UserError, match="no checkpoint of step 7; it has 2, 1"):
        load_policy(run, step=7)


def test_a_damaged_contract_is_not_executed(tmp_path):
    policy = rt1_policy()
    folder = save(tmp_path, step=1, state={"variables": {"params": {"w": np.zeros(2)}}}, side=side(policy))
    path = folder / "contract.json"
    path.write_bytes(path.read_bytes().replace(b"sim_iiwa", b"sim_jiwa"))
    with pytest.raises(WorldError, match=r"contract\.json: contents differ"):
        load_policy(folder)


def test_a_tokenizer_of_another_kind_is_refused(tmp_path):
    folder = save(
        tmp_path,
        step=1,
        state={"variables": {"params": {"w": np.zeros(2)}}},
        side=side(rt1_policy(), tokenizer={"kind": "pieces"}),
    )
    with pytest.raises(UserError, match="not a word tokenizer"):
        load_policy(folder)
