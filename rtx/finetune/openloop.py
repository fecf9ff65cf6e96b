"""Open-loop validation: for every moment of the held-out episodes the action the policy would take, beside the one recorded.

    held-out frames -> model.act -> physical units of this robot - recorded action = error per dimension

Two yardsticks stand beside it: the mean action of the training episodes, always, and the action before, again.
Open-loop errors say whether a policy has learned its data; they do not replace episodes of its own (`rtx eval`).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jaxtyping import Bool, Float

from rtx.data.windows import episode_of, windows
from rtx.spec import Contract
from rtx.train import imitation
from rtx.train.config import TrainConfig
from rtx.train.inputs import Inputs, open_inputs, validation_batches

MOST = 1000  # samples, evenly spaced; enough for a mean


@dataclass(frozen=True, kw_only=True)
class Trace:
    """One held-out episode: of each dimension the recorded and the policy's next action, by step."""

    steps: tuple[int, ...]
    recorded: tuple[tuple[float, ...], ...]  # [dimension][step]
    policy: tuple[tuple[float, ...], ...]


@dataclass(frozen=True, kw_only=True)
class OpenLoop:
    """Mean absolute errors in physical units, one for each dimension that the robot has."""

    names: tuple[str, ...]
    units: tuple[str, ...]
    first: tuple[float, ...]  # of the next action
    chunk: tuple[float, ...]  # of all actions of a chunk
    always_mean: tuple[float, ...]  # of the next action, had it always been the training episodes' mean
    span: tuple[float, ...]  # q01 to q99 of the recorded actions
    num_samples: int
    num_episodes: int
    trace: Trace

    def rows(self) -> list[tuple[str, ...]]:
        """A table for people: dimension, unit, errors."""
        columns = zip(self.names, self.units, self.first, self.chunk, self.always_mean, self.span, strict=True)
        return [(name, unit, *(f"{value:.4g}" for value in values)) for name, unit, *values in columns]


HEAD = ("dimension", "unit", "next action", "whole chunk", "always the mean", "range of the data")


def open_loop(config: TrainConfig, run: Path, robot: str, *, model: Any, variables: Any) -> OpenLoop | None:
    """Of the data set `robot` of a run's configuration; None where it has no held-out episode.

    `run`: the run folder, whose tokenizer and robots count.
    """
    only = dataclasses.replace(config.data, sets=config.data.sets[-1:])
    # Alone, but in its place among the robots of the run.
    train = dataclasses.replace(config.train, start=config.train.start or str(run), keep_robots=True)
    alone = dataclasses.replace(config, data=only, train=train, run=dataclasses.replace(config.run, eval_samples=MOST))
    inputs = open_inputs(alone, origin=run)
    prepared = inputs.mixture.entries[0].prepared
    if "val" not in prepared.splits or not prepared.splits["val"]["num_steps"]:
        return None
    split, contract = prepared.split("val"), inputs.contract
    count = min(MOST, inputs.mixture.num_steps("val")[0])
    kept = inputs.mixture.kept("val")[0]
    window = np.arange(count, dtype=np.int64) * kept.num_steps // count
    steps = window if kept.rows is None else kept.rows[window].astype(np.int64)
    at = windows(np.asarray(split.episode_start), steps, history=1, chunk=contract.chunk)
    recorded, there = np.asarray(split.action)[at.chunk], at.chunk_mask
    said = _said(inputs, alone, robot, model, variables)[:count]
    mean = np.asarray(prepared.statistics.action.mean, np.float32)
    known = np.array(prepared.layout.action_mask)
    error = np.abs(said - recorded)
    return OpenLoop(
        names=_of(prepared.layout.action.dim_names, known),
        units=_of([f.unit for f in prepared.layout.action.fields for _ in range(f.width)], known),
        first=_floats(error[:, 0].mean(0)[known]),
        chunk=_floats((error * there[..., None]).sum((0, 1))[known] / there.sum()),
        always_mean=_floats(np.abs(recorded[:, 0] - mean).mean(0)[known]),
        span=_floats(_span(contract, robot)[known]),
        num_samples=count,
        num_episodes=len(np.unique(episode_of(np.asarray(split.episode_start), steps))),
        trace=_trace(np.asarray(split.episode_start), steps, recorded[:, 0][:, known], said[:, 0][:, known]),
    )


def _said(inputs: Inputs, config: TrainConfig, robot: str, model: Any, variables: Any) -> Float[np.ndarray, "n k a"]:
    """The policy's chunks for every held-out sample, physical, in the robot's own layout."""
    act, rng, found = jax.jit(model.act), jax.random.key(0), []
    normalizer = inputs.contract.action_normalizer(robot)
    placed = jax.device_put(variables)
    for batch in validation_batches(inputs, config):
        asked = imitation.place(dataclasses.replace(batch, action=None, target=None))
        found.append(normalizer.inverse(np.asarray(act(placed, asked, rng))))
    return np.concatenate(found)


def _trace(starts: np.ndarray, steps: np.ndarray, recorded: np.ndarray, said: np.ndarray) -> Trace:
    episodes = episode_of(starts, steps)
    longest = max(np.unique(episodes), key=lambda e: int((episodes == e).sum()))
    rows: Bool[np.ndarray, " n"] = episodes == longest
    return Trace(
        steps=tuple(int(step) for step in steps[rows] - starts[longest]),
        recorded=tuple(_floats(column) for column in recorded[rows].T),
        policy=tuple(_floats(column) for column in said[rows].T),
    )


def _span(contract: Contract, robot: str) -> np.ndarray:
    statistics = contract.statistics[robot].action
    return np.asarray(statistics.q99) - np.asarray(statistics.q01)


def _of(names: Sequence[str], known: np.ndarray) -> tuple[str, ...]:
    return tuple(name for name, one in zip(names, known, strict=True) if one)


def _floats(values: np.ndarray) -> tuple[float, ...]:
    return tuple(float(f"{value:.6g}") for value in values)
