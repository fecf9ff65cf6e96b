"""The xArm driver over the real XArmAPI, against a controller that judges modes, ranges and speeds."""

import numpy as np
import pytest

pytest.importorskip("xarm.wrapper", reason="xarm-python-sdk is not installed: pip install rtx-robotics[xarm]")

from rtx.drivers import Driver, open_driver
from rtx.drivers.arm import Refused
from rtx.errors import UserError, WorldError
from tests.drivers.fake_xarm import MOVE_JOINT, MOVE_LINE, FakeXArm
from tests.drivers.robots import joint_arm, pose_arm, until_error, without_gripper

# The SDK leaves its sockets to the garbage collector.
pytestmark = pytest.mark.filterwarnings("ignore:Exception ignored in. <socket.socket:pytest.PytestUnraisableExceptionWarning")
_HOSTS = iter(f"127.0.8.{number}" for number in range(2, 250))  # the port is fixed by the protocol, addresses are not


@pytest.fixture
def xarm():
    fake = FakeXArm(next(_HOSTS))
    yield fake
    fake.drop()


def opened(fake, embodiment, options="gripper=xarm"):
    driver = open_driver(f"xarm:{fake.host}?{options}", embodiment)
    assert isinstance(driver, Driver)
    driver.connect()
    return driver


def test_joint_targets_go_out_at_the_speed_limit_and_the_state_comes_back(xarm):
    driver = opened(xarm, joint_arm(7))
    assert not xarm.motions  # connecting moves nothing
    start = driver.read().proprio
    np.testing.assert_allclose(start[:7], xarm.q, atol=1e-5)
    np.testing.assert_allclose(start[7], 0.0, atol=1e-6)  # open
    wanted = start[:7] + np.array([0.1, -0.1, 0.05, 0.1, 0.0, -0.1, 0.1])
    driver.command(np.array([*wanted, 0.5]))
    kind, numbers = xarm.motions[-1]
    assert kind == MOVE_JOINT
    assert numbers[7] == pytest.approx(1.5)  # rad/s, the embodiment's limit
    after = driver.read().proprio
    np.testing.assert_allclose(after[:7], wanted, atol=1e-5)
    np.testing.assert_allclose(after[7], 0.5, atol=1e-3)
    driver.close()
    assert not xarm.problems


def test_pose_deltas_become_poses_in_millimetres_and_rpy(xarm):
    driver = opened(xarm, pose_arm(7))
    start = driver.read().proprio
    np.testing.assert_allclose(start, [40, 5, 30, *np.degrees(xarm.pose[3:]), 1.0], atol=1e-4)  # cm, degrees
    driver.command(np.array([2.0, 0, -1.0, 0, 0, 10.0, 1.0]))
    kind, numbers = xarm.motions[-1]
    assert kind == MOVE_LINE
    np.testing.assert_allclose(numbers[:3], [420, 50, 290], atol=1e-3)
    np.testing.assert_allclose(numbers[3:6], [np.pi - 0.1, 0, 0.2 + np.radians(10)], atol=1e-5)  # a turn about z adds to yaw
    np.testing.assert_allclose(numbers[6:8], [500, 5000])  # mm/s and mm/s2, the embodiment's limits
    driver.close()
    assert not xarm.problems


def test_holding_stops_and_the_next_command_moves_again(xarm):
    driver = opened(xarm, without_gripper(joint_arm(7)), "")
    here = driver.read().proprio
    driver.command(here + 0.05)
    driver.hold()
    assert xarm.states[-2:] == [4, 0]  # stopped, then ready again
    driver.hold()
    driver.command(here)
    np.testing.assert_allclose(xarm.q, here, atol=1e-5)
    driver.close()
    assert not xarm.problems


def test_a_soft_stop_stops_until_connected_again(xarm):
    driver = opened(xarm, without_gripper(joint_arm(7)), "")
    here = driver.read().proprio
    driver.soft_stop()
    assert xarm.state == 4
    with pytest.raises(WorldError, match=r"not armed.*connect\(\)"):
        driver.command(here)
    driver.connect()
    driver.command(here + 0.05)
    assert len(xarm.motions) == 1
    driver.close()


def test_a_controller_error_is_named_and_stays_until_cleared(xarm):
    driver = opened(xarm, without_gripper(joint_arm(7)), "")
    here = driver.read().proprio
    xarm.fail(31)  # collision
    with pytest.raises(WorldError, match=r"error 31.*clear the cause"):
        driver.command(here)
    with pytest.raises(WorldError, match="not armed"):
        driver.command(here)
    with pytest.raises(WorldError, match="error 31"):
        driver.connect()
    assert not xarm.motions
    xarm.error = 0
    driver.connect()
    driver.command(here)
    assert len(xarm.motions) == 1
    driver.close()


def test_an_emergency_button_is_noticed(xarm):
    driver = opened(xarm, without_gripper(joint_arm(7)), "")
    here = driver.read().proprio
    xarm.state = 4
    with pytest.raises(WorldError, match=r"was stopped.*connect\(\)"):
        driver.command(here + 0.05)
    assert not xarm.motions
    driver.close()


def test_a_lost_controller_is_an_error_with_advice(xarm):
    driver = opened(xarm, without_gripper(joint_arm(7)), "")
    here = driver.read().proprio
    xarm.drop()
    with pytest.raises(WorldError, match=r"lost the xArm.*connect\(\)"):
        until_error(driver.read)
    with pytest.raises(WorldError, match="not armed"):
        driver.command(here)
    with pytest.raises(WorldError, match="no xArm at"):
        driver.connect()
    driver.close()


def test_what_no_guard_lets_through_never_reaches_the_controller(xarm):
    driver = opened(xarm, without_gripper(joint_arm(7)), "")
    here = driver.read().proprio
    with pytest.raises(Refused):
        driver.command(here + np.eye(7)[1])
    with pytest.raises(UserError):
        driver.command(np.full(7, np.nan))
    with pytest.raises(UserError):
        driver.command(np.zeros(8))
    assert not xarm.motions
    driver.close()


def test_the_fake_judges(xarm):
    """What these tests rest on: a speed over the arm's maximum is an error that the driver reports."""
    driver = opened(xarm, without_gripper(joint_arm(7, speed=5.0)), "")
    here = driver.read().proprio
    with pytest.raises(WorldError, match=r"error 24|refused"):
        until_error(lambda: driver.command(here))
    assert any("error 24" in problem for problem in xarm.problems)
    driver.close()


def test_set_up_errors_say_what_to_do(xarm):
    with pytest.raises(UserError, match="has 7 joints, the embodiment 6"):
        opened(xarm, without_gripper(joint_arm(6)), "")
    with pytest.raises(UserError, match="opened without a gripper"):
        opened(xarm, joint_arm(7), "")
    with pytest.raises(WorldError, match=r"no xArm at 127\.0\.9\.1"):
        open_driver("xarm:127.0.9.1", without_gripper(joint_arm(7))).connect()
    old = FakeXArm(next(_HOSTS), firmware="v1.8.4")
    with pytest.raises(WorldError, match=r"firmware 1\.8\.4; update it"):
        opened(old, without_gripper(joint_arm(7)), "")
    old.drop()
