"""A Robotiq 2F gripper on a UR arm, through the text protocol of Robotiq's URCap (port 63352): `SET POS 128`, `GET POS`."""

from __future__ import annotations

import socket
import threading

from rtx.errors import WorldError

_PORT = 63352
_TIMEOUT_S = 2.0
_ACTIVE = 3  # STA: activation finished
_CLOSED = 255  # POS; 0 is open
_FAULTS = range(5, 16)  # FLT: below are reminders that clear themselves


class RobotiqGripper:
    """Raises WorldError where the gripper does not answer, or was not activated on the pendant."""

    def __init__(self, host: str) -> None:
        self._host, self._lock = host, threading.Lock()
        self._socket: socket.socket | None = None

    def connect(self) -> None:
        self.close()
        try:
            self._socket = socket.create_connection((self._host, _PORT), timeout=_TIMEOUT_S)
        except OSError as error:
            raise WorldError(f"no Robotiq gripper at {self._host}:{_PORT} ({error}); is its URCap installed?") from None
        if self._get("STA") != _ACTIVE:
            raise WorldError("the Robotiq gripper is not active: activate it on the pendant (Robotiq toolbar), then connect()")
        self._set("GTO 1 SPE 255 FOR 50")

    @property
    def opening(self) -> float:
        """Measured: 0 closed, 1 open."""
        if (fault := self._get("FLT")) in _FAULTS:
            raise WorldError(f"the Robotiq gripper reports fault {fault}: see its manual, activate it anew on the pendant")
        return 1.0 - self._get("POS") / _CLOSED

    def move(self, opening: float) -> None:
        self._set(f"POS {round((1.0 - opening) * _CLOSED)}")

    def stop(self) -> None:
        """It stays where it is; what it holds stays held."""
        if self._socket is not None:
            self._set("GTO 0")

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _get(self, name: str) -> int:
        answer = self._ask(f"GET {name}")
        head, _, value = answer.partition(" ")
        if head != name or not value.strip().isdigit():
            raise WorldError(f"the Robotiq gripper answered {answer!r} to GET {name}; restart its URCap")
        return int(value)

    def _set(self, what: str) -> None:
        if (answer := self._ask(f"SET {what}")) != "ack":
            raise WorldError(f"the Robotiq gripper answered {answer!r} to SET {what}; restart its URCap")

    def _ask(self, line: str) -> str:
        with self._lock:
            if self._socket is None:
                raise WorldError("the Robotiq gripper is not connected: call connect()")
            try:
                self._socket.sendall(line.encode() + b"\n")
                return self._socket.recv(256).decode("ascii", "replace").strip()
            except OSError as error:
                self.close()
                raise WorldError(f"lost the Robotiq gripper at {self._host}: {error}; call connect()") from None
