"""Adapters and averages on their way from a checkpoint to plain parameters."""

import dataclasses

import jax
import numpy as np
import pytest

from rtx.errors import UserError
from rtx.models.lora import LoRAConfig
from rtx.spec import to_json
from rtx.train import checkpoint, pytree
from rtx.train.export import merge_checkpoint
from rtx.train.trainable import Trainable
from tests.train.checkpoints import SIDE

PARTS = Trainable(freeze=("img/",), lora=LoRAConfig(rules=("llm/",), rank=2, alpha=3.0))
ADAPTED = dataclasses.replace(SIDE, config={"train": {"lora": to_json(PARTS.lora)}})


def random_like(tree, seed):
    rng = np.random.default_rng(seed)
    return jax.tree.map(lambda leaf: rng.normal(size=leaf.shape).astype(np.float32), tree)


@pytest.fixture(scope="module")
def params():
    kernels = {"img": np.zeros((6, 5)), "llm": np.zeros((5, 7)), "head": np.zeros((7, 3))}
    return random_like(PARTS.begun({name: {"kernel": leaf} for name, leaf in kernels.items()}, jax.random.key(0)), 1)


@pytest.fixture(scope="module", params=["averaged", "as trained"])
def saved(request, params, tmp_path_factory):
    """A checkpoint, and the parameters that it should act with."""
    trained, frozen = PARTS.split(params)
    ema = random_like(trained, 2) if request.param == "averaged" else None
    state = {"variables": {"params": params, "batch_stats": {"mean": np.ones(3)}}, "ema": ema, "opt_state": trained}
    root = tmp_path_factory.mktemp("run")
    folder = checkpoint.save(root / "checkpoints", step=7, state=state, side=ADAPTED)
    return folder, PARTS.seen(PARTS.join(trained if ema is None else ema, frozen))


def assert_served(folder, expected):
    opened = checkpoint.open_checkpoint(folder)
    found = pytree.flatten(opened.variables)
    wanted = {f"params/{path}": leaf for path, leaf in pytree.flatten(expected).items()}
    assert set(found) == {*wanted, "batch_stats/mean"}
    for path, leaf in wanted.items():
        np.testing.assert_allclose(found[path], leaf, rtol=1e-6, atol=1e-6)


def test_opened_with_averages_and_adapters_in_place(saved):
    assert_served(*saved)


def test_merged_is_plain_and_acts_the_same(saved, tmp_path):
    folder, expected = saved
    plain = merge_checkpoint(folder, tmp_path)
    assert plain == tmp_path / "checkpoints" / "7"
    assert checkpoint.verify(plain) == []
    assert_served(plain, expected)
    before, after = (checkpoint.open_checkpoint(one) for one in (folder, plain))
    jax.tree.map(np.testing.assert_array_equal, before.variables, after.variables)
    assert (before.contract, before.model, before.tokenizer) == (after.contract, after.model, after.tokenizer)
    with pytest.raises(UserError, match="is there already"):
        merge_checkpoint(folder, tmp_path)
