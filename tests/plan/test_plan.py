"""Plans of runs: what a chip holds is what it will hold, the compiler is asked where it is, mistakes are said before work."""

import dataclasses
import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

from rtx.errors import UserError
from rtx.plan.abstract import nominal_batch
from rtx.plan.child import memory_lacking
from rtx.plan.chips import parse_topology
from rtx.plan.measure import Measured, calculate_all, measure
from rtx.plan.plan import make_plan
from rtx.plan.report import Plan, plan_text
from rtx.plan.search import candidates, settings
from rtx.train.config import AugmentConfig, DataConfig, DataSet, OptimizationConfig, RunConfig, TrainConfig
from rtx.train.parallel.mesh import MeshConfig
from tests.models.vla import tiny_vla

WEIGHTS = {"num_parameters": 10.0, "params": 1e9, "optimizer": 2e9, "batch": 1e6}
HALF = Measured(
    mesh={"data": 4, "fsdp": 1, "tensor": 1}, weights=WEIGHTS,
    memory={"arguments": 3e9, "results": 0.0, "temporaries": 1e9, "program": 1e6}, needed=0.5 * 4 * 197e12 * 0.4,
    executed=4 * 197e12 * 0.25, cycles=1.5 * 0.875e9,
    times={"step": 0.5, "products": 0.2, "memory": 0.1, "exchanges": 0.3, "exposed": 0.125},
)  # fmt: skip
"""A batch of 8 in half a second on four chips of 197 TFLOP/s."""
ROOT = Path(__file__).resolve().parents[2]
STILL = AugmentConfig(shift_px=0, brightness=0.0, contrast=0.0, hue=0.0)


def config(*, batch_size=8, mesh=None, family="paligemma", **model) -> TrainConfig:
    """A run of the tests' smallest vision-language-action model."""
    model = tiny_vla.FAMILIES[family](compute_dtype="bfloat16", chunk=1, **model)
    return TrainConfig(
        data=DataConfig(
            sets=(DataSet(prepared="nowhere"),), roles=model.roles, image_size=model.image_size, history=model.history,
            batch_size=batch_size,
        ),
        model=model,
        train=OptimizationConfig(num_steps=100, ema=0.99, augment=STILL),
        run=RunConfig(mesh=mesh or MeshConfig()),
    )  # fmt: skip


def test_a_nominal_batch_is_one_that_the_model_takes():
    small = config()
    batch, real = nominal_batch(small, 3), tiny_vla.batch(small.model)
    for name in ("text", "target", "action", "action_mask", "images", "image_mask", "history_mask", "embodiment"):
        ours, theirs = (jax.tree.map(lambda x: (x.shape, x.dtype), getattr(one, name)) for one in (batch, real))
        assert ours == theirs, name


def test_bytes_of_a_plan_are_those_of_the_state_on_devices():
    """Eight devices in a process of their own hold the real state; each has what the plan says."""
    small = config(mesh=MeshConfig(data=2, fsdp=2, tensor=2))
    (found,) = calculate_all([small], parse_topology("gpu:h100x8"))
    code = """
import json, sys, jax
from rtx.plan.abstract import nominal_batch, nominal_model
from rtx.train import imitation
from rtx.train.config import config_from_json
from rtx.train.parallel import rules
from rtx.train.parallel.mesh import build_mesh
from rtx.train.state import init_state
config = config_from_json(json.loads(sys.stdin.read()))
mesh, model, optimizer = build_mesh(config.run.mesh), nominal_model(config), imitation.make_optimizer(config.train)
init = lambda batch: init_state(model, optimizer, batch, seed=0, ema=True)
batch = nominal_batch(config, 1)
shardings = rules.state_shardings(mesh, jax.eval_shape(init, batch), model.param_axes())
state = jax.jit(init, out_shardings=shardings)(batch)
here = lambda tree: [sum(leaf.addressable_shards[i].data.nbytes for leaf in jax.tree.leaves(tree)) for i in range(8)]
print(json.dumps([here(state.variables["params"]), here(state)]))
"""
    env = os.environ | {
        "JAX_PLATFORMS": "cpu",
        "XLA_FLAGS": f"{os.environ['XLA_FLAGS']} --xla_force_host_platform_device_count=8",
    }
    asked = json.dumps(_as_json(small))
    done = subprocess.run(
        [sys.executable, "-c", code], input=asked, capture_output=True, text=True, check=True, env=env, cwd=ROOT
    )
    params, state = json.loads(done.stdout)
    assert params == [found.weights["params"]] * 8
    assert state == [found.weights["params"] + found.weights["optimizer"]] * 8


