"""FAST through the model: what the host writes, what the network learns of it, and chunks that are whole whatever it wants."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from rtx.errors import UserError
from rtx.models.families import model_from_json, model_to_json
from rtx.models.protocol import Spells
from rtx.models.vla import fast_answers
from rtx.models.vla.config import EOS
from rtx.models.vla.decode import write_planned
from rtx.models.vla.fast import FastActions
from rtx.models.vla.model import VLA
from rtx.models.vla.planning import build_vla
from tests.models.vla.test_decode import reader_of, states
from tests.models.vla.test_model import entropy, full_logits
from tests.models.vla.tiny_vla import FAMILIES, acting, batch, model_and_variables, paligemma, rows

RNG = jax.random.key(0)
# Symbols -4 .. 4 are tokens 0 .. 8, so 4 is zero: two, four and eight zeros are one token each.
FAST = {"bins": "fast", "num_bins": 16, "fast_scale": 3.0, "merges": ((4, 4), (9, 9), (10, 10))}
families = pytest.mark.parametrize("family", FAMILIES.values(), ids=FAMILIES)


def loaded(config, size=3):
    """A batch whose robots stand still, or move as they like."""
    b = batch(config, size=size)
    still = np.repeat(b.action[:, :1], config.chunk, axis=1)
    return dataclasses.replace(b, action=np.where(np.arange(size)[:, None, None] == 0, still, b.action))


@pytest.mark.parametrize("plan_end", [(), (7, 8)])
def test_the_host_writes_what_robots_are_to_say(plan_end):
    model = build_vla(paligemma(**FAST, plan=bool(plan_end), plan_end=plan_end))
    assert isinstance(model, Spells)
    b, fast = loaded(model.config), model.actions
    written = model.spelled(b)
    assert written.target.shape == (3, model.config.target_length)
    assert model.config.target_length == (5 + 17 if plan_end else 17)
    plan = [9, 8, *plan_end] if plan_end else []
    answer = jax.jit(lambda x: fast_answers.answer(model.config, fast, x))(written)
    for i, dims in ((0, 8), (2, 3)):
        said = written.target[i][written.target[i] != 0].tolist()
        said, ids = said[: len(plan)] if i == 0 else [], said[len(plan) if i == 0 else 0 : -1]
        assert said == (plan if i == 0 else [])
        assert written.target[i].tolist()[len(said) + len(ids)] == EOS
        back = fast.read(ids)
        assert np.abs(back - b.action[i])[:, :dims].max() <= fast.error_bound + 1e-6
        assert np.abs(back[:, dims:]).max(initial=0) == 0, "what it lacks is said as 0"
        assert answer.start[i] == len(said)
        assert int(answer.known[i].sum()) == len(ids)
        assert int(answer.is_text[i].sum()) == len(said)
        np.testing.assert_array_equal(np.asarray(fast.ids)[answer.bins[i][: len(ids)]], ids)
        np.testing.assert_allclose(fast.unbin(jnp.where(answer.known, answer.bins, -1))[i], back, atol=1e-6)
    assert answer.known[0].sum() < 16, "standing still is short"
    assert written.target[1].tolist()[:4] == [5, 6, EOS, 0]
    assert not answer.known[1].any()
    assert int(answer.is_text[1].sum()) == 3
    np.testing.assert_array_equal(answer.counted, written.target != 0)


@families
def test_loss_is_the_mean_over_the_tokens_of_the_chunk(family):
    model, variables = model_and_variables(family(**FAST))
    b = model.spelled(loaded(model.config))
    run = jax.jit(lambda x: model.loss(variables, x, RNG, train=True))
    loss, metrics, _ = run(b)
    fast, found = model.actions, []
    for i in range(3):
        answer = b.target[i][b.target[i] != 0].tolist()
        logits = full_logits(model, variables, b, i, answer)
        found += [entropy(row, label) for row, label in zip(logits, answer, strict=True)]
        if i != 1:
            right, missing = [], fast.length
            for row, id_ in zip(logits, answer[:-1], strict=False):
                may = [t for t in range(fast.num_tokens) if fast.lengths[t] <= missing]
                right.append(fast.ids[max(may, key=lambda t: row[fast.ids[t]])] == id_)
                missing -= fast.lengths[fast.ids.index(id_)]
            np.testing.assert_allclose(metrics["accuracy"][i], np.mean(right), rtol=1e-6)
        np.testing.assert_array_equal(metrics["tokens"][i], len(answer))
    np.testing.assert_allclose(loss, np.mean(found), rtol=1e-5)
    assert np.isnan(metrics["accuracy"][1])
    assert "l1" not in metrics
    forgotten = dataclasses.replace(b, target=np.where(np.arange(3)[:, None] == 1, b.target, 0))
    assert np.isnan(run(forgotten)[0]), "robots that were never told what to say"
    with pytest.raises(UserError, match=r"VLA\.spelled"):
        model.loss(variables, dataclasses.replace(b, target=None), RNG, train=True)


@families
def test_every_chunk_is_whole_and_the_likeliest_token_by_token(family):
    model, variables = model_and_variables(family(**FAST))
    b = dataclasses.replace(batch(model.config, size=8), action_mask=np.ones((8, 2, 8), bool))
    act = jax.jit(lambda x, key, t: model.act(variables, x, key, temperature=t), static_argnums=2)
    actions, fast = act(acting(b), RNG, 0.0), model.actions
    assert np.isfinite(actions).all()
    for i in (0, 5):
        ids, missing = [], fast.length
        while missing:
            logits = full_logits(model, variables, b, i, [*ids, EOS])[-1]
            token = max((t for t in range(fast.num_tokens) if fast.lengths[t] <= missing), key=lambda t: logits[fast.ids[t]])
            ids, missing = [*ids, fast.ids[token]], missing - fast.lengths[token]
        np.testing.assert_allclose(fast.read(ids), actions[i], atol=1e-6)
    for seed in range(20):
        drawn = act(acting(b), jax.random.key(seed), 3.0)
        assert np.isfinite(drawn).all()
        assert np.abs(drawn).max() <= 1


def test_two_samples_are_learned_by_heart():
    model = build_vla(paligemma(**FAST))
    b = rows(loaded(model.config), np.array([0, 2]))
    b = dataclasses.replace(b, action_mask=np.ones_like(b.action_mask))
    told, optimizer = model.spelled(b), optax.adam(1e-2)
    params = model.init(RNG, told)["params"]

    @jax.jit
    def learn(params):
        def step(state, _):
            params, opt = state
            grads, metrics = jax.grad(lambda p: model.loss({"params": p}, told, RNG, train=True)[:2], has_aux=True)(params)
            updates, opt = optimizer.update(grads, opt)
            return (optax.apply_updates(params, updates), opt), metrics["accuracy"]

        (params, _), accuracy = jax.lax.scan(step, (params, optimizer.init(params)), length=150)
        return params, accuracy

    params, accuracy = learn(params)
    assert accuracy[0].max() < 0.6
    assert accuracy[-1].tolist() == [1.0, 1.0]
    error = np.abs(jax.jit(model.act)({"params": params}, acting(b), RNG) - b.action)
    assert error.max() <= model.actions.error_bound + 1e-5


def test_each_row_says_its_chunk_after_its_own_plan():
    # symbols -1, 0, 1 are ids 8, 9, 10 and "0 0" is 11; a chunk has three symbols
    fast = FastActions(chunk=1, action_dims=3, merges=((1, 1),), ids=(8, 9, 10, 11), scale=1.0)
    table = [
        [4, 5, 6, 11, 10, 0, 0, 0],  # two zeros in one token, then 1
        [5, 6, 10, 8, 11, 7, 7, 7],  # only one symbol is missing, so the two zeros are no choice: the next best is one zero
        [4, 4, 4, 1, 0, 0, 0, 0],  # no end of the plan
    ]
    found = jax.jit(lambda: write_planned(reader_of(table), fast, states(3, 0), jnp.int32(0), plan_end=(5, 6), max_plan=5))()
    assert found.is_action.tolist() == [True, True, False]
    assert found.bins.tolist()[:2] == [[3, 2, -1], [2, 0, 1]]
    np.testing.assert_allclose(fast.unbin(found.bins)[:2, 0], [[0, 0, 1], [1, -1, 0]], atol=1e-6)


def test_what_is_wrong_with_a_configuration():
    for changes, match in (
        ({"num_bins": 11}, "must be at least 12"),
        ({"head": "parallel"}, "needs head='tokens'"),
        ({"bins": "uniform"}, "set bins='fast'"),
        ({"fast_scale": 0.0}, "must be above 0"),
        ({"bin_values": ((0.0,),)}, "set bins='quantile'"),
    ):
        with pytest.raises(UserError, match=match):
            paligemma(**{**FAST, **changes})
    config = paligemma(**FAST)
    assert model_from_json(model_to_json(VLA(config))).config == config
    assert VLA(paligemma()).spelled(b := batch(paligemma())) is b
