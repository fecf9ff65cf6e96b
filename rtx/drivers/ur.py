"""Universal Robots (CB3 and e-Series) through ur_rtde: `ur:192.168.0.2`, `ur:192.168.0.2?gripper=robotiq`.

    RTDEReceiveInterface   joints, tool pose, safety status, 125 Hz
    RTDEControlInterface   uploads a program; servoJ or servoL for each target, servoStop to hold, stopScript to stop

The tool pose is that of the TCP set on the pendant: set it to the gripper point. Both packages reconnect on their own and
then send their last command again, so a lost connection is closed here at once.

`ur:HOST?watch=yes` only looks: no program is uploaded, so the pendant, hand guiding or another program moves the arm.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from rtx.drivers.arm import ArmDriver
from rtx.drivers.cameras import open_cameras
from rtx.drivers.driver import Driver
from rtx.drivers.native import ArmModel, Measured, Target
from rtx.drivers.registry import DriverSpec
from rtx.drivers.robotiq import RobotiqGripper
from rtx.drivers.sdk import need_sdk
from rtx.embodiment import Embodiment
from rtx.errors import UserError, WorldError
from rtx.robots import rotations

_HZ = 125.0
_SILENT_S = 0.25  # of the controller, before what it said last counts as old
_PATIENCE_S = 5.0  # for a program to start
_GOODBYE_S = 2.0
_RUNNING = 7  # robot mode
_BRAKE = 2.0  # rad/s^2 or m/s^2
_VARIABLES = [
    "timestamp", "actual_q", "actual_TCP_pose", "robot_mode", "safety_mode", "safety_status_bits", "robot_status_bits",
    "runtime_state",
]  # fmt: skip


class UrArm:
    """`lookahead_s` (0.03 to 0.2) smooths, `gain` (100 to 2000) stiffens the following of targets."""

    def __init__(
        self, host: str, *, gripper: RobotiqGripper | None, lookahead_s: float, gain: float, watch: bool = False,
        clock_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:  # fmt: skip
        self._rtde_control = need_sdk("rtde_control", driver="ur", install="rtx-robotics[ur]")
        self._rtde_receive = need_sdk("rtde_receive", driver="ur", install="rtx-robotics[ur]")
        self._host, self._gripper = host, gripper
        self._lookahead_s, self._gain, self._watch, self._clock_ns = lookahead_s, gain, watch, clock_ns
        self._control: Any = None
        self._receive: Any = None
        self._seen = (-1.0, 0)  # the controller's last time stamp, and when it changed here
        self._moving = False
        self.model = ArmModel(name="a UR arm", num_joints=6, takes_pose=True, knows_pose=True, has_gripper=gripper is not None)

    def connect(self) -> None:
        if self._receive is None or not self._receive.isConnected():
            self._let_go()
            self._receive = self._reached(lambda: self._rtde_receive.RTDEReceiveInterface(self._host, _HZ, _VARIABLES))
            self._seen = (-1.0, self._clock_ns())
        self._await(lambda: self._receive.getTimestamp() != 0.0, "sends no state; restart its controller")
        self._check_status()
        if not self._watch:
            self._start_program()
        if self._gripper is not None:
            self._gripper.connect()

    def _start_program(self) -> None:
        if self._control is None:
            self._control = self._reached(lambda: self._rtde_control.RTDEControlInterface(self._host, _HZ))
        elif not self._control.isProgramRunning():
            self._control.reuploadScript()
        self._await(self._control.isProgramRunning, "does not start the control program; look at the pendant's log")

    def measure(self) -> Measured:
        if self._receive is None:
            raise WorldError(f"the UR at {self._host} is not connected: call connect()")
        self._check_fresh()
        self._check_status()
        pose = np.array(self._receive.getActualTCPPose())
        return Measured(
            joints=np.array(self._receive.getActualQ()),
            position=pose[:3],
            rotation=np.asarray(rotations.to_matrix(pose[3:], "axis_angle")),
            opening=self._gripper.opening if self._gripper is not None else 1.0,
            stamp_ns=self._seen[1],
        )

    def send(self, target: Target, *, period_s: float) -> None:
        if self._watch:
            raise WorldError(f"the UR at {self._host} is only watched (watch=yes): open it without that to command it")
        if self._control is None or not self._control.isProgramRunning():
            raise WorldError(f"the control program on the UR at {self._host} ended; look at the pendant's log, then connect()")
        if target.joints is not None:
            done = self._control.servoJ(target.joints.tolist(), 0.0, 0.0, period_s, self._lookahead_s, self._gain)
        else:
            assert target.position is not None
            assert target.rotation is not None
            turned = rotations.from_matrix(target.rotation, "axis_angle")
            pose = np.concatenate([target.position, turned]).tolist()
            done = self._control.servoL(pose, 0.0, 0.0, period_s, self._lookahead_s, self._gain)
        if not done:
            self._check_status()
            raise WorldError(f"the UR at {self._host} did not take the target; look at the pendant's log, then connect()")
        self._moving = True
        if target.opening is not None and self._gripper is not None:
            self._gripper.move(target.opening)

    def hold(self) -> None:
        if self._control is not None and self._moving:
            self._moving = False
            if not self._control.servoStop(_BRAKE):
                self._check_status()
                raise WorldError(f"the UR at {self._host} did not stop its servo motion; press the emergency stop")

    def stop(self) -> None:
        if self._watch:
            return  # what moves it is not ours to stop
        try:
            self._check_connected()
            self.hold()
            if self._control is not None:
                self._control.stopScript()
            if self._gripper is not None:
                self._gripper.stop()
        finally:
            self._moving = False

    def close(self) -> None:
        self._let_go()
        if self._gripper is not None:
            self._gripper.close()

    def _let_go(self) -> None:
        """In a thread of its own: on a silent network the control interface tries to reconnect and never comes back."""
        parts = [part for part in (self._control, self._receive) if part is not None]
        self._control = self._receive = None
        self._moving = False
        if parts:
            goodbye = threading.Thread(target=lambda: [part.disconnect() for part in parts], daemon=True)
            goodbye.start()
            goodbye.join(_GOODBYE_S)

    def _reached(self, connect: Callable[[], Any]) -> Any:
        try:
            return connect()
        except RuntimeError as error:
            self._let_go()
            advice = "check its address, that it is powered on and in remote control"
            raise WorldError(f"no UR at {self._host}: {error}; {advice}") from None

    def _check_connected(self) -> None:
        if self._receive is not None and not self._receive.isConnected():
            self._let_go()  # otherwise its last command would be sent again when the network is back
            raise WorldError(f"lost the UR at {self._host}: check the network and its power, then call connect()")

    def _await(self, so: Callable[[], bool], otherwise: str) -> None:
        """The controller says everything some milliseconds late; before its first word, all reads are 0."""
        start = time.monotonic()
        while not so():
            self._check_connected()
            if time.monotonic() - start > _PATIENCE_S:
                raise WorldError(f"the UR at {self._host} {otherwise}")
            time.sleep(0.002)

    def _check_fresh(self) -> None:
        self._check_connected()
        stamp, now = self._receive.getTimestamp(), self._clock_ns()
        if stamp != self._seen[0]:
            self._seen = (stamp, now)
        if (silent := (now - self._seen[1]) * 1e-9) > _SILENT_S:
            self._let_go()
            raise WorldError(
                f"the UR at {self._host} has sent nothing for {silent:.2f} s: check the network, then call connect()"
            )

    def _check_status(self) -> None:
        receive = self._receive
        if receive.isEmergencyStopped():
            raise WorldError("the UR is in emergency stop: release the button, initialise on the pendant, then call connect()")
        if receive.isProtectiveStopped():
            raise WorldError(
                "the UR is in protective stop: see why on the pendant, enable it there after 5 s, then call connect()"
            )
        if (mode := receive.getRobotMode()) != _RUNNING:
            raise WorldError(f"the UR is not running (robot mode {mode}): power it on and release the brakes on the pendant")


def open(spec: DriverSpec, embodiment: Embodiment) -> Driver:
    """`ur:HOST?gripper=none|robotiq&lookahead_s=0.1&gain=300&watch=no|yes`."""
    host = spec.need_address("192.168.0.2")
    given = spec.take(gripper="none", lookahead_s="0.1", gain="300", watch="no")
    if given["gripper"] not in ("none", "robotiq"):
        raise UserError(f"driver 'ur': gripper={given['gripper']!r} is unknown; there are none and robotiq")
    if given["watch"] not in ("no", "yes"):
        raise UserError(f"driver 'ur': watch={given['watch']!r} is unknown; there are no and yes")
    arm = UrArm(
        host, gripper=RobotiqGripper(host) if given["gripper"] == "robotiq" else None,
        lookahead_s=spec.number("lookahead_s", given["lookahead_s"]), gain=spec.number("gain", given["gain"]),
        watch=given["watch"] == "yes",
    )  # fmt: skip
    return ArmDriver(embodiment, {"": arm}, open_cameras(spec.cameras, embodiment.cameras))
