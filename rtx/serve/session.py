"""One robot's episode, frame by frame: the policy sees each frame once, and earlier ones stay where they were computed.

    session = policy.session("bridge")
    while ...:
        chunk = session.act(observation)        one new frame
    session.reset()                             the next episode

The answers are those of `Policy.act` on the whole history. A model that remembers (`rtx.models.protocol.Remembers`) encodes one
frame and runs one compiled program a step; for others the session keeps the frames and asks in full.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from rtx.errors import UserError
from rtx.serve.policy import Policy
from rtx.spec import ActionChunk, Observation


class Session:
    """State of one episode. Not for several threads at once; any number of sessions may share a policy."""

    def __init__(self, policy: Policy, robot: str) -> None:
        self._policy, self._robot = policy, robot
        self.reset()

    def reset(self) -> None:
        """Forgets the episode."""
        self._past: Observation | None = None  # the frames seen, at most the contract's history, newest last
        self._memory: Any = None

    def act(self, observation: Observation) -> ActionChunk:
        """The answer to the newest frame of `observation`; older frames in it are ignored, the session has its own.

        Another instruction than before is told about the remembered frames too, which are then looked at again. Raises as
        `Policy.act`; the frame is then not part of the episode.
        """
        self._policy.check(observation, robot=self._robot)
        now = _last(observation, 1)
        past = None if self._past is None else dataclasses.replace(self._past, instruction=now.instruction)
        seen = _last(_joined(past, now), self._policy.contract.history)
        if not self._policy.remembers:
            chunk = self._policy.act(seen, robot=self._robot)
        else:
            memory = self._memory
            if self._past is None or self._past.instruction != now.instruction:
                memory = self._policy.remember(past, now, robot=self._robot)
            chunk, self._memory = self._policy.act_again(memory, now, robot=self._robot)
        self._past = seen
        return chunk


def _last(observation: Observation, count: int) -> Observation:
    return dataclasses.replace(
        observation,
        images={role: image[-count:] for role, image in observation.images.items()},
        image_mask={role: mask[-count:] for role, mask in observation.image_mask.items()},
        proprio=observation.proprio[-count:],
    )


def _joined(past: Observation | None, now: Observation) -> Observation:
    """Raises UserError where a camera's pictures have changed their size."""
    if past is None:
        return now
    for role, image in now.images.items():
        if role not in past.images or past.images[role].shape[1:] != image.shape[1:]:
            before = list(past.images[role].shape[1:]) if role in past.images else "absent"
            raise UserError(
                f"camera {role!r} gives {list(image.shape[1:])}, in this episode it was {before}; reset the session"
            )
    return dataclasses.replace(
        now,
        images={role: np.concatenate([past.images[role], image]) for role, image in now.images.items()},
        image_mask={role: np.concatenate([past.image_mask[role], mask]) for role, mask in now.image_mask.items()},
        proprio=np.concatenate([past.proprio, now.proprio]),
    )
