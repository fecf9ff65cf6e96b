"""Interbotix X-series arms (WidowX 250, ViperX 300, ALOHA's followers) on their own bus, without ROS.

`interbotix:/dev/ttyDXL?model=wx250s`; two arms, left then right: `interbotix:/dev/ttyDXL_left,/dev/ttyDXL_right?model=vx300s`.

The motors must have been set up once by Interbotix's software: its drive modes, and second motors of shoulder and elbow that
follow the first (Secondary ID). Joint angles are then those of its `joint_states`. Torque stays on after `close`: the arm
would fall.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from rtx.drivers.arm import Arm, ArmDriver
from rtx.drivers.cameras import open_cameras
from rtx.drivers.driver import Driver
from rtx.drivers.dynamixel import CURRENT_POSITION, POSITION, DynamixelBus
from rtx.drivers.native import LEFT, ArmModel, Measured, Target
from rtx.drivers.registry import DriverSpec
from rtx.embodiment import Embodiment
from rtx.errors import UserError, WorldError, look_up

_GRIPPER_SPEED_RAD_S = 6.0


@dataclass(frozen=True, kw_only=True)
class _Wiring:
    """Motor numbers from Interbotix's files; followers (3 and 5) hear their leaders' packets."""

    joints: tuple[int, ...]
    gripper: int
    followers: tuple[int, ...] = (3, 5)


_MODELS: Mapping[str, _Wiring] = {
    "wx250": _Wiring(joints=(1, 2, 4, 6, 7), gripper=8),
    "wx250s": _Wiring(joints=(1, 2, 4, 6, 7, 8), gripper=9),
    "vx300": _Wiring(joints=(1, 2, 4, 6, 7), gripper=8),
    "vx300s": _Wiring(joints=(1, 2, 4, 6, 7, 8), gripper=9),
}


class InterbotixArm:
    """`closed_rad`, `opened_rad`: angles of the gripper's motor; `speed_rad_s` of each joint, at most."""

    def __init__(
        self, bus: DynamixelBus, wiring: _Wiring, *, closed_rad: float, opened_rad: float, speed_rad_s: tuple[float, ...],
        period_s: float, clock_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:  # fmt: skip
        self._bus, self._wiring = bus, wiring
        self._closed, self._opened, self._clock_ns = closed_rad, opened_rad, clock_ns
        self._speeds = {**dict(zip(wiring.joints, speed_rad_s, strict=True)), wiring.gripper: _GRIPPER_SPEED_RAD_S}
        self._period_s, self._moving = period_s, False
        self.model = ArmModel(
            name="an Interbotix arm", num_joints=len(wiring.joints), takes_pose=False, knows_pose=False, has_gripper=True
        )

    def connect(self) -> None:
        if not self._bus.is_open:
            self._bus.connect()
        self._bus.check_errors()
        for motor in self._wiring.joints:
            if (mode := self._bus.mode(motor)) != POSITION:
                raise WorldError(
                    f"motor {motor} on {self._bus.port} is in operating mode {mode}, not {POSITION} (position): a change drops "
                    "the arm, so lay it down, switch torque off and set it with Dynamixel Wizard or Interbotix's software"
                )
        if self._bus.mode(self._wiring.gripper) not in (POSITION, CURRENT_POSITION):
            self._bus.set_mode(self._wiring.gripper, CURRENT_POSITION)
        self._bus.limit_speed(self._speeds, period_s=self._period_s)
        self._bus.arm()
        self._moving = False

    def measure(self) -> Measured:
        self._bus.check_errors()
        angles, stamp_ns = self._bus.angles(), self._clock_ns()
        opening = (angles[self._wiring.gripper] - self._closed) / (self._opened - self._closed)
        return Measured(joints=np.array([angles[m] for m in self._wiring.joints]), opening=opening, stamp_ns=stamp_ns)

    def send(self, target: Target, *, period_s: float) -> None:
        goals: dict[int, float] = {}
        if target.joints is not None:
            goals.update(zip(self._wiring.joints, target.joints.tolist(), strict=True))
        if target.opening is not None:
            goals[self._wiring.gripper] = self._closed + target.opening * (self._opened - self._closed)
        self._bus.move(goals)
        self._moving = True

    def hold(self) -> None:
        """The joints where they are now, once: a second time would let the arm sink a little. The gripper squeezes on."""
        if self._moving:
            self._moving = False
            angles = self._bus.angles()
            self._bus.move({motor: angles[motor] for motor in self._wiring.joints})

    def stop(self) -> None:
        if self._bus.is_open:
            self.hold()

    def close(self) -> None:
        self._bus.close()


def open(spec: DriverSpec, embodiment: Embodiment) -> Driver:
    """`interbotix:PORT[,PORT]?model=wx250s&baud=1000000&closed_rad=-0.62&opened_rad=1.49`."""
    ports = spec.need_address("/dev/ttyDXL").split(",")
    given = spec.take(model="wx250s", baud="1000000", closed_rad="-0.6213", opened_rad="1.4910")  # ALOHA's grippers
    wiring = look_up("Interbotix arm", given["model"], _MODELS)
    if len(ports) not in (1, 2):
        raise UserError(f"driver 'interbotix' drives one arm or two, got {len(ports)} ports")
    prefixes = ("",) if len(ports) == 1 else (LEFT, "")
    arms: dict[str, Arm] = {}
    for number, (prefix, port) in enumerate(zip(prefixes, ports, strict=True)):
        bus = DynamixelBus(port, (*wiring.joints, wiring.gripper), baud=int(spec.number("baud", given["baud"])))
        arms[prefix] = InterbotixArm(
            bus, wiring, closed_rad=spec.number("closed_rad", given["closed_rad"]),
            opened_rad=spec.number("opened_rad", given["opened_rad"]), period_s=1 / embodiment.control_hz,
            speed_rad_s=_speeds(embodiment, len(wiring.joints), number, len(ports)),
        )  # fmt: skip
    return ArmDriver(embodiment, arms, open_cameras(spec.cameras, embodiment.cameras))


def _speeds(embodiment: Embodiment, joints: int, number: int, arms: int) -> tuple[float, ...]:
    """This arm's share of the embodiment's joint speed limits. Raises UserError if there are none: the motors need one."""
    speeds = embodiment.limits.max_joint_velocity_rad_s
    if len(speeds) == joints * arms:
        return speeds[number * joints : (number + 1) * joints]
    if len(speeds) == joints:
        return speeds
    raise UserError(
        f"embodiment {embodiment.name!r}: limits.max_joint_velocity_rad_s has {len(speeds)} values; driver 'interbotix' needs "
        f"one for each of {joints} joints, for the motors' own speed limit"
    )
