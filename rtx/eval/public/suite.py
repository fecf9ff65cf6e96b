"""What every public suite says of itself, and the frame that its environment shows.

PublicSuite: arms, tasks with their instructions, time limits, how to install it, where its class is
     |  rtx.eval.public.registry: by name; a worker process builds `environment(arm)`
     v
PublicEnvironment: rtx.eval.play.Environment, and the suite's own expert where it has one
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, UInt8

from rtx.embodiment import Embodiment
from rtx.errors import UserError, unknown_name
from rtx.eval.suite import Suite

Expert = Callable[[], np.ndarray]
"""The suite's own expert in the present episode: the native action `[a]` it wants next. It may know the simulator's state."""


@dataclass(frozen=True, kw_only=True)
class PublicFrame:
    """`images` by role, empty when not rendered; `proprio` native, float64."""

    images: Mapping[str, UInt8[np.ndarray, "h w 3"]]
    proprio: Float[np.ndarray, " p"]


@runtime_checkable
class PublicEnvironment(Protocol):
    """An `rtx.eval.play.Environment` that may know an expert. Success is the suite's own, and stays once it was reached."""

    @property
    def embodiment(self) -> Embodiment: ...

    @property
    def instruction(self) -> str: ...

    @property
    def success(self) -> bool: ...

    @property
    def goal_distance(self) -> float | None: ...

    def reset(self, *, task: str, seed: int, render: bool = True) -> PublicFrame: ...

    def step(self, native_action: np.ndarray, *, render: bool = True) -> PublicFrame: ...

    def render_view(self, size: int) -> np.ndarray: ...

    def expert(self) -> Expert:
        """A new expert for the present episode. Raises UserError where the suite has none."""

    def close(self) -> None: ...


@dataclass(frozen=True, kw_only=True)
class PublicSuite:
    """`tasks`: name -> instruction; where scenes bring their own (""), the environment tells it after a reset.

    `arms`: names of data sets, as a checkpoint calls them. `max_steps`: the suite's own time limit, of a task or of all.
    `environment`: "module:Class", loaded in worker processes only. `expert`: what can be replayed, "" for nothing.
    """

    name: str
    title: str
    arms: tuple[str, ...]
    tasks: Mapping[str, str]
    max_steps: int
    control_hz: float
    environment: str
    install: str
    python: str = ""  # of suites in a Python of their own: RTX_<this>_PYTHON names it
    expert: str = ""
    expert_tasks: tuple[str, ...] = ()  # () = all, if there is an expert
    task_steps: Mapping[str, int] = field(default_factory=dict)
    default_tasks: tuple[str, ...] = ()  # of `rtx eval` without --tasks; () = all
    episodes_per_cell: int = 10

    def max_seconds(self, task: str) -> float:
        """The suite's own limit. Raises UserError for a task it does not have."""
        self.check_task(task)
        return self.task_steps.get(task, self.max_steps) / self.control_hz

    def replayable(self) -> tuple[str, ...]:
        """Tasks whose expert can be replayed. Raises UserError where there is none."""
        if not self.expert:
            raise UserError(f"suite {self.name!r} has neither an expert nor demonstrations in its package: nothing to replay")
        return self.expert_tasks or tuple(self.tasks)

    def check_task(self, task: str) -> None:
        if task not in self.tasks:
            raise unknown_name(f"task of suite {self.name!r}", task, self.tasks)

    def suite(self) -> Suite:
        """As `rtx eval --suite NAME` plays it."""
        tasks = self.default_tasks or tuple(self.tasks)
        return Suite(
            name=self.name, arms=self.arms, tasks=tasks, episodes_per_cell=self.episodes_per_cell, environment=self.name
        )

    def build(self, arm: str) -> PublicEnvironment:
        """The environment of one arm, in this process. Raises UserError with the install line where the package is missing."""
        if arm not in self.arms:
            raise unknown_name(f"arm of suite {self.name!r}", arm, self.arms)
        module, _, name = self.environment.partition(":")
        environment: PublicEnvironment = getattr(importlib.import_module(module), name)(arm)
        return environment

    def missing(self, error: ImportError) -> UserError:
        return UserError(f"suite {self.name!r} needs {error.name or error}: {self.install}")


def native_vector(action: Any, embodiment: Embodiment) -> np.ndarray:
    """`action` as one finite float64 vector of the robot's width. Raises UserError for anything else."""
    native = np.asarray(action, np.float64)
    if native.shape != (embodiment.action.width,) or not np.all(np.isfinite(native)):
        raise UserError(
            f"native action of {embodiment.name!r}: expected {embodiment.action.width} finite numbers, got {native.tolist()}"
        )
    return native
