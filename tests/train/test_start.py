"""Beginning at another run's parameters: what is taken, what is left by rule, and every mismatch named."""

import logging

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rtx.errors import UserError
from rtx.train import pytree
from rtx.train.config import OptimizationConfig
from rtx.train.start import starting_variables
from tests.train.checkpoints import make_state, save


@pytest.fixture
def begun(tmp_path):
    save(tmp_path, 2)

    def begin(*without: str, **replaced):
        """What a model takes whose variables are the checkpoint's, but for the `replaced` ones (None: it has no such)."""
        wanted = {
            **pytree.flatten(make_state(2)["variables"]),
            **{name.replace("__", "/"): to for name, to in replaced.items()},
        }
        wanted = {name: leaf for name, leaf in wanted.items() if leaf is not None}
        return starting_variables(OptimizationConfig(start=str(tmp_path), start_without=without), wanted)

    return begin


def test_all_is_taken_averages_in_the_place_of_what_they_follow(begun):
    state = make_state(2)
    expected = {**state["variables"], "params": state["ema"]}
    jax.tree.map(np.testing.assert_array_equal, begun(), pytree.flatten(expected))
    assert begun(params__dense__kernel=jnp.zeros((3, 4), jnp.bfloat16))["params/dense/kernel"].dtype == jnp.bfloat16


def test_what_only_the_new_model_has_is_made_anew(begun, caplog):
    with caplog.at_level(logging.INFO):
        taken = begun(params__head__kernel=jnp.zeros(2))
    assert "params/head/kernel" not in taken
    assert "taken=3 left=0 initialised=1 (params/head/kernel)" in caplog.text


def test_every_mismatch_is_named(begun):
    with pytest.raises(UserError) as caught:
        begun(params__dense__kernel=jnp.zeros((3, 5)), params__dense__bias=None, batch_stats__mean=jnp.zeros(4))
    head, *lines = str(caught.value).splitlines()
    assert "train.start_without" in head
    assert lines == [
        "  params/dense/bias: the new model has none",
        "  batch_stats/mean: [3], the new model has [4]",
        "  params/dense/kernel: [3, 4], the new model has [3, 5]",
    ]


def test_what_a_rule_matches_is_left_whatever_its_shape(begun, caplog):
    with caplog.at_level(logging.INFO):
        taken = begun("^dense/kernel$", "^batch_stats", params__dense__kernel=jnp.zeros((3, 5)), batch_stats__mean=None)
    assert set(taken) == {"params/dense/bias"}
    assert "taken=1 left=2 initialised=1 (params/dense/kernel)" in caplog.text


def test_a_rule_that_matches_nothing_is_a_mistake(begun):
    with pytest.raises(UserError, match=r"train.start_without: '\^params/dense' matches no parameter of train.start.*dense"):
        begun("^params/dense")


def test_rules_are_checked_before_the_run():
    assert OptimizationConfig(start="runs/base", start_without=("^head/",)).problems() == []
    bad = OptimizationConfig(start_without=("(head",)).problems()
    assert len(bad) == 2
    assert "'(head' is not a regular expression" in bad[0]
    assert "which is not set" in bad[1]
