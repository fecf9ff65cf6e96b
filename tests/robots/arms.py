"""Five real arms as robosuite describes them, for tests of kinematics and adapters. `home` is robosuite's resting pose."""

from __future__ import annotations

import dataclasses
import functools

import numpy as np

from rtx.embodiment import ActionField, ActionSpace, Embodiment, Kinematics
from rtx.robots import fields
from rtx.robots.kinematics import ArmKinematics
from rtx.robots.sim_arms import SIM_ARMS

_UR5E = ("shoulder_pan_joint", "shoulder_lift_joint", "elbow_joint", "wrist_1_joint", "wrist_2_joint", "wrist_3_joint")
_JOINTS: dict[str, tuple[str, ...]] = {
    "panda": tuple(f"joint{i}" for i in range(1, 8)),
    "ur5e": _UR5E,
    "iiwa": tuple(f"joint_{i}" for i in range(1, 8)),
    "kinova3": tuple(f"Actuator{i}" for i in range(1, 8)),
    "sawyer": tuple(f"right_j{i}" for i in range(7)),
}
_HOME: dict[str, tuple[float, ...]] = {
    "panda": (0.0, 0.196, 0.0, -2.618, 0.0, 2.942, 0.785),
    "ur5e": (-0.470, -1.735, 2.480, -2.275, -1.590, -1.991),
    "iiwa": (0.0, 0.650, 0.0, -1.890, 0.0, 0.600, 0.0),
    "kinova3": (0.0, 0.650, 0.0, 1.890, 0.0, 0.600, -1.571),
    "sawyer": (0.0, -1.18, 0.0, 2.18, 0.0, 0.57, -1.57),
}
ARMS = tuple(_JOINTS)
SPEED = 2.0  # rad/s, every joint


def described(name: str) -> Kinematics:
    return Kinematics(source=f"robosuite:{name}", joints=_JOINTS[name], tip="right_hand", base="base", home=_HOME[name])


@functools.cache
def kinematics(name: str) -> ArmKinematics:
    return ArmKinematics(described(name), max_joint_velocity=(SPEED,) * len(_JOINTS[name]))


def home(name: str) -> np.ndarray:
    return np.array(_HOME[name])


def joint_robot(name: str, *action: ActionField, hz: float = 5.0) -> Embodiment:
    """An arm that is commanded in `action`, measures its joints and its gripper, and knows its kinematics."""
    count = len(_JOINTS[name])
    state = (fields.joint_state(count), fields.gripper_state(closed=0.0, opened=0.08, unit="m"))
    return dataclasses.replace(
        SIM_ARMS["sim_panda"], name=f"{name}_in_joints", proprio=state, action=ActionSpace(fields=action), control_hz=hz,
        kinematics=described(name),
        limits=dataclasses.replace(SIM_ARMS["sim_panda"].limits, max_joint_velocity_rad_s=(SPEED,) * count),
    )  # fmt: skip
