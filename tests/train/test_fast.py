"""Chunks as frequencies through a whole run: merges of the data, tokens from the host, a policy that moves."""

import dataclasses
from pathlib import Path

import numpy as np

from rtx.models.families import model_from_json
from rtx.serve.policy import load_policy
from rtx.train import loop
from rtx.train.checkpoint import open_checkpoint
from rtx.train.inputs import open_inputs
from rtx.train.metrics import read_metrics
from tests import small_policy
from tests.train.small_run import write_sets
from tests.train.test_cofinetuning import MODEL, config_of, web_set

FAST = dataclasses.replace(MODEL, bins="fast", num_bins=24, fast_scale=3.0)


def test_robots_and_questions_in_one_run(tmp_path: Path):
    sets = (*write_sets(tmp_path / "robots", names=("robot",)), web_set(tmp_path))
    plain = config_of(*sets, groups=2)
    config = dataclasses.replace(plain, model=FAST, data=dataclasses.replace(plain.data, chunk=4))
    inputs = open_inputs(config)
    fast = inputs.model
    assert fast.merges
    assert fast.num_fast_tokens <= 24
    loop.train(config, tmp_path / "run")
    assert model_from_json(open_checkpoint(tmp_path / "run").model).config == fast
    for line in read_metrics(tmp_path / "run" / "metrics.jsonl"):
        assert np.isfinite(line["loss"])
        assert 0 <= line["sets"]["robot"]["accuracy"] <= 1
        assert "accuracy_text" not in line["sets"]["robot"]
        assert "accuracy" not in line["sets"]["questions"]
        assert "accuracy_text" in line["sets"]["questions"]
    policy = load_policy(tmp_path / "run")
    chunk = policy.act(small_policy.observation(robot="sim_iiwa"), robot="robot")
    assert chunk.actions.shape == (4, 8)
    assert np.isfinite(chunk.actions).all()
