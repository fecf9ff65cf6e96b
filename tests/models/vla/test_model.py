"""Both families against plain computations: float64 sums over full logits, and Python loops that run the whole network anew."""

import dataclasses
import functools
import json
import re

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from rtx.errors import UserError
from rtx.models.families import model_from_json, model_to_json
from rtx.models.protocol import Answers, Model, Remembers
from rtx.models.vla import inputs
from rtx.models.vla.config import EOS
from rtx.models.vla.model import VLA, network
from rtx.models.vla.planning import build_vla
from tests.models.vla.tiny_vla import FAMILIES, acting, batch, model_and_variables, paligemma, rows

RNG = jax.random.key(0)
families = pytest.mark.parametrize("family", FAMILIES.values(), ids=FAMILIES)


@functools.cache
def _logits(config):
    net = network(config)

    @jax.jit
    def run(params, *seen):
        return net.apply(params, net.apply(params, *seen), method="logits")

    return run


def full_logits(model, variables, b, row, answer):
    """float64 [len(answer), v] of one sample by one pass over all of it."""
    one = rows(b, np.array([row]))
    seen = (*inputs.pictures(model.config, one), inputs.prompt(model.config, one))
    padded = np.zeros((1, 17), np.int32)  # one width, so that there is one program
    padded[0, : len(answer)] = answer
    logits = _logits(model.config)({"params": variables["params"]}, *seen, jnp.asarray(padded))
    return np.asarray(logits, np.float64)[0, : len(answer)]


def entropy(logits, label):
    top = logits.max()
    return np.log(np.exp(logits - top).sum()) + top - logits[label]


@families
def test_loss_is_the_mean_over_what_is_to_be_said(family):
    model, variables = model_and_variables(family())
    b = batch(model.config)
    loss, metrics, kept = jax.jit(lambda v, x: model.loss(v, x, RNG, train=True))(variables, b)
    ids, known = model.actions.encode(jnp.asarray(b.action), jnp.asarray(b.action_mask))
    found = []
    for i in range(3):
        if i == 1:
            answer, counts = [5, 6, EOS], [True] * 3
        else:
            answer, counts = [*ids[i].tolist(), EOS], [*known[i].tolist(), True]
        logits = full_logits(model, variables, b, i, answer)
        found += [entropy(row, label) for row, label, counted in zip(logits, answer, counts, strict=True) if counted]
        if i != 1:
            allowed = [max(choices, key=lambda c: row[c]) for row, choices in zip(logits, model.actions.allowed, strict=False)]
            right = [a == id_ for a, id_, is_known in zip(allowed, answer, counts, strict=False) if is_known]
            np.testing.assert_allclose(metrics["accuracy"][i], np.mean(right), rtol=1e-6)
            told = np.asarray(model.actions.decode(jnp.asarray([allowed])))[0]
            moves = b.action_mask[i] & (np.arange(8) != 7)
            np.testing.assert_allclose(metrics["l1"][i], np.abs(told - b.action[i])[moves].mean(), rtol=1e-5)
        else:
            np.testing.assert_allclose(metrics["accuracy_text"][i], np.mean(logits.argmax(1) == answer), rtol=1e-6)
    np.testing.assert_allclose(loss, np.mean(found), rtol=1e-5)
    np.testing.assert_array_equal(metrics["tokens"], [17, 3, 7])
    assert kept == {}
    assert np.isnan(metrics["accuracy"][1])
    assert np.isnan(metrics["l1"][1])
    assert np.isnan(metrics["accuracy_text"][0])


@families
def test_only_what_is_to_be_said_counts(family):
    """Wider padding, unknown entries, the target of a robot, pictures that are not there: nothing of it is seen or learned."""
    model, variables = model_and_variables(family(text_length=9, answer_length=8))
    b = batch(dataclasses.replace(model.config, text_length=6, answer_length=5))
    grown = {name: np.pad(getattr(b, name), ((0, 0), (0, 3))) for name in ("text", "target")}
    grown["target"][0] = 7
    action = np.where(b.action_mask, b.action, 0.9).astype(np.float32)
    pictures = {role: image.copy() for role, image in b.images.items()}
    pictures["wrist"][2], pictures["primary"][2, 0] = 77, 88
    same = dataclasses.replace(b, action=action, images=pictures, **grown)
    run = jax.jit(jax.value_and_grad(lambda p, x: model.loss({"params": p}, x, RNG, train=True)[0]))
    (loss, grads), (again, grads_again) = run(variables["params"], b), run(variables["params"], same)
    np.testing.assert_allclose(loss, again, rtol=1e-6)
    difference = optax.tree.norm(jax.tree.map(jnp.subtract, grads, grads_again))
    assert difference <= 1e-5 * optax.tree.norm(grads), "sums of another length are rounded otherwise, and no more"
    other = dataclasses.replace(b, target=np.where(b.target == 6, 9, b.target))
    assert abs(float(run(variables["params"], other)[0] - loss)) > 1e-3


