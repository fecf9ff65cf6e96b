"""The environment of a public suite, but for what each suite does in its own way.

reset: the suite has the task? --> _begin: its own scene for the seed --> frame
step:  finite, of the robot's width? --> _advance: one control period; success stays once it was reached --> frame

PublicEnvironment: an `rtx.eval.play.Environment` that may know an expert
     |-- in_process.InProcess   MuJoCo in this process: Meta-World, robosuite, gym-aloha
     `-- foreign.Foreign        a Python of its own: Language-Table, ManiSkill, LIBERO, SimplerEnv
"""

from __future__ import annotations

import abc
import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, UInt8

from rtx.embodiment import Embodiment
from rtx.errors import UserError
from rtx.eval.public.suite import PublicSuite

Expert = Callable[[], np.ndarray]
"""The suite's own expert in the present episode: the native action `[a]` it wants next. It may know the simulator's state."""


@dataclass(frozen=True, kw_only=True)
class PublicFrame:
    """`images` by role, empty when not rendered; `proprio` native, float64."""

    images: Mapping[str, UInt8[np.ndarray, "h w 3"]]
    proprio: Float[np.ndarray, " p"]


class PublicEnvironment(abc.ABC):
    """One robot of `suite`. Success is the suite's own."""

    def __init__(self, suite: PublicSuite) -> None:
        self.suite, self.robot = suite, suite.robot
        self._task, self._success = "", False

    @property
    def embodiment(self) -> Embodiment:
        return self.robot

    @property
    def instruction(self) -> str:
        return self.suite.tasks[self._task]

    @property
    def success(self) -> bool:
        return self._success

    @property
    def goal_distance(self) -> None:
        """What a suite measures differs from task to task."""
        return None

    def reset(self, *, task: str, seed: int, render: bool = True) -> PublicFrame:
        """The suite's own scene for this seed. Raises UserError for an unknown task."""
        self.suite.check_task(task)
        self._task, self._success = task, False
        self._begin(task, seed)
        return self._frame(render=render)

    def step(self, native_action: np.ndarray, *, render: bool = True) -> PublicFrame:
        """Raises UserError for anything but finite numbers of the robot's width."""
        done = self._advance(native_vector(native_action, self.robot))
        self._success = self._success or done
        return self._frame(render=render)

    def expert(self) -> Expert:
        """A new expert for the present episode. Raises UserError where the suite has none for its task."""
        self.suite.check_expert(self._task)
        return self._expert()

    @abc.abstractmethod
    def render_view(self, size: int = 256) -> np.ndarray:
        """A picture for people, uint8 RGB `[size, size, 3]`."""

    @abc.abstractmethod
    def close(self) -> None:
        """Gives back what the suite holds."""

    @abc.abstractmethod
    def _begin(self, task: str, seed: int) -> None:
        """Lays out the suite's own scene for this seed."""

    @abc.abstractmethod
    def _advance(self, native: Float[np.ndarray, " a"]) -> bool:
        """One control period; whether the suite calls the task done now."""

    @abc.abstractmethod
    def _proprio(self) -> Float[np.ndarray, " p"]:
        """The robot's native state."""

    @abc.abstractmethod
    def _images(self) -> Mapping[str, np.ndarray]:
        """What the robot's cameras see, by role."""

    @abc.abstractmethod
    def _expert(self) -> Expert:
        """Asked for tasks of `suite.replayable()` only."""

    def _frame(self, *, render: bool) -> PublicFrame:
        return PublicFrame(images=self._images() if render else {}, proprio=self._proprio())


def build(suite: PublicSuite) -> PublicEnvironment:
    """The suite's environment, in this process. Raises UserError with the install line where the package is missing."""
    module, _, name = suite.environment.partition(":")
    environment: PublicEnvironment = getattr(importlib.import_module(module), name)(suite)
    return environment


def native_vector(action: Any, embodiment: Embodiment) -> np.ndarray:
    """`action` as one finite float64 vector of the robot's width. Raises UserError for anything else."""
    native = np.asarray(action, np.float64)
    if native.shape != (embodiment.action.width,) or not np.all(np.isfinite(native)):
        raise UserError(
            f"native action of {embodiment.name!r}: expected {embodiment.action.width} finite numbers, got {native.tolist()}"
        )
    return native
