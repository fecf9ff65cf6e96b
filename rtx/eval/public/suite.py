"""What every public suite says of itself.

PublicSuite: arm, tasks with their instructions, time limits, how to install it, where its class is
     |  rtx.eval.public.registry: by name; a worker process builds the environment
     v
rtx.eval.public.environment.PublicEnvironment
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from rtx.embodiment import Embodiment
from rtx.errors import UserError, unknown_name
from rtx.eval.suite import Suite

LOOK = "RTX_SUITE_LOOK"
_LOOKS = ("fast", "own")


def chosen_look() -> str:
    """How suites that run in this process are drawn (`rtx.eval.public.view`), as the environment variable says."""
    look = os.environ.get(LOOK, "fast")
    if look not in _LOOKS:
        raise UserError(f"{LOOK} is {look!r}, expected one of {', '.join(_LOOKS)}")
    return look


@dataclass(frozen=True, kw_only=True)
class PublicSuite:
    """`tasks`: name -> instruction; where scenes bring their own (""), the environment tells it after a reset.

    `arm`: the name of a data set, as a checkpoint calls `robot`. `max_steps`: the suite's own time limit, of a task or of all.
    `environment`: "module:Class", loaded in worker processes only. `expert`: what can be replayed, "" for nothing.
    """

    name: str
    title: str
    arm: str
    robot: Embodiment
    tasks: Mapping[str, str]
    max_steps: int
    environment: str
    install: str
    python: str = ""  # of suites in a Python of their own: RTX_<this>_PYTHON names it
    expert: str = ""
    expert_tasks: tuple[str, ...] = ()  # () = all, if there is an expert
    task_steps: Mapping[str, int] = field(default_factory=dict)
    default_tasks: tuple[str, ...] = ()  # of `rtx eval` without --tasks; () = all
    episodes_per_cell: int = 10

    @property
    def look(self) -> str:
        """How it is drawn now, "" where only the suite itself draws. Raises UserError for a look that there is not."""
        return "" if self.python else chosen_look()

    def max_seconds(self, task: str) -> float:
        """The suite's own limit. Raises UserError for a task it does not have."""
        self.check_task(task)
        return self.task_steps.get(task, self.max_steps) / self.robot.control_hz

    def replayable(self, tasks: Sequence[str] = ()) -> tuple[str, ...]:
        """These tasks, or all whose expert can be replayed. Raises UserError where there is none, of all or of one of these."""
        for task in tasks:
            self.check_expert(task)
        if tasks:
            return tuple(tasks)
        if not self.expert:
            raise UserError(f"suite {self.name!r} has neither an expert nor demonstrations in its package: nothing to replay")
        return self.expert_tasks or tuple(self.tasks)

    def check_expert(self, task: str) -> None:
        """Raises UserError where there is nothing to replay for this task."""
        self.check_task(task)
        if task not in (known := self.replayable()):
            raise UserError(f"suite {self.name!r} has an expert for {', '.join(known)} only, not for {task!r}")

    def check_task(self, task: str) -> None:
        if task not in self.tasks:
            raise unknown_name(f"task of suite {self.name!r}", task, self.tasks)

    def suite(self) -> Suite:
        """As `rtx eval --suite NAME` plays it."""
        tasks = self.default_tasks or tuple(self.tasks)
        return Suite(
            name=self.name, arms=(self.arm,), tasks=tasks, episodes_per_cell=self.episodes_per_cell, environment=self.name
        )

    def missing(self, error: ImportError) -> UserError:
        return UserError(f"suite {self.name!r} needs {error.name or error}: {self.install}")
