"""One arm's command in the fields of one vector as the same command in the fields of another: pose, joints, gripper.

    source fields --> motion d (m), D of a pose in the base frame, or joints q* --> target fields

    delta_pos   base: p* = p + d        tool: p* = p + R d        abs_pos: p* itself
    delta_rot   base: R* = D R          tool: R* = R D            abs_rot: R* itself
    joint_pos   q*                      joint_delta: q* = q + d   joint_vel: q* = q + v T
    pose to joints: inverse kinematics from the measured joints; joints to pose: forward kinematics of both
    gripper     closed + opening (opened - closed)

p, R, q are measured, T is the control period; units of length and angle, and "/s" after them, are the fields' own. What the
source does not command stands still, and its gripper stays as it is measured.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from rtx.embodiment import ActionField
from rtx.robots import grippers, rotations
from rtx.robots.kinematics import ArmKinematics, Solution
from rtx.robots.measured import Measured
from rtx.robots.parts import Arm
from rtx.robots.units import METRES, RADIANS, per_unit, unit_problem

Values = Mapping[str, np.ndarray]


class ArmMotion:
    """Converts from `source` to `target`. `kinematics` is called when a pose becomes joints or the other way."""

    def __init__(self, source: Arm, target: Arm, *, period_s: float, kinematics: Callable[[], ArmKinematics] | None) -> None:
        self._source, self._target = source, target
        self._period_s, self._kinematics = period_s, kinematics

    def needs(self) -> set[str]:
        """What has to be measured, of "pose", "joints" and "gripper"; and whether it takes "kinematics"."""
        source, target = self._source, self._target
        needs = set()
        fields = [field for field in (source.pos, source.rot, target.pos, target.rot) if field is not None]
        if any(field.frame == "tool" or field.kind.startswith("abs_") for field in fields):
            needs.add("pose")
        if _has_pose(target) and not _has_pose(source) and source.joints:
            needs |= {"joints", "kinematics"}
        if target.joints and not source.joints:
            needs |= {"joints", "kinematics"} if _has_pose(source) else {"joints"}
        if target.joints and source.joints and (target.joints.kind == "joint_pos") != (source.joints.kind == "joint_pos"):
            needs.add("joints")
        if target.gripper and not source.gripper:
            needs.add("gripper")
        return needs

    def __call__(self, values: Values, measured: Measured) -> tuple[dict[str, np.ndarray], tuple[Solution, ...]]:
        """The target's values by field, and how each pose of the batch came to joints."""
        target, out = self._target, dict[str, np.ndarray]()
        solutions: tuple[Solution, ...] = ()
        if target.pos or target.rot:
            motion = self._motion(values, measured)
            if target.pos:
                out[target.pos.name] = self._position_out(target.pos, motion[0], measured)
            if target.rot:
                out[target.rot.name] = self._rotation_out(target.rot, motion[1], measured)
        if target.joints:
            out[target.joints.name], solutions = self._joints_out(target.joints, values, measured)
        if target.gripper:
            gripper = self._source.gripper
            opening = grippers.from_unit(values[gripper.name], gripper) if gripper else measured.opening
            out[target.gripper.name] = grippers.to_unit(opening, target.gripper)
        return out, solutions

    def _motion(self, values: Values, measured: Measured) -> tuple[np.ndarray, np.ndarray]:
        """Of the pose, base frame: metres and a rotation."""
        source = self._source
        if source.joints and not _has_pose(source):
            (position, turn), (to, turned) = measured.kinematic_pose, measured.forward(self._joint_target(values, measured))
            return to - position, turned @ rotations.transpose(turn)
        return self._position_in(values, measured), self._rotation_in(values, measured)

    def _position_in(self, values: Values, measured: Measured) -> np.ndarray:
        field = self._source.pos
        if field is None:
            return np.zeros(3)
        metres = values[field.name] * per_unit(field, METRES, self._period_s)
        if field.kind == "abs_pos":
            return metres - measured.position
        return _rotated(measured.rotation, metres) if field.frame == "tool" else metres

    def _rotation_in(self, values: Values, measured: Measured) -> np.ndarray:
        field = self._source.rot
        if field is None:
            return np.eye(3)
        assert field.rotation is not None  # checked when the adapter was made
        turn = rotations.to_matrix(values[field.name] * per_unit(field, RADIANS, self._period_s), field.rotation)
        if field.kind == "abs_rot":
            return turn @ rotations.transpose(measured.rotation)
        return measured.rotation @ turn @ rotations.transpose(measured.rotation) if field.frame == "tool" else turn

    def _position_out(self, field: ActionField, move: np.ndarray, measured: Measured) -> np.ndarray:
        if field.kind == "abs_pos":
            move = measured.position + move
        elif field.frame == "tool":
            move = _rotated(rotations.transpose(measured.rotation), move)
        return move / per_unit(field, METRES, self._period_s)

    def _rotation_out(self, field: ActionField, turn: np.ndarray, measured: Measured) -> np.ndarray:
        if field.kind == "abs_rot":
            turn = turn @ measured.rotation
        elif field.frame == "tool":
            turn = rotations.transpose(measured.rotation) @ turn @ measured.rotation
        assert field.rotation is not None  # checked when the adapter was made
        return rotations.from_matrix(turn, field.rotation) / per_unit(field, RADIANS, self._period_s)

    def _joint_target(self, values: Values, measured: Measured) -> np.ndarray:
        field = self._source.joints
        assert field is not None
        angles = values[field.name] * per_unit(field, RADIANS, self._period_s)
        return angles if field.kind == "joint_pos" else measured.joints + angles

    def _joints_out(self, field: ActionField, values: Values, measured: Measured) -> tuple[np.ndarray, tuple[Solution, ...]]:
        source, unit = self._source.joints, per_unit(field, RADIANS, self._period_s)
        solutions: tuple[Solution, ...] = ()
        if source is not None:
            if (source.kind == "joint_pos") == (field.kind == "joint_pos"):  # nothing measured enters
                return values[source.name] * per_unit(source, RADIANS, self._period_s) / unit, ()
            target = self._joint_target(values, measured)
        elif _has_pose(self._source):
            target, solutions = self._inverse(*self._motion(values, measured), measured)
        else:
            target = measured.joints
        return (target if field.kind == "joint_pos" else target - measured.joints) / unit, solutions

    def _inverse(self, move: np.ndarray, turn: np.ndarray, measured: Measured) -> tuple[np.ndarray, tuple[Solution, ...]]:
        """Joints for the end of the period, one after the other for a batch."""
        assert self._kinematics is not None  # checked when the adapter was made
        arm, (position, rotation) = self._kinematics(), measured.kinematic_pose
        to, turned = position + move, turn @ rotation
        leading = np.broadcast_shapes(to.shape[:-1], turned.shape[:-2])
        starts = np.broadcast_to(measured.joints, (*leading, arm.num_joints)).reshape(-1, arm.num_joints)
        to = np.broadcast_to(to, (*leading, 3)).reshape(-1, 3)
        turned = np.broadcast_to(turned, (*leading, 3, 3)).reshape(-1, 3, 3)
        solutions = tuple(arm.solve(p, r, start=q, period_s=self._period_s) for p, r, q in zip(to, turned, starts, strict=True))
        return np.array([solution.joints for solution in solutions]).reshape(*leading, arm.num_joints), solutions


