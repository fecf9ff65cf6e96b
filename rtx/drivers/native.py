"""Between an embodiment's native vectors and what an arm's SDK takes: joint angles or a pose, and a gripper's opening.

    native action --Translator.target--> Target(joints rad | position m + rotation, opening 0..1) --> SDK
    native proprio <--Translator.proprio-- Measured(joints rad, position m + rotation, opening 0..1) <-- SDK

Deltas are composed with what is measured now, as `rtx.robots.adapter` says; a joint velocity becomes the angle it leads to in
one control period, so that an arm whose computer dies stands still instead of turning on. An arm that knows joints only
takes poses too if its embodiment has `kinematics`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from rtx.embodiment import ActionField, Embodiment, Field, field_slices
from rtx.errors import UserError, WorldError
from rtx.robots import rotations

if TYPE_CHECKING:  # it brings a solver
    from rtx.robots.kinematics import ArmKinematics

_METRES = {"m": 1.0, "cm": 0.01, "mm": 0.001}
_RADIANS = {"rad": 1.0, "deg": np.pi / 180, "rad/s": 1.0, "deg/s": np.pi / 180}
_JOINT_KINDS = ("joint_pos", "joint_delta", "joint_vel")
_POSE_KINDS = ("delta_pos", "abs_pos", "delta_rot", "abs_rot")
LEFT = "left_"
_AHEAD = 3.0  # periods of full speed that a target may lie ahead of the measured arm: servo lag, and some
_BEYOND_RAD, _BEYOND_M = 0.02, 0.005  # past a limit; what rounding and lag explain


@dataclass(frozen=True, kw_only=True)
class Measured:
    """One arm now. Pose of the gripper point in the base frame, None where the SDK has none. `opening` 0 closed, 1 open."""

    joints: Float[np.ndarray, " j"]  # rad
    position: Float[np.ndarray, 3] | None = None  # m
    rotation: Float[np.ndarray, "3 3"] | None = None
    opening: float = 1.0
    stamp_ns: int = 0


@dataclass(frozen=True, kw_only=True)
class Target:
    """Where the arm is to be at the end of this control period: joints, or a pose of the gripper point. None: as it is."""

    joints: Float[np.ndarray, " j"] | None = None  # rad
    position: Float[np.ndarray, 3] | None = None  # m, base frame
    rotation: Float[np.ndarray, "3 3"] | None = None
    opening: float | None = None  # of the gripper; 0 closed, 1 open


@dataclass(frozen=True, kw_only=True)
class ArmModel:
    """What one SDK can do. `takes_pose`: it solves poses itself; `knows_pose`: it reports the gripper point's."""

    name: str
    num_joints: int
    takes_pose: bool
    knows_pose: bool
    has_gripper: bool


