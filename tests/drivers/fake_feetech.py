"""A bus of Feetech STS3215 motors on a pseudo terminal, as in an SO-100: sums are checked, motions judged.

Noted in `problems`: a wrong sum, a goal outside the motor's limits, a goal further away than `max_jump` counts under torque.
"""

from tests.drivers.fake_serial import FakeSerial

PING, READ, WRITE, SYNC_READ, SYNC_WRITE = 0x01, 0x02, 0x03, 0x82, 0x83
MODEL, LOW, HIGH, OFFSET, TORQUE, GOAL, PRESENT = 3, 9, 11, 31, 40, 42, 56
STS3215 = 777


class FakeFeetech:
    def __init__(self, ids=range(1, 7), *, max_jump=600):
        self.tables, self.max_jump = {motor: bytearray(100) for motor in ids}, max_jump
        for motor in ids:
            self.tables[motor][0:2] = bytes([3, 10])
            self.put(motor, MODEL, STS3215)
            self.put(motor, LOW, 1000)
            self.put(motor, HIGH, 3000)
            self.put(motor, PRESENT, 2000 + 10 * motor)
        self.problems, self.goals, self.silent, self.error = [], [], set(), 0
        self._serial = FakeSerial(self._take)
        self.port, self.unplug = self._serial.port, self._serial.unplug

    def get(self, motor, address):
        return int.from_bytes(self.tables[motor][address : address + 2], "little")

    def put(self, motor, address, value):
        self.tables[motor][address : address + 2] = int(value).to_bytes(2, "little")

    def _take(self, data):
        while (start := data.find(b"\xff\xff")) >= 0 and len(data) >= start + 4 and len(data) >= start + 4 + data[start + 3]:
            end = start + 4 + data[start + 3]
            self._packet(data[start:end])
            data = data[end:]
        return data

    def _packet(self, packet):
        if ~sum(packet[2:-1]) & 0xFF != packet[-1]:
            self.problems.append("wrong sum")
            return
        target, kind, body = packet[2], packet[4], packet[5:-1]
        if kind == PING and target in self.tables:
            self._answer(target, b"")
        elif kind == READ:
            self._answer(target, bytes(self.tables[target][body[0] : body[0] + body[1]]))
        elif kind == WRITE:
            self._write(target, body[0], body[1:])
            self._answer(target, b"")
        elif kind == SYNC_READ:
            for motor in body[2:]:
                self._answer(motor, bytes(self.tables[motor][body[0] : body[0] + body[1]]))
        elif kind == SYNC_WRITE:
            for at in range(2, len(body), body[1] + 1):
                self._write(body[at], body[0], body[at + 1 : at + 1 + body[1]])

    def _write(self, motor, address, value):
        self.tables[motor][address : address + len(value)] = value
        if address != GOAL:
            return
        goal, here = int.from_bytes(value, "little"), self.get(motor, PRESENT)
        if not self.get(motor, LOW) <= goal <= self.get(motor, HIGH):
            self.problems.append(f"motor {motor}: goal {goal} out of range")
        if self.tables[motor][TORQUE]:
            if abs(goal - here) > self.max_jump:
                self.problems.append(f"motor {motor}: goal {goal} from {here}")
            self.goals.append((motor, goal))
            self.put(motor, PRESENT, goal)

    def _answer(self, motor, body):
        if motor in self.silent or motor not in self.tables:
            return
        inner = bytes([motor, len(body) + 2, self.error]) + body
        self._serial.answer(b"\xff\xff" + inner + bytes([~sum(inner) & 0xFF]))
