"""Rows are told apart, and those that have nothing say so."""

import jax.numpy as jnp
import numpy as np

from rtx.models.rows import mean_of_rows


def test_rows_without_anything_are_nan():
    value = jnp.asarray([[1.0, 3.0], [jnp.nan, 5.0], [1.0, 1.0]])
    weight = jnp.asarray([[True, True], [False, True], [False, False]])
    np.testing.assert_array_equal(mean_of_rows(value, weight), np.array([2.0, 5.0, np.nan], np.float32))
