"""A choice in one dimension, as data often hold it: left three times in ten, right seven times; heads trained on it.

A chunk of several steps goes one way all along.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import optax

from rtx.models.protocol import Promise
from rtx.models.vla.heads import build_head

LEFT, RIGHT, SPREAD, SHARE_LEFT = -0.6, 0.5, 0.03, 0.3
READOUT = jnp.zeros((256, 1, 4))


def draw(rng: jax.Array, chunk: int = 1) -> jax.Array:
    of_side, of_noise = jax.random.split(rng)
    middle = jnp.where(jax.random.uniform(of_side, (256, 1, 1)) < SHARE_LEFT, LEFT, RIGHT)
    return middle + SPREAD * jax.random.normal(of_noise, (256, chunk, 1))


def answers(name: str, *, num_steps: int, chunk: int = 1, promise: Promise | None = None) -> np.ndarray:
    """What a head of 32 numbers across says, 1,024 chunks `[1024, chunk]`, after so many steps of 256 samples.

    `promise`: for 256 samples; the answers to it follow those without, `[2, 1024, chunk]`.
    """
    head = build_head(name, chunk=chunk, action_dims=1, width=32)
    mask = jnp.ones((256, chunk, 1), bool)
    optimizer = optax.adam(optax.cosine_decay_schedule(3e-3, num_steps))

    def step(carry, i):
        variables, state = carry
        of_data, of_loss = jax.random.split(jax.random.fold_in(jax.random.key(1), i))

        def loss(v):
            return jnp.mean(head.apply(v, READOUT, draw(of_data, chunk), mask, of_loss, method="loss"))

        updates, state = optimizer.update(jax.grad(loss)(variables), state)
        return (optax.apply_updates(variables, updates), state), None

    @jax.jit
    def trained():
        variables = head.init(
            jax.random.key(0), READOUT, draw(jax.random.key(2), chunk), mask, jax.random.key(3), method="loss"
        )
        (variables, _), _ = jax.lax.scan(step, (variables, optimizer.init(variables)), jnp.arange(num_steps))
        rngs = jax.random.split(jax.random.key(4), 4)

        def acted(told: Promise | None) -> jax.Array:
            return jax.lax.map(lambda rng: head.apply(variables, READOUT, rng, mask, told, method="act"), rngs)

        return [acted(None)] if promise is None else [acted(None), acted(promise)]

    said = np.asarray(trained()).reshape(-1, 1024, chunk)
    return said[0] if promise is None else said
