"""A serial port that is a pseudo terminal: what is written to `port` comes to `take`, `answer` goes back, `unplug` ends it.

`without_time` takes the time out of an SDK's time-outs: a thread that plays the motors is late on a busy machine, which says
nothing of the driver. Then a packet is lost when the bus has taken all that was written and every answer has been read.
"""

import os
import pty
import select
import threading
import tty
from typing import ClassVar


class FakeSerial:
    """`take(data) -> rest` gets all bytes that have come and gives back those of a packet that is not whole yet."""

    on: ClassVar[dict[str, "FakeSerial"]] = {}  # by port, those that are plugged in

    def __init__(self, take):
        self._take = take
        self._master, self._slave = pty.openpty()
        tty.setraw(self._slave)
        self.port = os.ttyname(self._slave)
        self._ended, self._end = os.pipe()
        self._moved, self._taken, self._answered, self._over = threading.Condition(), 0, 0, False
        self.written = self.read = 0  # by the SDK, if it is `without_time`
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        self.on[self.port] = self

    def answer(self, data):
        self._answered += len(data)
        os.write(self._master, data)

    def settle(self):
        """Waits until everything that was written has been taken, and gives whether every answer has been read."""
        with self._moved:
            self._moved.wait_for(lambda: self._over or self._taken >= self.written)
        return self._over or self.read >= self._answered

    def forget(self):
        """What is still unread was thrown away."""
        self.settle()
        self.read = self._answered

    def unplug(self):
        """Safe to repeat. The thread that reads closes the ends: their numbers may be given to the next one at once."""
        if self._thread.is_alive():
            del self.on[self.port]
            os.write(self._end, b"x")
            self._thread.join()

    def _run(self):
        data = b""
        while True:
            ready, _, _ = select.select([self._master, self._ended], [], [])
            if self._ended in ready:
                break
            came = os.read(self._master, 4096)
            data = self._take(data + came)
            with self._moved:
                self._taken += len(came)
                self._moved.notify_all()
        with self._moved:
            self._over = True
            self._moved.notify_all()
        for end in (self._master, self._slave, self._ended, self._end):
            os.close(end)


def without_time(monkeypatch, port_handler, *, discards):
    """`port_handler`: the class of that name of dynamixel_sdk, or of scservo_sdk, which is made after it.

    `discards`: its methods that throw away what was not read.
    """
    write, read = port_handler.writePort, port_handler.readPort

    def counted_write(self, packet):
        if bus := FakeSerial.on.get(self.port_name):
            bus.written += len(packet)
        return write(self, packet)

    def counted_read(self, length):
        got = read(self, length)
        if bus := FakeSerial.on.get(self.port_name):
            bus.read += len(got)
        return got

    def is_lost(self):
        bus = FakeSerial.on.get(self.port_name)
        return bus is None or bus.settle()

    def forgets(method):
        def call(self, *args):
            given = method(self, *args)
            if bus := FakeSerial.on.get(self.port_name):
                bus.forget()
            return given

        return call

    monkeypatch.setattr(port_handler, "writePort", counted_write)
    monkeypatch.setattr(port_handler, "readPort", counted_read)
    monkeypatch.setattr(port_handler, "isPacketTimeout", is_lost)
    for name in discards:
        monkeypatch.setattr(port_handler, name, forgets(getattr(port_handler, name)))
