"""Dice that do not depend on batching, and a network that has forgotten everything but its shape."""

import dataclasses

import numpy as np
import pytest

from rtx.errors import UserError
from rtx.eval.baselines import RandomPolicy, untrained
from rtx.eval.rollout import Policy as Playable
from rtx.spec import Observation
from tests import small_policy
from tests.eval.point_robot import contract

CONTRACT = contract(chunk=5)


def observation(number: int, instruction: str = "reach the red cube") -> Observation:
    rng = np.random.default_rng(number)
    images = {role: rng.integers(0, 255, (1, 16, 16, 3), np.uint8) for role in ("primary", "wrist")}
    mask = np.ones(1, bool)
    proprio = rng.uniform(-1, 1, (1, 10)).astype(np.float32)
    return Observation(
        images=images, image_mask=dict.fromkeys(images, mask), proprio=proprio, instruction=instruction, stamp_ns=number
    )


def test_random_does_not_depend_on_batching_or_order():
    policy, seen = RandomPolicy(CONTRACT), [observation(i) for i in range(4)]
    together = policy.act_batch(seen, ["sim_panda"] * 4)
    alone = [RandomPolicy(CONTRACT).act_batch([one], ["sim_panda"])[0] for one in reversed(seen)]
    for a, b in zip(together, reversed(alone), strict=True):
        np.testing.assert_array_equal(a.actions, b.actions)


def test_random_differs_by_scene_instruction_seed_and_moment():
    base = observation(0)
    others = [observation(1), dataclasses.replace(base, instruction="push"), dataclasses.replace(base, stamp_ns=7)]
    first = RandomPolicy(CONTRACT).act_batch([base], ["sim_panda"])[0].actions
    for other in others:
        assert not np.allclose(first, RandomPolicy(CONTRACT).act_batch([other], ["sim_panda"])[0].actions)
    assert not np.allclose(first, RandomPolicy(CONTRACT, seed=1).act_batch([base], ["sim_panda"])[0].actions)


def test_random_fills_the_range_of_the_data_and_no_more():
    policy = RandomPolicy(CONTRACT)
    actions = np.concatenate([chunk.actions for i in range(300) for chunk in policy.act_batch([observation(i)], ["sim_ur5e"])])
    low = np.array([-0.05] * 3 + [-0.2] * 3 + [0, 0])
    high = np.array([0.05] * 3 + [0.2] * 3 + [1, 1])
    assert np.all(actions >= low - 1e-6)
    assert np.all(actions <= high + 1e-6)
    np.testing.assert_allclose(actions.mean(0), (low + high) / 2, atol=0.03)
    np.testing.assert_allclose(actions.std(0), (high - low) / 12**0.5, rtol=0.1)


def test_random_knows_only_the_robots_of_the_contract():
    with pytest.raises(UserError, match="unknown robot 'sim_jako'"):
        RandomPolicy(CONTRACT).act_batch([observation(0)], ["sim_jako"])


@pytest.fixture(scope="module")
def trained():
    return small_policy.rt1_policy()


@pytest.fixture(scope="module")
def fresh(trained):
    return untrained(trained, seed=4)


def test_untrained_is_the_same_network_with_other_weights(trained, fresh):
    assert (fresh.model, fresh.contract, fresh.tokenizer) == (trained.model, trained.contract, trained.tokenizer)
    assert fresh.fingerprint != trained.fingerprint
    chunks = [policy.act(small_policy.observation(), robot="sim_panda").actions for policy in (trained, fresh)]
    assert chunks[0].shape == (3, 8)
    assert not np.allclose(*chunks)


def test_untrained_is_reproducible_from_its_seed(trained, fresh):
    assert untrained(trained, seed=4).fingerprint == fresh.fingerprint


def test_everything_that_plays_fits_what_a_rollout_asks_for(trained):
    assert isinstance(trained, Playable)
    assert isinstance(RandomPolicy(CONTRACT), Playable)
