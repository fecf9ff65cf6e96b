"""The UR driver over the real ur_rtde client, against a controller that judges what it is told."""

import numpy as np
import pytest

pytest.importorskip("rtde_control", reason="ur_rtde is not installed: pip install rtx-robotics[ur]")

from rtx.control.recorder import record
from rtx.drivers import Driver, open_driver
from rtx.drivers.arm import Refused
from rtx.errors import UserError, WorldError
from tests.drivers.fake_ur import SERVO_STOP, SERVOJ, SERVOL
from tests.drivers.remote_ur import RemoteUr
from tests.drivers.robots import joint_arm, pose_arm, until_error, without_gripper


@pytest.fixture(autouse=True)
def patient(monkeypatch):
    """The controller is a process of this machine, which may have better to do for a while."""
    monkeypatch.setattr("rtx.drivers.ur._SILENT_S", 2.0)


@pytest.fixture(scope="module")
def process():
    remote = RemoteUr()
    yield remote
    remote.end()


@pytest.fixture
def ur(process):
    return process.new()


def opened(fake, embodiment, options="gripper=robotiq"):
    driver = open_driver(f"ur:{fake.host}?{options}", embodiment)
    assert isinstance(driver, Driver)
    driver.connect()
    return driver


def test_joint_targets_arrive_in_order_and_time_and_the_state_comes_back(ur):
    driver = opened(ur, joint_arm(6))
    start = driver.read().proprio
    np.testing.assert_allclose(start, [*ur.q, 0.0])
    wanted = start[:6] + np.array([0.1, -0.05, 0.02, 0, 0, 0.1])
    driver.command(np.array([*wanted, 0.75]))
    ur.wait(lambda: np.allclose(ur.q, wanted, atol=1e-6))
    kind, target, seconds = ur.servo_targets[-1]
    assert kind == SERVOJ
    assert seconds == pytest.approx(0.1)  # one period of 10 Hz
    np.testing.assert_allclose(target, wanted)
    ur.wait(lambda: ur.gripper == round(0.75 * 255))
    np.testing.assert_allclose(driver.read().proprio[6], 0.75, atol=0.01)
    driver.close()
    assert not ur.problems


def test_pose_deltas_are_composed_with_the_measured_pose(ur):
    driver = opened(ur, without_gripper(pose_arm(6)), "")
    before = ur.pose.copy()
    driver.command(np.array([2.0, 0.0, -1.0, 0.0, 0.0, 10.0]))  # cm, degrees about the base's z
    ur.wait(lambda: ur.servo_targets)
    kind, target, _ = ur.servo_targets[-1]
    assert kind == SERVOL
    np.testing.assert_allclose(target[:3], before[:3] + np.array([0.02, 0, -0.01]), atol=1e-9)
    half = np.radians(5)  # Rz(10 deg) Ry(3.1): as quaternions, independent of the code under test
    w1, z1, w2, y2 = np.cos(half), np.sin(half), np.cos(1.55), np.sin(1.55)
    vector = np.array([-z1 * y2, w1 * y2, z1 * w2])
    angle = 2 * np.arctan2(np.linalg.norm(vector), w1 * w2)
    np.testing.assert_allclose(target[3:], vector / np.linalg.norm(vector) * angle, atol=1e-6)
    driver.close()
    assert not ur.problems


def test_holding_stops_the_servo_and_stays_armed(ur):
    driver = opened(ur, without_gripper(joint_arm(6)), "")
    command = driver.read().proprio[:6] + 0.1
    driver.command(command)
    driver.hold()
    assert ur.commands[-1] == SERVO_STOP
    assert ur.goal is None
    driver.hold()
    driver.command(command)
    ur.wait(lambda: np.allclose(ur.q, command, atol=1e-6))
    driver.close()


def test_a_soft_stop_ends_the_program_and_connect_starts_it_again(ur):
    driver = opened(ur, without_gripper(joint_arm(6)), "")
    command = driver.read().proprio[:6] + 0.05
    driver.soft_stop()
    assert not ur.program
    with pytest.raises(WorldError, match=r"not armed.*connect\(\)"):
        driver.command(command)
    driver.connect()
    assert ur.program
    driver.command(command)
    ur.wait(lambda: np.allclose(ur.q, command, atol=1e-6))
    driver.close()


class Pendant:
    """Moves the arm a little for each state that a recorder has read, and waits until it shows there."""

    def __init__(self, ur, driver, count):
        self.ur, self.driver, self.left, self.count = ur, driver, 1, count
        self.start = np.array(ur.q)

    def begin(self, number):
        self.left -= 1
        return "led by hand" if self.left == 0 else None

    def is_over(self, steps):
        wanted = self.start + 0.01 * steps
        self.ur.update(q=wanted)
        self.ur.wait(lambda: np.allclose(self.driver.read().proprio, wanted))
        return steps == self.count

    def keep(self, summary):
        return True


