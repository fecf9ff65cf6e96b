"""Replays a suite's own expert, natively and through everything a policy's actions go through: what the mapping is worth.

    expert's native action --step--------------------------------------------------------> the suite's own rate
                           --adapter--> canonical, float32 --safety, adapter--> native --step--> the rate through rtx

Both play the same scenes, and an episode ends as in an evaluation: by success or by the suite's own time limit. The two rates
must agree: what differs is rounding (which contacts amplify), or a mapping that is wrong.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from rtx.embodiment import Embodiment, Layout
from rtx.eval.play import Pilot
from rtx.eval.public.suite import PublicEnvironment, PublicSuite
from rtx.eval.seeds import seed_for
from rtx.robots.adapter_layout import default_layout
from rtx.robots.public_arms import PUBLIC_ARMS
from rtx.spec import ActionChunk

_PURPOSE = "replay"


@dataclass(frozen=True, kw_only=True)
class Replayed:
    """One episode. `through_rtx`: by way of the canonical action; `refusals`: what the safety filter changed."""

    task: str
    index: int
    through_rtx: bool
    success: bool
    steps: int
    refusals: int
    wall_s: float


def layout_of(embodiment: Embodiment, arm: str) -> Layout:
    """In which demonstrations of this arm are kept."""
    return PUBLIC_ARMS[arm][1] if arm in PUBLIC_ARMS else default_layout(embodiment)


def replay(
    suite: PublicSuite, *, arm: str = "", tasks: Sequence[str] = (), episodes: int = 10, native: bool = True
) -> Iterator[Replayed]:
    """Plays `episodes` scenes of each task with the suite's expert; twice if `native`, else through rtx only.

    Without pictures. Raises UserError where the suite has no expert.
    """
    arm = arm or suite.arms[0]
    env = suite.build(arm)
    try:
        for task in tasks or suite.replayable():
            for index in range(episodes):
                seed = seed_for(_PURPOSE, suite.name, arm, task, index)
                for through_rtx in (False, True) if native else (True,):
                    yield _played(env, suite, arm, task, index, seed, through_rtx=through_rtx)
    finally:
        env.close()


def _played(
    env: PublicEnvironment, suite: PublicSuite, arm: str, task: str, index: int, seed: int, *, through_rtx: bool
) -> Replayed:
    start = time.monotonic()
    frame = env.reset(task=task, seed=seed, render=False)
    expert = env.expert()
    pilot = Pilot(env, frame, safety=True, layout=layout_of(env.embodiment, arm))
    hz, step = env.embodiment.control_hz, 0
    max_steps = max(1, round(suite.max_seconds(task) * hz))
    while step < max_steps and not env.success:
        native = expert()
        if through_rtx:
            canonical = pilot.adapter.to_canonical(native, proprio_native=frame.proprio)
            frame = pilot.step(_chunk(pilot, canonical, hz), 0, frame, render=False)
        else:
            frame = env.step(native, render=False)
        step += 1
    return Replayed(
        task=task, index=index, through_rtx=through_rtx, success=env.success, steps=step,
        refusals=sum(pilot.refusals.values()), wall_s=time.monotonic() - start,
    )  # fmt: skip


def _chunk(pilot: Pilot, canonical: np.ndarray, hz: float) -> ActionChunk:
    return ActionChunk(
        actions=np.asarray(canonical, np.float32)[None], names=pilot.adapter.layout.action.dim_names, control_hz=hz,
        stamp_ns=pilot.now_ns, valid_until_ns=pilot.now_ns + 10**9,
    )  # fmt: skip
