"""Imitation: the step that makes the policy's actions likelier, and the evaluation of a held-out batch.

    state, batch -> augment -> loss, gradient -> clip -> AdamW (warm-up, cosine) -> average -> new state, metrics

A batch may come as several groups of rows (`rtx.train.groups`), whose gradients are added up inside the one step.

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
from jaxtyping import Array, Bool, Float

from rtx.data.assemble import PADDING_SAMPLE
from rtx.models.protocol import Model, Spells
from rtx.spec import Batch
from rtx.train import figures, groups, pytree
from rtx.train.augment import augment_batch
from rtx.train.config import OptimizationConfig
from rtx.train.state import TrainState, named, root_key
from rtx.train.trainable import EVERYTHING, Trainable

Groups = Batch | tuple[Batch, ...]
"""A batch on the device: in one, or as groups of its rows, each with a width of its own."""
Step = Callable[[TrainState, Groups], tuple[TrainState, dict[str, Any]]]
Evaluate = Callable[[TrainState, Batch], dict[str, figures.Sums]]


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
    return optax.chain(clip, adamw, config.parts.scaled())


def _decayed(params: Any) -> Any:
    """Weight decay pulls matrices to zero; biases and scales have a job that decay would undo. Of scanned layers these are
    matrices too, one row a layer."""
    flat = pytree.flatten(params)
    return pytree.unflatten_like(params, {p: x.ndim > 1 and not p.endswith(("bias", "scale")) for p, x in flat.items()})


def make_step(
    model: Model,
    optimizer: optax.GradientTransformation,
    config: OptimizationConfig,
    *,
    num_sets: int = 0,
) -> Step:
    """The training step, to be jitted with the state donated. Metrics are scalars of this batch; with `num_sets`, those that
    the model reports row by row come as sums for each data set too: `{"sets": {name: figures.Sums}}`. Gradients and
    updates are of what `config.parts` trains."""

    schedule, parts = make_schedule(config), config.parts

    def step(state: TrainState, batch: Groups) -> tuple[TrainState, dict[str, Any]]:
        root = root_key(state)
        rows = batch if isinstance(batch, tuple) else (batch,)
        rows = tuple(augment_batch(group, named(root, "augment"), config.augment) for group in rows)
        rng = jax.random.fold_in(named(root, "loss"), state.step)
        rest = {name: value for name, value in state.variables.items() if name != "params"}

        trainable, frozen = parts.split(state.variables["params"])

        def loss_of(trainable: Any, kept: Any, group: Batch, rng: jax.Array) -> tuple[Float[Array, ""], tuple[Any, Any]]:
            params = parts.seen(parts.join(trainable, frozen))
            loss, metrics, mutable = model.loss({**kept, "params": params}, group, rng, train=True)
            return loss, (metrics, mutable)

        lr = schedule(state.step - state.nonfinite)  # as the optimizer counts: updates made
        loss, metrics, mutable, grads = _over_groups(jax.value_and_grad(loss_of, has_aux=True), trainable, rest, rows, rng)
        grad_norm = optax.tree.norm(grads)
        is_finite = jnp.isfinite(loss) & jnp.isfinite(grad_norm)
        updates, opt_state = optimizer.update(grads, state.opt_state, trainable)
        trained = optax.apply_updates(trainable, updates)
        changed = {
            "variables": {**rest, **mutable, "params": parts.join(trained, frozen)},
            "opt_state": opt_state,
            "ema": None if state.ema is None else _averaged(state.ema, trained, state.step, config.ema),
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
        found = figures.of_step(metrics, rows, num_sets)
        return state, {**found, "loss": loss, "grad_norm": grad_norm, "lr": lr, **counters}

    return step


def _over_groups(
    loss_and_grads: Callable[..., Any], trainable: Any, rest: Any, rows: tuple[Batch, ...], rng: jax.Array
) -> tuple[jax.Array, tuple[Any, ...], Any, Any]:
    """(loss, metrics of each group, mutable collections, gradients) of all rows, one group after the other.

    A group's loss is a mean; it counts by how much it is a mean over.
    """
    if len(rows) == 1:
        (loss, (metrics, mutable)), grads = loss_and_grads(trainable, rest, rows[0], rng)
        return loss, (metrics,), mutable, grads
    all_metrics, mutable, parts = [], {}, []
    for i, group in enumerate(rows):
        (loss, (metrics, mutable)), grads = loss_and_grads(trainable, {**rest, **mutable}, group, jax.random.fold_in(rng, i))
        all_metrics.append(metrics)
        parts.append((figures.row_weights(metrics, group).sum(), (loss, grads)))
    total = jnp.maximum(sum(weight for weight, _ in parts), 1.0)
    loss, grads = jax.tree.map(
        lambda *each: sum(w / total * x for (w, _), x in zip(parts, each, strict=True)), *(part for _, part in parts)
    )
    return loss, tuple(all_metrics), mutable, grads


def _averaged(ema: Any, params: Any, step: jax.Array, decay: float | None) -> Any:
    """The decay grows from 0.1 to its value in the first steps, so that the random start is soon forgotten."""
    assert decay is not None, "an average is kept only where a decay is configured"
    now = jnp.minimum(decay, (1.0 + step) / (10.0 + step))
    return jax.tree.map(lambda old, new: old * now + new * (1 - now), ema, params)


def make_evaluate(model: Model, num_sets: int, *, parts: Trainable = EVERYTHING) -> Evaluate:
    """Loss and metrics of a held-out batch, summed per data set: `{name: Sums}`.

    Each sample goes through the model as a batch of one and counts by its tokens or valid action entries, so a set's mean
    does not depend on which other sets share the batch. Uses the averaged parameters where they are kept.
    """

    def of_sample(variables: Any, sample: Batch, rng: jax.Array) -> tuple[dict[str, jax.Array], jax.Array]:
        one = jax.tree.map(lambda leaf: leaf[None], sample)
        loss, metrics, _ = model.loss(variables, one, rng, train=False)
        values = {name: jnp.reshape(value, ()) for name, value in metrics.items() if name != "tokens"}
        return {**values, "loss": loss}, figures.row_weights(metrics, one)[0]

    def evaluate(state: TrainState, batch: Batch) -> dict[str, figures.Sums]:
        rng = named(root_key(state), "evaluate")
        values, weights = jax.vmap(of_sample, in_axes=(None, 0, None))(served(state, parts), batch, rng)
        weights = jnp.where(is_sample(batch), weights, 0.0)
        return {
            name: figures.sums_per_set(value, weights, batch.embodiment, num_sets, nan_is_nothing=name != "loss")
            for name, value in values.items()
        }

    return evaluate


def served(state: TrainState, parts: Trainable) -> dict[str, Any]:
    """The variables that a policy would act with: averaged parameters where they are kept, adapters merged."""
    trained, frozen = parts.split(state.variables["params"])
    params = parts.join(trained if state.ema is None else state.ema, frozen)
    return {**state.variables, "params": parts.seen(params)}


def spelled(model: Model, batch: Batch) -> Batch:
    """A host batch with what only the host can write, for models that have such answers."""
    return model.spelled(batch) if isinstance(model, Spells) else batch


def place(batch: Batch) -> Batch:
    """A host batch on the device, in one transfer. Sample numbers (int64) become uint32 `[b, 2]`, low and high word:
    the device has no 64-bit integers, and a number cut to 32 bits would repeat its random draws."""
    words = np.stack([batch.sample & 0xFFFFFFFF, batch.sample >> 32], axis=-1).astype(np.uint32)
    return jax.device_put(dataclasses.replace(batch, sample=words))


def place_groups(batch: Batch, *, num_groups: int, narrow: bool) -> Groups:
    """A host batch on the device, as `num_groups` groups; `narrow` cuts their texts, for models that take any width."""
    parts = groups.split(batch, num_groups)
    placed = tuple(place(groups.narrowed(part) if narrow else part) for part in parts)
    return placed[0] if num_groups == 1 else placed


def is_sample(batch: Batch) -> Bool[Array, " b"]:
    """False for the rows that only fill up the last batch of a pass. `batch` is on the device (`place`)."""
    return ~jnp.all(batch.sample == jnp.uint32(PADDING_SAMPLE & 0xFFFFFFFF), axis=-1)
