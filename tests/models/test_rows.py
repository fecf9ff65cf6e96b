"""Rows are told apart, by models of every family, and those that have nothing say so."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rtx.models.families import build_model
from rtx.models.rows import mean_of_rows
from rtx.models.rt1x_words.config import RT1XWordsConfig
from tests.models.rt1 import small as rt1
from tests.models.rt1x import small as rt1x
from tests.models.vla import tiny_vla


def test_rows_without_anything_are_nan():
    value = jnp.asarray([[1.0, 3.0], [jnp.nan, 5.0], [1.0, 1.0]])
    weight = jnp.asarray([[True, True], [False, True], [False, False]])
    np.testing.assert_array_equal(mean_of_rows(value, weight), np.array([2.0, 5.0, np.nan], np.float32))


def rt1x_words():
    config = RT1XWordsConfig(**vars(rt1x.CONFIG), text_length=5, text_vocabulary=20, text_width=8, text_layers=1, text_heads=2)
    batch = rt1x.random_batch(rt1x.CONFIG)
    return config, dataclasses.replace(batch, text=np.ones((len(batch.sample), 5), np.int32))


CASES = {
    "rt1": lambda: (rt1.CONFIG, rt1.random_batch(rt1.CONFIG)),
    "rt1x": lambda: (rt1x.CONFIG, rt1x.random_batch(rt1x.CONFIG)),
    "rt1x_words": rt1x_words,
    "paligemma": lambda: (tiny_vla.paligemma(), tiny_vla.batch(tiny_vla.paligemma())),
    "pali": lambda: (tiny_vla.pali(), tiny_vla.batch(tiny_vla.pali())),
    "head of numbers": lambda: (tiny_vla.paligemma(head="l1"), tiny_vla.batch(tiny_vla.paligemma(head="l1"))),
}


@pytest.mark.parametrize("name", CASES)
def test_each_family_reports_loss_and_accuracy_of_rows(name):
    """So that a run can tell those of each data set, in training as in validation. By shapes: nothing is computed."""
    config, batch = CASES[name]()
    model, rng = build_model(config), jax.random.key(0)
    variables = jax.eval_shape(model.init, rng, batch)
    loss, metrics, _ = jax.eval_shape(lambda v: model.loss(v, batch, rng, train=True), variables)
    assert loss.shape == ()
    wanted = {"loss", "accuracy_text"} if name == "head of numbers" else {"loss", "accuracy"}
    assert wanted <= set(metrics)
    assert {metric: value.shape for metric, value in metrics.items()} == dict.fromkeys(metrics, (len(batch.sample),))
