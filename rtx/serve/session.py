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

from rtx import images
from rtx.errors import UserError
from rtx.serve.policy import Policy
from rtx.spec import ActionChunk, Contract, Observation


class Session:
    """State of one episode. Not for several threads at once; any number of sessions may share a policy."""

    def __init__(self, policy: Policy, robot: str) -> None:
        self._policy, self._robot = policy, robot
        self.reset()

    def reset(self) -> None:
        """Forgets the episode."""
        self._past: Observation | None = None  # the frames seen, at most the contract's history, newest last, as they are fed
        self._shapes: dict[str, tuple[int, ...]] = {}  # of the pictures as they come
        self._memory: Any = None

    def act(self, observation: Observation) -> ActionChunk:
        """The answer to the newest frame of `observation`; older frames in it are ignored, the session has its own.

        Another instruction than before is told about the remembered frames too, which are then looked at again. Raises as
        `Policy.act`; the frame is then not part of the episode.
        """
        self._policy.check(observation, robot=self._robot)
        shapes = {role: image.shape[1:] for role, image in observation.images.items() if role in self._policy.contract.roles}
        self._check_shapes(shapes)
        now = _fitted(_last(observation, 1), self._policy.contract)
        past = None if self._past is None else dataclasses.replace(self._past, instruction=now.instruction)
        seen = _last(_joined(past, now), self._policy.contract.history)
        if not self._policy.remembers:
            chunk = self._policy.act(seen, robot=self._robot)
        else:
            memory = self._memory
            if self._past is None or self._past.instruction != now.instruction:
                memory = self._policy.remember(past, now, robot=self._robot)
            chunk, self._memory = self._policy.act_again(memory, now, robot=self._robot)
        self._past, self._shapes = seen, shapes
        return chunk

    def _check_shapes(self, shapes: dict[str, tuple[int, ...]]) -> None:
        """Raises UserError where a camera's pictures have changed their size."""
        for role, shape in shapes.items():
            if (before := self._shapes.get(role, shape)) != shape:
                raise UserError(
                    f"camera {role!r} gives {list(shape)}, in this episode it was {list(before)}; reset the session"
                )


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