def _as_json(one):
    from rtx.train.config import config_to_json

    return config_to_json(one)


@pytest.mark.skipif(importlib.util.find_spec("libtpu") is None, reason="libtpu (extra tpu) is not installed")
def test_the_real_step_through_the_tpu_compiler():
    plan = make_plan(config(mesh=MeshConfig(fsdp=2)), parse_topology("v5e:2x2"), name="tiny")
    found = plan.measured
    assert found.mesh == {"data": 2, "fsdp": 2, "tensor": 1}
    assert found.flops * 4 == pytest.approx(found.executed, rel=0.1)  # the program computes what was counted
    assert found.memory["arguments"] >= found.weights["params"] + found.weights["optimizer"]
    assert {one["kind"] for one in found.exchanges} >= {"all-gather", "all-reduce"}
    assert 0 < plan.mfu < 1
    text = plan_text(plan)
    assert "fits" in text
    assert "all-gather" in text


def test_without_libtpu_the_extra_is_named(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"rtx-robotics\[tpu\]"):
        measure(config(), parse_topology("v5e:2x2"))


def test_what_does_not_fit_says_by_how_much():
    message = (
        "RESOURCE_EXHAUSTED: Ran out of memory in memory space hbm. Used 20.50G of 15.75G hbm. Exceeded hbm capacity by 4.75G."
    )
    lacking = memory_lacking(message)
    assert lacking == {"used": 20.5 * 2**30, "limit": 15.75 * 2**30}
    assert memory_lacking("INTERNAL: something else") is None
    found = Measured(
        mesh={"data": 4, "fsdp": 1, "tensor": 1}, weights=WEIGHTS,
        memory=lacking, needed=1e15, executed=1.3e15,
    )  # fmt: skip
    plan = Plan(name="big", config=config(), topology=parse_topology("v5e:2x2"), measured=found)
    assert "DOES NOT FIT: 4.75 GiB too much" in plan_text(plan)


def test_times_by_hand():
    plan = Plan(name="half", config=config(), topology=parse_topology("v5e:2x2"), measured=HALF)
    assert plan.mfu == pytest.approx(0.4)
    assert plan.exposed_share == pytest.approx(0.25)
    assert plan.cautious_mfu == pytest.approx(0.2, rel=0.01)  # 0.875 s at 1.5 GHz, and 0.125 s of waiting
    assert plan.loader_cores == pytest.approx(8 * 2 * 2 / 0.5 * 256 * 320 / 1.3e8)  # two frames of two cameras


def test_a_mesh_that_does_not_fit_is_said_before_anything_is_compiled():
    with pytest.raises(UserError, match="do not fit 8 devices"):
        calculate_all([config(mesh=MeshConfig(data=3, fsdp=1, tensor=1))], parse_topology("gpu:h100x8"))  # in its process


def test_candidates_of_a_search_are_all_possible():
    topology = parse_topology("gpu:h100x8")
    found = candidates(config(batch_size=16), topology)
    meshes = {dataclasses.astuple(one.run.mesh) for one in found}
    assert {(8, 1, 1), (1, 8, 1), (2, 2, 2), (1, 1, 8)} <= meshes
    assert all(np.prod(mesh) == 8 for mesh in meshes)
    assert {one.train.accumulate for one in found if one.run.mesh.tensor == 1} == {1, 2}
    remats = {getattr(one.model, "remat", None) for one in found}
    assert "layers" in remats
    plan = Plan(name="x", config=found[0], topology=topology, measured=HALF)
    assert f"--set run.mesh.fsdp={found[0].run.mesh.fsdp}" in settings(plan)