@families
def test_an_action_is_the_likeliest_of_the_allowed_ids_token_by_token(family):
    model, variables = model_and_variables(family(proprio_dims=3))
    b = batch(model.config)
    b = dataclasses.replace(b, action_mask=np.ones_like(b.action_mask))
    act = jax.jit(model.act)
    actions = act(variables, acting(b), RNG)
    for i in range(3):
        ids = []
        for allowed in model.actions.allowed:
            logits = full_logits(model, variables, b, i, [*ids, EOS])[-1]
            ids.append(max(allowed, key=lambda choice: logits[choice]))
        np.testing.assert_array_equal(model.actions.decode(jnp.asarray([ids]))[0], actions[i])
        np.testing.assert_array_equal(act(variables, acting(rows(b, np.array([i]))), RNG)[0], actions[i])
    assert len(np.unique(actions)) > 3  # these weights do tell things apart
    act(variables, acting(batch(model.config, seed=1)), RNG)
    assert act._cache_size() == 2  # batches of three and of one


@families
def test_the_mean_bin_is_that_of_a_plain_loop(family):
    model, variables = model_and_variables(family(proprio_dims=3, bin_choice="mean"))
    b = batch(model.config)
    b = dataclasses.replace(b, action_mask=np.ones_like(b.action_mask))
    actions = jax.jit(model.act)(variables, acting(b), RNG)
    for i in range(3):
        ids = []
        for allowed in model.actions.allowed:
            logits = full_logits(model, variables, b, i, [*ids, EOS])[-1]
            if len(allowed) == 2:  # goes on or ends: nothing lies between
                ids.append(max(allowed, key=lambda choice: logits[choice]))
                continue
            chances = np.exp(np.array([logits[choice] for choice in allowed], np.float64))
            ids.append(allowed[round(float(chances @ np.arange(len(allowed)) / chances.sum()))])
        np.testing.assert_array_equal(model.actions.decode(jnp.asarray([ids]))[0], actions[i])
    likeliest = build_vla(dataclasses.replace(model.config, bin_choice="likeliest"))
    assert (jax.jit(likeliest.act)(variables, acting(b), RNG) != actions).any()


@families
def test_an_answer_is_that_of_a_plain_loop(family):
    model, variables = model_and_variables(family())
    b = batch(model.config, size=4)
    answer = jax.jit(lambda v, x: model.answer(v, x, RNG, max_tokens=6))
    found = np.asarray(answer(variables, acting(b)))
    for i in range(4):
        ids = []
        while len(ids) < 6 and EOS not in ids:
            logits = full_logits(model, variables, b, i, [*ids, EOS])[-1]
            ids.append(int(logits[1:].argmax()) + 1)  # padding is nothing to say
        assert found[i].tolist() == ids + [0] * (6 - len(ids))
        np.testing.assert_array_equal(answer(variables, acting(rows(b, np.array([i]))))[0], found[i])


def test_samples_follow_the_temperature_and_the_key():
    model, variables = model_and_variables(paligemma())
    b = acting(batch(model.config))
    act = jax.jit(lambda key, t: model.act(variables, b, key, temperature=t), static_argnums=1)
    first, again, other = act(RNG, 2.0), act(RNG, 2.0), act(jax.random.key(1), 2.0)
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()
    values = np.linspace(-1, 1, 8, dtype=np.float32)
    assert np.isclose(first[..., None], values, atol=1e-6).any(-1).all()
    assert set(np.unique(first[..., 7])) <= {-1.0, 1.0}
    np.testing.assert_array_equal(act(RNG, 1e-4), act(RNG, 0.0))


