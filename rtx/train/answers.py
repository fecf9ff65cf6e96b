"""Held-out questions answered for real: text written token by token, and right only if it is the reference, word for word.

Token accuracy after the true beginning of an answer flatters a model that never has to go on from its own words.
"""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np

from rtx.data.assemble import PADDING_SAMPLE
from rtx.models.protocol import Answers
from rtx.spec import Batch
from rtx.train import figures
from rtx.train.imitation import Evaluate, is_sample, served
from rtx.train.state import TrainState, named, root_key
from rtx.train.trainable import EVERYTHING, Trainable

EXACT = "exact_match"


def make_exact_match(model: Answers, num_sets: int, *, parts: Trainable = EVERYTHING) -> Evaluate:
    """The share of a batch's questions whose greedy answer is the target up to and with its EOS, per data set: `{EXACT: Sums}`.

    A target too long for its width counts as answered when all that is left of it is.
    """

    def evaluate(state: TrainState, batch: Batch) -> dict[str, figures.Sums]:
        rng = named(root_key(state), "answer")
        said = model.answer(served(state, parts), batch, rng, max_tokens=batch.target.shape[1], temperature=0.0)
        is_right = jnp.all((batch.target == 0) | (said == batch.target), axis=-1)
        is_question = ~jnp.any(batch.action_mask, axis=(1, 2)) & jnp.any(batch.target != 0, axis=-1) & is_sample(batch)
        right, asked = is_right.astype(jnp.float32), is_question.astype(jnp.float32)
        return {EXACT: figures.sums_per_set(right, asked, batch.embodiment, num_sets)}

    return evaluate


def has_questions(batch: Batch) -> bool:
    """Whether a host batch has any row to be answered."""
    if batch.target is None:
        return False
    asked = ~batch.action_mask.any((1, 2)) & (batch.target != 0).any(1) & (batch.sample != PADDING_SAMPLE)
    return bool(np.any(asked))
