"""The policy as the train loop and the server see it, and its numbers against the published network written plainly."""

from __future__ import annotations

import dataclasses
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from benchmarks.rt1x_plain import PlainRT1X
from rtx.errors import UserError
from rtx.models.protocol import Model, Remembers, Variables
from rtx.models.rt1x import actions
from rtx.models.rt1x.config import RT1XConfig
from rtx.models.rt1x.model import RT1X
from rtx.spec import Batch
from tests.models.rt1x.small import CONFIG, random_batch, random_like

RNG = jax.random.PRNGKey(0)
MODEL = RT1X(CONFIG)
act = jax.jit(partial(MODEL.act, rng=RNG))


@jax.jit
def window_logits(variables: Variables, batch: Batch) -> jax.Array:
    return MODEL.logits(variables, batch, RNG, num_steps=CONFIG.history, train=False)[0]


@pytest.fixture(scope="module")
def variables() -> Variables:
    return random_like(jax.eval_shape(MODEL.init, RNG, random_batch(CONFIG)))


def replace(batch: Batch, **changes: Any) -> Batch:
    return dataclasses.replace(batch, **changes)


def plain_logits(config: RT1XConfig, variables: Variables, batch: Batch) -> jax.Array:
    """All frames' logits from the plain network."""
    pictures = jnp.asarray(batch.images["primary"], jnp.float32) / 255
    size = config.network_size
    square = jax.image.resize(pictures, (*pictures.shape[:2], size, size, 3), "bilinear", antialias=False)
    return jax.jit(PlainRT1X(config).apply)(variables, square, batch.text)


def test_satisfies_the_protocols(variables: Variables) -> None:
    assert isinstance(MODEL, Model)
    assert isinstance(MODEL, Remembers)
    assert set(variables) == {"params", "batch_stats"}


def test_the_plain_network_gives_the_same_numbers(variables: Variables) -> None:
    """Of every frame, with every row and the full mask, from other layers; to 1e-4 in float32."""
    batch = random_batch(CONFIG)
    plain = plain_logits(CONFIG, variables, batch)
    other = replace(batch, images=random_batch(CONFIG, seed=1).images)
    assert np.abs(window_logits(variables, other) - plain).max() > 0.3  # what the pictures show is in these numbers
    np.testing.assert_allclose(window_logits(variables, batch), plain, atol=1e-4)


def test_computing_again_for_the_gradient_changes_nothing(variables: Variables) -> None:
    config, batch = dataclasses.replace(CONFIG, dropout=0.1, drop_connect=0.2), random_batch(CONFIG, steps=CONFIG.history)

    def gradient(config: RT1XConfig) -> Any:
        def loss(params: Any) -> jax.Array:
            return RT1X(config).loss({**variables, "params": params}, batch, RNG, train=True)[0]

        return jax.jit(jax.grad(loss))(variables["params"])

    once, again = gradient(config), gradient(dataclasses.replace(config, remat="layers"))
    jax.tree.map(partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-6), again, once)


def test_one_action_is_the_last_of_the_window(variables: Variables) -> None:
    batch = random_batch(CONFIG)
    expected = actions.decode(CONFIG, jnp.argmax(window_logits(variables, batch)[:, -1:], -1))
    np.testing.assert_array_equal(act(variables, batch), expected)


@pytest.mark.parametrize("changes", [{"grid": "tf"}, {"ffn": "linear"}])
def test_the_other_published_forms_too(changes: dict[str, Any]) -> None:
    config = dataclasses.replace(CONFIG, num_layers=1, history=2, **changes)
    model, batch = RT1X(config), random_batch(config, 1)
    variables = random_like(jax.eval_shape(model.init, RNG, batch))
    ours, _ = jax.jit(partial(model.logits, num_steps=2, train=False))(variables, batch, RNG)
    np.testing.assert_allclose(ours, plain_logits(config, variables, batch), atol=1e-4)


def test_remembering_is_looking_again(variables: Variables) -> None:
    """Frame by frame with memory, through an episode longer than the history, equals the whole window each time."""
    role, t = "primary", CONFIG.history
    frames = np.random.default_rng(3).integers(0, 256, (1, t + 3, *CONFIG.image_size, 3), dtype=np.uint8)
    text = random_batch(CONFIG, 1).text

    def window(stop: int) -> Batch:
        shown = np.arange(stop - t, stop)
        there = (shown >= 0)[None]
        return replace(
            random_batch(CONFIG, 1), images={role: frames[:, np.maximum(shown, 0)]}, image_mask={role: there},
            history_mask=there, text=text, action=None, action_mask=None,
        )  # fmt: skip

    remember = jax.jit(MODEL.remember)
    memory = remember(variables, window(0))
    again = jax.jit(partial(MODEL.act_again, rng=RNG))
    for stop in range(1, t + 4):
        newest = replace(
            window(stop), images={role: frames[:, stop - 1 : stop]}, image_mask={role: np.ones((1, 1), bool)},
            history_mask=np.ones((1, 1), bool),
        )  # fmt: skip
        action, memory = again(variables, memory, newest)
        np.testing.assert_allclose(memory, remember(variables, window(stop)), atol=1e-5)
    attend = jax.jit(partial(MODEL._network().apply, num_steps=1, train=False, method="attend"))
    logits = attend(variables, memory)
    np.testing.assert_allclose(logits[:, 0], window_logits(variables, window(t + 3))[:, -1], atol=1e-5)
    np.testing.assert_array_equal(action, actions.decode(CONFIG, jnp.argmax(logits, -1)))


