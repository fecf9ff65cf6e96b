"""A bus of Dynamixel X motors (protocol 2.0) through dynamixel_sdk: angles in, angles out, every failure said in words.

Angle 0 is the middle of the turn (2048 of 4096). Registers: https://emanual.robotis.com/docs/en/dxl/x/xm430-w350/
"""

from __future__ import annotations

import termios
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from rtx.drivers.sdk import need_sdk
from rtx.errors import WorldError

COUNTS, MIDDLE = 4096, 2048
_RAD = 2 * np.pi / COUNTS
_RAD_S = 0.229 * 2 * np.pi / 60  # one unit of a velocity
_DRIVE_MODE, _OPERATING_MODE, _TORQUE, _HARDWARE_ERROR = 10, 11, 64, 70
_PROFILE_ACCELERATION, _PROFILE_VELOCITY, _GOAL, _PRESENT = 108, 112, 116, 132
_TIME_BASED = 4  # bit of the drive mode: profiles are in ms instead of speeds
POSITION, CURRENT_POSITION = 3, 5  # operating modes
_ERRORS = {0x01: "input voltage", 0x04: "overheating", 0x08: "encoder", 0x10: "electrical shock", 0x20: "overload"}
_TRIES = 3  # a bus of nine motors loses a packet now and then


class DynamixelBus:
    """The motors `ids` on one serial port. Raises WorldError naming the motor and what to do."""

    def __init__(self, port: str, ids: Sequence[int], *, baud: int = 1_000_000) -> None:
        self._sdk: Any = need_sdk("dynamixel_sdk", driver="interbotix", install="rtx-robotics[dynamixel]")
        self.port, self.ids, self._baud = port, tuple(ids), baud
        self._open: Any = None
        self._packets = self._sdk.PacketHandler(2.0)
        self._time_based: set[int] = set()

    def connect(self) -> None:
        self.close()
        handler = self._sdk.PortHandler(self.port)
        try:
            handler.setBaudRate(self._baud)  # opens it
        except (OSError, termios.error) as error:
            raise WorldError(f"cannot open {self.port}: {error}; is the arm plugged in, and may you use the port?") from None
        self._open = handler
        for motor in self.ids:
            if not any(self._packets.ping(handler, motor)[1] == self._sdk.COMM_SUCCESS for _ in range(_TRIES)):
                self.close()
                raise WorldError(f"motor {motor} on {self.port} does not answer: check the chain's cables and its 12 V supply")
        self.check_errors()
        self._time_based = {m for m in self.ids if self._read(m, _DRIVE_MODE, 1) & _TIME_BASED}

    def close(self) -> None:
        if self._open is not None:
            self._open.closePort()
            self._open = None

    @property
    def is_open(self) -> bool:
        return self._open is not None

    def mode(self, motor: int) -> int:
        return self._read(motor, _OPERATING_MODE, 1)

    def set_mode(self, motor: int, mode: int) -> None:
        """Only a motor without torque takes a mode: what hangs on it moves freely for a moment."""
        self._write(motor, _TORQUE, 1, 0)
        self._write(motor, _OPERATING_MODE, 1, mode)

    def limit_speed(self, speed_rad_s: Mapping[int, float], *, period_s: float) -> None:
        """The motors' own profiles: no faster than this or, where profiles are times, a motion in one period."""
        for motor, speed in speed_rad_s.items():
            time_based = motor in self._time_based
            profile = round(period_s * 1000) if time_based else max(1, int(speed / _RAD_S))
            self._write(motor, _PROFILE_VELOCITY, 4, profile)
            self._write(motor, _PROFILE_ACCELERATION, 4, round(period_s * 250) if time_based else 0)

    def arm(self) -> None:
        """Torque on, without a motion: the goal is first set to where each motor is."""
        self.move(self.angles())
        for motor in self.ids:
            self._write(motor, _TORQUE, 1, 1)

    def relax(self) -> None:
        """Torque off: the arm falls."""
        for motor in self.ids:
            self._write(motor, _TORQUE, 1, 0)

    def angles(self) -> dict[int, float]:
        """Measured, rad."""
        raw = self._read_all(_PRESENT, 4)
        return {motor: (_signed(value) - MIDDLE) * _RAD for motor, value in raw.items()}

    def move(self, angles: Mapping[int, float]) -> None:
        """Goals, rad. One packet for all; motors do not answer to it."""
        group = self._sdk.GroupSyncWrite(self._port(), self._packets, _GOAL, 4)
        for motor, angle in angles.items():
            count = round(angle / _RAD) + MIDDLE
            group.addParam(motor, list(int(count).to_bytes(4, "little", signed=True)))
        self._done(lambda: group.txPacket(), "the bus")

    def check_errors(self) -> None:
        """Raises WorldError if a motor has switched itself off."""
        for motor, bits in self._read_all(_HARDWARE_ERROR, 1).items():
            if bits:
                why = ", ".join(name for bit, name in _ERRORS.items() if bits & bit) or f"code {bits}"
                raise WorldError(
                    f"motor {motor} on {self.port} has switched itself off ({why}): support the arm, let it cool, take the "
                    "load away, and cycle its power"
                )

    def _read_all(self, address: int, size: int) -> dict[int, int]:
        group = self._sdk.GroupSyncRead(self._port(), self._packets, address, size)
        for motor in self.ids:
            group.addParam(motor)
        self._done(lambda: group.txRxPacket(), "a motor")
        missing = [motor for motor in self.ids if not group.isAvailable(motor, address, size)]
        if missing:
            raise self._lost(f"motor {missing[0]}", "no answer")
        return {motor: int(group.getData(motor, address, size)) for motor in self.ids}

    def _read(self, motor: int, address: int, size: int) -> int:
        value: list[int] = []

        def once() -> int:
            data, result, _ = self._packets.readTxRx(self._port(), motor, address, size)
            value[:] = data
            return int(result)

        self._done(once, f"motor {motor}")
        return int.from_bytes(bytes(value), "little")

    def _write(self, motor: int, address: int, size: int, value: int) -> None:
        error = [0]

        def once() -> int:
            data = list(value.to_bytes(size, "little"))
            result, error[0] = self._packets.writeTxRx(self._port(), motor, address, size, data)
            return int(result)

        self._done(once, f"motor {motor}")
        if refused := error[0] & 0x7F:
            raise WorldError(
                f"motor {motor} on {self.port} refused {value} at address {address}: {self._packets.getRxPacketError(refused)}"
            )

    def _port(self) -> Any:
        if self._open is None:
            raise WorldError(f"{self.port} is not open: call connect()")
        return self._open

    def _done(self, once: Any, who: str) -> None:
        for _ in range(_TRIES):
            try:
                result = once()
            except (OSError, termios.error) as error:  # unplugged; serial.SerialException is an OSError
                self.close()
                raise self._lost(who, str(error)) from None
            if result == self._sdk.COMM_SUCCESS:
                return
        raise self._lost(who, str(self._packets.getTxRxResult(result)))

    def _lost(self, who: str, why: str) -> WorldError:
        return WorldError(f"lost {who} on {self.port} ({why}): check cables and power, then call connect()")


def _signed(value: int) -> int:
    return value - (1 << 32) if value >= 1 << 31 else value
