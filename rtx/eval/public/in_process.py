"""What the suites that run on MuJoCo in this process have in common: one task loaded at a time, pictures by `View`."""

from __future__ import annotations

import abc
from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from rtx.errors import UserError
from rtx.eval.public.environment import PublicEnvironment
from rtx.eval.public.suite import PublicSuite

if TYPE_CHECKING:
    from rtx.eval.public.view import View


class InProcess(PublicEnvironment):
    """Raises UserError where the suite's package is missing."""

    cameras: ClassVar[Mapping[str, str]]  # role -> the suite's own name of it

    def __init__(self, suite: PublicSuite) -> None:
        super().__init__(suite)
        from rtx.eval.public.view import View  # before the suite: it chooses the OpenGL that MuJoCo binds to

        self._make_view = View
        self._view: View | None = None
        self._loaded = ""
        try:
            self._import_suite()
        except ImportError as error:
            raise suite.missing(error) from error

    def render_view(self, size: int = 256) -> np.ndarray:
        return self._drawn("primary", size)

    def close(self) -> None:
        self._loaded = ""
        if self._view is not None:
            self._view.close()
            self._view = None

    @abc.abstractmethod
    def _import_suite(self) -> None:
        """Imports the suite's package and keeps what is needed of it; an ImportError becomes a UserError."""

    @abc.abstractmethod
    def _load(self, task: str) -> None:
        """Makes the suite's environment of a task."""

    @abc.abstractmethod
    def _place(self, seed: int) -> None:
        """Lays out the suite's own scene of the loaded task for this seed."""

    @abc.abstractmethod
    def _open_view(self) -> View:
        """`self._make_view` on the loaded task's model and state."""

    def _begin(self, task: str, seed: int) -> None:
        if task != self._loaded:
            self.close()
            self._load(task)
            self._loaded = task
        self._place(seed)

    def _images(self) -> Mapping[str, np.ndarray]:
        size = self.robot.cameras[0].resolution[0]
        return {role: self._drawn(role, size) for role in self.cameras}

    def _drawn(self, role: str, size: int) -> np.ndarray:
        if not self._loaded:
            raise UserError("the environment has no scene yet: call reset(task=..., seed=...) first")
        if self._view is None:
            self._view = self._open_view()
        return self._view.draw(self.cameras[role], size, size)
