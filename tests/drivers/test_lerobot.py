"""SO-100 and SO-101 through the real lerobot, against a bus on a pseudo terminal that checks sums, ranges and jumps.

lerobot pins many packages and wants an environment of its own: these tests run there.
"""

import importlib
import json

import numpy as np
import pytest

pytest.importorskip("lerobot.robots.so_follower", reason="lerobot is not installed here: pip install 'lerobot[feetech]'")

from rtx.drivers import open_driver
from rtx.drivers.arm import Refused
from rtx.errors import UserError, WorldError
from tests.drivers.fake_feetech import HIGH, LOW, PRESENT, TORQUE, FakeFeetech
from tests.drivers.fake_serial import without_time
from tests.drivers.robots import connected, joint_arm, pose_arm

NAMES = ("shoulder_pan", "shoulder_lift", "elbow_flex", "wrist_flex", "wrist_roll", "gripper")
COUNT = 2 * np.pi / 4095


@pytest.fixture(autouse=True)
def patient(monkeypatch):
    """lerobot waits 50 ms for an answer, in a loop that leaves the fake bus no time to give it."""
    without_time(monkeypatch, importlib.import_module("scservo_sdk.port_handler").PortHandler, discards=["setupPort"])


@pytest.fixture
def bus():
    fake = FakeFeetech()
    yield fake
    fake.unplug()


@pytest.fixture
def calibration(tmp_path, bus):
    """What lerobot-calibrate writes, as the motors hold it."""
    entries = {
        name: {"id": i, "drive_mode": 0, "homing_offset": 0, "range_min": bus.get(i, LOW), "range_max": bus.get(i, HIGH)}
        for i, name in enumerate(NAMES, 1)
    }
    (tmp_path / "follower.json").write_text(json.dumps(entries))
    return tmp_path


@pytest.fixture
def driver(bus, calibration):
    with connected(f"lerobot:{bus.port}?calibration_dir={calibration}", joint_arm(5, hz=30.0, speed=6.0)) as driver:
        yield driver


def test_angles_go_out_and_come_back(bus, driver):
    state = driver.read().proprio
    np.testing.assert_allclose(state[:5], [10 * motor * COUNT for motor in range(1, 6)], atol=1e-3)  # middle of the range: 2000
    np.testing.assert_allclose(state[5], 1 - (2060 - 1000) / 2000, atol=1e-3)  # 1 closed
    wanted = state[:5] + np.array([0.1, -0.1, 0.05, 0.0, 0.2])
    driver.command(np.array([*wanted, 0.25]))
    after = driver.read().proprio
    np.testing.assert_allclose(after[:5], wanted, atol=2 * COUNT)
    np.testing.assert_allclose(after[5], 0.25, atol=1e-3)
    assert not bus.problems


def test_connecting_moves_nothing_and_closing_keeps_the_torque(bus, driver):
    assert [bus.get(motor, PRESENT) for motor in range(1, 7)] == [2000 + 10 * motor for motor in range(1, 7)]
    driver.close()
    assert [bus.tables[motor][TORQUE] for motor in range(1, 7)] == [1] * 6
    assert not bus.problems


def test_zero_and_sign_are_the_embodiments(bus, calibration):
    options = "zero_deg=10,0,0,0,0&sign=-1,1,1,1,1"
    robot = joint_arm(5, hz=30.0, speed=6.0)
    driver = open_driver(f"lerobot:{bus.port}?calibration_dir={calibration}&{options}", robot)
    driver.connect()
    state = driver.read().proprio
    np.testing.assert_allclose(state[0], np.radians(10) - 10 * COUNT, atol=1e-3)
    driver.command(state)
    driver.read()
    assert abs(bus.get(1, PRESENT) - 2010) <= 1
    driver.close()


def test_a_hold_and_a_soft_stop(bus, driver):
    state = driver.read().proprio
    driver.command(state)
    driver.read()  # goals have no answer: what is read afterwards was sent afterwards
    bus.put(1, PRESENT, 2050)
    driver.hold()
    driver.read()
    assert (1, 2050) in bus.goals[-5:]
    count = len(bus.goals)
    driver.hold()
    driver.read()
    assert len(bus.goals) == count
    driver.soft_stop()
    with pytest.raises(WorldError, match="not armed"):
        driver.command(state)
    driver.connect()
    driver.command(driver.read().proprio)
    assert not bus.problems


def test_a_silent_motor_and_an_unplugged_adapter_are_errors_with_advice(bus, driver):
    state = driver.read().proprio
    bus.silent.add(3)
    goals = len(bus.goals)
    with pytest.raises(WorldError, match=r"lost the SO arm on .*connect\(\)"):
        driver.command(state)
    with pytest.raises(WorldError, match="not armed"):
        driver.command(state)
    assert len(bus.goals) == goals
    bus.unplug()
    with pytest.raises(WorldError, match="lost the SO arm"):
        driver.connect()


def test_what_no_guard_lets_through_never_reaches_the_bus(bus, driver):
    state, goals = driver.read().proprio, len(bus.goals)
    with pytest.raises(Refused):
        driver.command(state + np.eye(6)[2] * 1.5)
    with pytest.raises(UserError):
        driver.command(np.full(6, np.nan))
    assert len(bus.goals) == goals


def test_set_up_errors_say_what_to_do(bus, calibration, tmp_path):
    robot = joint_arm(5)
    bus.put(2, LOW, 900)
    with pytest.raises(WorldError, match="run lerobot-calibrate"):
        open_driver(f"lerobot:{bus.port}?calibration_dir={calibration}", robot).connect()
    with pytest.raises(WorldError, match="lost the SO arm on /dev/nothing"):
        open_driver(f"lerobot:/dev/nothing?calibration_dir={calibration}", robot).connect()
    with pytest.raises(UserError, match="zero_deg needs five angles"):
        open_driver(f"lerobot:{bus.port}?zero_deg=1,2", robot)
    with pytest.raises(UserError, match="give the embodiment its kinematics"):
        open_driver(f"lerobot:{bus.port}?calibration_dir={calibration}", pose_arm(5))
