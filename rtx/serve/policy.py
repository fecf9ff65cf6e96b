"""A checkpoint as something that acts: observations of any robot it knows in, canonical actions in physical units out.

    Observation -> Inputs (check, resize, normalise) -> Batch -> model.act, one compiled program -> [-1, 1]
                -> denormalise by this robot's statistics -> ActionChunk with its expiry

Batches are filled up to a few fixed sizes, so that only those are ever compiled; `warm_up` compiles them beforehand.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import jax
import numpy as np

from rtx.errors import UserError
from rtx.models.protocol import Answers, Arranges, Memory, Model, Remembers, Variables
from rtx.models.text import InstructionEncoder
from rtx.models.vla.config import BinChoice, VLAConfig
from rtx.models.vla.language import VLATokenizer
from rtx.serve.inputs import Inputs, Robot
from rtx.spec import ActionChunk, Batch, Contract, Observation, to_json

if TYPE_CHECKING:
    from rtx.serve.session import Session

BATCH_SIZES = (1, 2, 4, 8, 16, 32)
_SEED = 0  # of models that sample: the same observation gets the same answer, whatever was asked before


def load_policy(path: Path | str, *, step: int | None = None, bin_choice: BinChoice | None = None) -> Policy:
    """The policy in a run folder (its newest sound checkpoint, or `step`) or in one checkpoint folder.

        policy = load_policy("runs/quickstart")
        chunk = policy.act(observation, robot="sim_panda")

    `bin_choice`: another one than the checkpoint's, of a vision-language-action model (`VLAConfig.bin_choice`).
    Raises UserError where there is no checkpoint, or its model has no such choice; WorldError where it is damaged.
    """
    from rtx.models.families import model_from_json  # each family brings its own layers: only where one is opened
    from rtx.models.sentences import instructions_from_json
    from rtx.train.checkpoint import open_checkpoint

    checkpoint = open_checkpoint(path, step)
    return Policy(
        model=_choosing(model_from_json(checkpoint.model), bin_choice),
        variables=checkpoint.variables,
        contract=checkpoint.contract,
        tokenizer=instructions_from_json(checkpoint.tokenizer),
        name=str(checkpoint.path),
    )


def _choosing(model: Model, bin_choice: BinChoice | None) -> Model:
    from rtx.models.families import build_model

    if bin_choice is None:
        return model
    if not isinstance(model.config, VLAConfig):
        raise UserError(f"bin_choice: a {type(model).__name__} has none; only vision-language-action models do")
    return build_model(dataclasses.replace(model.config, bin_choice=bin_choice))


class Policy:
    """A model, its variables and the contract it was trained under. Safe to call from several threads."""

    def __init__(
        self, *, model: Model, variables: Variables, contract: Contract, tokenizer: InstructionEncoder, name: str = "unnamed"
    ) -> None:
        """`name` says which policy this is in reports and to clients: for a checkpoint its folder."""
        self.model, self.contract, self.tokenizer, self.name = model, contract, tokenizer, name
        self._inputs = Inputs(contract, tokenizer)
        self._variables = jax.device_put(model.for_acting(variables) if isinstance(model, Arranges) else variables)
        self._rng = jax.random.key(_SEED)
        self._act = jax.jit(model.act)
        self._answer, self._remember, self._act_again = None, None, None
        if isinstance(model, Answers):
            self._answer = jax.jit(functools.partial(model.answer, max_tokens=model.config.answer_length))
        if isinstance(model, Remembers):
            self._remember, self._act_again = jax.jit(model.remember), jax.jit(model.act_again)

    @functools.cached_property
    def fingerprint(self) -> str:
        """Hash of all that decides its actions: weights, model, contract, tokenizer. Reads every weight once."""
        parts = [to_json(self.model.config), self.contract.fingerprint(), self.tokenizer.to_json()]
        digest = hashlib.sha256(json.dumps(parts, sort_keys=True).encode())
        for path, leaf in sorted((jax.tree_util.keystr(p), x) for p, x in jax.tree_util.tree_leaves_with_path(self._variables)):
            digest.update(f"{path} {leaf.dtype} {leaf.shape}".encode() + np.asarray(leaf).tobytes())
        return digest.hexdigest()[:16]

    def blank_batch(self, size: int = 1) -> Batch:
        """A batch of black pictures with no action in it, shaped as the model is fed: for `model.init` and for compiling."""
        robot = self._some_robot
        return self._inputs.batch([self._inputs.blank(robot.name)], [robot], size=size)

    def warm_up(self, batch_sizes: Sequence[int] = (1,)) -> float:
        """Compiles for these numbers of observations (rounded up to `BATCH_SIZES`), and for sessions. Returns the seconds."""
        start = time.monotonic()
        for size in sorted({_padded(n) for n in batch_sizes}):
            self._infer(self.blank_batch(size))
        if self._remember is not None and self._act_again is not None:
            newest = self._inputs.batch([self._inputs.blank(self._some_robot.name)], [self._some_robot], size=1, history=1)
            jax.block_until_ready(
                self._act_again(self._variables, self._remember(self._variables, self.blank_batch()), newest, self._rng)
            )
        return time.monotonic() - start

    @property
    def _some_robot(self) -> Robot:
        if not self._inputs.robots:
            raise UserError(f"policy {self.name} knows no robot: it was trained on pictures and questions only")
        return self._inputs.robot(self._inputs.robots[0])

    def check(self, observation: Observation, *, robot: str) -> None:
        """Raises UserError with the first reason why this observation would be refused; costs no inference."""
        self._inputs.check(observation, robot=robot)

    def act(self, observation: Observation, *, robot: str) -> ActionChunk:
        """The next `contract.chunk` actions of `robot` (a data set name of the contract).

        `observation` holds 1 to any number of frames, of any size; the newest `contract.history` count, and where there are
        fewer the first is repeated, as in training. Raises UserError for an observation that does not fit the contract,
        WorldError where the model gives non-finite numbers.
        """
        return self.act_batch([observation], [robot])[0]

    def act_batch(self, observations: Sequence[Observation], robots: Sequence[str]) -> list[ActionChunk]:
        """As `act` for several observations, of different robots if you like; compiled calls of at most `BATCH_SIZES[-1]`."""
        if len(observations) != len(robots):
            raise UserError(f"act_batch: {len(observations)} observations but {len(robots)} robots")
        for observation, robot in zip(observations, robots, strict=True):
            self._inputs.check(observation, robot=robot)
        known = [self._inputs.robot(robot) for robot in robots]
        chunks: list[ActionChunk] = []
        for start in range(0, len(known), BATCH_SIZES[-1]):
            part = slice(start, start + BATCH_SIZES[-1])
            batch = self._inputs.batch(observations[part], known[part], size=_padded(len(known[part])))
            actions = self._infer(batch)[: len(known[part])]
            chunks += [self._chunk(*row) for row in zip(actions, observations[part], known[part], strict=True)]
        return chunks

    def ask(self, picture: np.ndarray, question: str) -> str:
        """What the model answers to a question about a picture, uint8 RGB `[h, w, 3]` of any size; "" asks for a caption.

        The first call compiles. Raises UserError for a model that answers no questions, or what is no picture.
        """
        if self._answer is None or not isinstance(self.tokenizer, VLATokenizer):
            raise UserError(f"policy {self.name} holds a {type(self.model).__name__}, which answers no questions")
        if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[-1] != 3 or 0 in picture.shape:
            raise UserError(f"ask: the picture is {picture.dtype}{list(picture.shape)}, expected uint8[h, w, 3] RGB")
        batch = self._inputs.asked(picture, self.tokenizer.questions([question]))
        ids = self._answer(self._variables, batch, self._rng)
        return self.tokenizer.decode(np.asarray(ids))[0]

    def session(self, robot: str) -> Session:
        """An episode of one robot: `session.act(observation)` with each new frame once, instead of the whole history."""
        from rtx.serve.session import Session  # it knows policies

        return Session(self, self._inputs.robot(robot).name)

    @property
    def remembers(self) -> bool:
        """Whether the model keeps what it made of earlier frames."""
        return self._remember is not None

    def remember(self, past: Observation | None, now: Observation, *, robot: str) -> Memory:
        """What the model keeps of the frames before `now` (None: the episode begins), told the instruction of `now`."""
        assert self._remember is not None, "only for models that remember"
        known = self._inputs.robot(robot)
        if past is not None:
            return self._remember(self._variables, self._inputs.batch([past], [known], size=1))
        batch = self._inputs.batch([now], [known], size=1)
        nothing = dataclasses.replace(
            batch, history_mask=np.zeros_like(batch.history_mask),
            image_mask={role: np.zeros_like(mask) for role, mask in batch.image_mask.items()},
        )  # fmt: skip
        return self._remember(self._variables, nothing)

    def act_again(self, memory: Memory, now: Observation, *, robot: str) -> tuple[ActionChunk, Memory]:
        """The answer to the one frame of `now` after what is remembered, and the memory with it; one compiled call."""
        assert self._act_again is not None, "only for models that remember"
        known = self._inputs.robot(robot)
        batch = self._inputs.batch([now], [known], size=1, history=1)
        actions, memory = self._act_again(self._variables, memory, batch, self._rng)
        return self._chunk(np.asarray(actions)[0], now, known), memory

    def _infer(self, batch: Batch) -> np.ndarray:
        """Model space, float32 [b, k, a]."""
        actions = np.asarray(self._act(self._variables, batch, self._rng))
        expected = (len(batch.proprio), self.contract.chunk, self.contract.action.width)
        if actions.shape != expected:
            raise UserError(
                f"policy {self.name}: the model gives actions of shape {actions.shape}, its contract says {expected}"
            )
        return actions

    def _chunk(self, actions: np.ndarray, observation: Observation, robot: Robot) -> ActionChunk:
        # One action a control period from the observation on: the chunk expires when its last action's period ends.
        lasts_ns = round(1e9 * len(actions) / robot.embodiment.control_hz)
        return ActionChunk(
            actions=_denormalised(actions, robot),
            names=robot.layout.action.dim_names,
            control_hz=robot.embodiment.control_hz,
            stamp_ns=observation.stamp_ns,
            valid_until_ns=observation.stamp_ns + lasts_ns,
        )


def _denormalised(actions: np.ndarray, robot: Robot) -> np.ndarray:
    # The normalizer clips, and clipping would turn an infinity into a full step: keep it non-finite, so that it is refused.
    physical = np.where(robot.action.select(np.isfinite(actions)), robot.action.inverse(actions), np.nan)
    # What the data of this robot never held was never learned: it does nothing.
    return np.where(np.array(robot.layout.action_mask), physical, 0).astype(np.float32)


def _padded(n: int) -> int:
    return next((size for size in BATCH_SIZES if size >= n), BATCH_SIZES[-1])
