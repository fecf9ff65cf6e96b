"""Run as a program with eight CPU devices: a few steps of one model on one batch, on every mesh asked for.

python -m tests.train.parallel.many_devices MODEL MESH...    prints JSON, as `steps_on` returns it, by mesh
"""

from __future__ import annotations

import dataclasses
import json
import sys
from typing import Any

import jax
import numpy as np

from rtx.models.families import build_model
from rtx.models.protocol import Model
from rtx.spec import Batch
from rtx.train import imitation, pytree
from rtx.train.config import AugmentConfig, OptimizationConfig
from rtx.train.parallel import rules
from rtx.train.parallel.mesh import MeshConfig, build_mesh, everywhere
from rtx.train.state import TrainState, init_state
from tests.models.rt1x import small
from tests.models.vla import tiny_vla

BATCH, STEPS = 8, 3
KEPT = ("variables", "ema", "opt_state", "rng")
CONFIG = OptimizationConfig(num_steps=8, warmup_steps=0, lr=1e-3, ema=0.9, augment=AugmentConfig(shift_px=1))
MESHES = {  # data, fsdp, tensor, micro-batches
    "one": (1, 1, 1, 1),
    "two": (2, 1, 1, 1),
    "four": (1, 4, 1, 1),
    "four in turns": (1, 2, 2, 2),
    "eight": (2, 2, 2, 1),
}


def rt1x() -> tuple[Model, Batch]:
    """With batch statistics, of pictures of which one half is darker: those of a part would be others."""
    batch = small.random_batch(small.CONFIG, BATCH, steps=2)
    batch.images["primary"][: BATCH // 2] //= 4
    return build_model(small.CONFIG), dataclasses.replace(batch, sample=np.arange(BATCH, dtype=np.int64))


def vla(family: str) -> tuple[Model, Batch]:
    config = tiny_vla.FAMILIES[family](roles=("primary",), history=1, chunk=1)
    return build_model(config), tiny_vla.batch(config, size=BATCH)


def steps_on(model: Model, batch: Batch, sizes: tuple[int, int, int, int]) -> dict[str, Any]:
    data, fsdp, tensor, accumulate = sizes
    config = dataclasses.replace(CONFIG, accumulate=accumulate)
    mesh = build_mesh(MeshConfig(data=data, fsdp=fsdp, tensor=tensor), jax.devices()[: data * fsdp * tensor])
    optimizer = imitation.make_optimizer(config)
    layout, state = started(model, batch, optimizer, mesh)
    step = jax.jit(
        imitation.make_step(model, optimizer, config, mesh=mesh), donate_argnums=0, out_shardings=(layout, everywhere(mesh))
    )
    placed, losses = imitation.place(batch, mesh), []
    for _ in range(STEPS):
        state, values = step(state, placed)
        losses.append(float(values["loss"]))
    spoiled, before = spoil(state)
    after, values = step(spoiled, placed)
    assert step._cache_size() == 1, "the state comes out as it went in"
    stats = pytree.flatten(before.variables.get("batch_stats", {}))
    return {
        "loss": losses,
        "skipped": int(values["nonfinite"]) == 1 and all(is_same(after, before, name) for name in KEPT),
        "stats": {path: np.asarray(leaf).ravel()[:4].tolist() for path, leaf in stats.items()},
        "split": sorted({axis for leaf in jax.tree.leaves(after) for axis in leaf.sharding.spec if axis}),
    }


def spoil(state: TrainState) -> tuple[TrainState, TrainState]:
    """One number of the first parameter is NaN, and with it every loss; and the same on the host."""
    params = pytree.flatten(state.variables["params"])
    path, leaf = next(iter(params.items()))
    bad = np.array(leaf)
    bad.flat[0] = np.nan
    changed = pytree.unflatten_like(state.variables["params"], {**params, path: jax.device_put(bad, leaf.sharding)})
    spoiled = dataclasses.replace(state, variables={**state.variables, "params": changed})
    return spoiled, jax.tree.map(np.array, spoiled)


def is_same(state: TrainState, other: TrainState, name: str) -> bool:
    pairs = zip(jax.tree.leaves(getattr(state, name)), jax.tree.leaves(getattr(other, name)), strict=True)
    return all(np.array_equal(np.asarray(a), b, equal_nan=True) for a, b in pairs)


def started(model: Model, batch: Batch, optimizer: Any, mesh: Any) -> tuple[Any, TrainState]:
    """Weights without structure, drawn on the host: nothing to compile."""
    shapes = jax.eval_shape(lambda: init_state(model, optimizer, batch, seed=0, ema=True))
    variables = small.random_like(shapes.variables)
    filled = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), shapes)
    state = dataclasses.replace(filled, variables=variables, ema=jax.tree.map(np.asarray, variables["params"]))
    layout = rules.state_shardings(mesh, shapes, model.param_axes())
    return layout, jax.device_put(state, layout)


def main(name: str, chosen: list[str]) -> None:
    model, batch = rt1x() if name == "rt1x" else vla(name)
    print(json.dumps({mesh: steps_on(model, batch, MESHES[mesh]) for mesh in chosen}))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
