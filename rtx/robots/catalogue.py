"""The robots rtx knows, by name, and how they are shown to people."""

from __future__ import annotations

from collections.abc import Mapping

from rtx.errors import unknown_name
from rtx.robots.google_robot import GOOGLE_ROBOT
from rtx.robots.sim_arms import SIM_ARMS
from rtx.robots.widowx import WIDOWX_250
from rtx.spec import ActionField, Embodiment, Field
from rtx.tables import text_table

ROBOTS: Mapping[str, Embodiment] = {**SIM_ARMS, WIDOWX_250.name: WIDOWX_250, GOOGLE_ROBOT.name: GOOGLE_ROBOT}


def find(name: str) -> Embodiment:
    """Raises UserError with the nearest names if there is no such robot."""
    if name not in ROBOTS:
        raise unknown_name("robot", name, ROBOTS, hint="rtx robots list shows them all")
    return ROBOTS[name]


def list_text() -> str:
    rows = [
        (
            robot.name,
            robot.morphology,
            f"{robot.control_hz:g}",
            ", ".join(robot.roles),
            " + ".join(f"{f.name}[{f.width}]" for f in robot.action.fields),
        )
        for robot in ROBOTS.values()
    ]
    return text_table(("robot", "morphology", "Hz", "cameras", "action"), rows)


def show_text(robot: Embodiment) -> str:
    limits = robot.limits
    lines = [f"{robot.name}: {robot.morphology}, {robot.control_hz:g} Hz", "cameras"]
    lines += [f"  {c.role}: {c.resolution[0]} x {c.resolution[1]} {c.channel_order}, {c.mounting}" for c in robot.cameras]
    lines += ["state", *(f"  {_field(f)}" for f in robot.proprio)]
    lines += ["action", *(f"  {_field(f)}" for f in robot.action.fields)]
    lines += [
        f"limits ({limits.source or 'source unknown'})",
        f"  workspace {limits.workspace_low_m} .. {limits.workspace_high_m} m, base frame",
        f"  step {limits.max_step_m:g} m, {limits.max_step_rad:g} rad; velocity {limits.max_velocity_m_s:g} m/s; "
        f"acceleration {limits.max_acceleration_m_s2:g} m/s2",
    ]
    return "\n".join(lines)


def _field(field: Field) -> str:
    parts = [f"{field.name}[{field.width}]", field.unit if field.unit != "1" else "", field.rotation or ""]
    if field.frame != "none":
        parts.append(f"{field.frame} frame")
    if field.name == "gripper" or (isinstance(field, ActionField) and field.kind == "gripper"):
        parts.append(f"closed {field.closed:g}, open {field.opened:g}")
    return " ".join(part for part in parts if part)
