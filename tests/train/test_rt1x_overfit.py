"""RT-1-X learns real demonstrations by heart: `rtx train configs/rt1x.py:tiny --set data.sets.0.source=SOURCE`, to the end."""

import dataclasses
import os
import subprocess
import sys
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rtx.data.loader import one_pass
from rtx.data.tokenizers import Tokenizers
from rtx.models.rt1x import actions
from rtx.models.rt1x.model import RT1X
from rtx.train.checkpoint import open_checkpoint
from rtx.train.config import config_from_json
from rtx.train.inputs import open_inputs
from tests.real_data import bridge_dir

ROOT = Path(__file__).resolve().parents[2]
NUM_BINS = 256


def trained(folder):
    """By the command itself, in a process that compiles as users' do: the tests' fast compilation makes slow steps."""
    command = [sys.executable, "-m", "rtx.cli", "train", "configs/rt1x.py:tiny", "--run", str(folder / "run")]
    where = {"data.sets.0.source": bridge_dir(), "data.sets.0.prepared": folder / "bridge"}
    changes = [part for path, value in where.items() for part in ("--set", f"{path}={value}")]
    environment = {name: value for name, value in os.environ.items() if name != "XLA_FLAGS"} | {"JAX_PLATFORMS": "cpu"}
    done = subprocess.run([*command, *changes], cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return open_checkpoint(folder / "run")


def recalled(checkpoint):
    """Of the known action tokens of every frame of every training window, in evaluation mode: the share predicted exactly, and
    the share that bfloat16 predicts as float32 does."""
    config = config_from_json(checkpoint.config)
    data, inputs = config.data, open_inputs(config)
    batches = one_pass(
        inputs.mixture, batch_size=25, history=data.history, chunk=1, roles=data.roles, split="train",
        image_size=data.image_size, fit=data.fit, tokenizers=Tokenizers.alike(inputs.tokenizer.encode), frame_actions=True,
    )  # fmt: skip
    read = {dtype: jax.jit(partial(_tokens, config.model, dtype)) for dtype in ("float32", "bfloat16")}
    right = same = total = 0
    for batch in batches:
        labels = np.asarray(actions.encode(config.model, jnp.asarray(batch.action)))
        known = np.asarray(actions.known_tokens(jnp.asarray(batch.action_mask)))
        exact, rounded = (np.asarray(tokens(checkpoint.variables, batch))[known] for tokens in read.values())
        right, same, total = right + (exact == labels[known]).sum(), same + (exact == rounded).sum(), total + known.sum()
    return right / total, same / total


def _tokens(config, dtype, variables, batch):
    model = RT1X(dataclasses.replace(config, compute_dtype=dtype))
    logits, _ = model.logits(variables, batch, jax.random.key(0), num_steps=config.history, train=False)
    return jnp.argmax(logits, -1)


@pytest.mark.slow
@pytest.mark.timeout(3000)
def test_real_bridge_episodes_are_learned_by_heart(tmp_path):
    """25 episodes, 200 windows of 6 frames; and the precision of the computation does not change what was learned."""
    checkpoint = trained(tmp_path)
    config = config_from_json(checkpoint.config)
    assert config.model.num_bins == NUM_BINS
    assert open_inputs(config).mixture.entries[0].prepared.split("train").num_episodes >= 20
    right, same = recalled(checkpoint)
    assert right > 0.95
    assert same >= 0.99
