"""What the suites that run on MuJoCo in this process have in common: one task loaded at a time, pictures by `View`."""

from __future__ import annotations

import abc
from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from jaxtyping import Float

from rtx.embodiment import Embodiment
from rtx.errors import UserError
from rtx.eval.public.suite import PublicFrame, PublicSuite, native_vector

if TYPE_CHECKING:
    from rtx.eval.public.view import View


class InProcess(abc.ABC):
    """A `PublicEnvironment` of `suite` for its one robot, but for the expert."""

    suite: ClassVar[PublicSuite]
    robot: ClassVar[Embodiment]
    cameras: ClassVar[Mapping[str, str]]  # role -> the suite's own name of it

    def __init__(self) -> None:
        """A subclass calls this before it imports the suite: `View` chooses the OpenGL that MuJoCo binds to."""
        from rtx.eval.public.view import View

        self._make_view = View
        self._view: View | None = None
        self._task = ""
        self._success = False

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
        if task != self._task:
            self.close()
            self._load(task)
            self._task = task
        self._place(seed)
        self._success = False
        return self._frame(render=render)

    def step(self, native_action: np.ndarray, *, render: bool = True) -> PublicFrame:
        done = self._advance(native_vector(native_action, self.robot))
        self._success = self._success or done
        return self._frame(render=render)

    def render_view(self, size: int = 256) -> np.ndarray:
        return self._drawn("primary", size)

    def close(self) -> None:
        if self._view is not None:
            self._view.close()
            self._view = None

    @abc.abstractmethod
    def _load(self, task: str) -> None:
        """Makes the suite's environment of a task."""

    @abc.abstractmethod
    def _place(self, seed: int) -> None:
        """Lays out the suite's own scene for this seed."""

    @abc.abstractmethod
    def _advance(self, native: Float[np.ndarray, " a"]) -> bool:
        """One control period; whether the suite calls the task done now."""

    @abc.abstractmethod
    def _proprio(self) -> Float[np.ndarray, " p"]:
        """The robot's native state."""

    @abc.abstractmethod
    def _open_view(self) -> View:
        """`self._make_view` on the loaded task's model and state."""

    def _frame(self, *, render: bool) -> PublicFrame:
        size = self.robot.cameras[0].resolution[0]
        images = {role: self._drawn(role, size) for role in self.cameras} if render else {}
        return PublicFrame(images=images, proprio=self._proprio())

    def _drawn(self, role: str, size: int) -> np.ndarray:
        if not self._task:
            raise UserError("the environment has no scene yet: call reset(task=..., seed=...) first")
        if self._view is None:
            self._view = self._open_view()
        return self._view.draw(self.cameras[role], size, size)
