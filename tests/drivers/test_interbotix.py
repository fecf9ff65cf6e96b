"""Interbotix arms over the real dynamixel_sdk, against a bus on a pseudo terminal that checks sums, ranges and jumps."""

import dataclasses
import importlib

import numpy as np
import pytest

pytest.importorskip("dynamixel_sdk", reason="dynamixel_sdk is not installed: pip install rtx-robotics[dynamixel]")

from rtx.drivers import open_driver
from rtx.drivers.arm import Refused
from rtx.embodiment import ActionSpace
from rtx.errors import UserError, WorldError
from tests.drivers.fake_dynamixel import ERROR, MODE, PRESENT, TORQUE, FakeDynamixel
from tests.drivers.fake_serial import without_time
from tests.drivers.robots import connected, joint_arm, pose_arm

IDS = (1, 2, 4, 6, 7, 8, 9)
COUNT = 2 * np.pi / 4096
RANGES = "closed_rad=-0.5&opened_rad=1.5"


@pytest.fixture(autouse=True)
def patient(monkeypatch):
    """The SDK waits 16 ms for a USB adapter's latency; the pseudo terminal answers when this machine gets round to it."""
    handler = importlib.import_module("dynamixel_sdk.port_handler").PortHandler
    without_time(monkeypatch, handler, discards=["setupPort", "clearPort"])


@pytest.fixture
def bus():
    fake = FakeDynamixel(IDS)
    fake.put(9, MODE, 1, 16)  # PWM, as Interbotix's software leaves its gripper
    yield fake
    fake.unplug()


@pytest.fixture
def driver(bus):
    with connected(f"interbotix:{bus.port}?model=wx250s&{RANGES}", joint_arm(6)) as driver:
        yield driver


def test_angles_go_out_and_come_back(bus, driver):
    state = driver.read().proprio
    np.testing.assert_allclose(state[:6], [10 * motor * COUNT for motor in IDS[:6]], atol=1e-9)
    np.testing.assert_allclose(state[6], 1 - (90 * COUNT + 0.5) / 2.0, atol=1e-9)  # 1 closed, 0 open
    wanted = state[:6] + np.array([0.1, -0.1, 0.05, 0.0, 0.2, -0.2])
    driver.command(np.array([*wanted, 0.25]))
    after = driver.read().proprio
    np.testing.assert_allclose(after[:6], wanted, atol=COUNT)
    assert dict(bus.goals)[9] == round((-0.5 + 0.75 * 2.0) / COUNT) + 2048
    assert not bus.problems


def test_connecting_moves_nothing_and_sets_what_must_be_set(bus, driver):
    assert all(bus.get(motor, TORQUE, 1) == 1 for motor in IDS)
    assert [bus.get(motor, PRESENT, 4) for motor in IDS] == [2048 + 10 * motor for motor in IDS]
    assert bus.get(9, MODE, 1) == 5
    assert bus.get(1, 112, 4) == int(1.5 / (0.229 * 2 * np.pi / 60))  # the joint's speed limit, in the motor's unit
    assert not bus.problems


def test_time_based_profiles_take_one_period(bus):
    for motor in IDS:
        bus.put(motor, 10, 1, 4)
    driver = open_driver(f"interbotix:{bus.port}?model=wx250s&{RANGES}", joint_arm(6, hz=10.0))
    driver.connect()
    assert bus.get(2, 112, 4) == 100  # ms
    driver.close()


def test_a_hold_stops_where_it_is_once_and_squeezes_on(bus, driver):
    state = driver.read().proprio
    driver.command(np.array([*(state[:6] + 0.1), 1.0]))
    driver.read()  # goals have no answer: what is read afterwards was sent afterwards
    for motor in IDS[:6]:
        bus.put(motor, PRESENT, 4, 2100)  # still on the way
    driver.hold()
    driver.read()
    assert bus.goals[-6:] == [(motor, 2100) for motor in IDS[:6]]
    count = len(bus.goals)
    driver.hold()
    driver.read()
    assert len(bus.goals) == count  # else the arm would sink a little each time


def test_a_soft_stop_keeps_the_torque_and_refuses_until_connected(bus, driver):
    state = driver.read().proprio
    driver.soft_stop()
    with pytest.raises(WorldError, match="not armed"):
        driver.command(state)
    assert all(bus.get(motor, TORQUE, 1) == 1 for motor in IDS)
    driver.connect()
    driver.command(state)
    driver.read()
    assert not bus.problems


