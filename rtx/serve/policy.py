"""A checkpoint as something that acts: observations of any robot it knows in, canonical actions in physical units out.

    Observation -> Inputs (check, resize, normalise) -> Batch -> model.act, one compiled program -> [-1, 1]
                -> denormalise by this robot's statistics -> ActionChunk with its expiry

What an observation says the robot will do meanwhile (`committed`, `planned`) is told the model where it can go on from there,
and leads the chunk in any case.

Batches are filled up to a few fixed sizes, so that only those are ever compiled; `warm_up` compiles them beforehand.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
import numpy as np

from rtx.errors import UserError
from rtx.models.protocol import Answers, Arranges, Continuation, Continues, Memory, Model, Promise, Remembers, Variables
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
        folder=checkpoint.path,
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
        self, *, model: Model, variables: Variables, contract: Contract, tokenizer: InstructionEncoder, name: str = "unnamed",
        folder: Path | None = None,
    ) -> None:  # fmt: skip
        """`name` says which policy this is in reports and to clients: for a checkpoint its folder. `folder`: the sound
        checkpoint that the variables are, if any."""
        self.model, self.contract, self.tokenizer, self.name, self._folder = model, contract, tokenizer, name, folder
        self._inputs = Inputs(contract, tokenizer)
        self._variables = jax.device_put(model.for_acting(variables) if isinstance(model, Arranges) else variables)
        self._rng = jax.random.key(_SEED)
        self._act = jax.jit(model.act)
        self._answer, self._remember, self._act_again = None, None, None
        if isinstance(model, Answers):
            self._answer = jax.jit(functools.partial(model.answer, max_tokens=model.config.answer_length))
        if isinstance(model, Remembers):
            self._remember, self._act_again = jax.jit(model.remember), jax.jit(_of_several(model))

    @functools.cached_property
    def fingerprint(self) -> str:
        """Hash of all that decides its actions: weights, model, contract, tokenizer. Reads all weights, once."""
        from rtx.train.checkpoint.digest import digest_of, remembered  # Orbax with it

        weights = functools.partial(digest_of, self._variables)
        found = weights() if self._folder is None else remembered(self._folder, weights)
        parts = [to_json(self.model.config), self.contract.fingerprint(), self.tokenizer.to_json(), found]
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]

    def blank_batch(self, size: int = 1) -> Batch:
        """A batch of black pictures with no action in it, shaped as the model is fed: for `model.init` and for compiling."""
        robot = self._some_robot
        return self._inputs.batch([self._inputs.blank(robot.name)], [robot], size=size)

    def warm_up(self, batch_sizes: Sequence[int] = (1,)) -> float:
        """Compiles for these numbers of observations (rounded up to `BATCH_SIZES`), in sessions and without, with promises and
        without. Returns the seconds."""
        start = time.monotonic()
        robot = self._some_robot
        seen = self._inputs.blank(robot.name)
        bare = dataclasses.replace(seen, committed=np.zeros((1, robot.layout.action.width), np.float32))
        kinds = (seen, bare) if self.continuation == "guided" else (seen,)
        for size in sorted({_padded(n) for n in batch_sizes}):
            for kind in kinds:
                shown, known = [kind] * size, [robot] * size
                self._infer(self._inputs.batch(shown, known, size=size), self._told(shown, known, size))
                if self.remembers:
                    self._infer_again([self.remember(None, kind, robot=robot.name)] * size, shown, known)
        return time.monotonic() - start

    @property
    def continuation(self) -> Continuation:
        """What its answers make of what a robot will do meanwhile. Committed rows lead them in any case."""
        return self.model.continuation if isinstance(self.model, Continues) else "spliced"

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

    def act_batch(
        self, observations: Sequence[Observation], robots: Sequence[str], sessions: Sequence[Session | None] = ()
    ) -> list[ActionChunk]:
        """As `act` for several observations, of different robots if you like; compiled calls of at most `BATCH_SIZES[-1]`.

        `sessions`: whose episode each goes on with its newest frame, as `Session.act`, all different; None where an observation
        brings all the history there is. Where this raises, no episode has gone on.
        """
        if len(observations) != len(robots):
            raise UserError(f"act_batch: {len(observations)} observations but {len(robots)} robots")
        if any(session is not None for session in sessions):
            from rtx.serve.session import act_together  # it knows policies

            return act_together(self, observations, robots, sessions)
        for observation, robot in zip(observations, robots, strict=True):
            self._inputs.check(observation, robot=robot)
        known = [self._inputs.robot(robot) for robot in robots]
        chunks: list[ActionChunk] = []
        for start in range(0, len(known), BATCH_SIZES[-1]):
            part = slice(start, start + BATCH_SIZES[-1])
            size = _padded(len(known[part]))
            batch = self._inputs.batch(observations[part], known[part], size=size)
            actions = self._infer(batch, self._told(observations[part], known[part], size))[: len(known[part])]
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

    def act_again(
        self, memories: Sequence[Memory], now: Sequence[Observation], robots: Sequence[str]
    ) -> tuple[list[ActionChunk], list[Memory]]:
        """The answers to the one frame of each of `now` after what is remembered of its episode, and the memories with them;
        one compiled call. At most `BATCH_SIZES[-1]`."""
        known = [self._inputs.robot(robot) for robot in robots]
        actions, after = self._infer_again(memories, now, known)
        return [self._chunk(*row) for row in zip(actions, now, known, strict=True)], after

    def _told(self, observations: Sequence[Observation], robots: Sequence[Robot], size: int) -> Promise | None:
        """Guidance costs a backward pass, so it is another program; to force a token costs nothing, so there is one for all."""
        if self.continuation == "spliced":
            return None
        if self.continuation == "guided" and not any(_promises(observation) for observation in observations):
            return None
        return self._inputs.promise(observations, robots, size=size)

    def _infer(self, batch: Batch, promise: Promise | None) -> np.ndarray:
        """Model space, float32 [b, k, a]."""
        actions = np.asarray(self._act(self._variables, batch, self._rng, **_named(promise)))
        expected = (len(batch.proprio), self.contract.chunk, self.contract.action.width)
        if actions.shape != expected:
            raise UserError(
                f"policy {self.name}: the model gives actions of shape {actions.shape}, its contract says {expected}"
            )
        return actions

    def _infer_again(
        self, memories: Sequence[Memory], now: Sequence[Observation], robots: Sequence[Robot]
    ) -> tuple[np.ndarray, list[Memory]]:
        assert self._act_again is not None, "only for models that remember"
        size = _padded(len(now))
        batch = self._inputs.batch(now, robots, size=size, history=1)
        padded = (*memories, *[memories[-1]] * (size - len(memories)))
        told = _named(self._told(now, robots, size))
        actions, after = self._act_again(self._variables, padded, batch, self._rng, **told)
        return np.asarray(actions)[: len(now)], list(after[: len(now)])

    def _chunk(self, actions: np.ndarray, observation: Observation, robot: Robot) -> ActionChunk:
        # One action a control period from the observation on: the chunk expires when its last action's period ends.
        lasts_ns = round(1e9 * len(actions) / robot.embodiment.control_hz)
        physical = _denormalised(actions, robot)
        if observation.committed is not None:  # bins, or another order of sums, may have moved them a little
            physical[: len(observation.committed)] = observation.committed
        return ActionChunk(
            actions=physical,
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


def _promises(observation: Observation) -> bool:
    return any(rows is not None and len(rows) > 0 for rows in (observation.committed, observation.planned))


def _named(promise: Promise | None) -> dict[str, Promise]:
    """For models that take one."""
    return {} if promise is None else {"promise": promise}


def _of_several(model: Remembers) -> Callable[..., tuple[jax.Array, tuple[Memory, ...]]]:
    """`act_again` for memories of one row each, which come and go one by one: joined and parted in the compiled program."""

    def act_again(
        variables: Variables, memories: tuple[Memory, ...], batch: Batch, rng: jax.Array, **told: Promise
    ) -> tuple[jax.Array, tuple[Memory, ...]]:
        joined = jax.tree.map(lambda *leaves: jnp.concatenate(leaves), *memories)
        actions, after = model.act_again(variables, joined, batch, rng, **told)
        return actions, tuple(_row(after, i) for i in range(len(memories)))

    return act_again


def _row(tree: Memory, i: int) -> Memory:
    return jax.tree.map(lambda leaf: leaf[i : i + 1], tree)


def _padded(n: int) -> int:
    return next((size for size in BATCH_SIZES if size >= n), BATCH_SIZES[-1])
