"""The kinematic part of a robot's check: does the description fit the record, and does the arm go where it is told?

    description loads -> joints and tip are there -> limits agree -> home within them and in the box
                      -> from home, some steps along and about each axis, solved as the adapter solves them

Nothing is drawn and no contact is computed: what is tried is where the joints go.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from rtx.embodiment import Embodiment, Kinematics, Limits
from rtx.errors import UserError, WorldError
from rtx.robots import rotations
from rtx.robots.descriptions import load_arm
from rtx.robots.findings import Finding, Move, note, problem
from rtx.robots.kinematics import ArmKinematics, Pose

STEPS = 4
LONGEST_M, LONGEST_RAD = 0.10, 0.20  # of one motion of the dry run
SHARE = 0.5  # of the longest step allowed: the longest turns may ask more of a joint than its speed limit
OFF_M, OFF_RAD = 0.005, 0.03  # what counts as having gone there
_AGREE_RAD = 0.01  # limits are typed with a few digits
_SAMPLES, _SEED = 200, 0
_AXES = ("x", "y", "z")


@dataclass(frozen=True, kw_only=True)
class Trial:
    """What came of a robot's kinematics. `loaded` is False where there are none, or where they could not be looked at."""

    loaded: bool
    findings: tuple[Finding, ...]
    moves: tuple[Move, ...] = ()


def try_kinematics(robot: Embodiment, *, move: bool = True) -> Trial:
    """`move`: with the dry run. Never raises for what is wrong with the robot: that is among the findings."""
    kinematics, limits = robot.kinematics, robot.limits
    if kinematics is None:
        return Trial(loaded=False, findings=(note("kinematics", "none given: neither joints nor motions could be tried"),))
    try:
        findings = list(_range_findings(load_arm(kinematics), kinematics, limits))
        if any(finding.level == "problem" for finding in findings):
            return Trial(loaded=True, findings=tuple(findings))
        # Where no joint speeds are named, the one that the adapter and the safety filter take.
        slowest = (limits.max_step_rad * robot.control_hz,) * len(kinematics.joints)
        arm = ArmKinematics(
            kinematics, joint_low=limits.joint_low_rad, joint_high=limits.joint_high_rad,
            max_joint_velocity=limits.max_joint_velocity_rad_s or slowest,
        )  # fmt: skip
    except (UserError, WorldError) as error:
        if isinstance(error, WorldError) or "pip install" in str(error):
            return Trial(loaded=False, findings=(note("kinematics.source", f"not tried: {error}"),))
        return Trial(loaded=False, findings=(problem("kinematics", str(error)),))
    findings += _reach_findings(arm, limits)
    if not kinematics.home:
        findings.append(note("kinematics.home", "empty: no motion could be tried; give a pose that is safe to start from, rad"))
        return Trial(loaded=True, findings=tuple(findings))
    findings += _home_findings(arm, kinematics, limits)
    if not move or any(finding.level == "problem" for finding in findings):
        return Trial(loaded=True, findings=tuple(findings))
    moves = tuple(_move(arm, robot, axis, turning) for turning in (False, True) for axis in (0, -1, 1, -2, 2, -3))
    return Trial(loaded=True, findings=(*findings, *_move_findings(arm, moves)), moves=moves)


def _range_findings(model: object, kinematics: Kinematics, limits: Limits) -> Iterator[Finding]:
    for i, name in enumerate(kinematics.joints):
        joint = model.joint(name)  # type: ignore[attr-defined]
        at = int(joint.id)
        if not limits.joint_low_rad or not model.jnt_limited[at]:  # type: ignore[attr-defined]
            continue
        low, high = (float(value) for value in joint.range)
        own_low, own_high = limits.joint_low_rad[i], limits.joint_high_rad[i]
        if own_high <= low or own_low >= high:
            yield problem(
                "limits.joint_low_rad",
                f"{name}: {own_low:g} .. {own_high:g} rad, the description has {low:.4g} .. {high:.4g}: nothing in common. "
                "Other zeros, another order, or degrees?",
            )
        elif own_low < low - _AGREE_RAD or own_high > high + _AGREE_RAD:
            yield problem(
                "limits.joint_high_rad",
                f"{name}: {own_low:g} .. {own_high:g} rad reach beyond the description's {low:.4g} .. {high:.4g}; correct the "
                "numbers, or the joints' order",
            )
    if not limits.joint_low_rad:
        yield note("limits.joint_low_rad", "empty: the description's own ranges are used")


def _reach_findings(arm: ArmKinematics, limits: Limits) -> Iterator[Finding]:
    """Sweeps the joints through their ranges and compares where the gripper point comes with the box."""
    rng = np.random.default_rng(_SEED)
    low, high = np.maximum(arm.lowest, -math.pi), np.minimum(arm.highest, math.pi)
    points = np.array([arm.pose(rng.uniform(low, high)).position for _ in range(_SAMPLES)])
    box_low, box_high = np.array(limits.workspace_low_m), np.array(limits.workspace_high_m)
    inside = np.all((points >= box_low) & (points <= box_high), axis=-1)
    if not np.any(inside):
        yield problem(
            "limits.workspace_low_m",
            f"of {_SAMPLES} poses over the joints' ranges none is in the box; the gripper point comes to "
            f"{_point(points.min(0))} .. {_point(points.max(0))} m. Another base frame, or millimetres?",
        )


