"""Plays one episode: the last frames go to the policy, the first actions of its answer to the robot.

    env.reset(task, seed) -> Observation (last `history` frames) --ask--> ActionChunk
             ^                                                               | first `replan` actions
             `------- env.step(native) <-- adapter <-- safety filter <-------'

Time in an episode is robot time: the simulator stands still while the policy thinks, so an observation's stamp and an
action's deadline count control periods, not the clock. "terminate" of an action is not obeyed: an episode ends by success
or by time, for every policy alike.
"""

from __future__ import annotations

import collections
import dataclasses
import hashlib
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np

from rtx.embodiment import Embodiment, Layout, field_slices
from rtx.errors import UserError
from rtx.eval.outcome import Outcome
from rtx.eval.suite import Episode
from rtx.robots.adapter import Adapter
from rtx.robots.safety import SafetyFilter
from rtx.spec import ActionChunk, Observation


@runtime_checkable
class Frame(Protocol):
    """What an environment shows after a step: `images` by role, uint8 RGB `[h, w, 3]`; `proprio` native `[p]`."""

    @property
    def images(self) -> Mapping[str, np.ndarray]: ...

    @property
    def proprio(self) -> np.ndarray: ...


@runtime_checkable
class Environment(Protocol):
    """One simulated robot. `rtx.eval.sim.env.SimEnv` is ours, `rtx.eval.public.environment` has those of public suites."""

    @property
    def embodiment(self) -> Embodiment: ...

    @property
    def instruction(self) -> str: ...

    @property
    def success(self) -> bool: ...

    @property
    def goal_distance(self) -> float | None:
        """Metres still missing, None where the task has no such number."""

    def reset(self, *, task: str, seed: int) -> Frame: ...

    def step(self, native_action: np.ndarray, *, render: bool = True) -> Frame: ...

    def render_view(self, size: int) -> np.ndarray:
        """A picture for people, uint8 RGB `[size, size, 3]`."""

    def close(self) -> None: ...


MakeEnvironment = Callable[[str], Environment]
"""Arm name to environment; a module-level function, since it is sent to another process."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How episodes are played, the same for every policy.

    `replan`: actions executed of each chunk, at most the chunk's length. `batch`: observations per call of the policy. Calls
    are always filled up to it, so that an answer depends neither on who else waits nor on what was played before a kill:
    programs compiled for other sizes round differently, and a contact amplifies 1e-8. On a CPU larger ones gain nothing.
    """

    replan: int = 2
    safety: bool = True
    batch: int = 1

    def __post_init__(self) -> None:
        problems = [
            f"{name} {getattr(self, name)} must be at least 1" for name in ("replan", "batch") if getattr(self, name) < 1
        ]
        if problems:
            raise UserError("evaluation settings: " + "; ".join(problems))


STANDARD = Settings()


@dataclass(frozen=True, kw_only=True)
class Job:
    """One episode for one policy, with everything the worker must know of both."""

    policy: str
    fingerprint: str  # of the policy's weights and contract
    episode: Episode
    max_seconds: float
    settings: Settings
    history: int
    roles: tuple[str, ...]
    video: Path | None  # where to record it
    layout: Layout | None = None  # of the policy's vectors; None: the robot's default
    look: str = ""  # how the environment draws, where there is a choice

    @property
    def key(self) -> str:
        """Hash of all that could change the outcome (recording does not)."""
        settings = dataclasses.asdict(self.settings)
        parts = [self.fingerprint, self.episode.key, self.episode.seed, self.max_seconds, self.history, settings]
        if self.look:
            parts.append(self.look)
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:20]


class Memory:
    """The last `history` frames; fewer at the start of an episode, where the policy pads as it did in training."""

    def __init__(self, job: Job, adapter: Adapter) -> None:
        self._roles, self._adapter = job.roles, adapter
        self._frames: collections.deque[Frame] = collections.deque(maxlen=job.history)

    def add(self, frame: Frame) -> None:
        self._frames.append(frame)

    def observation(self, instruction: str, stamp_ns: int) -> Observation:
        frames = list(self._frames)
        return Observation(
            images={role: np.stack([frame.images[role] for frame in frames]) for role in self._roles},
            image_mask=dict.fromkeys(self._roles, np.ones(len(frames), bool)),
            proprio=np.stack([self._adapter.proprio(frame.proprio) for frame in frames]),
            instruction=instruction,
            stamp_ns=stamp_ns,
        )


_MEASURED: Mapping[str, tuple[str, str]] = {
    "delta_pos": ("eef_pos", "eef_pos"),
    "joint_pos": ("joints", "joint_pos"),
    "joint_delta": ("joints", "joint_pos"),
    "joint_vel": ("joints", "joint_pos"),
    "gripper": ("gripper", "gripper"),
}
"""By the kind of an action's field: what has to be measured, and what the field of the state is called in its place."""


