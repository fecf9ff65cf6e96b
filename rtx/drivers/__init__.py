"""What moves: one robot behind the same six calls, simulated or real, each through its vendor's own SDK."""

from rtx.drivers.driver import Driver, RobotState
from rtx.drivers.registry import open_driver

__all__ = ["Driver", "RobotState", "open_driver"]
