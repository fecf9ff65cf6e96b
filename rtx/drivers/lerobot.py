"""LeRobot's SO-100 and SO-101 followers through lerobot itself: `lerobot:/dev/ttyACM0?id=my_arm`.

Calibrate them with LeRobot first (`lerobot-calibrate`): `id` names the file that it wrote. LeRobot's zero of a joint is the
middle of its calibrated range; where the embodiment's differs (a URDF's), `zero_deg` is LeRobot's angle at the embodiment's
zero and `sign` its direction, one number a joint. Connecting switches torque off for a moment: support the arm.
"""

from __future__ import annotations

import termios
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from rtx.drivers.arm import ArmDriver
from rtx.drivers.cameras import open_cameras
from rtx.drivers.driver import Driver
from rtx.drivers.native import ArmModel, Measured, Target
from rtx.drivers.registry import DriverSpec
from rtx.drivers.sdk import need_sdk
from rtx.embodiment import Embodiment
from rtx.errors import UserError, WorldError

_JOINTS = ("shoulder_pan", "shoulder_lift", "elbow_flex", "wrist_flex", "wrist_roll")
_GRIPPER = "gripper"  # 0 closed, 100 open
_TRIES = 3


class SoArm:
    """`zero_deg`, `sign`: [5], between LeRobot's joint angles and the embodiment's."""

    def __init__(
        self, port: str, *, name: str, calibration: Path | None, zero_deg: np.ndarray, sign: np.ndarray,
        clock_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:  # fmt: skip
        follower = need_sdk("lerobot.robots.so_follower", driver="lerobot", install="'lerobot[feetech]'")
        self._port, self._zero, self._sign, self._clock_ns = port, zero_deg, sign, clock_ns
        config = follower.SO100FollowerConfig(
            port=port, id=name, calibration_dir=calibration, disable_torque_on_disconnect=False, use_degrees=True
        )
        self._robot: Any = follower.SO100Follower(config)  # the SO-101's is the same class
        self._moving = False
        self.model = ArmModel(name="an SO arm", num_joints=5, takes_pose=False, knows_pose=False, has_gripper=True)

    def connect(self) -> None:
        if not self._robot.is_connected:
            self._again(self._robot.bus.connect)
            if not self._ask(lambda: self._robot.is_calibrated):
                self.close()
                raise WorldError(
                    f"the SO arm on {self._port} is not calibrated, or its motors hold another calibration: run "
                    "lerobot-calibrate and give the same id"
                )
            self._ask(self._robot.configure)
        self._ask(lambda: self._robot.send_action(self._robot.get_observation()))  # its goal is where it is
        self._moving = False

    def measure(self) -> Measured:
        state = self._state()
        degrees = np.array([state[f"{joint}.pos"] for joint in _JOINTS])
        joints = np.radians((degrees - self._zero) * self._sign)
        return Measured(joints=joints, opening=state[f"{_GRIPPER}.pos"] / 100, stamp_ns=self._clock_ns())

    def send(self, target: Target, *, period_s: float) -> None:
        assert target.joints is not None  # it takes nothing else
        degrees = np.degrees(target.joints) * self._sign + self._zero
        action = {f"{joint}.pos": float(angle) for joint, angle in zip(_JOINTS, degrees, strict=True)}
        if target.opening is not None:
            action[f"{_GRIPPER}.pos"] = 100 * target.opening
        self._ask(lambda: self._robot.send_action(action))
        self._moving = True

    def hold(self) -> None:
        """The joints where they are now, once: a second time would let the arm sink a little. The gripper squeezes on."""
        if self._moving:
            self._moving = False
            state = self._state()
            self._ask(lambda: self._robot.send_action({f"{joint}.pos": state[f"{joint}.pos"] for joint in _JOINTS}))

    def stop(self) -> None:
        if self._robot.is_connected:
            self.hold()

    def close(self) -> None:
        """Torque stays on: the arm would fall."""
        if self._robot.bus.is_connected:
            self._robot.bus.disconnect(False)

    def _state(self) -> dict[str, float]:
        state: dict[str, float] = self._again(self._robot.get_observation)
        return state

    def _again(self, call: Callable[[], Any]) -> Any:
        """As `_ask`, a few times: a bus loses a packet now and then. For calls that move nothing."""
        for left in reversed(range(_TRIES)):
            try:
                return self._ask(call)
            except WorldError:
                if not left:
                    raise
                if call == self._robot.bus.connect:
                    self.close()
        raise AssertionError

    def _ask(self, call: Callable[[], Any]) -> Any:
        try:
            return call()
        except (OSError, RuntimeError, termios.error) as error:  # lost packets, unplugged adapters, overload
            what = " ".join(str(error).split())
            raise WorldError(f"lost the SO arm on {self._port}: {what}; check cables and power, then call connect()") from None


def open(spec: DriverSpec, embodiment: Embodiment) -> Driver:
    """`lerobot:PORT?id=NAME&calibration_dir=DIR&zero_deg=0,0,0,0,0&sign=1,1,1,1,1`."""
    port = spec.need_address("/dev/ttyACM0")
    given = spec.take(id="follower", calibration_dir="", zero_deg="0,0,0,0,0", sign="1,1,1,1,1")
    zero, sign = (np.array([spec.number(key, x) for x in given[key].split(",")]) for key in ("zero_deg", "sign"))
    if zero.shape != (5,) or sign.shape != (5,) or not np.all(np.abs(sign) == 1):
        raise UserError("driver 'lerobot': zero_deg needs five angles and sign five of 1 and -1, joined by commas")
    folder = Path(given["calibration_dir"]) if given["calibration_dir"] else None
    arm = SoArm(port, name=given["id"], calibration=folder, zero_deg=zero, sign=sign)
    return ArmDriver(embodiment, {"": arm}, open_cameras(spec.cameras, embodiment.cameras))
