"""Figures of rows, groups and data sets: NaN is nothing, rows count by their tokens."""

import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest

from rtx.train import figures
from rtx.train.config import DataSet
from rtx.train.metrics import MetricsFile, read_metrics
from rtx.train.observe import Window
from tests.models.vla import tiny_vla
from tests.train.small_run import small_config

NAN = float("nan")


def batch(embodiment):
    whole = tiny_vla.batch(tiny_vla.paligemma(), size=len(embodiment))
    mask = np.ones_like(whole.action_mask)
    return dataclasses.replace(whole, embodiment=np.array(embodiment, np.int32), action_mask=mask)


def test_rows_of_groups_are_added_up_by_tokens_and_data_set():
    first = {"accuracy": jnp.array([1.0, NAN]), "tokens": jnp.array([2.0, 8.0]), "loss": jnp.array([1.0, 2.0])}
    second = {"accuracy": jnp.array([0.0, 0.5]), "tokens": jnp.array([2.0, 4.0]), "loss": jnp.array([3.0, 4.0])}
    found = figures.of_step([first, second], [batch([0, 1]), batch([0, 2])], 3)
    assert float(found["accuracy"]) == pytest.approx((2 * 1 + 4 * 0.5) / 8)
    assert float(found["tokens"]) == 16
    assert "loss" not in found, "the step adds it up"
    np.testing.assert_allclose(found["sets"]["loss"].total, [2 * 1 + 2 * 3, 8 * 2, 4 * 4])
    np.testing.assert_allclose(found["sets"]["loss"].weight, [4, 8, 4])
    np.testing.assert_allclose(found["sets"]["accuracy"].total, [2, 0, 2])
    np.testing.assert_allclose(found["sets"]["accuracy"].weight, [4, 0, 4])


def test_scalars_of_groups_are_averaged_and_what_nobody_has_stays_nothing():
    group = batch([0, 0])
    entries = group.action_mask[0].size * 2
    found = figures.of_step([{"l1": jnp.float32(1.0)}, {"l1": jnp.float32(NAN)}], [group, group], 1)
    assert float(found["l1"]) == 1.0
    assert np.isnan(figures.of_step([{"l1": jnp.full(2, NAN)}], [group], 1)["l1"])
    assert float(figures.row_weights({}, group).sum()) == entries
    assert figures.row_weights({"tokens": jnp.float32(6.0)}, group).tolist() == [3.0, 3.0]


def test_a_window_tells_both_accuracies_for_each_data_set(tmp_path):
    config = small_config((DataSet(prepared="unused"),))
    with MetricsFile(tmp_path / "metrics.jsonl", step=0) as metrics:
        window = Window(config, metrics, ["robot", "web"])
        for step in (1, 2):
            sets = {
                "accuracy": figures.Sums(np.array([2.0 * step, 0.0]), np.array([4.0, 0.0])),
                "accuracy_text": figures.Sums(np.array([0.0, 1.0]), np.array([0.0, 4.0])),
            }
            values = {"loss": 1.0, "lr": 0.1, "accuracy": 0.75, "accuracy_text": NAN if step == 1 else 0.25, "sets": sets}
            counters = {"nonfinite": 0, "nonfinite_so_far": 0, "nonfinite_in_a_row": 0}
            window.add(step, {**values, **counters}, wait_s=0.0)
        window.log()
    (line,) = read_metrics(tmp_path / "metrics.jsonl")
    assert line["sets"] == {"robot": {"accuracy": 0.75}, "web": {"accuracy_text": 0.25}}
    assert (line["accuracy"], line["accuracy_text"]) == (0.75, 0.25), "the step that had no questions is left out"
    assert window.note.startswith("loss 1.000, actions 75%, answers 25%, ")
