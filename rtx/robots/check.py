"""Looks a robot's record over before it moves anything: units, ranges, limits, names, cameras, rate, kinematics, a dry run.

A record that loads is already whole (`rtx.embodiment` refuses what contradicts itself). This looks for what is whole and still
wrong: millimetres for metres, degrees for radians, a box without the home pose, a step that the speed limit forbids.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path

from rtx.embodiment import ActionField, Camera, Embodiment, Field, Limits, field_slices
from rtx.errors import UserError
from rtx.robots.adapter import make_adapter
from rtx.robots.dry_run import try_kinematics
from rtx.robots.findings import Finding, Report, note, problem
from rtx.robots.grippers import GRIPPER_UNITS
from rtx.robots.units import METRES, RADIANS

_LENGTHS, _ANGLES = tuple(METRES), tuple(RADIANS)
_SPEEDS, _TURN_SPEEDS = tuple(f"{unit}/s" for unit in METRES), tuple(f"{unit}/s" for unit in RADIANS)
_UNITS: dict[str, tuple[str, ...]] = {
    "delta_pos": (*_LENGTHS, *_SPEEDS), "abs_pos": _LENGTHS, "delta_rot": (*_ANGLES, *_TURN_SPEEDS), "abs_rot": _ANGLES,
    "joint_pos": _ANGLES, "joint_delta": _ANGLES, "joint_vel": _TURN_SPEEDS,
    "base_delta_pos": _LENGTHS, "base_delta_rot": _ANGLES, "base_vel": (*_SPEEDS, *_TURN_SPEEDS),
    "gripper": GRIPPER_UNITS, "terminate": ("1",),
}  # fmt: skip
_FRAMES: dict[str, tuple[str, ...]] = {
    "delta_pos": ("base", "tool"), "delta_rot": ("base", "tool"), "abs_pos": ("base",), "abs_rot": ("base",),
}  # fmt: skip
_NO_ANGLE = ("quat_wxyz", "quat_xyzw", "rot6d")
_JOINT_KINDS = ("joint_pos", "joint_delta", "joint_vel")
_LARGEST_BOX_M, _SMALLEST_BOX_M = 4.0, 0.02
_LONGEST_STEP_M, _FASTEST_M_S, _STRONGEST_M_S2 = 0.5, 3.0, 50.0
_WIDEST_JOINT_RAD, _FASTEST_JOINT_RAD_S = 4 * math.pi, 25.0
_SLACK = 1e-6  # relative: numbers typed with a few digits


def check_robot(robot: Embodiment, *, file: Path | None = None) -> Report:
    """What is wrong with a record, and a dry run of its arm where its kinematics load. `file`: the user's, for line numbers.

    Never raises for what is wrong with the robot: that is in the report.
    """
    findings = [
        *_camera_findings(robot.cameras),
        *_rate_findings(robot),
        *_action_findings(robot),
        *_state_findings(robot),
        *_limit_findings(robot.limits, robot.control_hz),
        *_joint_limit_findings(robot),
        *_adapter_findings(robot),
    ]
    looked_at = ["cameras", "control rate", "units and frames", "grippers", "limits", "adapter"]
    sound = not any(finding.level == "problem" for finding in findings)  # else motions would show that and nothing more
    trial = try_kinematics(robot, move=sound)
    if trial.loaded:
        looked_at += ["kinematic description", "joint limits against it", "home"]
    if trial.moves:
        looked_at.append(f"{len(trial.moves)} motions in simulation")
    elif trial.loaded and not sound:
        findings.append(note("kinematics", "the dry run is left out until the rest is mended"))
    return Report(
        name=robot.name, looked_at=tuple(looked_at), findings=(*findings, *trial.findings), moves=trial.moves, file=file
    )  # fmt: skip


def _camera_findings(cameras: Sequence[Camera]) -> Iterator[Finding]:
    if not cameras:
        yield note("cameras", "none: policies that see need at least one, roles primary or wrist are the usual ones")
    for camera in cameras:
        where, (height, width) = f"cameras.{camera.role}", camera.resolution
        if not (16 <= height <= 8192 and 16 <= width <= 8192):
            yield problem(where, f"resolution {camera.resolution} px; expected (height, width), each 16 to 8192")
        elif height > width:
            yield note(
                where, f"resolution {camera.resolution} is taller than wide; it is (height, width) as the driver delivers"
            )
    if cameras and not {"primary", "wrist"} & {camera.role for camera in cameras}:
        yield note("cameras", "neither primary nor wrist: models trained on public data know those two best")


def _rate_findings(robot: Embodiment) -> Iterator[Finding]:
    if not 0.1 <= robot.control_hz <= 1000:
        yield problem("control_hz", f"{robot.control_hz:g}; expected commands a second, 0.1 to 1000. Is this a period?")
    elif robot.control_hz > 60:
        yield note(
            "control_hz", f"{robot.control_hz:g}: policies answer 1 to 50 times a second, between answers is interpolated"
        )


def _action_findings(robot: Embodiment) -> Iterator[Finding]:
    for field in robot.action.fields:
        where = f"action.{field.name}"
        yield from _unit_findings(where, field, _UNITS[field.kind])
        frames = _FRAMES.get(field.kind)
        if frames and field.frame not in frames:
            yield problem(where, f"frame {field.frame!r}; a {field.kind} is in {' or '.join(frames)}")
        if field.kind.endswith("_rot") and field.rotation is None and not field.kind.startswith("base") and field.width > 1:
            yield problem(where, "says no rotation; expected rpy, axis_angle, quat_wxyz, quat_xyzw or rot6d")
        if field.kind == "gripper":
            yield from _gripper_findings(where, field)


def _unit_findings(where: str, field: Field, units: tuple[str, ...]) -> Iterator[Finding]:
    if field.rotation in _NO_ANGLE:
        units = ("1",)
    if field.unit not in units:
        yield problem(where, f"unit {field.unit!r}; expected {', '.join(units)}")


def _gripper_findings(where: str, field: ActionField) -> Iterator[Finding]:
    low, high = min(field.closed, field.opened), max(field.closed, field.opened)
    if not (field.low <= low and high <= field.high):
        yield problem(
            where,
            f"closed {field.closed:g} and opened {field.opened:g} are not within low {field.low:g} .. high {field.high:g}; "
            "make the bounds these two values",
        )
    if field.unit == "1" and high - low > 2:
        yield note(where, f"closed {field.closed:g}, opened {field.opened:g} without a unit; is it percent?")


def _state_findings(robot: Embodiment) -> Iterator[Finding]:
    names = [field.name for field in robot.proprio]
    for name in {name for name in names if names.count(name) > 1}:
        yield problem(f"proprio.{name}", "two fields of this name; each needs its own")
    for field in robot.proprio:
        where, base = f"proprio.{field.name}", field.name.removeprefix("left_")
        if base == "eef_pos":
            yield from _unit_findings(where, field, _UNITS["abs_pos"])
        elif base == "eef_rot":
            yield from _unit_findings(where, field, _UNITS["abs_rot"])
        elif base.startswith("joint_pos"):
            yield from _unit_findings(where, field, _UNITS["joint_pos"])
        elif base == "gripper" and field.closed == field.opened:
            yield problem(where, f"closed and opened are both {field.closed:g}; measure one of each")
    if not robot.proprio:
        yield problem(
            "proprio", "nothing is measured; the safety filter needs eef_pos, or joint angles, to know where the arm is"
        )


def _limit_findings(limits: Limits, hz: float) -> Iterator[Finding]:
    sizes = [high - low for low, high in zip(limits.workspace_low_m, limits.workspace_high_m, strict=True)]
    if max(sizes) > _LARGEST_BOX_M:
        yield problem(
            "limits.workspace_high_m", f"the box is {max(sizes):g} m wide; no arm reaches that. Are these millimetres?"
        )
    if min(sizes) < _SMALLEST_BOX_M:
        yield note("limits.workspace_low_m", f"the box is only {min(sizes):g} m wide: the arm will hardly move there")
    if limits.max_step_m > _LONGEST_STEP_M:
        text = f"{limits.max_step_m:g} m in one action; expected at most {_LONGEST_STEP_M:g}. Millimetres?"
        yield problem("limits.max_step_m", text)
    if limits.max_step_rad > math.pi:
        yield problem(
            "limits.max_step_rad", f"{limits.max_step_rad:g} rad in one action is over half a turn. Are these degrees?"
        )
    yield from _speed_findings(limits, hz)
    if not limits.source:
        yield note("limits.source", "empty; write down where the numbers come from, for whoever runs this robot next")


def _speed_findings(limits: Limits, hz: float) -> Iterator[Finding]:
    speed = limits.max_step_m * hz
    if speed > limits.max_velocity_m_s * (1 + _SLACK):
        yield problem(
            "limits.max_step_m",
            f"{limits.max_step_m:g} m in each of {hz:g} actions a second is {speed:g} m/s, over max_velocity_m_s "
            f"{limits.max_velocity_m_s:g}; at most {limits.max_velocity_m_s / hz:.4g} m fits (velocity / control_hz)",
        )
    if limits.max_velocity_m_s > _FASTEST_M_S:
        yield problem(
            "limits.max_velocity_m_s",
            f"{limits.max_velocity_m_s:g} m/s; expected at most {_FASTEST_M_S:g}, and beside people 0.25 to 0.5. Millimetres?",
        )
    if limits.max_acceleration_m_s2 > _STRONGEST_M_S2:
        yield note("limits.max_acceleration_m_s2", f"{limits.max_acceleration_m_s2:g} m/s2 is over five times gravity")
    elif (seconds := limits.max_velocity_m_s / limits.max_acceleration_m_s2) > 2:
        yield note("limits.max_acceleration_m_s2", f"full speed takes {seconds:.1f} s: motions will lag behind their commands")


def _joint_limit_findings(robot: Embodiment) -> Iterator[Finding]:
    limits = robot.limits
    low, high, speed = limits.joint_low_rad, limits.joint_high_rad, limits.max_joint_velocity_rad_s
    width = sum(field.width for field in robot.action.fields if field.kind in _JOINT_KINDS)
    if width and not low:
        yield problem("limits.joint_low_rad", f"empty, and {width} joints are commanded; give each its range, rad")
    for name, values in (("joint_low_rad", low), ("max_joint_velocity_rad_s", speed)):
        if width and values and width % len(values):
            yield problem(f"limits.{name}", f"{len(values)} values for {width} joints in the action")
    if width and not speed:
        yield note("limits.max_joint_velocity_rad_s", "empty: no joint will turn faster than max_step_rad in one period")
    widest = max((abs(value) for value in (*low, *high) if math.isfinite(value)), default=0.0)
    if widest > _WIDEST_JOINT_RAD:
        yield problem("limits.joint_low_rad", f"{widest:g} rad is over two turns. Are these degrees?")
    if speed and max(speed) > _FASTEST_JOINT_RAD_S:
        yield problem("limits.max_joint_velocity_rad_s", f"{max(speed):g} rad/s. Are these degrees a second?")


def _adapter_findings(robot: Embodiment) -> Iterator[Finding]:
    try:
        layout = make_adapter(robot).layout
    except UserError as error:
        if "pip install" in str(error):
            yield note("action", f"its adapter was not tried: {error}")
        else:
            yield problem("action", f"policies cannot drive it: {error}")
        return
    for where, what, fields, mask in (
        ("action", "commanded", layout.action.fields, layout.action_mask),
        ("proprio", "measured", layout.proprio, layout.proprio_mask),
    ):
        if unknown := [name for name, at in field_slices(fields).items() if not any(mask[at])]:
            yield note(
                where, f"{', '.join(unknown)} not {what}: only policies that were trained without can drive it, such as those "
                "of its own data"
            )  # fmt: skip