@families
def test_in_one_pass_each_token_is_chosen_without_the_others(family):
    model, variables = model_and_variables(family(head="parallel"))
    b = batch(model.config)
    actions = jax.jit(model.act)(variables, acting(b), RNG)
    blanks = inputs.placeholders(model.config, 16).tolist()
    for i in (0, 2):
        logits = full_logits(model, variables, b, i, [*blanks, EOS])
        ids = [max(allowed, key=lambda c: row[c]) for row, allowed in zip(logits, model.actions.allowed, strict=False)]
        np.testing.assert_array_equal(model.actions.decode(jnp.asarray([ids]))[0], actions[i])


@pytest.mark.parametrize("head", ["l1", "diffusion", "flow"])
def test_heads_of_numbers_read_the_same_states_in_training_and_acting(head):
    model, variables = model_and_variables(paligemma(head=head, head_width=16))
    b = batch(model.config)
    loss, metrics, _ = jax.jit(lambda v: model.loss(v, b, RNG, train=False))(variables)
    assert np.isfinite(loss)
    assert np.isnan(metrics["l1"][1])
    assert "accuracy" not in metrics
    np.testing.assert_array_equal(metrics["tokens"], [16, 3, 6])
    actions = jax.jit(model.act)(variables, dataclasses.replace(b, action=None, target=None), RNG)
    error = np.abs(actions - b.action)[..., :7]
    shown = b.action_mask[..., :7]
    np.testing.assert_allclose([metrics["l1"][0], metrics["l1"][2]], [error[i][shown[i]].mean() for i in (0, 2)], rtol=1e-4)


def test_a_fresh_model_and_its_description():
    model = VLA(paligemma())
    variables = model.init(RNG, acting(batch(model.config)))
    assert set(variables["params"]) == {"img", "llm"}
    assert isinstance(model, Model)
    assert isinstance(model, Answers)
    assert not isinstance(model, Remembers)
    for config in (paligemma(), FAMILIES["pali"](plan=True, plan_end=(5,), action_ids=tuple(range(20, 28)))):
        told = json.loads(json.dumps(model_to_json(model_from_json(model_to_json(VLA(config))))))
        assert model_from_json(told).config == config
    data = model_to_json(model)
    wrong = {**data, "config": {**data["config"], "vision": {**data["config"]["vision"], "widht": 3}}}
    with pytest.raises(UserError, match=r"vision 'widht'; did you mean 'width'"):
        model_from_json(wrong)


def test_quantile_bins_must_have_been_fitted():
    config = paligemma(bins="quantile")
    with pytest.raises(UserError, match="bin_values"):
        VLA(config).loss({}, batch(config), RNG, train=False)


@families
def test_in_one_pass_it_learns_by_heart(family):
    model = build_vla(family(head="parallel"))
    b = rows(batch(model.config), np.array([0, 1]))
    optimizer = optax.adam(1e-2)
    params = model.init(RNG, b)["params"]

    @jax.jit
    def learn(params):
        def step(state, _):
            params, opt = state
            grads, metrics = jax.grad(lambda p: model.loss({"params": p}, b, RNG, train=True)[:2], has_aux=True)(params)
            updates, opt = optimizer.update(grads, opt)
            return (optax.apply_updates(params, updates), opt), metrics["accuracy"][0]

        (params, _), accuracy = jax.lax.scan(step, (params, optimizer.init(params)), length=100)
        return params, accuracy

    params, accuracy = learn(params)
    assert accuracy[0] < 0.6
    assert accuracy[-1] == 1.0
    expected = model.actions.decode(model.actions.encode(jnp.asarray(b.action), jnp.asarray(b.action_mask))[0])
    np.testing.assert_array_equal(jax.jit(model.act)({"params": params}, acting(b), RNG)[0], expected[0])


@families
def test_every_matrix_has_an_axis_to_be_split_over(family):
    model = VLA(family())
    shapes = jax.eval_shape(model.init, RNG, batch(model.config))["params"]
    vectors = ("scale", "bias", "pos_embedding", "rel_embedding")
    for path, leaf in jax.tree_util.tree_leaves_with_path(shapes):
        name = jax.tree_util.keystr(path, simple=True, separator="/")
        axes = next((axes for pattern, axes in model.param_axes() if re.search(pattern, name)), None)
        if axes is None:
            assert name.endswith(vectors), name
        else:
            assert len(axes) == leaf.ndim, (name, leaf.shape)
