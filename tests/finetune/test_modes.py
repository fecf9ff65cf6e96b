"""What each mode trains, on the real parameter trees of each family."""

import re

import jax
import numpy as np
import pytest

from rtx.errors import UserError
from rtx.finetune.modes import MODES, PARTS, check_mode, has_head, need_head, trained_by
from rtx.models.blank import blank_batch
from rtx.models.families import FAMILIES
from rtx.models.lora import kernels
from rtx.models.rt1.model import RT1
from rtx.train import pytree
from rtx.train.trainable import Trainable
from tests.train.small_run import MODEL


@pytest.fixture(scope="module")
def rt1():
    """Parameters of a small RT-1, as shapes."""
    batch = blank_batch(
        np.zeros((1, MODEL.text_length), np.int32), roles=MODEL.roles, image_size=(16, 16), history=MODEL.history,
        proprio=MODEL.proprio_dims, action=(MODEL.chunk, MODEL.action_dims),
    )  # fmt: skip
    return jax.eval_shape(RT1(MODEL).init, jax.random.key(0), batch)["params"]


def trained(mode, params):
    rules = trained_by(mode, "rt1")
    return set(pytree.flatten(Trainable(freeze=rules.freeze, lora=rules.lora).split(params)[0]))


def test_every_family_has_its_parts():
    assert set(PARTS) == set(FAMILIES)


def test_full_and_new_head_train_everything(rt1):
    everything = set(pytree.flatten(rt1))
    assert trained("full", rt1) == trained("new_head", rt1) == everything


def test_frozen_vision_leaves_the_eyes_alone(rt1):
    left = set(pytree.flatten(rt1)) - trained("frozen_vision", rt1)
    assert left
    assert {path.split("/")[0].rsplit("_", 1)[0] for path in left} == {"image_tokenizer", "points"}


def test_head_trains_the_readout_and_what_is_a_robots_own(rt1):
    assert {path.split("/")[0] for path in trained("head", rt1)} == {"Transformer_0", "robot", "robot_film"}
    assert {path.rsplit("/", 1)[0] for path in trained("head", rt1) if "Trans" in path} == {"Transformer_0/Dense_2"}


def test_adapters_stand_beside_every_kernel_but_the_head(rt1):
    rules = trained_by("lora", "rt1")
    adapted = set(kernels(rt1, rules.lora))
    assert "Transformer_0/TransformerBlock_0/Dense_0/kernel" in adapted
    assert not any(path.startswith(PARTS["rt1"].head) for path in adapted)
    assert trained("lora", rt1) == trained("head", rt1)  # beside the factors themselves
    assert trained_by("new_head", "rt1", adapters=True) == rules


def test_a_model_that_says_actions_as_words_has_no_head(rt1):
    assert has_head("rt1", pytree.flatten(rt1))
    assert not has_head("paligemma", {"img/embedding/kernel": 0, "llm/embedder": 0})
    with pytest.raises(UserError, match="has no head of its own; take lora or new_head"):
        need_head("head", "paligemma", {"img/embedding/kernel": 0})
    need_head("head", "paligemma", {"action_head/out/kernel": 0})


@pytest.mark.parametrize("family", PARTS)
def test_rules_of_every_family_tell_its_parts_apart(family):
    paths = {name: f"{part.split('|')[0].rstrip('/')}/kernel" for name, part in vars(PARTS[family]).items() if part}
    paths["rest"] = "between/kernel"

    def trains(mode):
        return {
            name for name, path in paths.items() if not any(re.search(rule, path) for rule in trained_by(mode, family).freeze)
        }

    everything = set(paths)
    small = everything - {"vision", "rest"}
    assert {mode: trains(mode) for mode in MODES} == {
        "full": everything, "new_head": everything, "frozen_vision": everything - {"vision"}, "lora": small, "head": small,
    }  # fmt: skip


def test_a_mode_that_there_is_not_is_refused():
    check_mode("auto")
    with pytest.raises(UserError, match=r"loar.*lora"):
        check_mode("loar")
