"""A small training state, what travels with it, and ways to damage what was written of them."""

from __future__ import annotations

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax

from rtx.embodiment import CANONICAL
from rtx.robots.sim_arms import SIM_ARMS
from rtx.spec import Contract, FieldStatistics, Statistics
from rtx.train import checkpoint, pytree

_NUMBERS = FieldStatistics(mean=(0.0,), std=(1.0,), min=(0.0,), max=(1.0,), q01=(0.0,), q99=(1.0,), count=1)
CONTRACT = Contract(
    roles=("primary",),
    image_size=(32, 32),
    history=1,
    chunk=2,
    embodiments={"sim_panda": SIM_ARMS["sim_panda"]},
    layouts={"sim_panda": CANONICAL},
    statistics={"sim_panda": Statistics(action=_NUMBERS, proprio=_NUMBERS, num_episodes=1, source="a test")},
)
SIDE = checkpoint.SideFiles(
    contract=CONTRACT,
    model={"family": "rt1", "config": {}},
    tokenizer={"kind": "words"},
    data={"next_sample": 64, "fingerprint": "f"},
    config={"data": {}},
)


HERE = jax.sharding.SingleDeviceSharding(jax.devices()[0])


def make_state(step: int, *, ema: bool = True):
    params = {"dense": {"kernel": jnp.arange(12.0).reshape(3, 4) * step, "bias": jnp.ones(4)}}
    return {
        "step": jnp.int32(step),
        "variables": {"params": params, "batch_stats": {"mean": jnp.full(3, step, jnp.bfloat16)}},
        "ema": jax.tree.map(lambda p: p + 1, params) if ema else None,
        "opt_state": optax.chain(optax.clip(1.0), optax.adamw(1e-3)).init(params),
        "rng": jnp.array([1, 2], jnp.uint32),
    }


def save(root: Path, *steps: int, **options) -> None:
    for step in steps:
        checkpoint.save(root, step=step, state=make_state(step), side=SIDE, **options)


def restore(root: Path) -> checkpoint.Restored | None:
    return checkpoint.restore(root, pytree.abstract(make_state(0), HERE))


def arrays_file(folder: Path) -> Path:
    """The biggest file of the arrays."""
    return max((f for f in (folder / "state").rglob("*") if f.is_file()), key=lambda f: f.stat().st_size)


def flip(path: Path) -> None:
    """One bit of one byte."""
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data))


def assert_equal(left, right) -> None:
    assert jax.tree.structure(left) == jax.tree.structure(right)
    jax.tree.map(np.testing.assert_array_equal, left, right)
