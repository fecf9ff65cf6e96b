"""A robot that does exactly what its native commands say, and a witness who checks each of them with other code than ours.

Rotations by scipy, conversions written anew from what `rtx.embodiment` says of a field: nothing of `rtx.robots.adapter`,
`rtx.robots.rotations` or `rtx.robots.safety` is used.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from scipy.spatial.transform import Rotation

from rtx.drivers.driver import RobotState
from rtx.errors import WorldError

ID = 1 << 20  # gripper openings of k / ID tell which command this was; exact in float32
_TO_SI = {"m": 1.0, "cm": 0.01, "mm": 0.001, "rad": 1.0, "deg": np.pi / 180, "1": 1.0}
SLACK = 1e-5
SIDES = ("", "left_")


def side_of(field):
    """Of two arms the right one's fields have no prefix."""
    return "left_" if field.name.startswith("left_") else ""


def turn(field, value):
    value = np.asarray(value, float) * (_TO_SI[field.unit] if field.unit in ("rad", "deg") else 1.0)
    if field.rotation == "rpy":
        return Rotation.from_euler("xyz", value)
    if field.rotation == "axis_angle":
        return Rotation.from_rotvec(value)
    if field.rotation == "quat_wxyz":
        return Rotation.from_quat(np.roll(value, -1))
    assert field.rotation == "quat_xyzw"
    return Rotation.from_quat(value)


def form(field, rotation):
    if field.rotation == "rpy":
        return rotation.as_euler("xyz") / _TO_SI[field.unit]
    if field.rotation == "axis_angle":
        return rotation.as_rotvec() / _TO_SI[field.unit]
    quat = rotation.as_quat()
    return np.roll(quat, 1) if field.rotation == "quat_wxyz" else quat


class Hand:
    """Where one gripper point is, in its own arm's base frame, and how fast it goes."""

    def __init__(self, position):
        self.position, self.rotation, self.velocity = position, Rotation.from_euler("xyz", [3.0, 0.1, 0.2]), np.zeros(3)


