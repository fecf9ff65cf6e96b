"""What is trained: split and joined without loss, rules that say what they do, and errors for rules that do nothing."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from rtx.errors import UserError
from rtx.models.lora import LoRAConfig, adapted
from rtx.train import pytree, trainable
from rtx.train.trainable import Trainable

PARAMS = pytree.nest(
    {
        path: np.random.default_rng(i).normal(size=shape).astype(np.float32)
        for i, (path, shape) in enumerate(
            {
                "img/embedding/kernel": (2, 2, 3, 4),
                "img/pos_embedding": (1, 9, 4),
                "llm/layers/mlp/linear": (3, 6, 5),
                "llm/layers/pre_ffw_norm/scale": (3, 5),
                "action_head/Dense_0/kernel": (5, 7),
                "action_head/Dense_0/bias": (7,),
            }.items()
        )
    }
)
RNG = jax.random.key(0)
LORA = LoRAConfig(rules=("llm/", "img/"), rank=2)


def paths(tree):
    return set(pytree.flatten(tree))


def assert_equal(a, b):
    jax.tree.map(np.testing.assert_array_equal, a, b)


def test_without_rules_everything_is_trained_in_its_old_shape():
    parts = Trainable()
    assert_equal(parts.begun(PARAMS, RNG), PARAMS)
    trained, frozen = parts.split(PARAMS)
    assert jax.tree.structure(trained) == jax.tree.structure(PARAMS)
    assert not jax.tree.leaves(frozen)
    assert_equal(parts.join(trained, frozen), PARAMS)
    assert parts.seen(PARAMS) is PARAMS


@pytest.mark.parametrize(
    ("freeze", "lora", "trained"),
    [
        (("img/",), LoRAConfig(), {"llm/layers/mlp/linear", "llm/layers/pre_ffw_norm/scale", "action_head/Dense_0/kernel",
                                   "action_head/Dense_0/bias"}),
        (("^(?!action_head/)",), LoRAConfig(), {"action_head/Dense_0/kernel", "action_head/Dense_0/bias"}),
        ((".",), LORA, {f"lora/{path}/{x}" for path in ("img/embedding/kernel", "llm/layers/mlp/linear") for x in "ab"}),
        (("pos_embedding", "_norm"), LoRAConfig(rules=("llm/",)), {
            "img/embedding/kernel", "action_head/Dense_0/kernel", "action_head/Dense_0/bias", "lora/llm/layers/mlp/linear/a",
            "lora/llm/layers/mlp/linear/b"}),
    ],
)  # fmt: skip
def test_rules_choose_paths_and_nothing_is_lost(freeze, lora, trained):
    parts = Trainable(freeze=freeze, lora=lora)
    params = parts.begun(PARAMS, RNG)
    one, other = parts.split(params)
    assert paths(one) == trained
    assert paths(one) | paths(other) == paths(params)
    assert not paths(one) & paths(other)
    assert_equal(parts.join(one, other), params)


def test_the_model_sees_kernels_with_the_factors_in_them():
    parts = Trainable(lora=LORA)
    params = parts.begun(PARAMS, RNG)
    assert_equal(parts.seen(params), PARAMS)
    params = jax.tree.map(lambda leaf: leaf + 1, params)
    seen = parts.seen(params)
    assert jax.tree.structure(seen) == jax.tree.structure(PARAMS)
    assert_equal(seen, adapted({k: v for k, v in params.items() if k != "lora"}, params["lora"], LORA))


def test_learning_rates_of_groups():
    parts = Trainable(freeze=("img/",), lr_scale=(("Dense_0/kernel", 0.1), ("action_head/", 3.0)))
    trained, _ = parts.split(parts.begun(PARAMS, RNG))
    plain = optax.adamw(0.01, weight_decay=0.1)
    scaled = optax.chain(plain, parts.scaled())
    grads = jax.tree.map(jnp.ones_like, trained)
    before, _ = plain.update(grads, plain.init(trained), trained)
    after, state = scaled.update(grads, scaled.init(trained), trained)
    factors = {"action_head/Dense_0/kernel": 0.1, "action_head/Dense_0/bias": 3.0}
    for path, update in pytree.flatten(after).items():
        np.testing.assert_allclose(update, factors.get(path, 1.0) * pytree.flatten(before)[path], rtol=1e-6)
    assert paths(state[0]) == paths(plain.init(trained))
    assert not paths(state[1])  # it keeps nothing


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        (Trainable(freeze=("img/", "llm/layer/")), r"train.freeze: 'llm/layer/' matches no parameter.*llm/layers"),
        (Trainable(freeze=("xyz",)), r"'xyz' matches no parameter.*action_head, img, llm"),
        (Trainable(lora=LoRAConfig(rules=("scale",))), r"train.lora.rules: 'scale' matches no kernel that can be adapted"),
        (Trainable(freeze=(".",)), "leaves nothing to train"),
        (Trainable(freeze=("img/",), lr_scale=(("img/", 0.1),)), r"train.lr_scale: 'img/' matches no trained parameter"),
    ],
)
def test_rules_that_do_nothing_are_errors(parts, message):
    with pytest.raises(UserError, match=message):
        parts.begun(PARAMS, RNG)


def test_problems_name_their_rules():
    assert trainable.problems(("a", "b|c"), LORA, (("llm/", 0.1),)) == []
    found = trainable.problems(("(",), LoRAConfig(rank=0), (("[", 0.0),))
    assert [line.split()[0] for line in found] == ["train.freeze:", "train.lora.rank", "train.lr_scale:", "train.lr_scale:"]


def test_table_counts_numbers_and_bytes():
    parts = Trainable(freeze=("img/",), lora=LoRAConfig(rules=("llm/",), rank=2), lr_scale=(("bias", 0.5),))
    params = parts.begun(PARAMS, RNG)
    rows = [line.split() for line in parts.table(params, ema=True).splitlines()[2:]]
    img, factors = 48 + 36, 3 * 2 * (6 + 5)
    trained = 42 + 15 + factors  # the head, llm's norms, the factors: each with two moments and an average
    assert rows == [
        ["action_head", "lr", "x", "0.5", "7", str(7 * 16)],
        ["action_head", "lr", "x", "1", "35", str(35 * 16)],
        ["img", "frozen", str(img), str(img * 4)],
        ["llm", "frozen", "90", str(90 * 4)],
        ["llm", "lr", "x", "1", "15", str(15 * 16)],
        ["lora", "lr", "x", "1", str(factors), f"{factors * 16:,}"],
        ["all", f"{trained / (trained + img + 90):.2%}", "trained", str(trained + img + 90), "2,664"],
    ]
