"""The policy as the train loop and the server see it."""

from __future__ import annotations

import dataclasses
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from rtx.errors import UserError
from rtx.models.protocol import Model, Variables
from rtx.models.rt1.config import tiny
from rtx.models.rt1.model import RT1, decode, num_parameters, soft_labels
from rtx.spec import Batch
from tests.models.rt1.small import CONFIG, random_batch

RNG = jax.random.PRNGKey(0)
MODEL = RT1(CONFIG)
act = jax.jit(partial(MODEL.act, rng=RNG))
logits = jax.jit(partial(MODEL.logits, rng=RNG, train=False))
evaluate = jax.jit(partial(MODEL.loss, rng=RNG, train=False))


@jax.jit
def loss_and_gradient(variables: Variables, batch: Batch) -> tuple[jax.Array, Any]:
    return jax.value_and_grad(lambda v: MODEL.loss(v, batch, RNG, train=True)[0])(variables)


@pytest.fixture(scope="module")
def variables() -> Variables:
    """FiLM starts as identity; moved off zero so that words matter."""
    fresh = jax.jit(MODEL.init)(RNG, random_batch(CONFIG))
    leaves, tree = jax.tree.flatten(fresh)
    keys = jax.random.split(RNG, len(leaves))
    return jax.tree.unflatten(tree, [x + 0.1 * jax.random.normal(k, x.shape) for x, k in zip(leaves, keys, strict=True)])


def replace(batch: Batch, **changes: Any) -> Batch:
    return dataclasses.replace(batch, **changes)


def changed(array: np.ndarray, index: Any) -> np.ndarray:
    """A copy with other content at `index`."""
    copy = array.copy()
    copy[index] = ~copy[index] if copy.dtype == bool else 7 - copy[index] if copy.dtype == np.int32 else copy[index] // 2
    return copy


def test_satisfies_the_protocol(variables: Variables) -> None:
    assert isinstance(MODEL, Model)
    assert set(variables) == {"params"}
    loss, metrics, kept = evaluate(variables, random_batch(CONFIG))
    assert loss.dtype == jnp.float32
    assert kept == {}
    assert {"loss", "accuracy", "categorical_accuracy", "l1", "l1_first"} == set(metrics)
    assert all(np.isfinite(value).all() for value in metrics.values())


def test_acts_without_actions_in_range_and_the_same_twice(variables: Variables) -> None:
    batch = replace(random_batch(CONFIG), action=None, action_mask=None)
    first, second = act(variables, batch), act(variables, batch)
    assert first.shape == (4, CONFIG.chunk, CONFIG.action_dims)
    assert first.dtype == jnp.float32
    assert np.max(np.abs(first)) <= 1
    np.testing.assert_array_equal(first, second)


def test_samples_of_a_batch_do_not_see_each_other(variables: Variables) -> None:
    batch = random_batch(CONFIG)
    other = jax.tree.map(lambda x: np.concatenate([x[:1], x[2:], x[:1]]), batch)
    np.testing.assert_allclose(act(variables, batch)[0], act(variables, other)[0], atol=1e-5)
    np.testing.assert_allclose(act(variables, batch)[2], act(variables, other)[1], atol=1e-5)


