"""Which part of what lies where: no device is needed, only a mesh's shape."""

import dataclasses

import jax
import pytest
from jax.sharding import AbstractMesh, NamedSharding, PartitionSpec

from rtx.errors import UserError
from rtx.models.families import build_model
from rtx.models.lora import LoRAConfig
from rtx.train import imitation, pytree
from rtx.train.config import OptimizationConfig
from rtx.train.parallel import rules
from rtx.train.state import init_state
from tests.models.rt1x import small
from tests.models.vla import tiny_vla

MESH = AbstractMesh((1, 2, 2), ("data", "fsdp", "tensor"))
CONFIG = OptimizationConfig(ema=0.9)
VLA = build_model(tiny_vla.paligemma())
RULES = (("mlp/linear$", (None, "mlp", "embed")), ("heads", ("heads", "heads")))


def state_of(model, batch, config=CONFIG):
    optimizer = imitation.make_optimizer(config)
    return jax.eval_shape(lambda: init_state(model, optimizer, batch, seed=0, ema=True, parts=config.parts))


def layout(mesh, model, state):
    return {path: where.spec for path, where in pytree.flatten(rules.state_shardings(mesh, state, model.param_axes())).items()}


def test_axes_follow_the_first_rule_that_matches():
    assert rules.placement(MESH, "llm/mlp/linear", (3, 8, 4), RULES).spec == PartitionSpec(None, "tensor", "fsdp")
    assert rules.placement(MESH, "llm/norm/scale", (8,), RULES) == (PartitionSpec(), "", ())
    assert rules.placement(MESH, "heads", (4, 4), RULES).spec == PartitionSpec("tensor", None), "an axis is used once"


def test_what_does_not_divide_stays_whole_and_is_counted():
    spec, _, whole = rules.placement(MESH, "llm/mlp/linear", (3, 7, 4), RULES)
    assert spec == PartitionSpec(None, None, "fsdp")
    assert whole == ("mlp 7 over tensor=2",)


def test_rules_that_do_not_fit_are_named():
    with pytest.raises(UserError, match=r"'mlp/linear\$' names 3 axes, but llm/mlp/linear has shape \[8, 4\]"):
        rules.placement(MESH, "llm/mlp/linear", (8, 4), RULES)
    with pytest.raises(UserError, match=r"unknown axis .*'embd'; did you mean 'embed'"):
        rules.placement(MESH, "a", (8,), (("a", ("embd",)),))


def test_moments_and_averages_lie_as_their_parameter_does():
    model = VLA
    specs = layout(MESH, model, state_of(model, tiny_vla.batch(model.config)))
    assert specs["variables/params/llm/layers/mlp/linear"] == PartitionSpec(None, "tensor", "fsdp")
    followers = [path for path in specs if path.endswith("/llm/layers/mlp/linear")]
    assert len(followers) == 4, "the parameter, two moments, the average"
    assert len({specs[path] for path in followers}) == 1
    assert specs["step"] == specs["rng"] == PartitionSpec()


def test_batch_statistics_and_small_factors_are_whole_everywhere():
    model = build_model(small.CONFIG)
    specs = layout(MESH, model, state_of(model, small.random_batch(small.CONFIG)))
    assert {spec for path, spec in specs.items() if "batch_stats" in path} == {PartitionSpec()}
    assert any(spec != PartitionSpec() for spec in specs.values())
    config = dataclasses.replace(CONFIG, lora=LoRAConfig(rules=("mlp/linear",)))
    specs = layout(MESH, VLA, state_of(VLA, tiny_vla.batch(VLA.config), config))
    assert {spec for path, spec in specs.items() if "/lora/" in path} == {PartitionSpec()}


def test_the_table_adds_up():
    state = state_of(VLA, tiny_vla.batch(VLA.config))
    shardings = rules.state_shardings(MESH, state, VLA.param_axes())
    each, alone = (
        rules.bytes_per_device(state, where)
        for where in (shardings, jax.tree.map(lambda _: NamedSharding(MESH, PartitionSpec()), state))
    )
    params = pytree.num_elements(state.variables["params"]) * 4
    assert alone.params == alone.grads == params
    assert params / 4 < each.params < params / 2, "most of it in four parts"
    text = rules.table(MESH, state, VLA.param_axes())
    assert "mlp/linear" in text
    assert "- tensor fsdp" in text
    assert "not split, does not divide: heads 1 over tensor=2, 1 parameters" in text
    assert f"parameters {each.params / 1e6:,.1f}" in text