class Translator:
    """For one arm of an embodiment: the fields whose names start with `prefix`, "left_", or "" for those without it.

    Raises UserError when made, with every field that this arm cannot take or measure.
    """

    def __init__(self, embodiment: Embodiment, arm: ArmModel, *, prefix: str = "") -> None:
        self._embodiment, self._arm, self._prefix = embodiment, arm, prefix
        self._period_s = 1 / embodiment.control_hz
        self._at, self._state_at = field_slices(embodiment.action.fields), field_slices(embodiment.proprio)
        self._action = [field for field in embodiment.action.fields if arm_prefix(field) == prefix]
        self._state = [field for field in embodiment.proprio if arm_prefix(field) == prefix]
        problems = self._problems()
        if problems:
            raise UserError(f"{arm.name} cannot be driven as {embodiment.name!r}: " + "; ".join(problems))
        wants_pose = not arm.takes_pose and any(field.kind in _POSE_KINDS for field in self._action)
        shows_pose = not arm.knows_pose and any(self._plain(field) in ("eef_pos", "eef_rot") for field in self._state)
        self._solver = _solver(embodiment) if wants_pose or shows_pose else None

    def target(self, native: Float[np.ndarray, " a"], measured: Measured) -> Target:
        """Raises WorldError for a target that no working guard lets through: the arm is to hold."""
        here = self._with_pose(measured)
        joints = position = rotation = opening = None
        for field in self._action:
            value = native[self._at[field.name]]
            if field.kind in _JOINT_KINDS:
                joints = self._joints(field, value, here)
            elif field.kind in ("delta_pos", "abs_pos"):
                position = _position(field, value, here)
            elif field.kind in ("delta_rot", "abs_rot"):
                rotation = _rotation(field, value, here)
            elif field.kind == "gripper":
                opening = float(np.clip((value[0] - field.closed) / (field.opened - field.closed), 0.0, 1.0))
        target = Target(joints=joints, position=position, rotation=rotation, opening=opening)
        self._fuse(target, here)
        return self._solved(target, here)

    def proprio(self, measured: Measured) -> list[tuple[slice, np.ndarray]]:
        """Where each of this arm's fields lies in the embodiment's proprio, and its value there."""
        here = self._with_pose(measured)
        return [(self._state_at[field.name], self._shown(field, here)) for field in self._state]

    def _shown(self, field: Field, here: Measured) -> np.ndarray:
        plain = self._plain(field)
        if plain == "eef_pos":
            assert here.position is not None  # checked when it was made
            return here.position / _METRES[field.unit]
        if plain == "eef_rot":
            assert here.rotation is not None
            assert field.rotation is not None
            return np.asarray(rotations.from_matrix(here.rotation, field.rotation)) / _angle_unit(field)
        if plain == "gripper":
            return np.array([field.closed + here.opening * (field.opened - field.closed)])
        return here.joints / _RADIANS[field.unit]

    def _joints(self, field: ActionField, value: np.ndarray, here: Measured) -> np.ndarray:
        angle = value * _RADIANS[field.unit]
        if field.kind == "joint_pos":
            return angle
        return here.joints + (angle * self._period_s if field.kind == "joint_vel" else angle)

    def _with_pose(self, measured: Measured) -> Measured:
        if measured.position is not None or self._solver is None:
            return measured
        pose = self._solver.pose(measured.joints)
        return Measured(
            joints=measured.joints, position=pose.position, rotation=pose.rotation, opening=measured.opening,
            stamp_ns=measured.stamp_ns,
        )  # fmt: skip

    def _solved(self, target: Target, here: Measured) -> Target:
        """A pose as joints, for an arm that takes no poses."""
        if target.position is None or self._solver is None or self._arm.takes_pose:
            return target
        assert target.rotation is not None
        solution = self._solver.solve(target.position, target.rotation, start=here.joints, period_s=self._period_s)
        return Target(joints=solution.joints, opening=target.opening)

    def _fuse(self, target: Target, here: Measured) -> None:
        if target.joints is not None:
            _check_joints(self._embodiment, target.joints, here.joints, self._period_s)
        if target.position is not None and target.rotation is not None:
            assert here.position is not None
            assert here.rotation is not None
            _check_pose(self._embodiment, target.position, target.rotation, here.position, here.rotation)

    def _plain(self, field: Field) -> str:
        return field.name.removeprefix(self._prefix)

    def _problems(self) -> list[str]:
        arm, problems = self._arm, []
        has_solver = self._embodiment.kinematics is not None
        kinds = [field.kind for field in self._action]
        joints, poses = [k for k in kinds if k in _JOINT_KINDS], [k for k in kinds if k in _POSE_KINDS]
        if not ((len(joints) == 1 and not poses) or (not joints and sorted(k[-3:] for k in poses) == ["pos", "rot"])):
            problems.append(f"its action must be joints or one position and one rotation, it is {', '.join(kinds) or 'empty'}")
        if poses and not (arm.takes_pose or has_solver):
            problems.append("this arm takes joints only; command joint_pos, or give the embodiment its kinematics")
        for field in self._action:
            problems += [f"action field {field.name!r} {why}" for why in _action_problems(field, arm)]
        for shown in self._state:
            why = _state_problem(shown, self._plain(shown), arm, has_solver=has_solver)
            problems += [f"proprio field {shown.name!r} {why}"] if why else []
        return problems


def arm_prefix(field: Field) -> str:
    """Whose arm a field is: "left_" of a robot with two; "" the right one's, or the only one's."""
    return LEFT if field.name.startswith(LEFT) else ""


def _solver(embodiment: Embodiment) -> ArmKinematics:
    from rtx.robots.kinematics import ArmKinematics

    limits = embodiment.limits
    assert embodiment.kinematics is not None  # checked among the problems
    return ArmKinematics(
        embodiment.kinematics, joint_low=limits.joint_low_rad, joint_high=limits.joint_high_rad,
        max_joint_velocity=limits.max_joint_velocity_rad_s,
    )  # fmt: skip


def _position(field: ActionField, value: np.ndarray, here: Measured) -> np.ndarray:
    metres = value * _METRES[field.unit]
    if field.kind == "abs_pos":
        return metres
    assert here.position is not None
    assert here.rotation is not None
    return here.position + (here.rotation @ metres if field.frame == "tool" else metres)


def _rotation(field: ActionField, value: np.ndarray, here: Measured) -> np.ndarray:
    assert field.rotation is not None
    turn = np.asarray(rotations.to_matrix(value * _angle_unit(field), field.rotation))
    if field.kind == "abs_rot":
        return turn
    assert here.rotation is not None
    return here.rotation @ turn if field.frame == "tool" else turn @ here.rotation


