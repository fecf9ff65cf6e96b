"""Replays a suite's own expert, natively and through everything a policy's actions go through: what the mapping is worth.

    expert's native action --step--------------------------------------------------------> the suite's own rate
                           --adapter--> canonical, float32 --safety, adapter--> native --step--> the rate through rtx

Both play the same scenes, and an episode ends as in an evaluation: by success or by the suite's own time limit. The two rates
must agree: what differs is rounding (which contacts amplify), or a mapping that is wrong.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from rtx.embodiment import Embodiment, Layout
from rtx.eval.play import Frame, Pilot
from rtx.eval.public.suite import PublicEnvironment, PublicSuite
from rtx.eval.seeds import seed_for
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


def layout_of(embodiment: Embodiment, arm: str) -> Layout:
    """In which demonstrations of this arm are kept."""
    return PUBLIC_ARMS[arm][1] if arm in PUBLIC_ARMS else default_layout(embodiment)


def replay(suite: PublicSuite, *, arm: str = "", tasks: Sequence[str] = (), episodes: int = 10) -> Iterator[Replayed]:
    """Plays `episodes` scenes of each task with the suite's expert: natively, then through rtx. Without pictures.

    Raises UserError where the suite has no expert.
    """
    arm, tasks = arm or suite.arms[0], tuple(tasks) or suite.replayable()
    env = suite.build(arm)
    try:
        for task in tasks:
            for index in range(episodes):
                seed = seed_for("replay", suite.name, arm, task, index)
                for through_rtx in (False, True):
                    played = play_expert(env, suite, arm, task, seed, through_rtx=through_rtx)
                    yield Replayed(task=task, index=index, through_rtx=through_rtx, played=played)
    finally:
        env.close()


def play_expert(
    env: PublicEnvironment, suite: PublicSuite, arm: str, task: str, seed: int, *, through_rtx: bool,
    on_step: OnStep | None = None,
) -> Played:  # fmt: skip
    """One episode until success or the suite's time limit. Pictures are drawn only for `on_step`."""
    render = on_step is not None
    frame: Frame = env.reset(task=task, seed=seed, render=render)
    expert = env.expert()
    pilot = Pilot(env, frame, safety=True, layout=layout_of(env.embodiment, arm))
    step, max_steps = 0, max(1, round(suite.max_seconds(task) * env.embodiment.control_hz))
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
