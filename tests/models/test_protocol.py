"""A batch is a pytree of its arrays."""

from __future__ import annotations

import dataclasses

import jax
import numpy as np

import rtx.models.protocol
from rtx.spec import Batch

assert rtx.models.protocol  # imported for what it registers


def test_batch_is_a_pytree() -> None:
    batch = Batch(
        images={"primary": np.zeros((2, 1, 4, 4, 3), np.uint8)}, image_mask={"primary": np.ones((2, 1), bool)},
        history_mask=np.ones((2, 1), bool), proprio=np.zeros((2, 1, 10), np.float32), text=np.zeros((2, 3), np.int32),
        action=None, action_mask=None, embodiment=np.zeros(2, np.int32), sample=np.arange(2),
    )  # fmt: skip
    leaves, tree = jax.tree.flatten(batch)
    assert len(leaves) == 7  # the two that are None have no leaf
    again = jax.tree.unflatten(tree, leaves)
    assert [f.name for f in dataclasses.fields(again)] == [f.name for f in dataclasses.fields(batch)]
    assert again.action is None
    halves = jax.tree.map(lambda x: x[:1], batch)
    assert halves.images["primary"].shape == (1, 1, 4, 4, 3)
    assert jax.jit(lambda b: b.proprio.sum())(batch) == 0
