"""A serial port that is a pseudo terminal: what is written to `port` comes to `take`, `answer` goes back, `unplug` ends it."""

import os
import pty
import select
import threading
import tty


class FakeSerial:
    """`take(data) -> rest` gets all bytes that have come and gives back those of a packet that is not whole yet."""

    def __init__(self, take):
        self._take = take
        self._master, self._slave = pty.openpty()
        tty.setraw(self._slave)
        self.port = os.ttyname(self._slave)
        self._ended, self._end = os.pipe()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def answer(self, data):
        os.write(self._master, data)

    def unplug(self):
        """Safe to repeat. The thread that reads closes the ends: their numbers may be given to the next one at once."""
        if self._thread.is_alive():
            os.write(self._end, b"x")
            self._thread.join()

    def _run(self):
        data = b""
        while True:
            ready, _, _ = select.select([self._master, self._ended], [], [])
            if self._ended in ready:
                break
            data = self._take(data + os.read(self._master, 4096))
        for end in (self._master, self._slave, self._ended, self._end):
            os.close(end)
