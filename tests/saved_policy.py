"""A small policy as a run folder on disk, as training leaves it."""

from pathlib import Path

import jax
import numpy as np

from rtx.models.families import model_to_json
from rtx.serve.policy import Policy
from rtx.train import checkpoint


def save_policy(policy: Policy, root: Path) -> Path:
    """The run folder; its weights are the model's own first ones."""
    variables = jax.jit(policy.model.init)(jax.random.key(0), policy.blank_batch())
    side = checkpoint.SideFiles(
        contract=policy.contract, model=model_to_json(policy.model), tokenizer=policy.tokenizer.to_json(),
        data={"next_sample": 0, "fingerprint": "f"}, config={},
    )  # fmt: skip
    checkpoint.save(root / "checkpoints", step=7, state={"step": np.int32(7), "variables": variables, "ema": None}, side=side)
    return root
