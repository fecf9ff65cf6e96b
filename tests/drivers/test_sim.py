"""The simulated arms as drivers: the same steps as the environment itself, holds that hold, stops that stay stopped."""

import dataclasses

import numpy as np
import pytest

from rtx.drivers import Driver, open_driver
from rtx.drivers.sim import SimDriver
from rtx.errors import UserError, WorldError
from rtx.eval.sim.env import SimEnv
from rtx.robots.adapter import Adapter
from rtx.robots.sim_arms import SIM_ARMS
from rtx.robots.widowx import WIDOWX_250

MOVE = np.array([0.03, 0.02, -0.02, 0, 0, 0.1, 1.0, 0])


def native_of(driver, canonical, proprio=None):
    proprio = driver.read().proprio if proprio is None else proprio
    return Adapter(driver.embodiment).to_native(canonical, proprio_native=proprio)


@pytest.fixture(scope="module")
def panda():
    driver = SimDriver(SIM_ARMS["sim_panda"], task="reach", seed=5, image_size=32, clock_ns=iter(range(7, 10**6)).__next__)
    yield driver
    driver.close()


@pytest.mark.parametrize("arm", sorted(SIM_ARMS))
def test_each_arm_moves_as_in_its_environment(arm):
    driver = open_driver("sim:?task=reach&seed=3&image_size=32", SIM_ARMS[arm])
    assert isinstance(driver, Driver)
    driver.connect()
    env = SimEnv(arm, image_size=32)
    frame = env.reset(task="reach", seed=3)
    for _ in range(3):
        state = driver.read()
        np.testing.assert_array_equal(state.proprio, frame.proprio)
        for role, image in state.images.items():
            np.testing.assert_array_equal(image, frame.images[role])
        command = native_of(driver, MOVE, state.proprio)
        driver.command(command)
        frame = env.step(command)
    driver.close()
    env.close()


def test_a_users_robot_moves_as_the_arm_that_is_like_it(panda):
    mine = dataclasses.replace(SIM_ARMS["sim_panda"], name="my_robot")
    driver = open_driver("sim:?task=reach&seed=3&image_size=32", mine)
    assert driver.embodiment == mine
    driver.connect()
    panda.connect()
    panda.reset(task="reach", seed=3)
    np.testing.assert_array_equal(driver.read().proprio, panda.read().proprio)
    driver.close()
    with pytest.raises(UserError, match=r"no model of 'my_robot': none of sim_panda.* at 30 Hz"):
        open_driver("sim", dataclasses.replace(mine, control_hz=30.0))


def test_a_hold_stands_still_and_keeps_the_gripper_as_sent(panda):
    panda.connect()
    panda.reset(task="reach", seed=5)
    for _ in range(4):  # closing takes more than one period
        panda.command(native_of(panda, MOVE * [1, 1, 1, 1, 1, 1, 0, 0]))
    before = panda.env.gripper
    for _ in range(6):
        panda.hold()
    assert np.linalg.norm(panda.env.gripper - before) < 0.01  # the rest of the last motion
    resting = panda.env.gripper
    panda.hold()
    assert np.linalg.norm(panda.env.gripper - resting) < 5e-4
    assert panda.env.opening < 0.1


def test_a_soft_stop_refuses_until_armed_again(panda):
    panda.connect()
    command = native_of(panda, MOVE)
    panda.soft_stop()
    panda.soft_stop()
    with pytest.raises(WorldError, match=r"connect\(\) to arm it again"):
        panda.command(command)
    here = panda.env.gripper
    panda.connect()
    np.testing.assert_array_equal(panda.env.gripper, here)  # arming does not move it, nor lay a new scene
    panda.command(command)
    assert np.linalg.norm(panda.env.gripper - here) > 0.005


@pytest.mark.parametrize("bad", [np.full(7, np.nan), np.full(7, np.inf), np.zeros(6), np.zeros(8), np.zeros((2, 7))])
def test_what_is_no_command_moves_nothing(panda, bad):
    panda.connect()
    before, commands = panda.env.gripper, panda.num_commands
    with pytest.raises(UserError):
        panda.command(bad)
    np.testing.assert_array_equal(panda.env.gripper, before)
    assert panda.num_commands == commands


def test_stamps_are_the_injected_clocks(panda):
    panda.connect()
    first, second = panda.read().stamp_ns, panda.read().stamp_ns
    assert second == first + 1


def test_an_unconnected_arm_says_so_and_stops_quietly():
    driver = SimDriver(SIM_ARMS["sim_panda"])
    with pytest.raises(WorldError, match="not connected"):
        driver.read()
    with pytest.raises(WorldError, match=r"connect\(\)"):
        driver.command(np.zeros(7))
    driver.hold()
    driver.soft_stop()
    driver.close()
    driver.close()


def test_it_refuses_what_it_cannot_simulate():
    with pytest.raises(UserError, match="sim_panda"):
        open_driver("sim", WIDOWX_250)
    with pytest.raises(UserError, match=r"unknown task 'juggle'.*reach"):
        open_driver("sim:?task=juggle", SIM_ARMS["sim_panda"])
    with pytest.raises(UserError, match=r"seed='soon' is not a number"):
        open_driver("sim:?seed=soon", SIM_ARMS["sim_panda"])
    with pytest.raises(UserError, match="neither an address nor cameras"):
        open_driver("sim:7", SIM_ARMS["sim_panda"])
