"""Replays a suite's own expert, natively and through everything a policy's actions go through: what the mapping is worth.

    expert's native action --step--------------------------------------------------------> the suite's own rate
                           --adapter--> canonical, float32 --safety, adapter--> native --step--> the rate through rtx

Both play the same scenes, and an episode ends as in an evaluation: by success or by the suite's own time limit. The two rates
must agree: what differs is rounding (which contacts amplify), or a mapping that is wrong.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from rtx.embodiment import Layout
from rtx.eval.play import Frame, Pilot
from rtx.eval.public.environment import PublicEnvironment, build
from rtx.eval.public.suite import PublicSuite
from rtx.eval.seeds import seed_for
from rtx.eval.statistics.rates import Rate
from rtx.robots.adapter_layout import default_layout
from rtx.robots.public_arms import PUBLIC_ARMS
from rtx.spec import ActionChunk

OnStep = Callable[[Frame, np.ndarray], None]
"""The frame before a step and the native action that the expert wants there."""


@dataclass(frozen=True, kw_only=True)
class Played:
    """`refusals`: what the safety filter changed on the way through rtx."""

    success: bool
    steps: int
    refusals: int


@dataclass(frozen=True, kw_only=True)
class Replayed:
    """One episode. `through_rtx`: by way of the canonical action."""

    task: str
    index: int
    through_rtx: bool
    played: Played


def layout_of(suite: PublicSuite) -> Layout:
    """In which demonstrations of the suite's arm are kept."""
    return PUBLIC_ARMS[suite.arm][1] if suite.arm in PUBLIC_ARMS else default_layout(suite.robot)


def replay(suite: PublicSuite, *, tasks: Sequence[str] = (), episodes: int = 10) -> Iterator[Replayed]:
    """Plays `episodes` scenes of each task with the suite's expert: natively, then through rtx. Without pictures.

    Raises UserError for a task without an expert.
    """
    tasks = suite.replayable(tasks)
    env = build(suite)
    try:
        for task in tasks:
            for index in range(episodes):
                seed = seed_for("replay", suite.name, suite.arm, task, index)
                for through_rtx in (False, True):
                    played = play_expert(env, task, seed, through_rtx=through_rtx)
                    yield Replayed(task=task, index=index, through_rtx=through_rtx, played=played)
    finally:
        env.close()


def lines(replayed: Iterable[Replayed]) -> Iterator[str]:
    """One for each task as soon as it is through; then both rates, and how much the safety filter changed."""
    everything: list[Replayed] = []
    for task, group in itertools.groupby(replayed, key=lambda one: one.task):
        done = list(group)
        native, through = _rate(done, through_rtx=False), _rate(done, through_rtx=True)
        yield f"{task:40} native {native.successes:3}/{native.trials}   through rtx {through.successes:3}/{through.trials}"
        everything += done
    yield f"native: {_rate(everything, through_rtx=False)}"
    yield f"through rtx: {_rate(everything, through_rtx=True)}"
    yield f"actions that the safety filter changed: {sum(one.played.refusals for one in everything if one.through_rtx)}"


def _rate(replayed: Sequence[Replayed], *, through_rtx: bool) -> Rate:
    won = [one.played.success for one in replayed if one.through_rtx == through_rtx]
    return Rate(sum(won), len(won))


def play_expert(env: PublicEnvironment, task: str, seed: int, *, through_rtx: bool, on_step: OnStep | None = None) -> Played:
    """One episode until success or the suite's time limit. Pictures are drawn only for `on_step`."""
    render = on_step is not None
    frame: Frame = env.reset(task=task, seed=seed, render=render)
    expert = env.expert()
    pilot = Pilot(env, frame, safety=True, layout=layout_of(env.suite))
    step, max_steps = 0, max(1, round(env.suite.max_seconds(task) * env.embodiment.control_hz))
    while step < max_steps and not env.success:
        native = expert()
        if on_step is not None:
            on_step(frame, native)
        if through_rtx:
            canonical = pilot.adapter.to_canonical(native, proprio_native=frame.proprio)
            frame = pilot.step(chunk_of(pilot, canonical), 0, frame, render=render)
        else:
            frame = env.step(native, render=render)
        step += 1
    return Played(success=env.success, steps=step, refusals=sum(pilot.refusals.values()))


def chunk_of(pilot: Pilot, canonical: np.ndarray) -> ActionChunk:
    """One action for now, as a policy would send it."""
    return ActionChunk(
        actions=np.asarray(canonical, np.float32)[None], names=pilot.adapter.layout.action.dim_names,
        control_hz=pilot.adapter.embodiment.control_hz, stamp_ns=pilot.now_ns, valid_until_ns=pilot.now_ns + 10**9,
    )  # fmt: skip