def test_batch_statistics_are_those_of_the_whole_batch(variables: Variables) -> None:
    """The stem's, worked out by hand over all frames of all samples; outside training they stay."""

    def both_ways(variables: Variables, batch: Batch) -> tuple[Any, Any]:
        trained, untouched = (MODEL.loss(variables, batch, RNG, train=train)[2]["batch_stats"] for train in (True, False))
        return trained, untouched

    batch = random_batch(CONFIG, 3, steps=1)
    moved, same = jax.jit(both_ways)(variables, batch)
    jax.tree.map(np.testing.assert_array_equal, same, variables["batch_stats"])
    stem = variables["params"]["image_tokenizer"]["EfficientNetWithFilm_0"]["Stem_0"]["conv2d"]["kernel"]
    pictures = jnp.asarray(batch.images["primary"], jnp.float32).reshape(-1, *CONFIG.image_size, 3) / 255
    square = jax.image.resize(pictures, (len(pictures), 40, 40, 3), "bilinear", antialias=False)
    x = (np.asarray(square, np.float64) - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
    x = np.pad(x, ((0, 0), (0, 1), (0, 1), (0, 0)))  # SAME, stride 2, even side
    out = sum(x[:, i : i + 39 : 2, j : j + 39 : 2] @ np.asarray(stem[i, j], np.float64) for i in range(3) for j in range(3))
    kept = {"mean": out.mean((0, 1, 2)), "var": out.var((0, 1, 2))}
    old = variables["batch_stats"]["image_tokenizer"]["EfficientNetWithFilm_0"]["Stem_0"]["batch_normalization"]
    new = moved["image_tokenizer"]["EfficientNetWithFilm_0"]["Stem_0"]["batch_normalization"]
    for name, value in kept.items():
        np.testing.assert_allclose(new[name], 0.99 * old[name] + 0.01 * value, rtol=1e-4, atol=1e-5)


def test_loss_over_all_tokens_or_known_ones(variables: Variables) -> None:
    """Empty frames are labelled as the release labels them, and count in "all" only."""
    batch = random_batch(CONFIG, 1, steps=4)
    there = np.array([[False, True, True, True]])
    mask = np.broadcast_to(there[..., None], (1, 4, 11)).copy()
    mask[..., 8:] = False  # no base
    batch = replace(batch, history_mask=there, action_mask=mask)
    entropy = -np.asarray(jax.nn.log_softmax(window_logits(variables, batch)), np.float64)[0]
    labels = np.array(actions.encode(CONFIG, jnp.asarray(batch.action)))[0]
    labels[0] = [0, *[15] * 10]  # trunc(0.5 * 31), and terminate
    nats = np.take_along_axis(entropy, labels[..., None], -1)[..., 0]
    models = [RT1X(dataclasses.replace(CONFIG, loss_over=over)) for over in ("all", "known")]
    both = jax.jit(lambda *args: [model.loss(*args, train=False)[:2] for model in models])(variables, batch, RNG)
    for (loss, metrics), expected in zip(both, (nats.mean(), nats[1:, :8].mean()), strict=True):
        np.testing.assert_allclose([loss, metrics["loss"][0]], expected, rtol=1e-5)
        assert set(metrics) == {"loss", "accuracy", "accuracy_last", "l1"}


def test_frames_that_are_not_there_are_black(variables: Variables) -> None:
    batch = random_batch(CONFIG)
    there = np.array([[False, False, True, True]] * 2)
    seen = replace(batch, history_mask=there)
    black = {"primary": np.where(there[..., None, None, None], batch.images["primary"], np.uint8(0))}
    np.testing.assert_array_equal(window_logits(variables, seen), window_logits(variables, replace(batch, images=black)))
    assert np.abs(window_logits(variables, seen) - window_logits(variables, batch)).max() > 0.1


def test_dropout_only_when_training() -> None:
    config = dataclasses.replace(CONFIG, dropout=0.5, drop_connect=0.5, history=2, num_layers=1)
    model, batch = RT1X(config), random_batch(config)
    variables = random_like(jax.eval_shape(model.init, RNG, batch))
    loss = jax.jit(lambda key, train: model.loss(variables, batch, key, train=train)[0], static_argnums=1)
    other = jax.random.PRNGKey(1)
    assert loss(RNG, True) == loss(RNG, True) != loss(other, True)
    assert loss(RNG, False) == loss(other, False)


def test_a_batch_that_does_not_fit_is_refused_with_every_problem() -> None:
    batch = random_batch(CONFIG)
    wrong = replace(batch, images={"primary": batch.images["primary"][:, :2]}, text=np.zeros((2, 6), np.int32))
    with pytest.raises(UserError, match=r"camera 'primary' has shape \[2, 2, 16, 20, 3\].*text is int32\[2, 6\].*one vector"):
        MODEL.init(RNG, wrong)
    with pytest.raises(UserError, match=r"action has shape \[2, 5, 11\]"):
        MODEL.init(RNG, replace(batch, action=np.zeros((2, 5, 11), np.float32)))