class Pilot:
    """Executes canonical actions on an environment, through the safety filter and the adapter; keeps the robot's time."""

    def __init__(self, env: Environment, frame: Frame, *, safety: bool, layout: Layout | None = None) -> None:
        """`frame` is the state at the start of the episode, `layout` that of the actions to come."""
        hz = env.embodiment.control_hz
        self._env, self.adapter = env, Adapter(env.embodiment, layout)
        self.adapter.reset(proprio_native=frame.proprio)
        self._safety = None
        if safety:
            state = self._measured(frame)
            openings = state["gripper"] if len(state["gripper"]) else 1.0
            space = self.adapter.layout.action
            self._safety = SafetyFilter(
                env.embodiment.limits, control_hz=hz, space=space, gripper=openings, joints=state["joints"]
            )
        self._period_ns = round(1e9 / hz)
        self.now_ns = 0
        self.executed: np.ndarray | None = None  # the last action, canonical, as it left the filter

    @property
    def refusals(self) -> Mapping[str, int]:
        """How often the filter changed an action, by reason."""
        return self._safety.counts if self._safety else {}

    def step(self, chunk: ActionChunk, k: int, frame: Frame, *, render: bool) -> Frame:
        """One control period with action `k` of the chunk; `frame` is the state before it."""
        action = chunk.actions[k]
        if self._safety is not None:
            state = self._measured(frame)
            action = self._safety.check(
                action,
                eef_pos=state["eef_pos"],
                joints=state["joints"],
                stamp_ns=chunk.stamp_ns,
                valid_until_ns=chunk.valid_until_ns,
                now_ns=self.now_ns,
            ).action
        self.now_ns += self._period_ns
        self.executed = action
        return self._env.step(self.adapter.to_native(action, proprio_native=frame.proprio), render=render)

    def _measured(self, frame: Frame) -> dict[str, np.ndarray]:
        """What the safety filter needs to know, arm by arm in the order of the action's fields: `eef_pos [3 * arms]`,
        `joints [j]`, `gripper [g]`."""
        layout, state = self.adapter.layout, self.adapter.proprio(frame.proprio)
        at = field_slices(layout.proprio)
        found: dict[str, list[np.ndarray]] = {"eef_pos": [], "joints": [], "gripper": []}
        for field in layout.action.fields:
            kind, stem = _MEASURED.get(field.kind, ("", ""))
            name = field.name.replace(field.kind, stem)
            if kind and name in at:
                found[kind].append(state[at[name]])
        return {kind: np.concatenate([np.empty(0), *parts]) for kind, parts in found.items()}


@runtime_checkable
class Recorder(Protocol):
    def add(self, env: Environment, frame: Frame, *, action: np.ndarray | None, step: int, seconds: float) -> None:
        """`frame` came of `action` (canonical `[a]`, as executed); None at the start."""


class NoRecorder:
    def add(self, env: Environment, frame: Frame, *, action: np.ndarray | None, step: int, seconds: float) -> None:
        pass


def play(env: Environment, job: Job, ask: Callable[[Observation], ActionChunk]) -> Outcome:
    """Plays one episode in receding horizon: `settings.replan` actions of each answer, then a new question."""
    if job.video is None:
        return _play(env, job, ask, NoRecorder(), recording=False)
    from rtx.eval.report.traces import Traces
    from rtx.eval.video import EpisodeVideo

    hz = env.embodiment.control_hz
    traces = Traces(Adapter(env.embodiment, job.layout).layout.action.fields, max_steps=round(job.max_seconds * hz))
    with EpisodeVideo.open(job.video, hz=hz, traces=traces) as recorder:
        return _play(env, job, ask, recorder, recording=True)


def _play(
    env: Environment, job: Job, ask: Callable[[Observation], ActionChunk], recorder: Recorder, *, recording: bool
) -> Outcome:
    start = time.monotonic()
    frame = env.reset(task=job.episode.scene, seed=job.episode.seed)
    pilot = Pilot(env, frame, safety=job.settings.safety, layout=job.layout)
    memory = Memory(job, pilot.adapter)
    memory.add(frame)
    recorder.add(env, frame, action=None, step=0, seconds=0.0)
    hz, step, calls = env.embodiment.control_hz, 0, 0
    max_steps = max(1, round(job.max_seconds * hz))
    while step < max_steps and not env.success:
        chunk = ask(memory.observation(env.instruction, pilot.now_ns))
        calls += 1
        todo = min(job.settings.replan, len(chunk.actions), max_steps - step)
        for k in range(todo):
            # Only frames that the next question holds are worth their rendering.
            frame = pilot.step(chunk, k, frame, render=recording or todo - k <= job.history)
            step += 1
            memory.add(frame)
            recorder.add(env, frame, action=pilot.executed, step=step, seconds=step / hz)
            if env.success:
                break
    return Outcome(
        key=job.key, policy=job.policy, arm=job.episode.arm, task=job.episode.task, index=job.episode.index,
        seed=job.episode.seed, instruction=env.instruction, success=bool(env.success), steps=step, seconds=step / hz,
        wall_s=round(time.monotonic() - start, 3), policy_calls=calls, refusals=dict(pilot.refusals),
        final_distance_m=env.goal_distance, video=job.video.name if job.video else None, split=job.episode.split,
    )  # fmt: skip