def test_a_motor_that_switched_itself_off_is_named(bus, driver):
    state = driver.read().proprio
    bus.put(4, ERROR, 1, 0x20)
    with pytest.raises(WorldError, match=r"motor 4 .*overload.*support the arm"):
        driver.command(state)
    with pytest.raises(WorldError, match="not armed"):
        driver.command(state)
    with pytest.raises(WorldError, match="overload"):
        driver.connect()
    assert not [goal for goal in bus.goals if goal[0] == 4]


def test_a_motor_that_falls_silent_is_named_and_stops_the_rest(bus, driver):
    state = driver.read().proprio
    bus.silent.add(7)
    with pytest.raises(WorldError, match=r"lost a motor|lost motor 7"):
        driver.command(state + 0.05)
    with pytest.raises(WorldError, match="not armed"):
        driver.command(state)
    assert not bus.goals


def test_a_lost_packet_is_asked_for_again(bus, driver):
    before = driver.read().proprio
    bus.corrupt = 1
    np.testing.assert_array_equal(driver.read().proprio, before)


def test_an_unplugged_adapter_is_an_error_with_advice(bus, driver):
    bus.unplug()
    with pytest.raises(WorldError, match=r"lost .* on /dev/.*connect\(\)"):
        driver.read()
    with pytest.raises(WorldError, match="not armed"):
        driver.command(np.zeros(7))
    with pytest.raises(WorldError, match="cannot open"):
        driver.connect()


def test_what_no_guard_lets_through_never_reaches_the_bus(bus, driver):
    state = driver.read().proprio
    for far in (state + np.eye(7)[2], np.full(7, 3.2)):
        with pytest.raises(Refused):
            driver.command(far)
    with pytest.raises(UserError):
        driver.command(np.full(7, np.inf))
    assert not bus.goals
    driver.command(state)  # and it is still armed
    driver.read()
    assert len(bus.goals) == 7


def test_the_bus_judges(bus):
    """What these tests rest on: commands that break limits are seen."""
    driver = open_driver(f"interbotix:{bus.port}?model=wx250s&{RANGES}", joint_arm(6, speed=100.0))
    driver.connect()
    driver.command(np.array([1.2, 0, 0, 0, 0, 0, 0.5]))
    driver.read()
    assert any("goal" in problem for problem in bus.problems)
    driver.close()


def test_two_arms_are_one_robot(bus):
    left = FakeDynamixel(IDS)
    one = joint_arm(6)
    prefixed = [dataclasses.replace(f, name=f"left_{f.name}") for f in (*one.action.fields, *one.proprio)]
    both = dataclasses.replace(
        one, action=ActionSpace(fields=(*prefixed[:2], *one.action.fields)), proprio=(*prefixed[2:], *one.proprio)
    )
    driver = open_driver(f"interbotix:{left.port},{bus.port}?model=vx300s&{RANGES}", both)
    driver.connect()
    state = driver.read().proprio
    move = state.copy()
    move[0] += 0.1
    move[7] -= 0.1
    driver.command(move)
    driver.read()
    assert left.get(1, PRESENT, 4) == 2058 + round(0.1 / COUNT)
    assert bus.get(1, PRESENT, 4) == 2058 - round(0.1 / COUNT)
    bus.silent.add(2)  # the right arm fails: the left one is stopped too
    with pytest.raises(WorldError):
        driver.command(state)
    with pytest.raises(WorldError, match="not armed"):
        driver.command(state)
    driver.close()
    left.unplug()
    with pytest.raises(UserError, match="second arm"):
        open_driver(f"interbotix:{bus.port}?model=vx300s", both)


def test_set_up_errors_say_what_to_do(bus):
    with pytest.raises(WorldError, match="cannot open /dev/nothing"):
        open_driver("interbotix:/dev/nothing", joint_arm(6)).connect()
    with pytest.raises(UserError, match="give the embodiment its kinematics"):
        open_driver(f"interbotix:{bus.port}", pose_arm(6))
    with pytest.raises(UserError, match="unknown Interbotix arm 'wx205s'; did you mean"):
        open_driver(f"interbotix:{bus.port}?model=wx205s", joint_arm(6))
    bus.put(2, MODE, 1, 1)
    with pytest.raises(WorldError, match=r"motor 2 .* operating mode 1, not 3"):
        open_driver(f"interbotix:{bus.port}?{RANGES}", joint_arm(6)).connect()
    missing = FakeDynamixel(IDS[:-1])
    with pytest.raises(WorldError, match=r"motor 9 on .* does not answer"):
        open_driver(f"interbotix:{missing.port}", joint_arm(6)).connect()
    missing.unplug()