def arm_problems(arm: Arm) -> list[str]:
    """What is wrong with an arm's fields by themselves."""
    problems = []
    for field in (arm.pos, arm.rot, arm.joints, arm.gripper):
        if field is not None and (problem := _field_problem(field)):
            problems.append(f"action field {field.name!r} ({field.kind}) {problem}")
    return problems


def _field_problem(field: ActionField) -> str | None:
    if field.kind == "gripper":
        if field.width != 1:
            return f"has width {field.width}, expected 1"
        known = field.unit in grippers.GRIPPER_UNITS
        return None if known else f"has unit {field.unit!r}, expected one of {', '.join(grippers.GRIPPER_UNITS)}"
    if field.kind.startswith("joint"):
        problem = unit_problem(field, RADIANS, velocity=field.kind == "joint_vel")
        still = field.kind == "joint_vel" and not field.unit.endswith("/s")
        return f"has unit {field.unit!r}, expected rad/s or deg/s" if still else problem
    position = field.kind.endswith("_pos")
    if position and field.width != 3:
        return f"has width {field.width}, expected 3"
    frames = ("base",) if field.kind.startswith("abs_") else ("base", "tool")
    if field.frame not in frames:
        return f"is in frame {field.frame!r}, expected {' or '.join(frames)}"
    if not position and field.rotation is None:
        return "does not say its rotation form"
    return unit_problem(field, METRES if position else RADIANS, velocity=field.kind.startswith("delta_"))


def _has_pose(arm: Arm) -> bool:
    return arm.pos is not None or arm.rot is not None


def _rotated(matrix: np.ndarray, vector: np.ndarray) -> np.ndarray:
    return (matrix @ vector[..., None])[..., 0]