def _home_findings(arm: ArmKinematics, kinematics: Kinematics, limits: Limits) -> Iterator[Finding]:
    home = np.array(kinematics.home)
    for name, value, low, high in zip(kinematics.joints, home, arm.lowest, arm.highest, strict=True):
        if not low <= value <= high:
            yield problem("kinematics.home", f"{name} stands at {value:g} rad, its range is {low:.4g} .. {high:.4g}")
    point = arm.pose(home).position
    if not np.all((point >= limits.workspace_low_m) & (point <= limits.workspace_high_m)):
        yield problem(
            "limits.workspace_low_m",
            f"the gripper point at home is {_point(point)} m, outside the box {_point(limits.workspace_low_m)} .. "
            f"{_point(limits.workspace_high_m)}; move the box or the home pose, or name the right base body",
        )


def _move(arm: ArmKinematics, robot: Embodiment, axis: int, turning: bool) -> Move:
    """`axis` 0, 1, 2 along x, y, z; -1, -2, -3 against them. Turns are about the base frame's axes, the gripper point stays."""
    limits, period_s = robot.limits, 1.0 / robot.control_hz
    sign, at = (1.0, axis) if axis >= 0 else (-1.0, -axis - 1)
    direction = sign * np.eye(3)[at]
    home = np.array(robot.kinematics.home) if robot.kinematics else np.zeros(0)
    start = arm.pose(home)
    step = (
        min(SHARE * limits.max_step_rad, LONGEST_RAD / STEPS) if turning else min(SHARE * limits.max_step_m, LONGEST_M / STEPS)
    )
    steps = STEPS if turning else min(STEPS, int(_room(start.position, direction, limits) / step + 1e-9))
    joints, fastest, reasons = home, 0.0, dict[str, None]()
    for i in range(1, steps + 1):
        target = _target(start, direction * step * i, turning)
        solution = arm.solve(target.position, target.rotation, start=joints, period_s=period_s)
        fastest = max(fastest, float(np.max(np.abs(solution.joints - joints))) / period_s)
        joints, reasons = solution.joints, reasons | dict.fromkeys(solution.reasons)
        if "unreachable" in reasons and arm.num_joints >= 6:  # nor is what lies beyond it
            break
    target, end = _target(start, direction * step * steps, turning), arm.pose(joints)
    reached = _turned(start, end, direction) if turning else float((end.position - start.position) @ direction)
    off = _angle(target.rotation, end.rotation) if turning else float(np.linalg.norm(end.position - target.position))
    there = off <= (OFF_RAD if turning else OFF_M)
    said = "at the box" if not steps else "ok" if there else ", ".join(reasons) or "off the way"
    name = f"{'turn ' if turning else ''}{'+' if sign > 0 else '-'}{_AXES[at]}"
    return Move(
        name=name, unit="rad" if turning else "m", wanted=step * steps, reached=reached, off=off, joint_speed=fastest, said=said
    )  # fmt: skip


def _move_findings(arm: ArmKinematics, moves: tuple[Move, ...]) -> Iterator[Finding]:
    short = [move for move in moves if move.said not in ("ok", "at the box")]
    stuck = [move for move in short if move.reached < 0.25 * move.wanted]
    if arm.num_joints < 6:
        if short:
            yield note("kinematics", f"{arm.num_joints} joints cannot hold every pose: {_names(short)} fell short")
        return
    if stuck:
        yield problem(
            "kinematics.home",
            f"from home the arm hardly moves: {_names(stuck)}. Is home stretched out or at a joint limit, or are joints or "
            "their limits in another order?",
        )
    elif short:
        yield note("kinematics.home", f"from home it goes only part of the way: {_names(short)}")


def _names(moves: list[Move]) -> str:
    return ", ".join(f"{move.name} ({move.said})" for move in moves)


def _target(start: Pose, way: Float[np.ndarray, " 3"], turning: bool) -> Pose:
    if turning:
        return Pose(start.position, rotations.to_matrix(way, "axis_angle") @ start.rotation)
    return Pose(start.position + way, start.rotation)


def _room(point: Float[np.ndarray, " 3"], direction: Float[np.ndarray, " 3"], limits: Limits) -> float:
    """Metres to the wall of the box."""
    wall = np.where(direction > 0, limits.workspace_high_m, limits.workspace_low_m)
    return float(np.abs((wall - point) @ np.abs(direction)))


def _turned(start: Pose, end: Pose, direction: Float[np.ndarray, " 3"]) -> float:
    return float(rotations.from_matrix(end.rotation @ start.rotation.T, "axis_angle") @ direction)


def _angle(a: Float[np.ndarray, "3 3"], b: Float[np.ndarray, "3 3"]) -> float:
    return float(np.linalg.norm(rotations.from_matrix(a @ b.T, "axis_angle")))


def _point(values: object) -> str:
    return "(" + ", ".join(f"{value:.3f}" for value in np.round(np.asarray(values), 3) + 0.0) + ")"  # no -0.000
