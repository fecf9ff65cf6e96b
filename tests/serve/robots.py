"""The robot's side of a server under test: its time stands still, so that a slow machine makes nothing late."""

from rtx_client import Client


def robot_at(server, **options):
    return Client(server if isinstance(server, str) else server.url, **{"timeout_s": 20.0, "clock": lambda: 0} | options)
