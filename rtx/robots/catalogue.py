"""The robots rtx knows, by name, and how they are shown to people."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path

from rtx.embodiment import ActionField, Embodiment, Field, Kinematics, Limits
from rtx.errors import unknown_name
from rtx.robots.aloha import ALOHA, ALOHA_MOBILE
from rtx.robots.droid import FRANKA_DROID, FRANKA_DROID_JOINTS
from rtx.robots.oxe import OXE_LABELS
from rtx.robots.public_arms import PUBLIC_ARMS
from rtx.robots.sim_arms import SIM_ARMS
from rtx.robots.so_arms import SO_100, SO_101
from rtx.robots.user_file import is_user_file, load_robot
from rtx.tables import text_table

_LATER = (FRANKA_DROID, FRANKA_DROID_JOINTS, ALOHA, ALOHA_MOBILE, SO_100, SO_101)
_OF_LABEL: Mapping[str, str] = {robot.name: label for label, robots in OXE_LABELS.items() for robot in robots}
ROBOTS: Mapping[str, Embodiment] = {
    **{robot.name: robot for robots in OXE_LABELS.values() for robot in robots},
    **{robot.name: robot for robot in _LATER},
    **SIM_ARMS,
    **{name: robot for name, (robot, _) in PUBLIC_ARMS.items()},
}
"""Those of Open X-Embodiment in the order of its labels, later ones, the simulated ones, those of public suites."""


def find(name: str) -> Embodiment:
    """The robot called `name`, or the one that a user's file of this name (my_robot.py) defines.

    Raises UserError with the nearest names if there is no such robot, and for a file that does not load.
    """
    if is_user_file(name):
        return load_robot(Path(name))
    if name not in ROBOTS:
        raise unknown_name("robot", name, ROBOTS, hint="rtx robots list shows them all; a file of your own ends in .py")
    return ROBOTS[name]


def list_text() -> str:
    rows = [
        (
            robot.name,
            _OF_LABEL.get(robot.name, "simulated" if robot.name in (*SIM_ARMS, *PUBLIC_ARMS) else ""),
            robot.morphology,
            f"{robot.control_hz:g}",
            ", ".join(robot.roles),
            robot.kinematics.source if robot.kinematics else "",
            " + ".join(f"{f.name}[{f.width}]" for f in robot.action.fields),
        )
        for robot in ROBOTS.values()
    ]
    return text_table(("robot", "Open X-Embodiment", "morphology", "Hz", "cameras", "kinematics", "action"), rows)


def show_text(robot: Embodiment) -> str:
    """Everything that is known of one robot."""
    label = _OF_LABEL.get(robot.name)
    lines = [
        f"{robot.name}: {robot.morphology}, {robot.control_hz:g} Hz" + (f"; {label} of Open X-Embodiment" if label else "")
    ]
    lines += ["cameras", *(_camera_lines(robot) or ["  none"])]
    lines += ["state", *([f"  {_field(f)}" for f in robot.proprio] or ["  nothing is measured"])]
    lines += ["action", *(f"  {_field(f)}" for f in robot.action.fields)]
    lines += _limits_lines(robot.limits)
    lines += ["kinematics", *_kinematics_lines(robot)]
    return "\n".join(lines)


def _camera_lines(robot: Embodiment) -> list[str]:
    return [
        f"  {c.role}: {c.resolution[0]} x {c.resolution[1]} {c.channel_order}" + (f", {c.mounting}" if c.mounting else "")
        for c in robot.cameras
    ]


def _limits_lines(limits: Limits) -> list[str]:
    lines = [
        "limits",
        f"  workspace {_numbers(limits.workspace_low_m)} .. {_numbers(limits.workspace_high_m)} m, base frame",
        f"  step {limits.max_step_m:.3g} m, {limits.max_step_rad:.3g} rad; velocity {limits.max_velocity_m_s:.3g} m/s; "
        f"acceleration {limits.max_acceleration_m_s2:.3g} m/s2",
    ]
    source = textwrap.wrap(f"source: {limits.source or 'unknown'}", 120, subsequent_indent="    ", break_long_words=False)
    return [*lines, *(f"  {line}" for line in source)]


def _kinematics_lines(robot: Embodiment) -> list[str]:
    kinematics, limits = robot.kinematics, robot.limits
    if kinematics is None:
        lines = ["  none that rtx loads"]
        joints: Sequence[str] = [f"joint {i}" for i in range(len(limits.joint_low_rad))]
    else:
        base = f"body {kinematics.base!r}" if kinematics.base else "the description's world"
        lines = [f"  {kinematics.source}: gripper point {kinematics.tip!r}, poses in {base}"]
        joints = kinematics.joints
    table = _joint_table(joints, limits, kinematics)
    return [*lines, *(f"  {line}" for line in table.splitlines())]


def _joint_table(joints: Sequence[str], limits: Limits, kinematics: Kinematics | None) -> str:
    if not joints:
        return ""
    unknown = ("?",) * len(joints)
    columns = (
        joints,
        _angles(limits.joint_low_rad) or unknown,
        _angles(limits.joint_high_rad) or unknown,
        _angles(limits.max_joint_velocity_rad_s) or unknown,
        _angles(kinematics.home if kinematics else ()) or unknown,
    )
    rows = list(zip(*columns, strict=True))
    return text_table(("joint", "low rad", "high rad", "at most rad/s", "home rad"), rows)


def _angles(values: Sequence[float]) -> tuple[str, ...]:
    return tuple(f"{value:.4g}" if math.isfinite(value) else "turns on" for value in values)


def _numbers(values: Sequence[float]) -> str:
    return "(" + ", ".join(f"{value:g}" for value in values) + ")"


def _field(field: Field) -> str:
    parts = [f"{field.name}[{field.width}]", field.unit if field.unit != "1" else "", field.rotation or ""]
    if field.frame != "none":
        parts.append(f"{field.frame} frame")
    if field.name.endswith("gripper") or (isinstance(field, ActionField) and field.kind == "gripper"):
        parts.append(f"closed {field.closed:g}, open {field.opened:g}")
    return " ".join(part for part in parts if part)
