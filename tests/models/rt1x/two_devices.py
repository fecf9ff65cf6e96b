"""Run as a program with two CPU devices: a batch split over them against the whole batch on one. Prints ok."""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

import rtx.models.protocol
from rtx.models.rt1x.model import RT1X
from tests.models.rt1x.small import CONFIG, random_batch, random_like

assert rtx.models.protocol  # makes batches pytrees
MODEL = RT1X(CONFIG)


def main() -> None:
    devices = jax.devices()
    assert len(devices) == 2, devices
    batch = random_batch(CONFIG, 4, steps=2)
    batch.images["primary"][:2] //= 4  # one half is darker: statistics of a half would be others
    variables = random_like(jax.eval_shape(MODEL.init, jax.random.key(0), batch))
    mesh = Mesh(np.array(devices), ("data",))
    split, everywhere = NamedSharding(mesh, PartitionSpec("data")), NamedSharding(mesh, PartitionSpec())
    step = jax.jit(partial(MODEL.loss, rng=jax.random.key(1), train=True))
    alone = step(jax.device_put(variables, devices[0]), jax.device_put(batch, devices[0]))
    together = step(jax.device_put(variables, everywhere), jax.device_put(batch, split))
    _close(together, alone)
    print("ok")


def _close(ours: Any, expected: Any) -> None:
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5), ours, expected)


if __name__ == "__main__":
    main()
