"""Imitation: the step that makes the policy's actions likelier, and the evaluation of a held-out batch.

    state, batch -> augment -> loss, gradient -> clip -> AdamW (warm-up, schedule) -> average -> new state, metrics

A batch may come as several groups of rows (`rtx.train.groups`), and be gone through in micro-batches (`train.accumulate`);
gradients are added up inside the one step. On a mesh of devices it is the same step (`rtx.train.parallel`).

A step whose loss or gradient is not finite changes nothing but the counters: parameters, optimizer, batch statistics and
average stay bit for bit.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import Mesh
from jaxtyping import Array, Bool, Float

from rtx.data.assemble import PADDING_SAMPLE
from rtx.models import layout
from rtx.models.protocol import Model, Spells
from rtx.spec import Batch
from rtx.train import figures, groups, pytree
from rtx.train.augment import augment_batch
from rtx.train.config import OptimizationConfig
from rtx.train.parallel import hosts, rules
from rtx.train.state import TrainState, named, root_key
from rtx.train.trainable import EVERYTHING, Trainable

Groups = Batch | tuple[Batch, ...]
"""A batch on the device: in one, or as groups of its rows, each with a width of its own."""
Step = Callable[[TrainState, Groups], tuple[TrainState, dict[str, Any]]]
Evaluate = Callable[[TrainState, Batch], dict[str, figures.Sums]]


def make_schedule(config: OptimizationConfig) -> optax.Schedule:
    """Learning rate of each update: linear warm-up from 0 to `lr` at `warmup_steps` w, and from there on

    cosine     to `final_lr` of it at `num_steps`
    constant   lr
    rsqrt      lr sqrt(w / step)
    """
    lr, warmup = config.lr, config.warmup_steps
    if config.schedule == "cosine":
        return optax.warmup_cosine_decay_schedule(
            init_value=0.0, peak_value=lr, warmup_steps=warmup, decay_steps=config.num_steps, end_value=lr * config.final_lr
        )

    def later(after: Any) -> Any:
        step = jnp.maximum(warmup + after, 1)  # also asked for, and not used, before the warm-up is over
        return lr * jnp.sqrt(warmup / step) if config.schedule == "rsqrt" else lr

    return optax.join_schedules([optax.linear_schedule(0.0, lr, warmup), later], [warmup]) if warmup else later


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
    mesh: Mesh | None = None,
) -> Step:
    """The training step, to be jitted with the state donated. Metrics are scalars of this batch; with `num_sets`, those that
    the model reports row by row come as sums for each data set too: `{"sets": {name: figures.Sums}}`. Gradients and
    updates are of what `config.parts` trains. `mesh`: the devices it will run on, if they are many."""

    schedule, parts, held = make_schedule(config), config.parts, rules.held(mesh, model.param_axes())

    def step(state: TrainState, batch: Groups) -> tuple[TrainState, dict[str, Any]]:
        root = root_key(state)
        rng = jax.random.fold_in(named(root, "loss"), state.step)
        rest = {name: value for name, value in state.variables.items() if name != "params"}
        trainable, frozen = parts.split(state.variables["params"])

        def loss_of(trainable: Any, kept: Any, group: Batch, rng: jax.Array) -> tuple[Float[Array, ""], tuple[Any, Any]]:
            params = parts.seen(parts.join(trainable, frozen))
            loss, metrics, mutable = model.loss({**kept, "params": params}, group, rng, train=True)
            return loss, (metrics, mutable)

        def of_rows(kept: Any, rows: tuple[Batch, ...], rng: jax.Array) -> _Sum:
            rows = tuple(augment_batch(group, named(root, "augment"), config.augment) for group in rows)
            found = _over_groups(jax.value_and_grad(loss_of, has_aux=True), trainable, kept, rows, rng)
            return found._replace(grads=held(found.grads))

        lr = schedule(state.step - state.nonfinite)  # as the optimizer counts: updates made
        rows = batch if isinstance(batch, tuple) else (batch,)
        if config.accumulate > 1:
            rows, found = _over_turns(of_rows, rest, rows, rng, num_turns=config.accumulate, zeros=held(_zeros(trainable)))
        else:
            found = of_rows(rest, rows, rng)
        loss, grads = found.loss, found.grads
        grad_norm = optax.tree.norm(grads)
        is_finite = jnp.isfinite(loss) & jnp.isfinite(grad_norm)
        updates, opt_state = optimizer.update(grads, state.opt_state, trainable)
        trained = optax.apply_updates(trainable, updates)
        changed = {
            "variables": {**rest, **found.mutable, "params": parts.join(trained, frozen)},
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
        values = figures.of_step(found.metrics, rows, num_sets)
        return state, {**values, "loss": loss, "grad_norm": grad_norm, "lr": lr, **counters}

    def on_devices(state: TrainState, batch: Groups) -> tuple[TrainState, dict[str, Any]]:
        with layout.on(mesh):
            return step(state, batch)

    return on_devices


class _Sum(NamedTuple):
    """What came of some rows: means of loss and gradients, and what each group of them reported."""

    loss: Any
    grads: Any
    mutable: Any
    metrics: tuple[Any, ...]


def _over_groups(
    loss_and_grads: Callable[..., Any], trainable: Any, rest: Any, rows: tuple[Batch, ...], rng: jax.Array
) -> _Sum:
    """Of all rows, one group after the other. A group's loss is a mean; it counts by how much it is a mean over."""
    if len(rows) == 1:
        (loss, (metrics, mutable)), grads = loss_and_grads(trainable, rest, rows[0], rng)
        return _Sum(loss, grads, mutable, (metrics,))
    all_metrics, mutable, parts = [], {}, []
    for i, group in enumerate(rows):
        (loss, (metrics, mutable)), grads = loss_and_grads(trainable, {**rest, **mutable}, group, jax.random.fold_in(rng, i))
        all_metrics.append(metrics)
        parts.append((figures.row_weights(metrics, group).sum(), (loss, grads)))
    total = jnp.maximum(sum(weight for weight, _ in parts), 1.0)
    loss, grads = jax.tree.map(
        lambda *each: sum(w / total * x for (w, _), x in zip(parts, each, strict=True)), *(part for _, part in parts)
    )
    return _Sum(loss, grads, mutable, tuple(all_metrics))


