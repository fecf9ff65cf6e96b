"""The Franka driver as far as it goes without a robot: real franky and libfranka against a controller's first handshake.

A controller that reaches motion would need libfranka's 1 kHz state stream; what is not proven is listed in docs/drivers.md.
"""

import socket
import struct
import threading

import numpy as np
import pytest

pytest.importorskip("franky", reason="franky is not installed: pip install rtx-robotics[franka]")

from rtx.drivers import Driver, open_driver
from rtx.drivers.franka import FrankaArm
from rtx.drivers.native import Target
from rtx.errors import UserError, WorldError
from tests.drivers.robots import joint_arm, pose_arm

_HOSTS = iter(f"127.0.10.{number}" for number in range(2, 250))
CONNECT, INCOMPATIBLE, VERSION = 0, 1, 3  # libfranka: command, status, and a version that nobody has any more


class FakeFci:
    """Takes libfranka's connect command on port 1337 and answers with a status and a version; keeps what it was asked."""

    def __init__(self, status, version):
        self.host, self.requests = next(_HOSTS), []
        self._answer = (status, version)
        self._listener = socket.create_server((self.host, 1337))
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self):
        connection, _ = self._listener.accept()
        with connection:
            command, number, size = struct.unpack("<III", connection.recv(12))
            self.requests.append((command, struct.unpack("<HH", connection.recv(size - 12))))
            connection.sendall(struct.pack("<III", command, number, 12 + 4) + struct.pack("<HH", *self._answer))
            connection.recv(1)  # until it hangs up

    def close(self):
        self._listener.close()


def test_a_controller_of_another_generation_is_an_error_with_advice():
    fake = FakeFci(INCOMPATIBLE, VERSION)
    driver = open_driver(f"franka:{fake.host}?realtime=ignore", joint_arm(7))
    assert isinstance(driver, Driver)
    with pytest.raises(WorldError, match=rf"Franka at {fake.host}.*Desk.*connect\(\)"):
        driver.connect()
    (command, (version, port)) = fake.requests[0]
    assert command == CONNECT
    assert version > VERSION
    assert port > 0
    with pytest.raises(WorldError, match="not armed"):
        driver.command(np.zeros(8))
    driver.hold()
    driver.soft_stop()
    driver.close()
    fake.close()


def test_nobody_there_is_an_error_with_advice():
    driver = open_driver("franka:127.0.11.1?realtime=ignore", pose_arm(7))
    with pytest.raises(WorldError, match=r"no Franka at 127\.0\.11\.1.*FCI"):
        driver.connect()
    with pytest.raises(WorldError, match="not connected"):
        driver.read()
    driver.close()


def test_motions_are_frankys_own():
    """What is handed to `Robot.move`, made by the real package."""
    import franky

    arm = FrankaArm("127.0.11.1", gripper=True, realtime=False, joint_factor=0.3, pose_factor=0.2)
    assert isinstance(arm.joint_motion(np.linspace(-1, 1, 7)), franky.JointMotion)
    turned = np.array([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]])
    assert isinstance(arm.pose_motion(Target(position=np.array([0.4, 0.0, 0.3]), rotation=turned)), franky.CartesianMotion)


def test_set_up_errors_say_what_to_do():
    with pytest.raises(UserError, match="has 6 joints, the arm has 7"):
        open_driver("franka:127.0.11.1", joint_arm(6))
    with pytest.raises(UserError, match="opened without a gripper"):
        open_driver("franka:127.0.11.1?gripper=none", joint_arm(7))
    with pytest.raises(UserError, match=r"realtime='maybe' is unknown; there are enforce and ignore"):
        open_driver("franka:127.0.11.1?realtime=maybe", joint_arm(7))
