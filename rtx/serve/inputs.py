"""From what robots see to what a model is fed, exactly as in training: observations -> checked -> one padded `Batch`.

    Observation  --check-->  resize (rtx.images) -> last t frames, first one repeated where there are fewer
                             proprio by THIS robot's statistics, instruction to ids, absent cameras masked
                   n of them, filled up to a fixed size with copies of the last -> Batch (numpy)

A policy with the wrong camera, state or statistics still moves, and wrongly: everything doubtful is refused here.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int

from rtx import images
from rtx.embodiment import Embodiment, Layout
from rtx.errors import UserError, unknown_name
from rtx.models.blank import blank_batch
from rtx.models.protocol import Promise
from rtx.models.text import InstructionEncoder
from rtx.spec import Batch, Contract, Normalizer, Observation

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Robot:
    """What the policy needs to know of one robot of its contract."""

    name: str  # of its data set, the contract's key
    index: int  # position in the contract: the embodiment index the model was trained with
    embodiment: Embodiment
    layout: Layout  # of its observations' proprio and of the actions it is given
    cameras: tuple[str, ...]  # roles that both the policy and the robot have
    action: Normalizer
    action_mask: np.ndarray  # bool [k, a]: what it has of the model's actions
    proprio: Normalizer


class Inputs:
    """Checks observations against one contract and builds batches from them."""

    def __init__(self, contract: Contract, tokenizer: InstructionEncoder) -> None:
        self.contract = contract
        self._tokenizer = tokenizer
        self._robots = {
            name: _robot(contract, name, index)
            for index, name in enumerate(contract.embodiments)
            if contract.action_mask(name).any()  # pictures and questions without a robot are nobody to move
        }
        self._warned: set[str] = set()

    def robot(self, name: str) -> Robot:
        """Raises UserError for a robot the checkpoint was not trained with, naming those it was."""
        if name not in self._robots:
            raise unknown_name("robot", name, self._robots, hint="A checkpoint moves only robots it was trained with")
        return self._robots[name]

    @property
    def robots(self) -> tuple[str, ...]:
        """Names of those that can be moved, in the contract's order."""
        return tuple(self._robots)

    def check(self, observation: Observation, *, robot: str) -> None:
        """Raises UserError with the first thing that does not fit; warns once of each doubt about the instruction."""
        known = self.robot(robot)
        where = f"observation of {robot!r}"
        self._check_proprio(observation, known, where)
        self._check_images(observation, known, where)
        self._check_promise(observation, known)
        try:
            self._tokenizer.check(observation.instruction)
        except UserError as error:
            raise UserError(f"{where}: {error}") from None
        for doubt in self._tokenizer.doubts(observation.instruction):
            self._once(doubt)

    def batch(
        self, observations: Sequence[Observation], robots: Sequence[Robot], *, size: int, history: int | None = None
    ) -> Batch:
        """Checked observations as numpy arrays of leading size `size`; rows past the last repeat it. No action in it, only
        which entries of it each robot has.

        `history`: frames of it, None for the contract's.
        """
        rows = [min(i, len(observations) - 1) for i in range(size)]
        frames = [_last_frames(observation, history or self.contract.history) for observation in observations]
        shown = [(obs, robot, *frame) for obs, robot, frame in zip(observations, robots, frames, strict=True)]
        pictures = {role: [self._pictures(*one, role) for one in shown] for role in self.contract.roles}
        text = self._tokenizer.encode([observation.instruction for observation in observations])
        return Batch(
            images={role: np.stack([picture for picture, _ in pictures[role]])[rows] for role in self.contract.roles},
            image_mask={role: np.stack([mask for _, mask in pictures[role]])[rows] for role in self.contract.roles},
            history_mask=np.stack([mask for _, mask in frames])[rows],
            proprio=np.stack([robot.proprio.forward(obs.proprio[take]) for obs, robot, take, _ in shown])[rows],
            text=text[rows],
            action=None,
            action_mask=np.stack([robot.action_mask for robot in robots])[rows],
            embodiment=np.array([robot.index for robot in robots], np.int32)[rows],
            sample=np.zeros(size, np.int64),
        )

    def promise(self, observations: Sequence[Observation], robots: Sequence[Robot], *, size: int) -> Promise:
        """What checked observations say the robots will do anyway, as `batch`: numpy, by each robot's own statistics."""
        action = np.zeros((size, self.contract.chunk, self.contract.action.width), np.float32)
        held, known = np.zeros((2, size), np.int32)
        for i in range(size):
            seen, robot = observations[min(i, len(observations) - 1)], robots[min(i, len(robots) - 1)]
            parts = [part for part in (seen.committed, seen.planned) if part is not None]
            if parts:
                old = np.concatenate(parts)[: self.contract.chunk]
                action[i, : len(old)] = robot.action.forward(old)
                held[i], known[i] = 0 if seen.committed is None else len(seen.committed), len(old)
        return Promise(action, held, known)

    def asked(self, picture: np.ndarray, question: Int[np.ndarray, "1 l"]) -> Batch:
        """One question as web data have it: one picture in the first role's newest frame, and nobody who could move."""
        c = self.contract
        seen = np.arange(c.history)[None] == c.history - 1
        batch = blank_batch(
            question,
            roles=c.roles,
            image_size=c.image_size,
            history=c.history,
            proprio=sum(field.width for field in c.proprio),
            image_mask={role: seen & (role == c.roles[0]) for role in c.roles},
            history_mask=seen,
        )
        batch.images[c.roles[0]][0, -1] = images.resize(picture[None], c.image_size, c.fit)[0]
        return batch

    def blank(self, robot: str) -> Observation:
        """Black pictures and a state of zeros, shaped as this robot's: for compiling, not for acting."""
        height, width = self.contract.image_size
        cameras, width_proprio = self.robot(robot).cameras, self.robot(robot).layout.proprio_width
        return Observation(
            images={role: np.zeros((1, height, width, 3), np.uint8) for role in cameras},
            image_mask={role: np.ones(1, bool) for role in cameras},
            proprio=np.zeros((1, width_proprio), np.float32),
            instruction="",
            stamp_ns=0,
        )

    def _pictures(
        self, obs: Observation, robot: Robot, take: np.ndarray, valid: np.ndarray, role: str
    ) -> tuple[np.ndarray, np.ndarray]:
        """The camera's frames `[t, h, w, 3]` and which of them are real `[t]`."""
        if role not in robot.cameras:
            height, width = self.contract.image_size
            return np.zeros((len(take), height, width, 3), np.uint8), np.zeros(len(take), bool)
        newest = obs.images[role][take[0] :]  # only what is used: resizing is the costly part
        pictures = images.resize(newest, self.contract.image_size, self.contract.fit)[take - take[0]]
        seen = obs.image_mask[role][take]
        # As in training: a lost frame is black, and history padding is masked though it shows the first frame.
        return np.where(seen[:, None, None, None], pictures, np.uint8(0)), seen & valid

    def _check_proprio(self, observation: Observation, robot: Robot, where: str) -> None:
        proprio, width = observation.proprio, robot.layout.proprio_width
        fields = ", ".join(f"{field.name}[{field.width}]" for field in robot.layout.proprio)
        if proprio.ndim != 2 or proprio.shape[0] < 1 or proprio.shape[1] != width:
            raise UserError(
                f"{where}: proprio has shape {list(proprio.shape)}, expected [t, {width}]: {fields}; "
                "rtx.robots.adapter.Adapter(embodiment).proprio makes it from the robot's own state"
            )
        if not np.all(np.isfinite(proprio)):
            raise UserError(f"{where}: proprio holds a non-finite value: {proprio[-1]}; check the robot's state source")

    def _check_images(self, observation: Observation, robot: Robot, where: str) -> None:
        steps = len(observation.proprio)
        for role in observation.images:
            if role not in robot.embodiment.roles:
                raise unknown_name(f"camera of {robot.name!r}", role, robot.embodiment.roles)
        for role in robot.cameras:
            if role not in observation.images or role not in observation.image_mask:
                raise UserError(
                    f"{where}: camera {role!r} is missing, and the policy was trained with it; got {list(observation.images)}. "
                    "Pass images and image_mask for it (a frame that was lost: any picture, mask False)"
                )
            image, mask = observation.images[role], observation.image_mask[role]
            if len(image) != steps or mask.shape != (steps,) or mask.dtype != bool or 0 in image.shape:
                raise UserError(
                    f"{where}: camera {role!r} has images {list(image.shape)} and mask {mask.dtype}{list(mask.shape)}, "
                    f"proprio has {steps} steps; expected uint8[{steps}, h, w, 3] and bool[{steps}]"
                )

    def _check_promise(self, observation: Observation, robot: Robot) -> None:
        most, width = self.contract.chunk, robot.layout.action.width
        for name, rows in (("committed", observation.committed), ("planned", observation.planned)):
            if rows is None:
                continue
            if rows.ndim != 2 or rows.shape[1] != width or len(rows) > most:
                raise UserError(f"{name} has shape {list(rows.shape)}; expected at most {most} rows of {width}")
            if not np.all(np.isfinite(rows)):
                raise UserError(f"{name} holds a non-finite value")

    def _once(self, message: str) -> None:
        # Bounded, because a server's clients choose the words.
        if message not in self._warned and len(self._warned) < 1000:
            self._warned.add(message)
            log.warning(message)


def _robot(contract: Contract, name: str, index: int) -> Robot:
    embodiment = contract.embodiments[name]
    return Robot(
        name=name,
        index=index,
        embodiment=embodiment,
        layout=contract.layouts[name],
        cameras=tuple(role for role in contract.roles if role in embodiment.roles),
        action=contract.action_normalizer(name),
        action_mask=np.tile(contract.action_mask(name), (contract.chunk, 1)),
        proprio=contract.proprio_normalizer(name),
    )


def _last_frames(observation: Observation, history: int) -> tuple[np.ndarray, np.ndarray]:
    """Which frames to take, oldest first, `[history]`, and `history_mask`: False where the first frame is repeated."""
    given = len(observation.proprio)
    wanted = np.arange(given - history, given)
    return np.maximum(wanted, 0), wanted >= 0
