"""A policy loop that drives a guarded robot and then hangs or dies: run by `test_host` as a program of its own.

python -m tests.control.host_in_process FOLDER hang|die|sleep
"""

from __future__ import annotations

import functools
import json
import os
import signal
import sys
import time
from pathlib import Path

import numpy as np

from rtx.control.guard import GuardSettings
from rtx.control.host import GuardSetup, start_guard
from rtx.control.judge import Command
from rtx.robots.adapter import Adapter
from rtx.robots.sim_arms import SIM_ARMS
from tests.control.witness import PointArm

ROBOT = SIM_ARMS["sim_panda"]


class ToldArm(PointArm):
    """Writes down each thing it is told, with the time, for the test to read when the loop is long dead."""

    def __init__(self, path: Path) -> None:
        super().__init__(ROBOT, time.monotonic_ns)
        self._path = path

    def _tell(self, what: str) -> None:
        with open(self._path, "a") as file:
            file.write(json.dumps({"what": what, "ns": time.monotonic_ns(), "problems": self.problems}) + "\n")

    def command(self, native):
        super().command(native)
        self._tell("command")

    def hold(self):
        super().hold()
        self._tell("hold")

    def soft_stop(self):
        super().soft_stop()
        self._tell("soft_stop")

    def close(self):
        super().close()
        self._tell("close")


def setup(folder: Path) -> GuardSetup:
    return GuardSetup(
        driver=functools.partial(ToldArm, folder / "told.jsonl"),
        adapter=functools.partial(Adapter, ROBOT),
        limits=ROBOT.limits,
        settings=GuardSettings(stop_after_s=1.0),
        log=folder / "guard.jsonl",
        e_stop=folder / "e-stop",
        linger_s=1.0,
    )


def main(folder: Path, end: str) -> None:
    robot = start_guard(setup(folder))
    robot.arm()
    for number in range(1, 6):
        time.sleep(0.2)  # a control period: this is the real thing, not a test's waiting
        stamp = robot.read().stamp_ns
        robot.submit(
            Command(number=number, values=np.array([0.01, 0, 0, 0, 0, 0, 1, 0]), stamp_ns=stamp, valid_until_ns=stamp + 10**9)
        )
    print(json.dumps({"guard": robot.pid, "executed": robot.status().executed}), flush=True)
    if end == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    signal.pause()


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
