"""Policy servers in threads, on free ports of loopback, stopped when the test ends."""

import contextlib
import threading

import pytest

from rtx.serve.server import serve


@contextlib.contextmanager
def serving(policy, **options):
    running, opened = [], threading.Event()

    def ready(server):
        running.append(server)
        opened.set()

    def run():
        try:
            serve(policy, **{"port": 0, "ready": ready} | options)
        finally:
            opened.set()  # also if it failed: whoever waits is to see it now

    thread = threading.Thread(target=run)
    thread.start()
    assert opened.wait(60), "the server never became ready"
    assert running, "the server failed before it was ready"
    try:
        yield running[0]
    finally:
        running[0].stop()
        thread.join(20)
        assert not thread.is_alive(), "the server did not stop"


@pytest.fixture(name="serving")
def _serving():
    return serving
