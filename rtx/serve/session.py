"""One robot's episode, frame by frame: the policy sees each frame once, and earlier ones stay where they were computed.

    session = policy.session("bridge")
    while ...:
        chunk = session.act(observation)        one new frame
    session.reset()                             the next episode

The answers are those of `Policy.act` on the whole history. A model that remembers (`rtx.models.protocol.Remembers`) encodes one
frame and runs one compiled program a step; for others the session keeps the frames and asks in full. Episodes of several robots
go on together, in one call (`act_together`).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from rtx import images
from rtx.errors import UserError
from rtx.models.protocol import Memory
from rtx.serve.policy import BATCH_SIZES, Policy
from rtx.spec import ActionChunk, Contract, Observation


@dataclass(frozen=True, kw_only=True)
class Step:
    """A frame that may become part of an episode."""

    now: Observation  # it alone, as the policy is fed
    seen: Observation  # with what came before, at most the contract's history
    shapes: dict[str, tuple[int, ...]]  # of its pictures as they come
    memory: Memory  # before it; None of models that keep none


class Session:
    """State of one episode. Not for several threads at once; any number of sessions may share a policy."""

    def __init__(self, policy: Policy, robot: str) -> None:
        self.robot, self._policy = robot, policy
        self.reset()

    def reset(self) -> None:
        """Forgets the episode."""
        self._past: Observation | None = None  # `Step.seen` of the last one
        self._shapes: dict[str, tuple[int, ...]] = {}
        self._memory: Any = None

    def act(self, observation: Observation) -> ActionChunk:
        """The answer to the newest frame of `observation`; older frames in it are ignored, the session has its own.

        Another instruction than before is told about the remembered frames too, which are then looked at again. Raises as
        `Policy.act`; the frame is then not part of the episode.
        """
        return act_together(self._policy, [observation], [self.robot], [self])[0]

    def step(self, observation: Observation) -> Step:
        """Checks the newest frame and puts it behind the others. Nothing changes before `keep`."""
        self._policy.check(observation, robot=self.robot)
        shapes = {role: image.shape[1:] for role, image in observation.images.items() if role in self._policy.contract.roles}
        self._check_shapes(shapes)
        now = _fitted(_last(observation, 1), self._policy.contract)
        past = None if self._past is None else dataclasses.replace(self._past, instruction=now.instruction)
        seen = _last(_joined(past, now), self._policy.contract.history)
        memory = self._memory
        if self._policy.remembers and (self._past is None or self._past.instruction != now.instruction):
            memory = self._policy.remember(past, now, robot=self.robot)
        return Step(now=now, seen=seen, shapes=shapes, memory=memory)

    def keep(self, step: Step, memory: Memory) -> None:
        """The step was answered, and this is what is remembered with it."""
        self._past, self._shapes, self._memory = step.seen, step.shapes, memory

    def _check_shapes(self, shapes: dict[str, tuple[int, ...]]) -> None:
        """Raises UserError where a camera's pictures have changed their size."""
        for role, shape in shapes.items():
            if (before := self._shapes.get(role, shape)) != shape:
                raise UserError(
                    f"camera {role!r} gives {list(shape)}, in this episode it was {list(before)}; reset the session"
                )


def act_together(
    policy: Policy, observations: Sequence[Observation], robots: Sequence[str], sessions: Sequence[Session | None]
) -> list[ActionChunk]:
    """`Policy.act_batch` with sessions. What models remember of several robots goes through them in one call; what they do not
    is asked in full, together with observations of no session."""
    known = [session for session in sessions if session is not None]
    assert len({id(session) for session in known}) == len(known), "an episode goes on by one frame at a time"
    steps = [None if own is None else own.step(seen) for own, seen in zip(sessions, observations, strict=True)]
    whole = [seen if step is None else step.seen for step, seen in zip(steps, observations, strict=True)]
    after: list[Memory] = [None] * len(steps)
    chunks: dict[int, ActionChunk] = {}
    again = [i for i, step in enumerate(steps) if step is not None and policy.remembers]
    for start in range(0, len(again), BATCH_SIZES[-1]):
        part = again[start : start + BATCH_SIZES[-1]]
        going_on = [step for step in (steps[i] for i in part) if step is not None]
        given, memories = policy.act_again(
            [step.memory for step in going_on], [step.now for step in going_on], [robots[i] for i in part]
        )
        for i, chunk, memory in zip(part, given, memories, strict=True):
            chunks[i], after[i] = chunk, memory
    rest = [i for i in range(len(steps)) if i not in chunks]
    if rest:
        chunks |= zip(rest, policy.act_batch([whole[i] for i in rest], [robots[i] for i in rest]), strict=True)
    for session, step, memory in zip(sessions, steps, after, strict=True):
        if session is not None and step is not None:
            session.keep(step, memory)
    return [chunks[i] for i in range(len(steps))]


def _fitted(observation: Observation, contract: Contract) -> Observation:
    """Only what the policy looks at, in its size: so that a past costs little and is resized once."""
    shown = {role: image for role, image in observation.images.items() if role in contract.roles}
    return dataclasses.replace(
        observation,
        images={role: images.resize(image, contract.image_size, contract.fit) for role, image in shown.items()},
        image_mask={role: observation.image_mask[role] for role in shown},
    )


def _last(observation: Observation, count: int) -> Observation:
    return dataclasses.replace(
        observation,
        images={role: image[-count:] for role, image in observation.images.items()},
        image_mask={role: mask[-count:] for role, mask in observation.image_mask.items()},
        proprio=observation.proprio[-count:],
    )


def _joined(past: Observation | None, now: Observation) -> Observation:
    if past is None:
        return now
    return dataclasses.replace(
        now,
        images={role: np.concatenate([past.images[role], image]) for role, image in now.images.items()},
        image_mask={role: np.concatenate([past.image_mask[role], mask]) for role, mask in now.image_mask.items()},
        proprio=np.concatenate([past.proprio, now.proprio]),
    )
