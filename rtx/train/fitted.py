"""What a model's config leaves to the data and the tokenizer: sizes of vectors, ids of actions, words that end
a plan, quantile bins, FAST's merges."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from rtx.data.mixture import Mixture
from rtx.data.windows import windows
from rtx.embodiment import dim_names
from rtx.models.families import reads
from rtx.models.text import InstructionEncoder
from rtx.models.vla.action_tokens import integer_ids, quantile_values, rarest_ids
from rtx.models.vla.config import VLAConfig
from rtx.models.vla.fast import fit_merges
from rtx.models.vla.language import VLATokenizer
from rtx.spec import Contract
from rtx.train.config import TrainConfig

_MAX_STEPS = 1 << 16  # of each data set, evenly spaced: quantiles of so many are exact to a fraction of a bin
_MAX_CHUNKS = 1 << 13  # of all data sets together: counting pairs takes seconds, and more chunks hardly find others


def fitted(config: TrainConfig, tokenizer: InstructionEncoder, contract: Contract, mixture: Mixture) -> Any:
    """`config.model`, or that with what only now is known. The same data and tokenizer give the same, so a resumed run has it
    again. Raises UserError where the vocabulary has no room for actions."""
    if reads(config.model) != "vla":
        return config.model
    assert isinstance(tokenizer, VLATokenizer), "instruction_encoder made it"
    model: VLAConfig = config.model
    ids = {
        "given": lambda: model.action_ids,
        "integers": lambda: integer_ids(tokenizer.pieces, model.num_bins),
        "rarest": lambda: rarest_ids(tokenizer.scores, model.num_bins, keep=tokenizer.special_ids),
    }[config.data.action_words]()
    values = model.bin_values
    if model.bins == "quantile" and not values:
        values = quantile_values(*_actions(contract, mixture), num_bins=model.num_bins)
    merges = model.merges
    if model.bins == "fast" and not merges:
        merges = fit_merges(_chunks(contract, mixture), num_tokens=model.num_bins, scale=model.fast_scale)
    plan, names = config.data.template != "question", contract.action.dim_names
    return dataclasses.replace(
        model,
        action_dims=len(names),
        terminate=names.index("terminate") if "terminate" in names else None,
        proprio_dims=len(dim_names(contract.proprio)) if model.proprio_dims else 0,
        action_ids=ids,
        bin_values=values,
        merges=merges,
        plan=plan,
        plan_end=tokenizer.plan_end if plan else (),
        plan_lasting=tokenizer.plan_lasting,
    )


def _actions(contract: Contract, mixture: Mixture) -> tuple[np.ndarray, np.ndarray]:
    """Training actions of the robots in model space [m, a], and which entries are known."""
    found, known = [], []
    for prepared in (entry.prepared for entry in mixture.entries if entry.prepared.is_robot):
        steps = np.asarray(prepared.split("train").action)
        steps = steps[:: max(1, -(-len(steps) // _MAX_STEPS))]
        found.append(contract.action_normalizer(prepared.name).forward(steps))
        known.append(np.broadcast_to(contract.action_mask(prepared.name), found[-1].shape))
    none = np.zeros((0, contract.action.width), np.float32)
    return np.concatenate([none, *found]), np.concatenate([none.astype(bool), *known])


def _chunks(contract: Contract, mixture: Mixture) -> np.ndarray:
    """Chunks of the robots in model space [m, k, a], evenly spaced, those that lie wholly in an episode. What a robot lacks is
    0, as it will be said."""
    robots = [entry.prepared for entry in mixture.entries if entry.prepared.is_robot]
    found = [np.zeros((0, contract.chunk, contract.action.width), np.float32)]
    for prepared in robots:
        split = prepared.split("train")
        steps = np.arange(0, len(split.action), max(1, -(-len(split.action) * len(robots) // _MAX_CHUNKS)))
        at = windows(np.asarray(split.episode_start), steps, history=1, chunk=contract.chunk)
        physical = np.asarray(split.action)[at.chunk[at.chunk_mask.all(1)]]
        chunks = contract.action_normalizer(prepared.name).forward(physical)
        found.append(np.where(contract.action_mask(prepared.name), chunks, np.float32(0)))
    return np.concatenate(found)