@pytest.mark.parametrize("part", ["text", "proprio", "embodiment", "primary", "wrist"])
def test_every_input_matters(variables: Variables, part: str) -> None:
    batch = random_batch(CONFIG)
    if part in CONFIG.roles:
        other = replace(batch, images=dict(batch.images) | {part: batch.images[part] // 2})
    elif part == "proprio":
        other = replace(batch, proprio=-batch.proprio)
    elif part == "text":
        other = replace(batch, text=CONFIG.text_vocabulary - batch.text)
    else:
        other = replace(batch, embodiment=(batch.embodiment + 1) % CONFIG.max_embodiments)
    assert np.abs(logits(variables, batch) - logits(variables, other)).max() > 1e-3


def test_padded_chunk_steps_change_neither_loss_nor_gradient(variables: Variables) -> None:
    mask = np.ones((4, CONFIG.chunk, CONFIG.action_dims), bool)
    mask[1, 1:], mask[2, :, 3] = False, False
    batch = replace(random_batch(CONFIG), action_mask=mask)
    garbage = replace(batch, action=np.where(mask, batch.action, np.float32(0.77)))
    (loss, gradient), (same, same_gradient) = loss_and_gradient(variables, batch), loss_and_gradient(variables, garbage)
    np.testing.assert_allclose(loss, same, rtol=1e-6)
    jax.tree.map(partial(np.testing.assert_allclose, atol=1e-6), gradient, same_gradient)
    everything, _ = loss_and_gradient(variables, replace(garbage, action_mask=np.ones_like(mask)))
    assert abs(everything - loss) > 1e-4


def test_a_batch_without_valid_actions_has_zero_loss_and_gradient(variables: Variables) -> None:
    batch = random_batch(CONFIG)
    loss, gradient = loss_and_gradient(variables, replace(batch, action_mask=np.zeros_like(batch.action_mask)))
    assert loss == 0
    assert all(np.all(leaf == 0) for leaf in jax.tree.leaves(gradient))


def test_masked_history_is_invisible(variables: Variables) -> None:
    batch = random_batch(CONFIG)
    mask = np.ones((4, 2), bool)
    mask[:, 0] = False
    masked = replace(batch, history_mask=mask)
    images = {role: changed(image, np.s_[:, 0]) for role, image in batch.images.items()}
    proprio = np.concatenate([-batch.proprio[:, :1], batch.proprio[:, 1:]], 1)
    np.testing.assert_allclose(
        act(variables, masked), act(variables, replace(masked, images=images, proprio=proprio)), atol=1e-6
    )
    assert np.abs(logits(variables, batch) - logits(variables, masked)).max() > 1e-3


def test_masked_camera_is_invisible(variables: Variables) -> None:
    batch = random_batch(CONFIG)
    masked = replace(batch, image_mask=dict(batch.image_mask) | {"wrist": np.zeros((4, 2), bool)})
    blind = replace(masked, images=dict(batch.images) | {"wrist": batch.images["wrist"] // 2})
    np.testing.assert_allclose(act(variables, masked), act(variables, blind), atol=1e-6)


def test_nothing_valid_at_all_stays_finite(variables: Variables) -> None:
    batch = random_batch(CONFIG)
    empty = replace(batch, history_mask=np.zeros((4, 2), bool), text=np.zeros_like(batch.text))
    loss, gradient = loss_and_gradient(variables, empty)
    assert np.isfinite(loss)
    assert all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves(gradient))


def test_padding_words_do_not_matter_and_robots_beyond_the_table_are_clipped(variables: Variables) -> None:
    batch = random_batch(CONFIG)
    beyond = replace(batch, embodiment=np.full(4, 99, np.int32))
    last = replace(batch, embodiment=np.full(4, CONFIG.max_embodiments - 1, np.int32))
    np.testing.assert_array_equal(act(variables, beyond), act(variables, last))


def test_learns_sixteen_samples_by_heart() -> None:
    batch = random_batch(CONFIG, 16)
    optimizer = optax.adam(1e-2)

    @jax.jit
    def step(variables: Variables, state: Any) -> tuple[Variables, Any, jax.Array]:
        (_, metrics), gradient = jax.value_and_grad(lambda v: MODEL.loss(v, batch, RNG, train=True)[:2], has_aux=True)(
            variables
        )
        update, state = optimizer.update(gradient, state)
        return optax.apply_updates(variables, update), state, metrics["l1"]

    variables = jax.jit(MODEL.init)(RNG, batch)
    state = optimizer.init(variables)
    before = evaluate(variables, batch)[1]
    for _ in range(300):
        variables, state, _ = step(variables, state)
    after = evaluate(variables, batch)[1]
    assert float(before["l1"].mean()) > 0.4
    assert float(after["l1"].mean()) < 0.1
    assert (after["categorical_accuracy"] == 1.0).all()
    np.testing.assert_allclose(np.sign(act(variables, batch)[..., 6:]), batch.action[..., 6:])


@pytest.mark.parametrize(
    "changes",
    [
        {"image_tokenizer": "film_conv"},
        {"image_tokenizer": "film_conv", "share_cameras": True, "fine_grid": True},
        {"action_queries": "entry", "causal": "token", "head_waves": 0},
    ],
)
def test_other_shapes_of_the_network_run(changes: dict[str, Any]) -> None:
    model = RT1(dataclasses.replace(CONFIG, history=1, **changes))
    batch = random_batch(model.config, 2)
    variables = jax.jit(model.init)(RNG, batch)
    assert jax.jit(model.act)(variables, batch, RNG).shape == (2, model.config.chunk, model.config.action_dims)


def test_bfloat16_compute_keeps_float32_outside() -> None:
    model = RT1(dataclasses.replace(CONFIG, compute_dtype="bfloat16"))
    batch = random_batch(CONFIG)
    variables = jax.jit(model.init)(RNG, batch)
    assert {leaf.dtype for leaf in jax.tree.leaves(variables)} == {jnp.dtype("float32")}
    exact = logits(variables, batch)
    rough = jax.jit(partial(model.logits, train=False))(variables, batch, RNG)
    assert rough.dtype == jnp.float32
    assert 0 < np.abs(exact - rough).max() < 0.2  # bfloat16 keeps 8 bits


def test_dropout_only_when_training() -> None:
    model = RT1(dataclasses.replace(CONFIG, dropout=0.5))
    batch = random_batch(CONFIG)
    variables = jax.jit(model.init)(RNG, batch)
    loss = jax.jit(lambda key, train: model.loss(variables, batch, key, train=train)[0], static_argnums=1)
    other = jax.random.PRNGKey(1)
    assert loss(RNG, True) == loss(RNG, True) != loss(other, True)
    assert loss(RNG, False) == loss(other, False)


def test_labels_are_soft_for_numbers_and_hard_for_choices() -> None:
    action = jnp.asarray([[0.0] * 6 + [1.0, -1.0]])
    labels = np.asarray(soft_labels(CONFIG, MODEL.tokenizer, action))[0]
    assert (labels[:6].max(-1) < 0.5).all()
    assert labels[6:].max(-1).tolist() == [1.0, 1.0]
    np.testing.assert_allclose(labels.sum(-1), 1.0, rtol=1e-5)


def test_decode_argmax_and_expectation() -> None:
    """Mass 0.5, 0.3 on two neighbouring bins: argmax takes the first, expectation leans to the second; choices never do."""
    weights = np.full((8, 32), 1e-9)
    weights[:, 10], weights[:, 11] = 0.5, 0.3
    logits = jnp.log(jnp.asarray(weights, jnp.float32))
    value = MODEL.tokenizer.decode(jnp.asarray([10]))[0]
    bin_width = MODEL.tokenizer.bin_width
    fine = decode(CONFIG, MODEL.tokenizer, logits)
    np.testing.assert_allclose(fine[:6], value + 0.375 * bin_width, atol=1e-5)
    np.testing.assert_allclose(fine[6:], value)
    np.testing.assert_allclose(decode(dataclasses.replace(CONFIG, decode="argmax"), MODEL.tokenizer, logits), value)


def test_a_batch_that_does_not_fit_is_refused_with_every_problem() -> None:
    batch = random_batch(CONFIG)
    wrong = replace(batch, images={"primary": batch.images["primary"][:, :, :12]}, proprio=batch.proprio[..., :9])
    with pytest.raises(
        UserError, match=r"camera 'wrist' is missing.*'primary' has shape \[2, 12, 16, 3\].*proprio has shape \[4, 2, 9\]"
    ):
        MODEL.init(RNG, wrong)


def test_axis_rules_fit_the_parameters(variables: Variables) -> None:
    import re

    paths = {
        "/".join(str(getattr(k, "key", k)) for k in path): leaf.ndim
        for path, leaf in jax.tree_util.tree_flatten_with_path(variables["params"])[0]
    }
    for pattern, axes in MODEL.param_axes():
        hits = [ndim for path, ndim in paths.items() if re.search(pattern, path)]
        assert hits, f"rule {pattern} matches nothing"
        assert set(hits) == {len(axes)}, f"rule {pattern} names {len(axes)} axes for arrays of {hits}"


def test_tiny_is_tiny() -> None:
    batch = random_batch(tiny(), 1, side=64)
    shapes = jax.eval_shape(RT1(tiny()).init, RNG, batch)
    assert 500_000 < num_parameters(shapes) < 3_000_000
