"""The seven simulated arms as embodiments: each with the conventions of the real data sets of its kind, on purpose.

No two agree: metres or centimetres, radians or degrees, base or tool frame, deltas or absolute poses, three rotation
forms, six gripper polarities. What these vectors mean is written here once; `rtx.robots.adapter` converts, the simulator
(`rtx.eval.sim`) executes. This file imports no simulator.

A delta is the pose aimed at by the end of the step composed with the measured pose at its start:

    base frame   p_target = p + d        R_target = R(delta) R
    tool frame   p_target = p + R d      R_target = R R(delta)
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rtx.embodiment import ActionField, ActionSpace, Camera, Embodiment, Field, Limits, RotationForm
from rtx.robots.fields import abs_pos, abs_rot, delta_pos, delta_rot, eef_pos, eef_rot, gripper, gripper_state

MAX_STEP_M = 0.08  # the experts move at most 0.06 m and 0.35 rad a step; a little more is left to policies
MAX_STEP_RAD = 0.4


def _state(form: RotationForm, *, closed: float, opened: float, rot_unit: str = "rad", unit: str = "1") -> tuple[Field, ...]:
    """Native proprio: gripper point and orientation in the base frame, measured opening of the gripper."""
    return eef_pos(), eef_rot(form, rot_unit), gripper_state(closed=closed, opened=opened, unit=unit)


def _arm(
    name: str, action: tuple[ActionField, ...], proprio: tuple[Field, ...], *,
    center_x: float, table_z: float, mounting: str, control_hz: float = 5.0,
) -> Embodiment:  # fmt: skip
    """`center_x`, `table_z`: middle of the working area in front of the base and height of the table, base frame, metres."""
    limits = Limits(
        workspace_low_m=(round(center_x - 0.25, 3), -0.28, round(table_z + 0.005, 3)),
        workspace_high_m=(round(center_x + 0.25, 3), 0.28, round(table_z + 0.42, 3)),
        max_step_m=MAX_STEP_M,
        max_step_rad=MAX_STEP_RAD,
        max_velocity_m_s=MAX_STEP_M * control_hz,
        max_acceleration_m_s2=2 * MAX_STEP_M * control_hz**2,  # full speed one way, then the other, in one step
        source="simulated: the table's working area and the scripted experts' steps",
    )
    cameras = (
        Camera(role="primary", resolution=(128, 128), mounting=mounting),
        Camera(role="wrist", resolution=(128, 128), mounting="on the hand, looking at the fingertips"),
    )
    return Embodiment(
        name=name, morphology="single arm", cameras=cameras, proprio=proprio, action=ActionSpace(fields=action),
        control_hz=control_hz, limits=limits,
    )  # fmt: skip


_ARMS = (
    _arm(
        "sim_panda",
        (delta_pos(), delta_rot("rpy"), gripper(closed=0.0, opened=1.0)),
        _state("quat_xyzw", closed=0.0, opened=1.0),
        center_x=0.50, table_z=0.0, mounting="opposite the arm",
    ),
    _arm(
        "sim_sawyer",
        (delta_pos(), delta_rot("rpy"), gripper(closed=1.0, opened=-1.0)),
        _state("quat_wxyz", closed=1.0, opened=0.0),
        center_x=0.60, table_z=-0.10, mounting="opposite the arm, to its left",
    ),
    _arm(
        "sim_ur5e",
        (delta_pos("cm"), delta_rot("axis_angle"), gripper(closed=1.0, opened=0.0)),
        _state("quat_wxyz", closed=1.0, opened=0.0),
        center_x=0.50, table_z=0.0, mounting="opposite the arm, to its right",
    ),
    _arm(
        "sim_iiwa",
        (abs_pos(), abs_rot("quat_wxyz"), gripper(closed=1.0, opened=0.0)),
        _state("rpy", closed=1.0, opened=0.0),
        center_x=0.55, table_z=0.0, mounting="to the arm's right", control_hz=4.0,
    ),
    _arm(
        "sim_kinova3",
        (delta_pos(frame="tool"), delta_rot("axis_angle", frame="tool"), gripper(closed=100.0, opened=0.0, unit="percent")),
        _state("quat_xyzw", closed=100.0, opened=0.0, unit="percent"),
        center_x=0.48, table_z=0.0, mounting="to the arm's left",
    ),
    _arm(
        "sim_jaco",
        (delta_pos(), delta_rot("rpy", "deg"), gripper(closed=-1.0, opened=1.0)),
        _state("rpy", closed=-1.0, opened=1.0, rot_unit="deg"),
        center_x=0.45, table_z=0.0, mounting="opposite the arm, high",
    ),
    _arm(
        "sim_vx300s",
        (delta_pos(), delta_rot("rpy"), gripper(closed=0.0, opened=1.0)),
        _state("rpy", closed=0.0, opened=1.0),
        center_x=0.38, table_z=0.0, mounting="over the arm's shoulder",
    ),
)  # fmt: skip

SIM_ARMS: Mapping[str, Embodiment] = {arm.name: arm for arm in _ARMS}


def arm_for(robot: Embodiment) -> str | None:
    """The simulated arm that takes this robot's commands and shows its state; None where none does."""
    alike = [name for name, arm in SIM_ARMS.items() if _vectors(arm) == _vectors(robot)]
    nearest = [name for name in alike if SIM_ARMS[name].limits == robot.limits]
    return robot.name if robot.name in alike else next(iter(nearest or alike), None)


def _vectors(robot: Embodiment) -> tuple[Any, ...]:
    return robot.action, robot.proprio, robot.roles, robot.control_hz