def _angle_unit(field: Field) -> float:
    return _RADIANS[field.unit] if field.rotation in ("rpy", "axis_angle") else 1.0


def _check_joints(embodiment: Embodiment, wanted: np.ndarray, here: np.ndarray, period_s: float) -> None:
    limits = embodiment.limits
    if len(limits.joint_low_rad) == len(wanted):
        low, high = np.minimum(limits.joint_low_rad, here), np.maximum(limits.joint_high_rad, here)
        for i in np.flatnonzero((wanted < low - _BEYOND_RAD) | (wanted > high + _BEYOND_RAD)):
            raise _refused(f"joint {i + 1} to {wanted[i]:.3f} rad, its limits are {low[i]:.3f} .. {high[i]:.3f}")
    speed = np.array(limits.max_joint_velocity_rad_s)
    if len(speed) == len(wanted):
        ahead = np.abs(wanted - here) - _AHEAD * speed * period_s
        for i in np.flatnonzero(ahead > _BEYOND_RAD):
            raise _refused(f"joint {i + 1} by {wanted[i] - here[i]:.3f} rad in {period_s:g} s, it may turn {speed[i]:g} rad/s")


def _check_pose(
    embodiment: Embodiment, position: np.ndarray, rotation: np.ndarray, here: np.ndarray, turned: np.ndarray
) -> None:
    limits = embodiment.limits
    low, high = np.minimum(limits.workspace_low_m, here), np.maximum(limits.workspace_high_m, here)
    if np.any(position < low - _BEYOND_M) or np.any(position > high + _BEYOND_M):
        raise _refused(f"the gripper point to {_listed(position)} m, outside its workspace {_listed(low)} .. {_listed(high)}")
    metres = float(np.linalg.norm(position - here))
    if metres > _AHEAD * limits.max_step_m + _BEYOND_M:
        raise _refused(f"the gripper point by {metres:.3f} m in one step, it may move {limits.max_step_m:g}")
    radians = float(rotations.angle(rotation @ turned.T))
    if radians > _AHEAD * limits.max_step_rad + _BEYOND_RAD:
        raise _refused(f"the gripper by {radians:.3f} rad in one step, it may turn {limits.max_step_rad:g}")


def _refused(what: str) -> WorldError:
    return WorldError(f"refused to move {what}: no working safety filter sends this; hold, and see that there is one")


def _listed(values: Sequence[float] | np.ndarray) -> str:
    return "(" + ", ".join(f"{x:.3f}" for x in values) + ")"


def _action_problems(field: ActionField, arm: ArmModel) -> list[str]:
    problems = []
    if field.kind in _JOINT_KINDS:
        if field.width != arm.num_joints:
            problems.append(f"has {field.width} joints, the arm has {arm.num_joints}")
        if field.unit not in _RADIANS:
            problems.append(f"has unit {field.unit!r}, expected one of {', '.join(_RADIANS)}")
    elif field.kind in _POSE_KINDS:
        if field.frame not in (("base",) if field.kind.startswith("abs_") else ("base", "tool")):
            problems.append(f"is in frame {field.frame!r}")
        problems += _unit_problem(field)
    elif field.kind == "gripper":
        if not arm.has_gripper:
            problems.append("has nothing to close: the driver was opened without a gripper")
    elif field.kind != "terminate":  # "terminate" ends an episode; it is no motion
        problems.append(f"({field.kind}) is nothing an arm does")
    return problems


def _state_problem(field: Field, plain: str, arm: ArmModel, *, has_solver: bool) -> str | None:
    if plain in ("eef_pos", "eef_rot"):
        if not (arm.knows_pose or has_solver):
            return "is not measured: this arm knows its joints only; ask for joint_pos, or give the embodiment its kinematics"
        return next(iter(_unit_problem(field)), None)
    if plain == "gripper":
        return None if arm.has_gripper else "is not measured: the driver was opened without a gripper"
    if field.frame == "joint" and field.width == arm.num_joints and field.unit in ("rad", "deg"):
        return None
    return f"is not measured; there are eef_pos, eef_rot, gripper and {arm.num_joints} joint angles in rad or deg"


def _unit_problem(field: Field) -> list[str]:
    if field.rotation is None:
        return [] if field.unit in _METRES and field.width == 3 else [f"has unit {field.unit!r}, expected a length"]
    return [] if field.rotation not in ("rpy", "axis_angle") or field.unit in _RADIANS else [f"has unit {field.unit!r}"]
