"""The simulated arms as a driver: `sim`, or `sim:?task=stack&seed=3`.

One command is one control period of physics, whenever it comes: who calls sets the pace, so a test needs no waiting and an
operator's loop runs in real time. Between commands the simulated world stands still.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from rtx.drivers.driver import Driver, RobotState
from rtx.drivers.registry import DriverSpec
from rtx.embodiment import CANONICAL_ARM, Embodiment
from rtx.errors import UserError, WorldError
from rtx.eval.sim.splits import find_task
from rtx.robots.adapter import Adapter
from rtx.robots.sim_arms import SIM_ARMS, arm_for

if TYPE_CHECKING:  # the simulator takes a second to import, and renders
    from rtx.eval.sim.env import SimEnv


class SimDriver:
    """One of the seven simulated arms, or a user's robot on the one that takes its commands and shows its state.

    `clock_ns` gives the stamps: inject one in tests, `time.monotonic_ns` elsewhere. Raises UserError for any other robot.
    """

    def __init__(
        self, robot: Embodiment, *, task: str = "reach", seed: int = 0, image_size: int = 128,
        clock_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:  # fmt: skip
        arm = arm_for(robot)
        if arm is None:
            raise UserError(
                f"driver 'sim' has no model of {robot.name!r}: none of {', '.join(SIM_ARMS)} is commanded, measured and filmed "
                f"as it is, at {robot.control_hz:g} Hz. Another robot: give its own driver (docs/drivers.md)"
            )
        self.embodiment, self._arm = robot, arm
        self._task, self._seed, self._image_size = task, seed, image_size
        self._clock_ns, self._lock = clock_ns, threading.RLock()
        self._adapter = Adapter(robot)
        self._env: SimEnv | None = None
        self._armed = False
        self._opening = 1.0  # of the gripper, as last sent: a hold goes on squeezing what it holds
        self.num_commands = 0

    @property
    def env(self) -> SimEnv:
        """The world behind it, for success, instruction and pictures for people. Raises WorldError before `connect`."""
        if self._env is None:
            raise WorldError("the simulated arm is not connected: call connect() first")
        return self._env

    def connect(self) -> None:
        """The first time: loads the model and lays out the scene. Later: arms it again, with the world as it is."""
        from rtx.eval.sim.env import SimEnv

        with self._lock:
            if self._env is None:
                self._env = SimEnv(self._arm, image_size=self._image_size)
                self.reset(task=self._task, seed=self._seed)
            self._armed = True

    def reset(self, *, task: str, seed: int) -> None:
        """A new scene in the same world. Raises UserError for an unknown task."""
        with self._lock:
            self.env.reset(task=task, seed=seed, render=False)
            self._opening = 1.0

    def read(self) -> RobotState:
        with self._lock:
            frame, stamp_ns = self.env.look(), self._clock_ns()
            return RobotState(images=frame.images, proprio=frame.proprio, stamp_ns=stamp_ns)

    def command(self, native: np.ndarray) -> None:
        with self._lock:
            if not self._armed:
                raise WorldError("the simulated arm is stopped: call connect() to arm it again")
            if np.ndim(native) != 1:
                raise UserError(
                    f"native action of {self.embodiment.name!r}: got shape {list(np.shape(native))}, expected one vector"
                )
            proprio = self.env.look(render=False).proprio
            opening = float(self._adapter.to_canonical(native, proprio_native=proprio)[..., 6])
            self.env.step(native, render=False)
            self._opening = opening
            self.num_commands += 1

    def hold(self) -> None:
        """One control period of standing still with the gripper as it was last sent; nothing before `connect`."""
        with self._lock:
            if self._env is not None:
                still = np.zeros(CANONICAL_ARM.width)
                still[6] = self._opening
                proprio = self._env.look(render=False).proprio
                self._env.step(self._adapter.to_native(still, proprio_native=proprio), render=False)

    def soft_stop(self) -> None:
        with self._lock:
            self.hold()
            self._armed = False

    def close(self) -> None:
        with self._lock:
            self._armed = False
            if self._env is not None:
                self._env.close()
                self._env = None


def open(spec: DriverSpec, embodiment: Embodiment) -> Driver:
    """`sim:?task=NAME&seed=N&image_size=N`. Raises UserError for a robot that no simulated arm stands for."""
    given = spec.take(task="reach", seed="0", image_size="128")
    if spec.address or spec.cameras:
        raise UserError("driver 'sim' takes neither an address nor cameras: the arm is the embodiment's, cameras are drawn")
    find_task(given["task"])
    return SimDriver(
        embodiment, task=given["task"], seed=int(spec.number("seed", given["seed"])),
        image_size=int(spec.number("image_size", given["image_size"])),
    )  # fmt: skip