def _over_turns(
    of_rows: Callable[..., _Sum], rest: Any, rows: tuple[Batch, ...], rng: jax.Array, *, num_turns: int, zeros: Any
) -> tuple[tuple[Batch, ...], _Sum]:
    """The rows in `num_turns` micro-batches, and what came of all of them; the i-th has rows i, i + num_turns, ... of each
    group, so that no row leaves its device. Each counts as a group does."""
    turns = jax.tree.map(lambda x: layout.in_turns(x, num_turns), rows)

    def turn(carry: Any, given: Any) -> tuple[Any, Any]:
        (summed, total, kept), (i, micro) = carry, given
        found = of_rows(kept, micro, jax.random.fold_in(rng, i))
        weight = sum(figures.row_weights(m, group).sum() for m, group in zip(found.metrics, micro, strict=True))
        summed = jax.tree.map(lambda a, b: a + weight * b, summed, (found.loss, found.grads))
        return (summed, total + weight, {**kept, **found.mutable}), found.metrics

    start = ((jnp.zeros(()), zeros), jnp.zeros(()), rest)
    (summed, total, kept), reported = jax.lax.scan(turn, start, (jnp.arange(num_turns), turns))
    loss, grads = jax.tree.map(lambda x: x / jnp.maximum(total, 1.0), summed)
    return _one_by_one(turns, num_turns), _Sum(loss, grads, kept, _one_by_one(reported, num_turns))


def _one_by_one(stacked: Sequence[Any], n: int) -> tuple[Any, ...]:
    """Of each of `stacked` its n entries on axis 0."""
    return tuple(jax.tree.map(lambda x, i=i: x[i], one) for one in stacked for i in range(n))


def _zeros(tree: Any) -> Any:
    return jax.tree.map(jnp.zeros_like, tree)


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


def place(batch: Batch, mesh: Mesh | None = None) -> Batch:
    """A host batch on the device, or this host's rows of one on the mesh, in one transfer. Sample numbers (int64) become
    uint32 `[b, 2]`, low and high word: the device has no 64-bit integers, and a number cut to 32 bits would repeat its
    random draws."""
    words = np.stack([batch.sample & 0xFFFFFFFF, batch.sample >> 32], axis=-1).astype(np.uint32)
    batch = dataclasses.replace(batch, sample=words)
    return jax.device_put(batch) if mesh is None else hosts.global_batch(mesh, batch)


def place_groups(batch: Batch, *, num_groups: int, narrow: bool, mesh: Mesh | None = None) -> Groups:
    """A host batch on the device, as `num_groups` groups; `narrow` cuts their texts, for models that take any width."""
    parts = groups.split(batch, num_groups)
    placed = tuple(place(groups.narrowed(part) if narrow else part, mesh) for part in parts)
    return placed[0] if num_groups == 1 else placed


def is_sample(batch: Batch) -> Bool[Array, " b"]:
    """False for the rows that only fill up the last batch of a pass. `batch` is on the device (`place`)."""
    return ~jnp.all(batch.sample == jnp.uint32(PADDING_SAMPLE & 0xFFFFFFFF), axis=-1)