def test_an_arm_that_is_only_watched_is_recorded_while_the_pendant_moves_it(ur, tmp_path):
    h5py = pytest.importorskip("h5py")
    robot = without_gripper(joint_arm(6))
    driver = opened(ur, robot, "watch=yes")
    pendant = Pendant(ur, driver, 5)
    with pytest.raises(WorldError, match="is only watched"):
        driver.command(pendant.start + 0.05)
    driver.connect()
    done = record(driver, tmp_path, pendant, robot=robot)
    assert (ur.scripts, ur.program, ur.servo_targets, ur.commands) == (0, False, [], []), "nothing was uploaded or sent"
    with h5py.File(done.files[0]) as file:
        led = pendant.start + 0.01 * np.arange(5)[:, None]
        np.testing.assert_allclose(file["observations/state"][:], led[:4], atol=1e-9)
        np.testing.assert_allclose(file["action"][:], led[1:], atol=1e-6)
    assert not ur.problems


@pytest.mark.parametrize(("bits", "words"), [(1 << 2, "protective stop"), (1 << 7, "emergency stop")])
def test_a_stopped_robot_is_an_error_with_advice_and_stays_stopped(ur, bits, words):
    driver = opened(ur, without_gripper(joint_arm(6)), "")
    command = driver.read().proprio[:6] + 0.05
    ur.update(safety_bits=bits, program=False, goal=None)
    seen = ur.time
    ur.wait(lambda: ur.time > seen + 0.1)
    sent = len(ur.servo_targets)
    with pytest.raises(WorldError, match=rf"{words}.*pendant.*connect\(\)"):
        driver.read()
    with pytest.raises(WorldError, match="not armed"):
        driver.command(command)
    with pytest.raises(WorldError, match=words):
        driver.connect()
    assert len(ur.servo_targets) == sent
    driver.close()


def test_a_pulled_cable_is_an_error_and_nothing_is_sent_afterwards(ur):
    driver = opened(ur, without_gripper(joint_arm(6)), "")
    command = driver.read().proprio[:6] + 0.05
    ur.drop()
    with pytest.raises(WorldError, match=r"UR at 127.*connect\(\)"):
        until_error(driver.read)
    with pytest.raises(WorldError, match="not armed"):
        driver.command(command)
    with pytest.raises(WorldError, match="no UR at"):
        driver.connect()
    driver.close()


def test_a_silent_controller_is_noticed(ur):
    driver = opened(ur, without_gripper(joint_arm(6)), "")
    ur.update(frozen=True)
    with pytest.raises(WorldError, match="has sent nothing for"):
        until_error(driver.read)
    driver.close()


def test_what_no_guard_lets_through_is_refused_before_the_robot_sees_it(ur):
    driver = opened(ur, without_gripper(joint_arm(6)), "")
    here = driver.read().proprio[:6]
    for far in (here + np.eye(6)[0], np.full(6, 3.3)):
        with pytest.raises(Refused, match="refused to move joint"):
            driver.command(far)
    for bad in (np.full(6, np.nan), np.zeros(5), here[None]):
        with pytest.raises(UserError, match="expected 6 numbers"):
            driver.command(bad)
    assert not ur.servo_targets
    driver.command(here + 0.01)  # a refusal holds, it does not disarm
    ur.wait(lambda: ur.servo_targets)
    driver.close()
    assert not ur.problems


def test_the_fake_judges(ur):
    """What the tests above rest on: a target too fast for a UR makes a protective stop, seen by the driver."""
    driver = opened(ur, without_gripper(joint_arm(6, speed=100.0)), "")
    here = driver.read().proprio[:6]
    driver.command(here + 0.5 * np.eye(6)[0])  # 5 rad/s
    ur.wait(lambda: ur.problems)
    with pytest.raises(WorldError, match="protective stop"):
        until_error(driver.read)
    driver.close()


def test_set_up_errors_say_what_to_do(ur):
    with pytest.raises(WorldError, match=r"no UR at 127\.0\.6\.1"):
        open_driver("ur:127.0.6.1", without_gripper(joint_arm(6))).connect()
    with pytest.raises(UserError, match="opened without a gripper"):
        open_driver(f"ur:{ur.host}", joint_arm(6))
    with pytest.raises(UserError, match="has 7 joints, the arm has 6"):
        open_driver(f"ur:{ur.host}", without_gripper(joint_arm(7)))
    ur.update(gripper_active=0)
    driver = open_driver(f"ur:{ur.host}?gripper=robotiq", joint_arm(6))
    with pytest.raises(WorldError, match="not active: activate it on the pendant"):
        driver.connect()
    driver.close()


def test_local_control_is_an_error_with_advice(process):
    fake = process.new(remote=False)
    driver = open_driver(f"ur:{fake.host}", without_gripper(joint_arm(6)))
    with pytest.raises(WorldError, match="remote control"):
        driver.connect()
    driver.close()
