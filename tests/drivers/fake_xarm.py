"""A UFACTORY controller for tests, as far as xarm-python-sdk speaks to one: its private Modbus TCP (502) and reports (30003).

It keeps modes, states and errors as the real one does, and judges motions: a wrong mode, a joint out of range, a speed over
its maximum or a pose beyond the arm's reach becomes a controller error (the codes of UFACTORY's manual).
"""

import contextlib
import socket
import struct
import threading

import numpy as np

VERSION, MOTION_EN, SET_STATE, GET_STATE, GET_ERROR, CLEAN_ERR, SET_MODE = 1, 11, 12, 13, 15, 16, 19
MOVE_LINE, MOVE_JOINT, GET_TCP_POSE, GET_JOINT_POS, RS485, TOOL_REGISTER = 21, 23, 41, 42, 124, 128
MAX_RAD_S, MAX_MM_S, REACH_MM = np.pi, 1000.0, 900.0
SPEED_ERROR, JOINT_ERROR, REACH_ERROR = 24, 23, 21


class FakeXArm:
    def __init__(self, host, *, axes=7, firmware="v2.5.0"):
        self.axes, self.firmware = axes, firmware
        self.q = np.array([0.1, -0.5, 0.0, 1.0, 0.0, 1.2, 0.0])
        self.pose = np.array([400.0, 50.0, 300.0, np.pi - 0.1, 0.0, 0.2])  # mm, roll pitch yaw
        self.mode, self.state, self.error, self.enabled = 0, 4, 0, False
        self.gripper = {0x0100: 0, 0x0101: 0, 0x0700: 0, 0x0701: 850, 0x0702: 0, 0x0703: 850}
        self.motions, self.states, self.problems, self.unknown = [], [], [], set()
        self.mute, self.connections = False, []
        self.host, self.listeners = host, []
        for port, serve in ((502, self._serve), (30003, self._report)):
            listener = socket.socket()
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind((host, port))
            listener.listen()
            self.listeners.append(listener)
            threading.Thread(target=self._accept, args=(listener, serve), daemon=True).start()

    def drop(self):
        for connection in [*self.listeners, *self.connections]:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
            connection.close()

    def fail(self, code):
        """As the controller does on an error: it stops, and takes no more motions until it is cleared."""
        self.error, self.state = code, 4

    def _accept(self, listener, serve):
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            self.connections.append(connection)
            threading.Thread(target=serve, args=(connection,), daemon=True).start()

    def _report(self, connection):
        """Its state, fifty times a second."""
        pause = threading.Event()
        with contextlib.suppress(OSError):
            while not pause.wait(0.02):
                head = struct.pack(">IBH", 87, self.mode << 4 | self.state, 0)
                connection.sendall(head + struct.pack("<20f", *self.q, *self.pose, *np.zeros(7)))

    def _serve(self, connection):
        data = b""
        with contextlib.suppress(OSError):
            while more := connection.recv(4096):
                data += more
                while len(data) >= 6 and len(data) >= 6 + struct.unpack(">H", data[4:6])[0]:
                    size = 6 + struct.unpack(">H", data[4:6])[0]
                    frame, data = data[:size], data[size:]
                    number, protocol, _, kind = struct.unpack(">HHHB", frame[:7])
                    if protocol not in (2, 3) or self.mute:  # 0 is a heartbeat
                        continue
                    answer = self._answer(kind, frame[7:])
                    flags = (0x40 if self.error else 0) | (0x10 if self.state == 4 else 0)
                    head = struct.pack(">HHHBB", number, protocol, len(answer) + 2, kind, flags)
                    connection.sendall(head + answer)

    def _answer(self, kind, body):
        if kind == VERSION:
            return f"{self.axes},{self.axes},XF1304,AC1304,{self.firmware}".encode().ljust(40, b"\0")
        if kind == MOTION_EN:
            self.enabled = bool(body[1])
        elif kind == SET_STATE:
            self.states.append(body[0])
            self.state = 4 if body[0] == 4 or self.error else 2
        elif kind == GET_STATE:
            return bytes([self.state])
        elif kind == GET_ERROR:
            return bytes([self.error, 0])
        elif kind == SET_MODE:
            self.mode = body[0]
        elif kind in (MOVE_LINE, MOVE_JOINT):
            self._move(kind, np.array(struct.unpack(f"<{len(body) // 4}f", body[: len(body) // 4 * 4])))
        elif kind == GET_JOINT_POS:
            return struct.pack("<7f", *self.q)
        elif kind == GET_TCP_POSE:
            return struct.pack("<6f", *self.pose)
        elif kind == TOOL_REGISTER:
            return struct.pack(">i", 11)  # the tool's baud rate: 2 000 000
        elif kind == RS485:
            return self._modbus(body)
        else:
            self.unknown.add(kind)
            return bytes(40)
        return b"\0\0"  # the commands still waiting

    def _move(self, kind, numbers):
        if self.error or self.state == 4 or not self.enabled:
            self.problems.append(f"motion {kind} while stopped")
            return
        self.motions.append((kind, numbers))
        if kind == MOVE_JOINT:
            target, speed = numbers[:7], numbers[7]
            bad = JOINT_ERROR if np.any(np.abs(target) > 2 * np.pi) else SPEED_ERROR if not 0 < speed <= MAX_RAD_S else 0
            wrong = self.mode != 6
        else:
            target, speed = numbers[:6], numbers[6]
            bad = REACH_ERROR if np.linalg.norm(target[:3]) > REACH_MM else SPEED_ERROR if not 0 < speed <= MAX_MM_S else 0
            wrong = self.mode != 7
        if wrong or not np.all(np.isfinite(numbers)):
            self.problems.append(f"motion {kind} in mode {self.mode}: {numbers}")
        elif bad:
            self.problems.append(f"error {bad}: {numbers}")
            self.fail(bad)
        elif kind == MOVE_JOINT:
            self.q = np.where(np.arange(7) < self.axes, target, 0.0)
        else:
            self.pose = target

    def _modbus(self, body):
        """The gripper behind the tool's RS-485: read (3) and write (16) holding registers."""
        host, unit, function, address, count = struct.unpack(">BBBHH", body[:7])
        if function == 3:
            values = [self.gripper.get(address + i, 0) for i in range(count)]
            return bytes([host, unit, function, 2 * count]) + struct.pack(f">{count}H", *values)
        for i, value in enumerate(struct.unpack(f">{count}H", body[8 : 8 + 2 * count])):
            self.gripper[address + i] = value
        if address == 0x0700:
            pulse = self.gripper[0x0700] << 16 | self.gripper[0x0701]
            if not (self.gripper[0x0100] and pulse <= 850):
                self.problems.append(f"gripper to {pulse}, enabled {self.gripper[0x0100]}")
            self.gripper[0x0702], self.gripper[0x0703] = self.gripper[0x0700], self.gripper[0x0701]
        return body[:7]
