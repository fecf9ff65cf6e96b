"""A real robot as a `Driver`: one or two arms behind their SDKs, cameras, and the order in which they may be used.

    ArmDriver -- Translator --> Arm (one file a vendor: ur, xarm, franka, interbotix, lerobot)
        |                          measure, send, hold, stop
        `-- cameras (rtx.drivers.cameras)

A fault anywhere stops every arm of the robot, disarms it and is raised with what to do; only `connect` arms it again.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator, Mapping
from typing import Protocol, runtime_checkable

import numpy as np

from rtx.drivers.cameras import CameraSource
from rtx.drivers.driver import RobotState
from rtx.drivers.native import ArmModel, Measured, Target, Translator, arm_prefix
from rtx.embodiment import Embodiment
from rtx.errors import UserError, WorldError


@runtime_checkable
class Arm(Protocol):
    """One arm behind its SDK. Calls come one at a time. All may raise WorldError with advice; none waits for a motion's end."""

    @property
    def model(self) -> ArmModel: ...

    def connect(self) -> None:
        """Ready to be sent targets, standing still; also after `stop` and after a fault that a person has cleared."""

    def measure(self) -> Measured:
        """Raises WorldError if the robot reports a fault, or nothing new."""

    def send(self, target: Target, *, period_s: float) -> None: ...

    def hold(self) -> None: ...

    def stop(self) -> None:
        """Brakes; needs `connect` afterwards. Safe to repeat, and without a connection."""

    def close(self) -> None: ...


class ArmDriver:
    """`arms`: by the prefix of their fields, "" for a single arm or the right one, "left_" for the left one.

    Raises UserError when made, if the arms cannot do or measure everything that the embodiment says.
    """

    def __init__(self, embodiment: Embodiment, arms: Mapping[str, Arm], cameras: Mapping[str, CameraSource]) -> None:
        self._embodiment, self._arms, self._cameras = embodiment, dict(arms), dict(cameras)
        self._translators = {p: Translator(embodiment, arm.model, prefix=p) for p, arm in self._arms.items()}
        fields = (*embodiment.action.fields, *embodiment.proprio)
        if orphans := [field.name for field in fields if arm_prefix(field) not in self._arms]:
            raise UserError(
                f"embodiment {embodiment.name!r} has a second arm ({', '.join(orphans)}); give this driver two addresses"
            )
        self._proprio_width = sum(field.width for field in embodiment.proprio)
        self._armed, self._lock = False, threading.RLock()

    @property
    def embodiment(self) -> Embodiment:
        return self._embodiment

    def connect(self) -> None:
        with self._lock, self._stopping_on_fault():
            for arm in self._arms.values():
                arm.connect()
            for camera in self._cameras.values():
                camera.open()
            self._armed = True

    def read(self) -> RobotState:
        with self._lock, self._stopping_on_fault():
            measured = self._measure()
        images, stamps = {}, [one.stamp_ns for one in measured.values()]
        try:
            for role, camera in self._cameras.items():
                images[role], stamp_ns = camera.newest()
                stamps.append(stamp_ns)
        except WorldError:
            self.soft_stop()
            raise
        return RobotState(images=images, proprio=self._proprio(measured), stamp_ns=min(stamps))

    def command(self, native: np.ndarray) -> None:
        with self._lock:
            if not self._armed:
                raise WorldError(f"{self._embodiment.name} is not armed: clear what stopped it, then call connect()")
            with self._stopping_on_fault():
                vector = self._checked(native)
                measured = self._measure()
                targets = {p: self._target(p, vector, measured[p]) for p in self._arms}
                for prefix, arm in self._arms.items():
                    arm.send(targets[prefix], period_s=1 / self._embodiment.control_hz)

    def hold(self) -> None:
        with self._lock, self._stopping_on_fault():
            for arm in self._arms.values() if self._armed else ():
                arm.hold()

    def soft_stop(self) -> None:
        with self._lock:
            self._armed = False
            failures = []
            for arm in self._arms.values():  # the second arm is stopped even if the first one's network is gone
                try:
                    arm.stop()
                except WorldError as error:
                    failures.append(str(error))
            if failures:
                raise WorldError("; ".join(failures))

    def close(self) -> None:
        with self._lock:
            try:
                with contextlib.suppress(WorldError):  # it is gone already: there is nobody to stop
                    self.soft_stop()
            finally:
                for arm in self._arms.values():
                    arm.close()
                for camera in self._cameras.values():
                    camera.close()

    def _measure(self) -> dict[str, Measured]:
        return {prefix: arm.measure() for prefix, arm in self._arms.items()}

    def _proprio(self, measured: Mapping[str, Measured]) -> np.ndarray:
        vector = np.full(self._proprio_width, np.nan)
        for prefix, translator in self._translators.items():
            for place, value in translator.proprio(measured[prefix]):
                vector[place] = value
        if not np.all(np.isfinite(vector)):
            self.soft_stop()
            raise WorldError(f"{self._embodiment.name} reports a state that is not finite: {vector}; check its encoders")
        return vector

    def _checked(self, native: np.ndarray) -> np.ndarray:
        vector = np.asarray(native, np.float64)
        if vector.shape == (self._embodiment.action.width,) and np.all(np.isfinite(vector)):
            return vector
        self.hold()
        what = (
            f"shape {list(vector.shape)}" if vector.shape != (self._embodiment.action.width,) else "a value that is not finite"
        )
        raise UserError(
            f"native action of {self._embodiment.name!r}: got {what}, expected {self._embodiment.action.width} numbers"
        )

    def _target(self, prefix: str, vector: np.ndarray, measured: Measured) -> Target:
        """A refusal of the fuse holds the arm and leaves it armed: the next command may be right."""
        try:
            return self._translators[prefix].target(vector, measured)
        except WorldError as refusal:
            self.hold()
            raise Refused(str(refusal)) from None

    @contextlib.contextmanager
    def _stopping_on_fault(self) -> Iterator[None]:
        try:
            yield
        except Refused:
            raise
        except WorldError:
            with contextlib.suppress(WorldError):  # the first fault says more than what it makes of the stop
                self.soft_stop()
            raise


class Refused(WorldError):
    """A command that was not executed; the arm holds and stays armed."""
