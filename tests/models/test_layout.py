"""Without many devices nothing is said about layouts, and micro-batches take every n-th row."""

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from rtx.models import layout

TABLE, IDS = jnp.arange(12.0).reshape(6, 2), jnp.array([[0, 5], [3, 3]])


def program(x):
    return layout.by_rows(layout.looked_up(TABLE, x)), layout.in_turns(x, 2)


def test_one_device_is_no_mesh():
    one = Mesh(np.array(jax.devices()[:1]).reshape(1, 1, 1), ("data", "fsdp", "tensor"))
    plain = str(jax.make_jaxpr(program)(IDS))
    with layout.on(one):
        assert layout.num_row_shards() == 1
        assert str(jax.make_jaxpr(program)(IDS)) == plain
    assert "sharding_constraint" not in plain
    assert layout.by_rows(TABLE) is TABLE


def test_rows_in_turns():
    np.testing.assert_array_equal(layout.in_turns(jnp.arange(6), 3), [[0, 3], [1, 4], [2, 5]])


def test_looking_up_is_indexing():
    np.testing.assert_array_equal(layout.looked_up(TABLE, IDS), np.asarray(TABLE)[np.asarray(IDS)])
