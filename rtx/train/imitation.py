"""Imitation: the step that makes the policy's actions likelier, and the evaluation of a held-out batch.

    state, batch -> augment -> loss, gradient -> clip -> AdamW (warm-up, cosine) -> average -> new state, metrics

A step whose loss or gradient is not finite changes nothing but the counters: parameters, optimizer, batch statistics and
average stay bit for bit.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float

from rtx.models.protocol import Model
from rtx.spec import Batch
from rtx.train.augment import augment_batch
from rtx.train.config import OptimizationConfig
from rtx.train.state import TrainState, named, root_key

Step = Callable[[TrainState, Batch], tuple[TrainState, dict[str, jax.Array]]]
Evaluate = Callable[[TrainState, Batch], dict[str, jax.Array]]


def make_schedule(config: OptimizationConfig) -> optax.Schedule:
    """Learning rate of each update: linear warm-up from 0, then a cosine to `final_lr` of the peak at `num_steps`."""
    return optax.warmup_cosine_decay_schedule(
        init_value=0.0,
        peak_value=config.lr,
        warmup_steps=config.warmup_steps,
        decay_steps=config.num_steps,
        end_value=config.lr * config.final_lr,
    )


def make_optimizer(config: OptimizationConfig) -> optax.GradientTransformation:
    clip = optax.identity() if config.clip_norm is None else optax.clip_by_global_norm(config.clip_norm)
    b1, b2 = config.betas
    adamw = optax.adamw(make_schedule(config), b1=b1, b2=b2, eps=config.eps, weight_decay=config.weight_decay, mask=_decayed)
    return optax.chain(clip, adamw)


def _decayed(params: Any) -> Any:
    """Weight decay pulls matrices to zero; biases and scales have a job that decay would undo."""
    return jax.tree.map(lambda p: p.ndim > 1, params)


def make_step(model: Model, optimizer: optax.GradientTransformation, config: OptimizationConfig) -> Step:
    """The training step, to be jitted with the state donated. Metrics are scalars of this batch."""

    schedule = make_schedule(config)

    def step(state: TrainState, batch: Batch) -> tuple[TrainState, dict[str, jax.Array]]:
        root = root_key(state)
        batch = augment_batch(batch, named(root, "augment"), config.augment)
        rng = jax.random.fold_in(named(root, "loss"), state.step)
        rest = {name: value for name, value in state.variables.items() if name != "params"}

        def loss_of(params: Any) -> tuple[Float[Array, ""], tuple[Any, Any]]:
            loss, metrics, mutable = model.loss({**rest, "params": params}, batch, rng, train=True)
            return loss, (metrics, mutable)

        params = state.variables["params"]
        lr = schedule(state.step - state.nonfinite)  # as the optimizer counts: updates made
        (loss, (metrics, mutable)), grads = jax.value_and_grad(loss_of, has_aux=True)(params)
        grad_norm = optax.tree.norm(grads)
        is_finite = jnp.isfinite(loss) & jnp.isfinite(grad_norm)
        updates, opt_state = optimizer.update(grads, state.opt_state, params)
        new_params = optax.apply_updates(params, updates)
        changed = {
            "variables": {**rest, **mutable, "params": new_params},
            "opt_state": opt_state,
            "ema": None if state.ema is None else _averaged(state.ema, new_params, state.step, config.ema),
        }
        kept = {name: getattr(state, name) for name in changed}
        chosen = jax.tree.map(lambda new, old: jnp.where(is_finite, new, old), changed, kept)
        bad = (~is_finite).astype(jnp.int32)
        state = dataclasses.replace(
            state,
            **chosen,
            step=state.step + 1,
            nonfinite=state.nonfinite + bad,
            nonfinite_in_a_row=(state.nonfinite_in_a_row + bad) * bad,
        )
        counters = {"nonfinite": bad, "nonfinite_so_far": state.nonfinite, "nonfinite_in_a_row": state.nonfinite_in_a_row}
        return state, {**metrics, "loss": loss, "grad_norm": grad_norm, "lr": lr, **counters}

    return step


def _averaged(ema: Any, params: Any, step: jax.Array, decay: float | None) -> Any:
    """The decay grows from 0.1 to its value in the first steps, so that the random start is soon forgotten."""
    assert decay is not None, "an average is kept only where a decay is configured"
    now = jnp.minimum(decay, (1.0 + step) / (10.0 + step))
    return jax.tree.map(lambda old, new: old * now + new * (1 - now), ema, params)


def make_evaluate(model: Model, num_sets: int) -> Evaluate:
    """Loss and metrics of a held-out batch, summed per data set: `{name: [num_sets], ..., "weight": [num_sets]}`.

    Each sample goes through the model as a batch of one and counts by its number of valid action entries, so a set's
    mean does not depend on which other sets share the batch. Uses the averaged parameters where they are kept.
    """

    def of_sample(variables: Any, sample: Batch, rng: jax.Array) -> dict[str, jax.Array]:
        one = jax.tree.map(lambda leaf: leaf[None], sample)
        loss, metrics, _ = model.loss(variables, one, rng, train=False)
        return {**metrics, "loss": loss}

    def evaluate(state: TrainState, batch: Batch) -> dict[str, jax.Array]:
        params = state.variables["params"] if state.ema is None else state.ema
        variables = {**state.variables, "params": params}
        rng = named(root_key(state), "evaluate")
        per_sample = jax.vmap(of_sample, in_axes=(None, 0, None))(variables, batch, rng)
        weight = jnp.sum(batch.action_mask, axis=(-2, -1), dtype=jnp.float32)
        member = jax.nn.one_hot(batch.embodiment, num_sets, dtype=jnp.float32) * weight[:, None]
        sums = {name: jnp.where(weight > 0, value, 0.0) @ member for name, value in per_sample.items()}
        return {**sums, "weight": member.sum(axis=0)}

    return evaluate


def place(batch: Batch) -> Batch:
    """A host batch on the device, in one transfer. Sample numbers (int64) become uint32 `[b, 2]`, low and high word:
    the device has no 64-bit integers, and a number cut to 32 bits would repeat its random draws."""
    words = np.stack([batch.sample & 0xFFFFFFFF, batch.sample >> 32], axis=-1).astype(np.uint32)
    return jax.device_put(dataclasses.replace(batch, sample=words))