class PointArm:
    """A driver whose arm, or two, is where it was sent, at once. `clock()` is the test's; `problems` what the witness saw.

    `cheat` makes it lie about itself or fail; a test that plants a wrong filter must see `problems`.
    """

    def __init__(self, embodiment, clock, *, limits=None):
        self.embodiment, self.clock = embodiment, clock
        self.limits = limits or embodiment.limits
        low, high = np.array(self.limits.workspace_low_m), np.array(self.limits.workspace_high_m)
        self.hands, self.opening = {side: Hand((low + high) / 2) for side in SIDES}, 1.0
        self.num_joints = sum(f.width for f in embodiment.action.fields if f.kind.startswith("joint"))
        self.joints = np.zeros(self.num_joints)
        self.openings = {}
        self.joint_velocity, self.last_ns = np.zeros(self.num_joints), None
        self.commands, self.holds, self.stops, self.connects = 0, 0, 0, 0
        self.problems, self.executed_ids, self.is_armed = [], [], False
        self.fails = False

    @property
    def position(self):
        """Of the only hand, or of the right one."""
        return self.hands[""].position

    @position.setter
    def position(self, position):
        self.hands[""].position = position

    @property
    def velocity(self):
        return self.hands[""].velocity

    def connect(self):
        self.connects += 1
        self.is_armed = True

    def read(self):
        if self.fails:
            raise WorldError("the cable is loose")
        parts, seen = [], 0
        for field in self.embodiment.proprio:
            if field.name.endswith("eef_pos"):
                parts.append(self.hands[side_of(field)].position / _TO_SI[field.unit])
            elif field.name.endswith("eef_rot"):
                parts.append(form(field, self.hands[side_of(field)].rotation))
            elif field.frame == "joint":
                parts.append(self.joints[seen : seen + field.width] / _TO_SI[field.unit])
                seen += field.width
            else:
                opening = self.openings.get(field.name, self.opening)
                parts.append([field.closed + opening * (field.opened - field.closed)])
        return RobotState(images={}, proprio=np.concatenate(parts).astype(float), stamp_ns=self.clock())

    def hold(self):
        self.holds += 1
        self.joint_velocity, self.last_ns = np.zeros(self.num_joints), self.clock()
        for hand in self.hands.values():
            hand.velocity = np.zeros(3)

    def soft_stop(self):
        self.stops += 1
        self.is_armed = False
        self.hold()

    def close(self):
        self.soft_stop()

    def command(self, native):
        if not self.is_armed:
            self.problems.append("commanded while stopped")
        if native.shape != (self.embodiment.action.width,) or not np.all(np.isfinite(native)):
            self.problems.append(f"not a finite vector of the right width: {native}")
            return
        self.commands += 1
        period = 1 / self.embodiment.control_hz
        dt = period if self.last_ns is None else (self.clock() - self.last_ns) * 1e-9
        if dt < 0.49 * period:
            self.problems.append(f"{dt} s after the last one")
        forgets = self.last_ns is None or dt > 2.5 * period
        dt = min(dt, period)
        start, joint, before = 0, 0, {side: (hand.position.copy(), hand.rotation) for side, hand in self.hands.items()}
        for field in self.embodiment.action.fields:
            value = native[start : start + field.width]
            start += field.width
            hand, (was_at, was_turned) = self.hands[side_of(field)], before[side_of(field)]
            if field.kind in ("delta_pos", "abs_pos"):
                metres = value * _TO_SI[field.unit]
                moved = metres - was_at if field.kind == "abs_pos" else metres
                self._move(hand, was_turned.apply(moved) if field.frame == "tool" else moved, dt, forgets)
            elif field.kind in ("delta_rot", "abs_rot"):
                self._turn(hand, field, value, was_turned, dt / period)
            elif field.kind in ("joint_pos", "joint_delta"):
                self._joint(field, value * _TO_SI[field.unit], slice(joint, joint + field.width), dt, forgets)
                joint += field.width
            elif field.kind == "gripper":
                self._grip(field, float(value[0]))
        self.last_ns = self.clock()

    def _move(self, hand, moved, dt, forgets):
        low, high = np.array(self.limits.workspace_low_m), np.array(self.limits.workspace_high_m)
        target, velocity = hand.position + moved, moved / dt
        tol = SLACK * self.limits.max_step_m
        if np.any(target < np.minimum(low, hand.position) - tol) or np.any(target > np.maximum(high, hand.position) + tol):
            self.problems.append(f"leaves the box: {hand.position} -> {target}")
        if np.linalg.norm(moved) > self.limits.max_step_m * (1 + SLACK):
            self.problems.append(f"step of {np.linalg.norm(moved)} m")
        if np.linalg.norm(velocity) > self.limits.max_velocity_m_s * (1 + SLACK):
            self.problems.append(f"{np.linalg.norm(velocity)} m/s")
        before = np.zeros(3) if forgets else hand.velocity
        # braking is free: the change counts from the nearest slower version of the present velocity
        shares = np.linspace(0, 1, 2001)
        change = np.min(np.linalg.norm(velocity[None] - shares[:, None] * before[None], axis=1))
        fine = self.limits.max_acceleration_m_s2 * dt + np.linalg.norm(before) / 2000
        if change > fine * (1 + SLACK) + 1e-7:
            self.problems.append(f"velocity changes by {change} m/s in {dt} s")
        hand.position, hand.velocity = target, velocity

    def _turn(self, hand, field, value, before, share):
        if field.kind == "abs_rot":
            after = turn(field, value)
        else:
            after = before * turn(field, value) if field.frame == "tool" else turn(field, value) * before
        angle = (after * before.inv()).magnitude()
        if angle > self.limits.max_step_rad * share * (1 + 1e-4) + 1e-6:
            self.problems.append(f"turns by {angle} rad")
        hand.rotation = after

    def _joint(self, field, value, at, dt, forgets):
        target = value if field.kind == "joint_pos" else self.joints[at] + value
        limits, arms = self.limits, self.num_joints
        low, high, speed = (
            np.resize(np.array(x or (default,)), arms)[at]
            for x, default in (
                (limits.joint_low_rad, -np.inf), (limits.joint_high_rad, np.inf),
                (limits.max_joint_velocity_rad_s, limits.max_step_rad * self.embodiment.control_hz),
            )
        )  # fmt: skip
        if np.any(target < np.minimum(low, self.joints[at]) - 1e-6) or np.any(
            target > np.maximum(high, self.joints[at]) + 1e-6
        ):
            self.problems.append(f"joint targets {target} outside {low} .. {high}")
        velocity = (target - self.joints[at]) / dt
        if np.any(np.abs(velocity) > speed * (1 + 1e-4) + 1e-5):
            self.problems.append(f"joint speeds {velocity}, at most {speed}")
        self.joints[at], self.joint_velocity[at] = target, velocity

    def _grip(self, field, value):
        opening = (value - field.closed) / (field.opened - field.closed)
        if not -1e-6 <= opening <= 1 + 1e-6:
            self.problems.append(f"gripper at {opening}")
        self.openings[field.name] = opening
        self.opening = opening
        if not field.name.startswith("left_"):
            self.executed_ids.append((round(opening * ID), self.clock()))


class Clock:
    """The test's time, ns."""

    def __init__(self, now_ns=10**12):
        self.now_ns = now_ns

    def __call__(self):
        return self.now_ns

    def advance(self, seconds):
        self.now_ns += round(seconds * 1e9)


def widened(limits, factor):
    """Limits that are no match for these: what a broken filter might use."""
    return dataclasses.replace(
        limits, max_step_m=limits.max_step_m * factor, max_velocity_m_s=limits.max_velocity_m_s * factor,
        max_step_rad=min(limits.max_step_rad * factor, 3.0), max_acceleration_m_s2=limits.max_acceleration_m_s2 * factor,
        workspace_low_m=tuple(x - 1 for x in limits.workspace_low_m),
        workspace_high_m=tuple(x + 1 for x in limits.workspace_high_m),
    )  # fmt: skip
