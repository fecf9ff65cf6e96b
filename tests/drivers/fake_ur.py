"""A UR controller for tests, as far as ur_rtde speaks to one: RTDE (30004), script upload (30003), dashboard (29999), and the
text port of a Robotiq gripper (63352). Runs as a process of its own, since ur_rtde holds Python's lock while it connects:
`python fake_ur.py ADDRESS` takes orders (see `tests.drivers.remote_ur`) from a socket of multiprocessing's.

It runs the commands of ur_rtde's control program itself, moves its joints towards servo targets, and judges what it is told
as a real one does: a joint that would have to turn faster than it can, or leave its range, makes a protective stop.
"""

import contextlib
import copy
import socket
import struct
import sys
import threading
from multiprocessing.connection import Client

import numpy as np

SPEED_RAD_S, RANGE_RAD = np.pi, 2 * np.pi
NO_CMD, SERVOJ, SERVO_STOP, SERVOL, STOP_SCRIPT = 0, 11, 16, 24, 255
SIZES = {"UINT32": "I", "INT32": "i", "DOUBLE": "d", "VECTOR6D": "6d", "UINT64": "Q"}
TYPES = {
    "timestamp": "DOUBLE", "actual_q": "VECTOR6D", "actual_TCP_pose": "VECTOR6D", "robot_mode": "INT32",
    "safety_mode": "INT32", "safety_status_bits": "UINT32", "robot_status_bits": "UINT32", "runtime_state": "UINT32",
}  # fmt: skip


def type_of(name):
    return TYPES.get(name) or ("INT32" if "int_register" in name else "DOUBLE" if "double_register" in name else "NOT_FOUND")


