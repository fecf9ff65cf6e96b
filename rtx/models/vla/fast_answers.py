"""Answers of robots that speak FAST: as many tokens as a chunk needs, so they are made on the host, and are text from there on.

    loader   target: plan or nothing      action [b, k, a]
    host     target: plan | FAST | EOS    `spelled`: at its own width, which `rtx.train.groups` cuts
    device   answer, and which of its tokens are which    `answer`

So short motions do not pay for long ones, neither in training nor when acting.
"""

from __future__ import annotations

import dataclasses

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool

from rtx.errors import UserError
from rtx.models.vla.config import EOS, PADDING, VLAConfig
from rtx.models.vla.fast import FastActions
from rtx.models.vla.inputs import Answer, behind, is_robot, lengths
from rtx.spec import Batch


def spelled(config: VLAConfig, fast: FastActions, batch: Batch) -> Batch:
    """A host batch whose `target`, int32 `[b, config.target_length]`, also holds what robots are to say.

    Dimensions that a robot lacks are said as 0. Where an episode ends within a chunk the standstill after it is said too:
    frequencies are of the whole chunk.
    """
    assert batch.action is not None, "training batches have actions"
    assert batch.action_mask is not None, "training batches say which are known"
    target = np.zeros((len(batch.action), config.target_length), np.int32)
    if batch.target is not None:
        target[:, : batch.target.shape[1]] = batch.target
    robots = np.flatnonzero(batch.action_mask.any((1, 2)))
    if not config.plan:
        target[robots] = PADDING
    has_dim = batch.action_mask[robots].any(1, keepdims=True)
    for row, ids in zip(robots, fast.encode(np.where(has_dim, batch.action[robots], 0.0)), strict=True):
        said = [*ids[ids != PADDING], EOS]
        start = np.count_nonzero(target[row])
        target[row, start : start + len(said)] = said
    return dataclasses.replace(batch, target=target)


def answer(config: VLAConfig, fast: FastActions, batch: Batch) -> Answer:
    """The answer of each sample of a batch that was `spelled`; `bins` are FAST's tokens, `known` where there is one."""
    if batch.target is None:
        raise UserError("bins='fast': the batch has no target; actions become tokens on the host (VLA.spelled)")
    labels = jnp.asarray(batch.target, jnp.int32)
    robot, r = is_robot(batch), labels.shape[1]
    start = jnp.where(robot, behind(labels, config.plan_end if config.plan else ()), lengths(labels))
    is_said = labels != PADDING
    is_text = is_said & (jnp.arange(r) < start[:, None])
    places = start[:, None] + jnp.arange(min(fast.length, r))
    tokens = fast.tokens_of(jnp.take_along_axis(labels, jnp.minimum(places, r - 1), axis=1))
    known = robot[:, None] & (tokens >= 0) & (places < r)
    return Answer(labels, labels, is_said, is_text, start, tokens, known)


def allowed(fast: FastActions, answer: Answer) -> Bool[Array, "b n v"]:
    """Tokens that might have stood at the place of each token."""
    said = jnp.where(answer.known, jnp.asarray(fast.lengths)[answer.bins], 0)
    return fast.allowed_after(jnp.cumsum(said, axis=1) - said)
