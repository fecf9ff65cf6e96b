from __future__ import annotations

import functools
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rtx.models.vla.encoder_decoder import unrolled
from tests.models.vla import t5_tiny as tiny
from tests.models.vla.t5_build import inputs, network, variables

REFERENCE = np.load(Path(__file__).with_name("t5_reference.npz"))
VALID = np.array([[True] * 24, [True] * 5 + [False] * 19])  # of the answers
NAMES = sorted(tiny.CONFIGS)


@functools.lru_cache
def programs(name: str):
    """(teacher forcing -> hidden, hidden -> logits) of a config, compiled."""
    model, values = network(tiny.CONFIGS[name]), variables(tiny.CONFIGS[name])
    force = jax.jit(functools.partial(model.apply, values))
    return force, jax.jit(functools.partial(model.apply, values, method="logits"))


@pytest.mark.parametrize("kind", ["text", "pictures"])
@pytest.mark.parametrize("name", NAMES)
def test_logits_are_those_of_transformers(name, kind):
    """Text alone: all pictures absent, so that what is left of them is their place before the prompt, which no bias tells."""
    force, to_logits = programs(name)
    pictures, picture_mask, prompt, answer = inputs()
    logits = to_logits(force(pictures, picture_mask & (kind == "pictures"), prompt, answer))
    np.testing.assert_allclose(logits[..., :: tiny.KEPT], REFERENCE[f"{name}_{kind}"], atol=1e-4)


@pytest.mark.parametrize(("name", "form"), [("gelu", "stacked"), ("tied", "stacked"), ("silu", "unrolled")])
def test_read_and_write_are_teacher_forcing(name, form):
    model, values = network(tiny.CONFIGS[name]), variables(tiny.CONFIGS[name])
    pictures, picture_mask, prompt, answer = inputs()
    forced = programs(name)[0](pictures, picture_mask, prompt, answer)
    if form == "unrolled":
        values = {"params": unrolled(values["params"])}
        assert "layers_2" in values["params"]["encoder"]
        assert "layers" not in values["params"]["decoder"]
    read = jax.jit(functools.partial(model.apply, values, room=24, method="read"))
    write = jax.jit(functools.partial(model.apply, values, method="write"))
    first, memory = read(pictures, picture_mask, prompt)
    rows = [first[:, None]]
    for start, end in ((0, 1), (1, 2), (2, 3), (3, 23)):
        hidden, memory = write(answer[:, start:end], memory)
        rows.append(hidden)
    written = np.concatenate(rows, 1)
    np.testing.assert_allclose(written[VALID], np.asarray(forced)[VALID], atol=1e-5)


def test_layers_one_by_one_give_the_same_in_teacher_forcing():
    values = variables(tiny.CONFIGS["silu"])
    one_by_one = jax.jit(network(tiny.CONFIGS["silu"]).apply)({"params": unrolled(values["params"])}, *inputs())
    np.testing.assert_allclose(one_by_one, programs("silu")[0](*inputs()), atol=1e-5)


def test_rows_with_shorter_plans_may_wait():
    """Row 1 says its tokens later than row 0: the padding between them changes nothing."""
    model, values = network(tiny.CONFIGS["silu"]), variables(tiny.CONFIGS["silu"])
    pictures, picture_mask, prompt, answer = inputs()
    forced = np.asarray(programs("silu")[0](pictures, picture_mask, prompt, answer))
    _, memory = jax.jit(functools.partial(model.apply, values, room=8, method="read"))(pictures, picture_mask, prompt)
    write = jax.jit(functools.partial(model.apply, values, method="write"))
    a, b = np.asarray(answer[0, :4]), np.asarray(answer[1, :3])
    hidden, memory = write(jnp.array([a[:3], [b[0], 0, 0]]), memory)
    np.testing.assert_allclose(hidden[1, 0], forced[1, 1], atol=1e-5)
    hidden, memory = write(jnp.array([[a[3], 0], [b[1], b[2]]]), memory)
    np.testing.assert_allclose(hidden[0, 0], forced[0, 4], atol=1e-5)
    np.testing.assert_allclose(hidden[1], forced[1, 2:4], atol=1e-5)


@pytest.mark.parametrize("name", ["gelu", "tied"])
def test_logits_of_some_tokens_are_columns_of_all(name):
    model, values = network(tiny.CONFIGS[name]), variables(tiny.CONFIGS[name])
    hidden, ids = jax.random.normal(jax.random.key(0), (2, 3, 32)), jnp.array([7, 89, 2])
    every = model.apply(values, hidden, method="logits")
    assert every.shape == (2, 3, 90)
    np.testing.assert_allclose(model.apply(values, hidden, ids, method="logits"), every[..., ids], atol=1e-5)


def test_only_the_asked_columns_of_the_head_are_multiplied():
    model, values = network(tiny.CONFIGS["gelu"]), variables(tiny.CONFIGS["gelu"])
    hidden, ids = jnp.zeros((1, 32)), jnp.array([7, 89, 2])
    program = jax.jit(lambda v: model.apply(v, hidden, ids, method="logits")).lower(values).as_text()
    products = [line for line in program.splitlines() if "dot_general" in line]
    assert len(products) == 1
    assert "tensor<32x3xf32>" in products[0]


def test_an_absent_picture_and_an_answer_behind_change_nothing():
    force, _ = programs("gelu")
    pictures, picture_mask, prompt, answer = inputs()
    before = force(pictures, picture_mask, prompt, answer)
    after = force(pictures.at[1, 1].set(0), picture_mask, prompt, answer.at[0, 20:].set(5))
    np.testing.assert_array_equal(before[1], after[1])
    np.testing.assert_array_equal(before[0, :21], after[0, :21])
    assert np.all(np.any(before[0, 21:] != after[0, 21:], axis=-1))
    present = force(pictures.at[1, 2].set(0), picture_mask, prompt, answer)
    assert np.all(np.any(before[1, :5] != present[1, :5], axis=-1))


def test_remat_changes_memory_and_nothing_else():
    config, arrays = tiny.CONFIGS["gelu"], inputs()

    def gradients(remat):
        model = network(config, remat=remat)
        return jax.jit(jax.grad(lambda values: (model.apply(values, *arrays) ** 2).mean()))(variables(config))

    for kept, again in zip(jax.tree.leaves(gradients("none")), jax.tree.leaves(gradients("layers")), strict=True):
        np.testing.assert_allclose(kept, again, atol=1e-6)


def test_half_precision_stays_close():
    force, to_logits = programs("silu")
    half = network(tiny.CONFIGS["silu"]).clone(dtype=jnp.bfloat16)
    values = variables(tiny.CONFIGS["silu"])
    hidden = jax.jit(half.apply)(values, *inputs())
    assert hidden.dtype == jnp.bfloat16
    logits = half.apply(values, hidden, method="logits")
    assert logits.dtype == jnp.float32
    expected = to_logits(force(*inputs()))
    assert np.abs(logits - expected)[VALID].mean() < 0.03 * np.std(expected)