class FakeUr:
    """`q` joints, `pose` tool pose (position, axis angle): servo targets are reached in the time that comes with them."""

    def __init__(self, host, *, remote=True):
        self.host, self.remote = host, remote
        self.q, self.pose = np.array([0.0, -1.5, 1.5, -1.5, -1.5, 0.0]), np.array([0.4, 0.1, 0.3, 0.0, 3.1, 0.0])
        self.goal = None  # (kind, target, seconds left)
        self.safety_bits, self.mode, self.program, self.state = 0, 7, False, 0
        self.gripper, self.gripper_active, self.gripper_fault = 0, 3, 0
        self.frozen = False
        self.servo_targets, self.commands, self.scripts, self.problems = [], [], 0, []
        self.time, self.changed = 0.0, threading.Condition()
        self.inputs, self.connections, self.alive = {}, [], True
        self.listeners = [self._listen(30004, self._rtde), self._listen(30003, self._script),
                          self._listen(29999, self._dashboard), self._listen(63352, self._robotiq)]  # fmt: skip

    def tick(self):
        """Until something happens here, or a moment later."""
        with self.changed:
            self.changed.wait(0.5)

    def update(self, **values):
        with self.changed:
            vars(self).update(values)

    def drop(self):
        """All connections at once, as when a cable is pulled or the controller dies."""
        for connection in [*self.listeners, *self.connections]:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
            connection.close()

    def close(self):
        self.alive = False
        self.drop()

    def look(self, name):
        with self.changed:
            return copy.deepcopy(getattr(self, name))

    def _listen(self, port, serve):
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((self.host, port))
        listener.listen()

        def accept():
            while self.alive:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self.connections.append(connection)
                threading.Thread(target=self._guarded, args=(serve, connection), daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()
        return listener

    def _guarded(self, serve, connection):
        with contextlib.suppress(OSError, EOFError):
            serve(connection)

    # RTDE

    def _rtde(self, connection):
        recipes = {}
        while True:
            size, kind = struct.unpack(">HB", exactly(connection, 3))
            body = exactly(connection, size - 3)
            if kind == ord("V"):
                packet(connection, kind, b"\x01")
            elif kind == ord("v"):
                packet(connection, kind, struct.pack(">IIII", 5, 11, 0, 0))
            elif kind == ord("O"):
                hz, names = struct.unpack(">d", body[:8])[0], [n for n in body[8:].decode().split(",") if n]
                packet(connection, kind, b"\x01" + ",".join(map(type_of, names)).encode())
                outputs = (hz, names)
            elif kind == ord("I"):
                names = [n for n in body.decode().split(",") if n]
                recipes[len(recipes) + 1] = names
                packet(connection, kind, bytes([len(recipes)]) + ",".join(map(type_of, names)).encode())
            elif kind == ord("S"):
                packet(connection, kind, b"\x01")
                threading.Thread(target=self._guarded, args=(lambda c, o=outputs: self._publish(c, *o), connection),
                                 daemon=True).start()  # fmt: skip
            elif kind == ord("P"):
                packet(connection, kind, b"\x01")
            elif kind == ord("U"):
                self._receive(recipes[body[0]], body[1:])

    def _publish(self, connection, hz, names):
        form = ">B" + "".join(SIZES[type_of(name)] for name in names)
        tick = threading.Event()
        while self.alive:
            with self.changed:
                self._step(1 / hz)
                values = [x for name in names for x in np.atleast_1d(self._output(name))]
                self.changed.notify_all()
            if not self.frozen:
                ints = [int(v) if f in "IiQ" else float(v) for v, f in zip(values, self._letters(names), strict=True)]
                packet(connection, ord("U"), struct.pack(form, 1, *ints))
            tick.wait(1 / hz)

    def _letters(self, names):
        return "".join(SIZES[type_of(name)].replace("6d", "dddddd") for name in names)

    def _output(self, name):
        known = {
            "timestamp": self.time + 1.0, "actual_q": self.q, "actual_TCP_pose": self.pose, "robot_mode": self.mode,
            "safety_mode": 1, "safety_status_bits": self.safety_bits, "robot_status_bits": 1 | (2 if self.program else 0),
            "runtime_state": 2 if self.program else 1, "output_int_register_0": self.state,
        }  # fmt: skip
        return known.get(name, 0)

    def _receive(self, names, body):
        form = ">" + "".join(SIZES[type_of(name)] for name in names)
        with self.changed:
            self.inputs.update(zip(names, struct.unpack(form, body), strict=True))
            self._command(self.inputs["input_int_register_0"])
            self.changed.notify_all()

    # the control program

    def _command(self, kind):
        register = [self.inputs.get(f"input_double_register_{i}", 0.0) for i in range(11)]
        if kind == NO_CMD:
            self.state = 1 if self.program else 0
            return
        self.commands.append(kind)
        if not self.program or self.safety_bits:
            return
        if kind in (SERVOJ, SERVOL):
            self._servo(kind, np.array(register[:6]), register[8])
        elif kind == SERVO_STOP:
            self.goal = None
            self.state = 2
        elif kind == STOP_SCRIPT:
            self.goal, self.program, self.state = None, False, 0
        else:
            self.problems.append(f"unexpected command {kind}")
            self.state = 2

    def _servo(self, kind, target, seconds):
        self.servo_targets.append((kind, target, seconds))
        if not np.all(np.isfinite(target)) or not 0 < seconds <= 1:
            self._protective_stop(f"target {target} in {seconds} s")
        elif kind == SERVOJ and np.any(np.abs(target) > RANGE_RAD):
            self._protective_stop(f"joints {target} out of range")
        elif kind == SERVOJ and np.max(np.abs(target - self.q)) / seconds > SPEED_RAD_S:
            self._protective_stop(f"joints {target} from {self.q} in {seconds} s")
        elif kind == SERVOL and np.linalg.norm(target[:3] - self.pose[:3]) / seconds > 1.0:
            self._protective_stop(f"pose {target} from {self.pose} in {seconds} s")
        else:
            self.goal = [kind, target, seconds]

    def _protective_stop(self, why):
        self.problems.append(why)
        self.safety_bits, self.goal, self.program, self.state = 1 << 2, None, False, 0

    def _step(self, dt):
        if not self.frozen:
            self.time += dt
        if self.goal is not None:
            kind, target, left = self.goal
            at = self.q if kind == SERVOJ else self.pose
            at += (target - at) * min(1.0, dt / max(left, dt))
            self.goal[2] = left - dt

    # the other ports

    def _script(self, connection):
        text = b""
        while data := connection.recv(65536):
            text += data
            if text.rstrip().endswith(b"end"):
                with self.changed:
                    if not self.safety_bits:
                        self.scripts, self.program, self.state = self.scripts + 1, True, 1
                    self.changed.notify_all()
                text = b""

    def _dashboard(self, connection):
        connection.sendall(b"Connected: Universal Robots Dashboard Server\n")
        answers = {  # what ur_rtde asks before it uploads its program
            "PolyscopeVersion": "URSoftware 5.11.0.0 (Jan 01 2024)", "is in remote control": str(self.remote).lower(),
            "stop": "Stopped", "robotmode": "Robotmode: RUNNING", "get serial number": "20245500001", "get robot model": "UR5",
        }  # fmt: skip
        for line in connection.makefile():
            connection.sendall(answers.get(line.strip(), "could not understand: " + line.strip()).encode() + b"\n")

    def _robotiq(self, connection):
        for line in connection.makefile():
            verb, *words = line.split()
            values = {"STA": self.gripper_active, "FLT": self.gripper_fault, "POS": self.gripper}
            if verb == "GET":
                connection.sendall(f"{words[0]} {values[words[0]]}\n".encode())
                continue
            with self.changed:
                settings = dict(zip(words[::2], map(int, words[1::2]), strict=True))
                if not all(0 <= value <= 255 for value in settings.values()):
                    self.problems.append(line)
                self.gripper = settings.get("POS", self.gripper)
                self.changed.notify_all()
            connection.sendall(b"ack")


def exactly(connection, size):
    data = b""
    while len(data) < size:
        more = connection.recv(size - len(data))
        if not more:
            raise EOFError
        data += more
    return data


def packet(connection, kind, body):
    connection.sendall(struct.pack(">HB", len(body) + 3, kind) + body)


def obey(orders):
    """`(method, arguments)` -> its result; `("new", (host, remote))` starts a controller in the place of the last."""
    fake = None
    with contextlib.suppress(EOFError):
        while True:
            method, arguments, values = orders.recv()
            if method == "new":
                if fake is not None:
                    fake.close()
                fake = FakeUr(*arguments, **values)
                orders.send(None)
            else:
                orders.send(getattr(fake, method)(*arguments, **values))


if __name__ == "__main__":
    obey(Client(sys.argv[1], "AF_UNIX"))
