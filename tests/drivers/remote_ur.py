"""A `FakeUr` in a process of its own, as a test sees it: `ur.q` reads, `ur.update(q=...)` writes, `ur.wait(...)` waits."""

import subprocess
import sys
import tempfile
from multiprocessing.connection import Listener
from pathlib import Path


class RemoteUr:
    def __init__(self):
        self._folder = tempfile.TemporaryDirectory(prefix="ur")
        with Listener(str(Path(self._folder.name) / "orders"), "AF_UNIX") as listener:
            fake = Path(__file__).with_name("fake_ur.py")
            self._process = subprocess.Popen([sys.executable, str(fake), listener.address])
            self._orders = listener.accept()
        self._hosts = iter(f"127.0.7.{number}" for number in range(2, 250))  # ports are fixed by the protocol, addresses not

    def new(self, **settings):
        """A fresh controller at an address of its own."""
        self.host = next(self._hosts)
        self._ask("new", self.host, **settings)
        return self

    def update(self, **values):
        self._ask("update", **values)

    def drop(self):
        self._ask("drop")

    def wait(self, what):
        """Until `what()` holds; it is looked at whenever something happened there."""
        for _ in range(5000):
            if what():
                return
            self._ask("tick")
        raise AssertionError((self.commands[-5:], self.problems))

    def end(self):
        self._orders.close()
        self._process.wait(10)
        self._folder.cleanup()

    def __getattr__(self, name):
        return self._ask("look", name)

    def _ask(self, method, *arguments, **values):
        self._orders.send((method, arguments, values))
        return self._orders.recv()
