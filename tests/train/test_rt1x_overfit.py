"""RT-1-X learns real demonstrations by heart: `rtx train configs/rt1x.py:tiny --set data.sets.0.source=SOURCE`, to the end."""

import dataclasses
import runpy
from pathlib import Path

import jax
import numpy as np
import pytest

from rtx.data.loader import one_pass
from rtx.data.tokenizers import Tokenizers
from rtx.models.families import model_from_json
from rtx.train.checkpoint import open_checkpoint
from rtx.train.inputs import open_inputs
from rtx.train.loop import train
from tests.real_data import bridge_dir

CONFIG = Path(__file__).resolve().parents[2] / "configs" / "rt1x.py"
NUM_BINS = 256


def recalled(config, checkpoint):
    """Share of the action tokens of every frame of every training window that are predicted exactly, evaluation mode."""
    model, inputs = model_from_json(checkpoint.model), open_inputs(config)
    batches = one_pass(
        inputs.mixture, batch_size=25, history=config.data.history, chunk=1, roles=config.data.roles, split="train",
        image_size=config.data.image_size, tokenizers=Tokenizers.alike(inputs.tokenizer.encode), frame_actions=True,
    )  # fmt: skip
    evaluate = jax.jit(lambda batch: model.loss(checkpoint.variables, batch, jax.random.key(0), train=False)[1])
    hits = total = 0.0
    for batch in batches:
        known = float(np.sum(batch.action_mask))
        hits += known * float(evaluate(dataclasses.replace(batch, sample=None))["accuracy"])
        total += known
    return hits / total, inputs.mixture.entries[0].prepared.split("train").num_episodes


@pytest.mark.slow
@pytest.mark.timeout(3000)
def test_real_bridge_episodes_are_learned_by_heart(tmp_path):
    config = runpy.run_path(str(CONFIG))["tiny"]()
    one = dataclasses.replace(config.data.sets[0], source=str(bridge_dir()), prepared=str(tmp_path / "bridge"))
    config = dataclasses.replace(config, data=dataclasses.replace(config.data, sets=(one,)))
    assert config.model.num_bins == NUM_BINS
    checkpoint = open_checkpoint(train(config, tmp_path / "run"))
    accuracy, num_episodes = recalled(config, checkpoint)
    assert num_episodes >= 20
    assert accuracy > 0.95
