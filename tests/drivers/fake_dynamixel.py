"""A bus of Dynamixel X motors on a pseudo terminal, answering protocol 2.0 packets; written from the maker's description.

It judges: a packet with a wrong checksum is dropped, a goal outside the motor's range or while torque is off with a jump at
`torque on` is noted in `problems`, and so is a goal further away than `max_jump` counts.
"""

import struct
import threading

from tests.drivers.fake_serial import FakeSerial

PING, READ, WRITE, SYNC_READ, SYNC_WRITE = 0x01, 0x02, 0x03, 0x82, 0x83
MODE, TORQUE, ERROR, GOAL, PRESENT = 11, 64, 70, 116, 132


def crc16(data):
    """CRC-16 of polynomial 0x8005, bit by bit."""
    crc = 0
    for byte in data:
        crc ^= byte << 8
        for _ in range(8):
            crc = (crc << 1 ^ 0x8005 if crc & 0x8000 else crc << 1) & 0xFFFF
    return crc


class FakeDynamixel:
    def __init__(self, ids, *, max_jump=600):
        self.tables = {motor: bytearray(200) for motor in ids}
        for motor in ids:
            self.put(motor, MODE, 1, 3)
            self.put(motor, PRESENT, 4, 2048 + 10 * motor)
        self.max_jump, self.problems, self.goals, self.instructions = max_jump, [], [], []
        self.silent, self.corrupt, self.changed = set(), 0, threading.Condition()
        self._serial = FakeSerial(self._take)
        self.port, self.unplug = self._serial.port, self._serial.unplug

    def get(self, motor, address, size):
        return int.from_bytes(self.tables[motor][address : address + size], "little", signed=size == 4)

    def put(self, motor, address, size, value):
        self.tables[motor][address : address + size] = int(value).to_bytes(size, "little", signed=size == 4)

    def _take(self, data):
        while (start := data.find(b"\xff\xff\xfd\x00")) >= 0 and len(data) >= start + 7:
            end = start + 7 + struct.unpack("<H", data[start + 5 : start + 7])[0]
            if len(data) < end:
                break
            self._packet(data[start:end])
            data = data[end:]
        return data

    def _packet(self, packet):
        if crc16(packet[:-2]) != struct.unpack("<H", packet[-2:])[0]:
            self.problems.append("wrong checksum")
            return
        target, kind, body = packet[4], packet[7], packet[8:-2]
        with self.changed:
            self.instructions.append(kind)
            if kind == PING and target in self.tables:
                self._answer(target, b"\x06\x04\x2d")
            elif kind == READ:
                address, size = struct.unpack("<HH", body)
                self._answer(target, bytes(self.tables[target][address : address + size]))
            elif kind == WRITE:
                self._write(target, struct.unpack("<H", body[:2])[0], body[2:])
                self._answer(target, b"")
            elif kind == SYNC_READ:
                address, size = struct.unpack("<HH", body[:4])
                for motor in body[4:]:
                    self._answer(motor, bytes(self.tables[motor][address : address + size]))
            elif kind == SYNC_WRITE:
                address, size = struct.unpack("<HH", body[:4])
                for at in range(4, len(body), size + 1):
                    self._write(body[at], address, body[at + 1 : at + 1 + size])
            self.changed.notify_all()

    def _write(self, motor, address, value):
        number = int.from_bytes(value, "little", signed=len(value) == 4)
        if address == MODE and self.get(motor, TORQUE, 1):
            self.problems.append(f"motor {motor}: mode changed under torque")
        if address == TORQUE and number and abs(self.get(motor, GOAL, 4) - self.get(motor, PRESENT, 4)) > 2:
            self.problems.append(f"motor {motor}: torque on with its goal elsewhere, it jumps")
        self.tables[motor][address : address + len(value)] = value
        if address == GOAL:
            self._goal(motor, number)

    def _goal(self, motor, goal):
        if not 0 <= goal <= 4095:
            self.problems.append(f"motor {motor}: goal {goal} out of range")
        if not self.get(motor, TORQUE, 1):
            return
        if abs(goal - self.get(motor, PRESENT, 4)) > self.max_jump:
            self.problems.append(f"motor {motor}: goal {goal} from {self.get(motor, PRESENT, 4)}")
        self.goals.append((motor, goal))
        self.put(motor, PRESENT, 4, goal)

    def _answer(self, motor, body):
        if motor in self.silent or motor not in self.tables:
            return
        alert = 0x80 if self.tables[motor][ERROR] else 0
        head = b"\xff\xff\xfd\x00" + bytes([motor]) + struct.pack("<H", len(body) + 4) + bytes([0x55, alert]) + body
        check = crc16(head) ^ (1 if self.corrupt else 0)
        self.corrupt = max(0, self.corrupt - 1)
        self._serial.answer(head + struct.pack("<H", check))
