"""UFACTORY arms (xArm 5, 6, 7, Lite 6, 850) through xarm-python-sdk: `xarm:192.168.1.200`, `...?gripper=xarm`.

Joint targets go to the controller's online joint planning (mode 6), poses to its online Cartesian planning (mode 7): each new
target is planned for from the motion under way, at the embodiment's speed limits. Both need firmware 1.10 or newer. The pose
is that of the TCP set in UFACTORY Studio: set it to the gripper point.
"""

from __future__ import annotations

import time
from collections.abc import Callable
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
from rtx.robots import rotations

_JOINTS, _POSES = 6, 7  # modes of online planning
_READY, _PAUSED, _STOPPED = 0, 3, 4  # states
_OPEN_PULSE = 850  # of the xArm gripper; 0 is closed
_FIRST_FIRMWARE = (1, 10, 0)
_NO_LINK = {-1: "not connected", 3: "no answer in time"}


class XArm:
    """`num_joints` as the embodiment says; `speed_rad_s` and `speed_m_s` bound the controller's own planning."""

    def __init__(
        self, host: str, *, num_joints: int, gripper: bool, speed_rad_s: float, speed_m_s: float,
        acceleration_m_s2: float, clock_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:  # fmt: skip
        self._api_class = need_sdk("xarm.wrapper", driver="xarm", install="rtx-robotics[xarm]").XArmAPI
        self._host, self._gripper, self._clock_ns = host, gripper, clock_ns
        self._speed_rad_s, self._speed_m_s, self._acceleration_m_s2 = speed_rad_s, speed_m_s, acceleration_m_s2
        self._api: Any = None
        self._mode = -1
        self.model = ArmModel(name="an xArm", num_joints=num_joints, takes_pose=True, knows_pose=True, has_gripper=gripper)

    def connect(self) -> None:
        if self._api is None or not self._api.connected:
            self._open()
        self._check_faults(self._values("get_err_warn_code"))
        self._do("motion_enable", True)
        self._mode = -1
        self._do("set_state", _STOPPED)  # forgets what it was still to do
        self._do("set_state", _READY)
        if self._gripper:
            self._do("set_gripper_mode", 0)
            self._do("set_gripper_enable", True)

    def measure(self) -> Measured:
        faults, state = self._values("get_err_warn_code"), self._values("get_state")
        self._check_faults(faults)
        if state in (_PAUSED, _STOPPED):
            why = "paused" if state == _PAUSED else "stopped"
            raise WorldError(f"the xArm at {self._host} was {why} (emergency button, Studio?): see why, then call connect()")
        joints = np.array(self._values("get_servo_angle"))[: self.model.num_joints]
        pose = np.array(self._values("get_position"))
        opening = self._values("get_gripper_position") / _OPEN_PULSE if self._gripper else 1.0
        return Measured(
            joints=joints, position=pose[:3] / 1000, rotation=np.asarray(rotations.to_matrix(pose[3:], "rpy")),
            opening=opening, stamp_ns=self._clock_ns(),
        )  # fmt: skip

    def send(self, target: Target, *, period_s: float) -> None:
        if target.joints is not None:
            self._enter(_JOINTS)
            self._do("set_servo_angle", angle=target.joints.tolist(), speed=self._speed_rad_s, wait=False)
        else:
            assert target.position is not None
            assert target.rotation is not None
            self._enter(_POSES)
            millimetres, rpy = target.position * 1000, rotations.from_matrix(target.rotation, "rpy")
            self._do(
                "set_position", *millimetres.tolist(), *rpy.tolist(), speed=self._speed_m_s * 1000,
                mvacc=self._acceleration_m_s2 * 1000, wait=False,
            )  # fmt: skip
        if target.opening is not None and self._gripper:
            self._do("set_gripper_position", target.opening * _OPEN_PULSE, wait=False, wait_motion=False)

    def hold(self) -> None:
        """The controller brakes on its own ramp and forgets the motion; then it is made ready again."""
        if self._api is not None and self._mode >= 0:
            self._mode = -1
            self._do("set_state", _STOPPED)
            self._do("set_state", _READY)

    def stop(self) -> None:
        if self._api is not None:
            self._mode = -1
            self._do("set_state", _STOPPED)

    def close(self) -> None:
        if self._api is not None:
            self._api.disconnect()
            self._api = None

    def _open(self) -> None:
        self.close()
        try:
            self._api = self._api_class(
                self._host, is_radian=True, report_type="real", check_joint_limit=True, max_callback_thread_count=0
            )
        except Exception as error:  # the SDK raises nothing more precise
            raise WorldError(
                f"no xArm at {self._host}: {error}; check its address, its power and its emergency button"
            ) from None
        axes, firmware = self._api.axis, tuple(self._api.version_number)
        if axes != self.model.num_joints:
            self.close()
            raise UserError(f"the xArm at {self._host} has {axes} joints, the embodiment {self.model.num_joints}")
        if firmware < _FIRST_FIRMWARE:
            self.close()
            raise WorldError(f"the xArm at {self._host} has firmware {'.'.join(map(str, firmware))}; update it to 1.10")

    def _enter(self, mode: int) -> None:
        if self._mode != mode:
            self._do("set_mode", mode)
            self._do("set_state", _READY)
            self._mode = mode

    def _values(self, name: str) -> Any:
        code, value = getattr(self._need_api(), name)()
        self._check(code, name)
        return value

    def _do(self, name: str, *arguments: Any, **options: Any) -> None:
        self._check(getattr(self._need_api(), name)(*arguments, **options), name)

    def _need_api(self) -> Any:
        if self._api is None:
            raise WorldError(f"the xArm at {self._host} is not connected: call connect()")
        if not self._api.connected:
            self._mode = -1
            raise WorldError(f"lost the xArm at {self._host}: check the network and its power, then call connect()")
        return self._api

    def _check(self, code: int, name: str) -> None:
        if code == 0:
            return
        self._mode = -1
        if code in _NO_LINK:
            raise WorldError(f"lost the xArm at {self._host} ({_NO_LINK[code]}): check the network, then call connect()")
        self._check_faults(self._api.get_err_warn_code()[1])
        raise WorldError(f"the xArm at {self._host} refused {name} (code {code}): see UFACTORY Studio, then call connect()")

    def _check_faults(self, faults: Any) -> None:
        if faults and faults[0]:
            raise WorldError(
                f"the xArm at {self._host} reports error {faults[0]}: see UFACTORY Studio for what it means, clear the cause "
                "and the error there, then call connect()"
            )


def open(spec: DriverSpec, embodiment: Embodiment) -> Driver:
    """`xarm:HOST?gripper=none|xarm&joints=7`; `joints` where the embodiment does not say by its own joint fields."""
    host = spec.need_address("192.168.1.200")
    given = spec.take(gripper="none", joints="")
    if given["gripper"] not in ("none", "xarm"):
        raise UserError(f"driver 'xarm': gripper={given['gripper']!r} is unknown; there are none and xarm")
    limits = embodiment.limits
    arm = XArm(
        host, num_joints=_num_joints(spec, given["joints"], embodiment), gripper=given["gripper"] == "xarm",
        speed_rad_s=min(limits.max_joint_velocity_rad_s, default=limits.max_step_rad * embodiment.control_hz),
        speed_m_s=limits.max_velocity_m_s, acceleration_m_s2=limits.max_acceleration_m_s2,
    )  # fmt: skip
    return ArmDriver(embodiment, {"": arm}, open_cameras(spec.cameras, embodiment.cameras))


def _num_joints(spec: DriverSpec, given: str, embodiment: Embodiment) -> int:
    if given:
        return int(spec.number("joints", given))
    counts = {f.width for f in (*embodiment.action.fields, *embodiment.proprio) if f.frame == "joint"}
    counts |= {len(embodiment.limits.joint_low_rad)} - {0}
    if len(counts) != 1:
        raise UserError(
            f"driver 'xarm' cannot tell the number of joints of {embodiment.name!r}: say it, xarm:{spec.address}?joints=7"
        )
    return counts.pop()
