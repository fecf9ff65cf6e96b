"""Embodiments for the tests of drivers: small, with limits that a wrong command would break."""

import contextlib
import dataclasses

from rtx.drivers import Driver, open_driver
from rtx.embodiment import ActionSpace, Camera, Embodiment, Limits
from rtx.robots.fields import (
    abs_pos,
    abs_rot,
    delta_pos,
    delta_rot,
    eef_pos,
    eef_rot,
    gripper,
    gripper_state,
    joint_delta,
    joint_pos,
    joint_state,
)

LIMITS = Limits(
    workspace_low_m=(0.1, -0.5, 0.0), workspace_high_m=(0.8, 0.5, 0.8), max_step_m=0.05, max_step_rad=0.3,
    max_velocity_m_s=0.5, max_acceleration_m_s2=5.0,
)  # fmt: skip


def arm(action, proprio, *, joints, hz=10.0, low=-3.0, high=3.0, speed=1.5, cameras=()):
    limits = dataclasses.replace(
        LIMITS, joint_low_rad=(low,) * joints, joint_high_rad=(high,) * joints, max_joint_velocity_rad_s=(speed,) * joints
    )
    return Embodiment(
        name="test_arm", morphology="single arm", cameras=cameras, proprio=proprio, action=ActionSpace(fields=action),
        control_hz=hz, limits=limits,
    )  # fmt: skip


def joint_arm(n, *, delta=False, **more):
    """Joint angles (or their changes) and a gripper that is 1 when closed, 0 when open."""
    move = joint_delta(n) if delta else joint_pos(n)
    return arm((move, gripper(closed=1, opened=0)), (joint_state(n), gripper_state(closed=1, opened=0)), joints=n, **more)


def pose_arm(n, *, absolute=False, **more):
    """Base-frame deltas in cm and degrees, or absolute poses in m and quaternions; state as rpy in degrees."""
    move = (abs_pos(), abs_rot("quat_wxyz")) if absolute else (delta_pos("cm"), delta_rot("rpy", "deg"))
    state = (eef_pos("cm"), eef_rot("rpy", "deg"), gripper_state(closed=0, opened=1))
    return arm((*move, gripper(closed=0, opened=1)), state, joints=n, **more)


def without_gripper(embodiment):
    fields = tuple(f for f in embodiment.action.fields if f.kind != "gripper")
    state = tuple(f for f in embodiment.proprio if f.name != "gripper")
    return dataclasses.replace(embodiment, action=ActionSpace(fields=fields), proprio=state)


@contextlib.contextmanager
def connected(name, embodiment):
    """The driver of this name (`lerobot:/dev/pts/3?id=a`), connected, closed afterwards."""
    driver = open_driver(name, embodiment)
    assert isinstance(driver, Driver)
    driver.connect()
    try:
        yield driver
    finally:
        driver.close()


def until_error(call):
    """Calls until it raises: a fault takes a moment to come through a socket. Ends by itself if it never does."""
    for _ in range(10**6):
        call()


CAMERA = Camera(role="primary", resolution=(24, 32))
