"""Answers that go on from what the robot does meanwhile: forced prefixes against a plain loop, plans, heads, and who cannot."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rtx.models.protocol import Continues, Promise
from rtx.models.vla.config import EOS
from rtx.models.vla.fast import symbol_limit
from tests.models.vla.test_model import full_logits
from tests.models.vla.test_planning import planning
from tests.models.vla.tiny_vla import FAMILIES, acting, batch, model_and_variables, paligemma, rows

RNG = jax.random.key(0)
HELD = (0, 1, 2)
families = pytest.mark.parametrize("family", FAMILIES.values(), ids=FAMILIES)


def promise(config, held=HELD, *, seed=5):
    old = np.random.default_rng(seed).uniform(-1, 1, (len(held), config.chunk, config.action_dims))
    return Promise(jnp.asarray(old, jnp.float32), jnp.asarray(held, jnp.int32), jnp.asarray(held, jnp.int32))


def shown(config):
    """Three robots; of the third's dimensions only three are known."""
    b = batch(config)
    mask = np.ones_like(b.action_mask)
    mask[2, :, 3:] = False
    return dataclasses.replace(acting(b), action_mask=mask)


@families
def test_a_forced_prefix_is_a_plain_loops(family):
    """The whole network anew for each token; held ones are not chosen, and what a robot lacks is said as in training."""
    model, variables = model_and_variables(family())
    assert model.continuation == "forced"
    assert isinstance(model, Continues)
    b, told = shown(model.config), promise(model.config)
    act = jax.jit(model.act)
    free, actions = act(variables, b, RNG), act(variables, b, RNG, promise=told)
    said = model.actions.encode(told.action, jnp.asarray(b.action_mask))[0].tolist()
    for i in range(3):
        ids = []
        for position, allowed in enumerate(model.actions.allowed):
            logits = full_logits(model, variables, b, i, [*ids, EOS])[-1]
            chosen = max(allowed, key=lambda choice: logits[choice])
            ids.append(said[i][position] if position < HELD[i] * 8 else chosen)
        np.testing.assert_array_equal(model.actions.decode(jnp.asarray([ids]))[0], actions[i])
    np.testing.assert_array_equal(actions[0], free[0])
    moves = np.arange(8) != 7  # terminate has two bins
    half_a_bin = 1 / 7 + 1e-6
    assert np.abs(actions[1, 0] - told.action[1, 0])[moves].max() <= half_a_bin
    assert np.abs(actions[2, :, :3] - told.action[2, :, :3]).max() <= half_a_bin
    assert np.any(actions[1, 1] != free[1, 1]), "the rest goes on from another beginning"
    act(variables, b, RNG, promise=promise(model.config, (2, 0, 1), seed=6))
    assert act._cache_size() == 2  # without one, and with any


def test_out_of_range_is_clipped_as_in_training():
    model, variables = model_and_variables(paligemma())
    b, told = shown(model.config), promise(model.config)
    act = jax.jit(lambda told: model.act(variables, b, RNG, promise=told))
    far = told._replace(action=told.action * 50)
    np.testing.assert_array_equal(act(far), act(told._replace(action=jnp.clip(far.action, -1, 1))))


def test_an_action_after_a_plan_is_forced_too():
    model, variables, b, said = planning(FAMILIES["paligemma"])
    b = dataclasses.replace(b, action_mask=np.ones((1, 2, 8), bool))
    told = promise(model.config, (1,))
    thought = jax.jit(model.think)(variables, b, RNG, promise=told)
    np.testing.assert_array_equal(thought.plan[0, :3], said)
    bins = model.actions.bin(told.action)
    np.testing.assert_array_equal(thought.bins[0, :8], bins[0, :8])
    ids = [*said.tolist(), *np.asarray(model.actions.ids)[np.asarray(bins[0, :8])].tolist()]
    plain = model_and_variables(dataclasses.replace(model.config, plan=False, plan_end=()))[0]
    logits = full_logits(plain, variables, b, 0, [*ids, EOS])[-1]
    first = max(model.actions.allowed[8], key=lambda choice: logits[choice])
    assert model.actions.ids[int(thought.bins[0, 8])] == first
    memory = model.remember(variables, b)
    newest = dataclasses.replace(
        b, images={r: x[:, -1:] for r, x in b.images.items()}, image_mask={r: x[:, -1:] for r, x in b.image_mask.items()},
        history_mask=b.history_mask[:, -1:], proprio=b.proprio[:, -1:],
    )  # fmt: skip
    action, _ = jax.jit(model.act_again)(variables, memory, newest, RNG, told)
    np.testing.assert_array_equal(action[0, 0], model.decoded(bins)[0, 0])


@pytest.mark.parametrize("head", ["diffusion", "flow"])
def test_heads_of_numbers_are_guided(head):
    model, variables = model_and_variables(paligemma(head=head, head_width=16))
    assert model.continuation == "guided"
    b, told = shown(model.config), promise(model.config)
    act = jax.jit(model.act)
    free, actions = act(variables, b, RNG), act(variables, b, RNG, promise=told)
    np.testing.assert_allclose(actions[0], free[0], atol=1e-4)
    np.testing.assert_array_equal(actions[1, 0], told.action[1, 0])
    assert np.abs(actions[1, 1] - free[1, 1]).max() > 1e-3
    assert np.abs(actions).max() <= 1


def test_who_answers_at_once_says_so_and_is_not_led():
    model, variables = model_and_variables(paligemma(head="parallel"))
    b, act = shown(model.config), jax.jit(model.act)
    np.testing.assert_array_equal(act(variables, b, RNG, promise=promise(model.config)), act(variables, b, RNG))
    symbols = 2 * symbol_limit(2, 10.0) + 1
    fast = paligemma(bins="fast", num_bins=symbols, language=dataclasses.replace(paligemma().language, vocab=symbols + 64))
    for config in (model.config, paligemma(head="l1"), paligemma(chunk=1), fast):
        assert dataclasses.replace(model, config=config).continuation == "spliced"


def test_rows_of_plans_do_not_know_of_each_other():
    """One row thinks while another follows its plan: each says what it says alone."""
    model, variables, b, _ = planning(FAMILIES["paligemma"])
    other = rows(acting(batch(model.config, seed=9)), np.array([0]))
    newest = [
        dataclasses.replace(
            x, images={r: i[:, -1:] for r, i in x.images.items()}, image_mask={r: m[:, -1:] for r, m in x.image_mask.items()},
            history_mask=x.history_mask[:, -1:], proprio=x.proprio[:, -1:],
        )
        for x in (b, other)
    ]  # fmt: skip
    act_again = jax.jit(model.act_again)
    first = act_again(variables, model.remember(variables, b), newest[0], RNG)[1]  # has a plan
    fresh = model.remember(variables, other)
    alone = [act_again(variables, memory, now, RNG) for memory, now in ((first, newest[0]), (fresh, newest[1]))]
    joined = jax.tree.map(lambda *leaves: jnp.concatenate(leaves), first, fresh)
    now = jax.tree.map(lambda *leaves: np.concatenate(leaves), *newest)
    actions, memory = act_again(variables, joined, now, RNG)
    assert memory.age.tolist() == [2, 1]
    for i, (action, kept) in enumerate(alone):
        np.testing.assert_array_equal(actions[i : i + 1], action)
        np.testing.assert_array_equal(memory.plan[i : i + 1], kept.plan)
        assert int(memory.age[i]) == int(kept.age[0])
