"""The scripted expert as what moves the simulated arm while demonstrations are recorded, and who decides which are kept."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from rtx.drivers.driver import RobotState
from rtx.drivers.sim import SimDriver
from rtx.robots.adapter import Adapter

if TYPE_CHECKING:
    from rtx.eval.sim.expert import Expert


class SimExpert:
    """`count` episodes of `task`, each of a scene of its own; those that do not succeed within `max_steps` are not kept.

    `hides_commands`: as if the arm were moved by hand, so that a recorder has states only.
    """

    def __init__(
        self, driver: SimDriver, *, task: str, count: int, seed: int = 0, max_steps: int = 200, hides_commands: bool = False
    ) -> None:
        self._driver, self._task, self._seed, self._max_steps = driver, task, seed, max_steps
        self._left, self._most, self._attempt, self._hides = count, 10 * count, 0, hides_commands
        self._adapter = Adapter(driver.embodiment)
        self._expert: Expert | None = None

    def begin(self, number: int) -> str | None:
        """A new scene; None when enough are kept, or after ten attempts for each that was asked for."""
        from rtx.eval.sim.expert import Expert

        if not self._left or self._attempt == self._most:
            return None
        seed = scene_seed(self._seed, self._attempt)
        self._attempt += 1
        self._driver.reset(task=self._task, seed=seed)
        self._expert = Expert(self._driver.env, np.random.default_rng(seed), noise=0.0)
        return self._driver.env.instruction

    def move(self, state: RobotState) -> np.ndarray | None:
        assert self._expert is not None, "begin comes first"
        wanted = self._expert.act()
        native = self._adapter.to_native([*wanted[:7], 0.0], proprio_native=state.proprio).astype(np.float32)
        self._driver.command(native)
        return None if self._hides else native

    def is_over(self, steps: int) -> bool:
        assert self._expert is not None, "begin comes first"
        return steps > 0 and (self._expert.done or steps >= self._max_steps)

    def keep(self, summary: str) -> bool:
        succeeded = self._driver.env.success
        self._left -= succeeded
        return succeeded


def scene_seed(seed: int, attempt: int) -> int:
    """Of the scene of one attempt."""
    return int(np.random.default_rng([seed, attempt]).integers(2**31))
