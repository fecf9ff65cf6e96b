"""Operations are those of gradient and update without recomputation, counted once a shape; MFU only where the peak is known."""

import dataclasses
import logging
import math

import jax
import pytest

from rtx.models.families import build_model
from rtx.train import imitation, speed
from rtx.train.accelerators import peak_flops
from rtx.train.config import AugmentConfig, OptimizationConfig
from rtx.train.state import init_state
from tests.models.vla import tiny_vla

CONFIG = OptimizationConfig(
    num_steps=10, warmup_steps=0, augment=AugmentConfig(shift_px=0, brightness=0.0, contrast=0.0, hue=0.0)
)


def counted(config, size):
    model, optimizer = build_model(config), imitation.make_optimizer(CONFIG)
    batch = tiny_vla.batch(config, size=size)
    state = jax.eval_shape(lambda batch: init_state(model, optimizer, batch, seed=0, ema=False), batch)
    flops = speed.StepFlops(model, optimizer, CONFIG)
    return flops, state, imitation.place(batch)


def test_twice_the_rows_take_about_twice_the_operations_and_are_counted_once(caplog):
    with caplog.at_level(logging.INFO):
        flops, state, batch = counted(tiny_vla.paligemma(), 2)
        two = flops(state, batch)
        assert flops(state, batch) == two
        four = flops(state, imitation.place(tiny_vla.batch(tiny_vla.paligemma(), size=4)))
    assert 1.2 < four / two < 2.0, "the update of the parameters is the same"
    assert caplog.text.count("step: flops=") == 1


def test_what_cannot_be_counted_is_reported_and_stops_nothing(caplog):
    flops, state, batch = counted(tiny_vla.paligemma(), 2)
    assert math.isnan(flops(dataclasses.replace(state, variables={"params": {}}), batch))
    assert "operations of the step not counted" in caplog.text


def test_figures_and_words():
    figures = speed.Rate(num_steps=4, elapsed_s=2.0, flops=8e12).figures(batch_size=32)
    assert figures == {"step_s": 0.5, "samples_per_s": 64.0, "flops_per_s": 4e12}, "a CPU has no known peak"
    assert speed.in_words(figures) == "500 ms a step, 64 samples/s, 4e+03 GFLOP/s"
    assert speed.in_words({**figures, "mfu": 0.414}) == "500 ms a step, 64 samples/s, MFU 41%"
    assert "flops_per_s" not in speed.Rate(num_steps=4, elapsed_s=2.0, flops=math.nan).figures(batch_size=32)


@pytest.mark.parametrize(
    ("kind", "tera"),
    [
        ("TPU v5 lite", 197), ("TPU v5", 459), ("TPU v5p", 459), ("TPU v6 lite", 918), ("TPU v4", 275),
        ("NVIDIA H200", 989), ("NVIDIA H100 80GB HBM3", 989), ("NVIDIA H100 PCIe", 756), ("NVIDIA A100-SXM4-80GB", 312),
        ("NVIDIA L40S", 362), ("NVIDIA L4", 121), ("NVIDIA A10G", 70),
        ("cpu", None), ("NVIDIA L40", None), ("TPU v4 lite", None), ("NVIDIA GeForce RTX 4090", None),
    ],
)  # fmt: skip
def test_peaks(kind, tera):
    assert peak_flops(kind) == (None if tera is None else tera * 1e12)
