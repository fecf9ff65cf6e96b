"""bfloat16 against float32: the same action tokens from the same trained weights.

Of a network at its random start nearly all bins are equally likely and any rounding decides, so the transformer first learns a
few windows by heart, over the tokens of a random image tokenizer. (A network that is trained as a whole, on real
demonstrations: tests/train/test_rt1x_overfit.py.)
"""

from __future__ import annotations

import dataclasses
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from rtx.models.protocol import Variables
from rtx.models.rt1x import actions
from rtx.models.rt1x.model import RT1X
from rtx.spec import Batch
from tests.models.rt1x.small import CONFIG, random_batch, random_like

LARGER = dataclasses.replace(CONFIG, width=64, mlp_width=64, head_width=32)  # enough to remember 352 tokens
MODEL = RT1X(LARGER)
RNG = jax.random.key(0)


def learned(variables: Variables, batch: Batch, *, steps: int) -> Variables:
    """Adam 3e-3 in float32 on all tokens of all frames; batch statistics and image tokenizer as they are."""
    tokens = jax.jit(MODEL.remember)(variables, batch)
    labels = actions.encode(LARGER, jnp.asarray(batch.action))
    optimizer = optax.adam(3e-3)

    def loss(transformer: Any) -> jax.Array:
        params = {**variables["params"], "Transformer_0": transformer}
        attend = partial(MODEL._network().apply, num_steps=LARGER.history, train=False, method="attend")
        return optax.softmax_cross_entropy_with_integer_labels(attend({"params": params}, tokens), labels).mean()

    @jax.jit
    def step(transformer: Any, memory: Any) -> tuple[Any, Any]:
        update, memory = optimizer.update(jax.grad(loss)(transformer), memory)
        return optax.apply_updates(transformer, update), memory

    transformer = variables["params"]["Transformer_0"]
    memory = optimizer.init(transformer)
    for _ in range(steps):
        transformer, memory = step(transformer, memory)
    return {**variables, "params": {**variables["params"], "Transformer_0": transformer}}


def test_the_same_tokens_in_bfloat16() -> None:
    batch = random_batch(LARGER, 8, steps=LARGER.history)
    variables = learned(random_like(jax.eval_shape(MODEL.init, RNG, batch)), batch, steps=300)

    def tokens_in(dtype: Any) -> np.ndarray:
        model = RT1X(dataclasses.replace(LARGER, compute_dtype=dtype))
        logits, _ = jax.jit(partial(model.logits, num_steps=LARGER.history, train=False))(variables, batch, RNG)
        assert logits.dtype == jnp.float32
        return np.asarray(jnp.argmax(logits, -1))

    exact, rounded = tokens_in("float32"), tokens_in("bfloat16")
    labels = np.asarray(actions.encode(LARGER, jnp.asarray(batch.action)))
    assert np.mean(exact == labels) > 0.95, "nothing was learned, so this shows nothing"
    assert np.mean(exact == rounded) >= 0.99
