"""The last thing before the motors: what every driver does, whatever is behind it.

    connect --> read ... command ... read ... command --> close
                  |         ^
                  |         `-- hold: stand still, stay ready        soft_stop: brake, refuse commands until connect()
                  `-- RobotState: pictures, native proprio, one stamp

A driver translates native vectors (`Embodiment.action`, `Embodiment.proprio`) to its SDK's calls and back, nothing else:
limits and freshness are the guard's (`rtx.control.guard`). Its own fuse only refuses what no working guard lets through.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, UInt8

from rtx.embodiment import Embodiment


@dataclass(frozen=True, kw_only=True)
class RobotState:
    """What the robot shows now. `stamp_ns` is the driver's monotonic clock when the oldest part of it was measured."""

    images: Mapping[str, UInt8[np.ndarray, "h_ w_ 3"]]  # role -> RGB; cameras may differ in size
    proprio: Float[np.ndarray, " p"]  # float64, the embodiment's native vector
    stamp_ns: int


@runtime_checkable
class Driver(Protocol):
    """One robot. One thread calls at a time, but `hold` and `soft_stop` may come from any thread, at any moment.

    All raise WorldError, with advice, when the robot, its network or its cameras fail; the robot then stands still as far as
    it can still be told to.
    """

    @property
    def embodiment(self) -> Embodiment: ...

    def connect(self) -> None:
        """Makes the robot ready to be commanded, without moving it. Also how it is armed again after `soft_stop` or a fault."""

    def read(self) -> RobotState:
        """The state now. Does not wait for a camera's next picture; raises WorldError if its last one is too old."""

    def command(self, native: np.ndarray) -> None:
        """Starts one control period of a native action and returns without waiting for its end.

        Raises UserError for a wrong width or a value that is not finite (the robot holds), WorldError if the robot is not
        armed: never connected, softly stopped, or stopped by a fault.
        """

    def hold(self) -> None:
        """Stands still where it is and stays armed. Safe to repeat."""

    def soft_stop(self) -> None:
        """Brakes and refuses commands until `connect` is called again. Safe to repeat, and without a connection."""

    def close(self) -> None:
        """Stops softly and lets go of the robot and its cameras. Safe to repeat."""
