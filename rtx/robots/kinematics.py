"""One arm's joints and the pose of its gripper point, both ways: forward exactly, inverse within the arm's limits.

    pose wanted --quadratic programs (mink, solved by DAQP), from the measured joints--> joints for the end of this period

Each program takes one damped step that brings the gripper point nearer while every joint stays in its box:

    max(lowest, q0 - v T)  <=  q  <=  min(highest, q0 + v T)        q0 measured, v the joint's speed limit, T the period

so what comes out cannot jump, whatever pose is asked for:

    out of reach        the nearest pose within the joint limits; turning 1 rad counts as much as moving 0.2 m
    too fast            the place on the straight way there (turns by slerp) that the slowest joint reaches in time
    near a singularity  steps are damped, and v shrinks with the Jacobian's smallest singular value
    already there       no motion at all; spare joints lean towards home only in proportion to a motion that was asked for

Positions in metres and joints in rad (m for sliding ones); poses of `Kinematics.tip` in the frame of `Kinematics.base`.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike

from rtx.embodiment import Kinematics
from rtx.errors import UserError
from rtx.robots import rotations
from rtx.robots.descriptions import import_mujoco, load_arm

TURN_WEIGHT_M = 0.2  # metres that a radian is worth, where not both can be had
SINGULAR_BELOW = 0.02  # smallest singular value (m) of the weighted Jacobian; five arms at work had 0.04 to 0.13
REACHED_M, REACHED_RAD = 1e-4, 1e-3  # what counts as there
_SLOWEST = 0.1  # share of the speed limits left in a singularity, to get out of it
_DAMPING = 0.02**2  # at a singularity; fades out towards SINGULAR_BELOW (Nakamura and Hanafusa 1986)
_STOP_M = 1e-7  # weighted error at which iterating ends
_ITERATIONS = 20
_LEAST_DAMPING, _MOST_DAMPING = 1e-4, 1e3  # where a step brought it no nearer
_TRUST = 0.4  # rad that one iteration may turn a joint: the Jacobian is linear
_LEAN_COST, _LEAN_PER_M = 0.02, 2.0  # a motion of 5 cm brings spare joints a tenth of their way home


class Pose(NamedTuple):
    position: np.ndarray  # [3] m
    rotation: np.ndarray  # [3, 3]


@dataclass(frozen=True, kw_only=True)
class Solution:
    """Joints to command for the end of one period, and what is missing there to the pose that was asked for.

    `reasons` is empty if `reached`; otherwise some of "unreachable" (no joints within their limits have that pose),
    "joint_limit" (a joint stands at its limit), "joint_velocity" (it takes more than this period), "singular".
    """

    joints: Float[np.ndarray, " j"]
    position_error_m: float
    rotation_error_rad: float
    reached: bool
    reasons: tuple[str, ...]
    manipulability_m: float  # smallest singular value of the weighted Jacobian at the start


class ArmKinematics:
    """Raises UserError when made, for a description that does not fit. One caller at a time: it holds scratch memory."""

    def __init__(
        self,
        kinematics: Kinematics,
        *,
        joint_low: Sequence[float] = (),
        joint_high: Sequence[float] = (),
        max_joint_velocity: Sequence[float] = (),
    ) -> None:
        """Limits are per joint, rad and rad/s; of the description's own ranges and `joint_low`..`joint_high` the narrower
        counts. Without `max_joint_velocity` joints may turn as fast as they like, so that only `pose` is safe to use."""
        self.kinematics, self.num_joints = kinematics, len(kinematics.joints)
        self._mink, self._mujoco = _import_mink(), import_mujoco()
        model = load_arm(kinematics)
        self._arm = self._mink.Configuration(model)
        self.at = np.array([int(model.joint(name).qposadr[0]) for name in kinematics.joints])
        self._tip_type = "site" if kinematics.tip in {model.site(i).name for i in range(model.nsite)} else "body"
        self.lowest, self.highest = self._ranges(joint_low, joint_high)
        self._speed = self._per_joint(max_joint_velocity, np.inf, "max_joint_velocity_rad_s")
        self._tip_id = getattr(model, self._tip_type)(kinematics.tip).id
        self._reach = _reach_task(self._mink, self)
        self._lean = self._mink.PostureTask(model, cost=_LEAN_COST)
        self._box = _box_limit(self._mink, self.at)

    def pose(self, joints: ArrayLike) -> Pose:
        """Of the gripper point at `joints [j]`, base frame."""
        self._put(self._checked(joints))
        return self.pose_now()

    def pose_now(self) -> Pose:
        """At the joints looked at last, as the tasks of a program ask for it."""
        tip = self._frame(self.kinematics.tip, self._tip_type)
        if not self.kinematics.base:
            return tip
        base = self._frame(self.kinematics.base, "body")
        return Pose(base.rotation.T @ (tip.position - base.position), base.rotation.T @ tip.rotation)

    def jacobian(self) -> Float[np.ndarray, "6 j"]:
        """At the joints looked at last: m and rad of the gripper point, base frame, per rad of each joint."""
        rows = np.zeros((6, self._arm.model.nv))
        read = self._mujoco.mj_jacSite if self._tip_type == "site" else self._mujoco.mj_jacBody
        read(self._arm.model, self._arm.data, rows[:3], rows[3:], self._tip_id)
        if self.kinematics.base:
            base = self._frame(self.kinematics.base, "body").rotation
            rows = np.concatenate([base.T @ rows[:3], base.T @ rows[3:]])
        return rows[:, self.at]

    def manipulability(self, joints: ArrayLike) -> float:
        """Smallest singular value (m) of the Jacobian, turns weighted by `TURN_WEIGHT_M`: 0 in a singularity.

        Of an arm with fewer than six joints it is that of the motions it has.
        """
        self._put(self._checked(joints))
        weighted = self.jacobian() * np.repeat([1.0, TURN_WEIGHT_M], 3)[:, None]
        return float(np.linalg.svd(weighted, compute_uv=False)[-1])

    def solve(
        self, position: Float[np.ndarray, 3], rotation: Float[np.ndarray, "3 3"], *, start: ArrayLike, period_s: float
    ) -> Solution:
        """Joints that bring the gripper point as near to a pose as they can in `period_s`, from `start [j]`, the measured ones.

        Never further from the pose than `start` is. A joint measured outside its limits may stay or come back.
        """
        q0, target = self._checked(start), Pose(np.asarray(position, np.float64), np.asarray(rotation, np.float64))
        low, high = np.minimum(self.lowest, q0), np.maximum(self.highest, q0)
        sigma = self.manipulability(q0)
        share = float(np.clip(sigma / SINGULAR_BELOW, _SLOWEST, 1.0))
        reach = self._speed * period_s * share
        at_leisure = self._descend(target, q0, low, high)
        over = float(np.max(np.abs(at_leisure - q0) / reach))
        joints = at_leisure
        if over > 1.0:
            box = np.maximum(low, q0 - reach), np.minimum(high, q0 + reach)
            joints = self._descend(_between(self.pose(q0), target, 1.0 / over), q0, *box)
            if self._missing(target, joints)[2] > self._missing(target, q0)[2]:
                joints = q0
        return self._solution(target, joints, at_leisure, too_fast=over > 1.0, sigma=sigma)

    def _solution(self, target: Pose, joints: np.ndarray, at_leisure: np.ndarray, *, too_fast: bool, sigma: float) -> Solution:
        metres, radians, _ = self._missing(target, joints)
        reached = metres <= REACHED_M and radians <= REACHED_RAD
        finally_m, finally_rad, _ = self._missing(target, at_leisure)
        reachable = finally_m <= REACHED_M and finally_rad <= REACHED_RAD
        at_limit = np.any((at_leisure <= self.lowest + 1e-6) | (at_leisure >= self.highest - 1e-6))
        reasons = (
            ("unreachable", not reachable),
            ("joint_limit", not reachable and bool(at_limit)),
            ("joint_velocity", too_fast),
            ("singular", sigma < SINGULAR_BELOW),
        )
        return Solution(
            joints=joints, position_error_m=metres, rotation_error_rad=radians, reached=reached,
            reasons=() if reached else tuple(name for name, so in reasons if so), manipulability_m=sigma,
        )  # fmt: skip

    def _descend(self, target: Pose, q0: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
        """The joints within `low`..`high` nearest to the pose that steps from `q0` lead to; `q0` if none are nearer.

        Levenberg and Marquardt: what brings it no nearer is tried again with more damping.
        """
        error = self._missing(target, q0)[2]
        q = best = np.clip(q0 + self._step(target, q0, low, high, 0.0, lean=_LEAN_PER_M * error), low, high)
        least, damping = self._missing(target, q)[2], 0.0
        if error < min(least, _STOP_M):
            return q0
        for _ in range(_ITERATIONS):
            if least < _STOP_M or damping > _MOST_DAMPING:
                break
            q = np.clip(best + self._step(target, best, low, high, damping), low, high)
            now = self._missing(target, q)[2]
            damping = damping / 10 if now < least else max(10 * damping, _LEAST_DAMPING)
            if now < least * (1 - 1e-5):
                best, least = q, now
        return best if least < error else q0

    def _step(
        self, target: Pose, q: np.ndarray, low: np.ndarray, high: np.ndarray, damping: float, *, lean: float = 0.0
    ) -> np.ndarray:
        """One quadratic program: `[j]` to add to `q`."""
        fading = max(0.0, 1.0 - (self.manipulability(q) / SINGULAR_BELOW) ** 2)
        self._put(q)
        self._reach.target = target
        self._box.set(np.maximum(low, q - _TRUST) - q, np.minimum(high, q + _TRUST) - q)
        tasks = [self._reach]
        if lean > 0 and self.kinematics.home and (self.num_joints > 6 or fading > 0):
            towards = self._arm.q.copy()
            towards[self.at] += min(1.0, lean) * (np.array(self.kinematics.home) - q)
            self._lean.set_target(towards)
            tasks = [self._reach, self._lean]
        try:
            step = self._mink.solve_ik(
                self._arm, tasks, 1.0, "daqp", damping=1e-10 + damping + _DAMPING * fading, limits=[self._box]
            )
        except self._mink.NoSolutionFound:
            return np.zeros(self.num_joints)
        return np.asarray(step[self.at])

    def _missing(self, target: Pose, q: np.ndarray) -> tuple[float, float, float]:
        """To the pose from joints `q`: metres, radians, and both weighted (m)."""
        here = self.pose(q)
        metres = float(np.linalg.norm(target.position - here.position))
        chord = float(np.linalg.norm(target.rotation - here.rotation))  # of matrices turned by theta: sqrt(8) sin(theta / 2)
        radians = 2 * float(np.arcsin(min(1.0, chord / 8**0.5)))
        return metres, radians, float(np.hypot(metres, TURN_WEIGHT_M * radians))

    def _put(self, joints: np.ndarray) -> None:
        q = np.zeros(self._arm.model.nq)
        q[self.at] = joints
        if not np.array_equal(q, self._arm.q):
            self._arm.update(q)

    def _frame(self, name: str, kind: str) -> Pose:
        frame = getattr(self._arm.data, kind)(name)
        return Pose(np.array(frame.xpos), frame.xmat.reshape(3, 3).copy())

    def _checked(self, joints: ArrayLike) -> np.ndarray:
        q = np.asarray(joints, np.float64)
        if q.shape != (self.num_joints,) or not np.all(np.isfinite(q)):
            raise UserError(
                f"joints {q.tolist()} must be {self.num_joints} finite numbers: {', '.join(self.kinematics.joints)}"
            )
        return q

    def _ranges(self, low: Sequence[float], high: Sequence[float]) -> tuple[np.ndarray, np.ndarray]:
        model = self._arm.model
        ids = [model.joint(name).id for name in self.kinematics.joints]
        limited = model.jnt_limited[ids].astype(bool)
        lowest = np.maximum(np.where(limited, model.jnt_range[ids, 0], -np.inf), self._per_joint(low, -np.inf, "joint_low_rad"))
        highest = np.minimum(
            np.where(limited, model.jnt_range[ids, 1], np.inf), self._per_joint(high, np.inf, "joint_high_rad")
        )
        empty = [name for name, no in zip(self.kinematics.joints, lowest >= highest, strict=True) if no]
        if empty:
            raise UserError(f"limits leave no range to {', '.join(empty)}: the description's and the robot's do not overlap")
        return lowest, highest

    def _per_joint(self, values: Sequence[float], default: float, name: str) -> np.ndarray:
        if values and len(values) != self.num_joints:
            raise UserError(f"limits.{name} has {len(values)} values for {self.num_joints} joints")
        return np.array(values, np.float64) if values else np.full(self.num_joints, default)


def _between(start: Pose, target: Pose, share: float) -> Pose:
    """On the straight way, `share` of it."""
    turn = rotations.from_matrix(target.rotation @ start.rotation.T, "axis_angle")
    turned = rotations.to_matrix(share * turn, "axis_angle") @ start.rotation
    return Pose(start.position + share * (target.position - start.position), turned)


def _import_mink() -> Any:
    # mink's solver front end tries every package it has heard of, and imports jax (seconds, hundreds of MB) on the way.
    for unused in ("jaxopt_osqp_", "qpax_"):
        sys.modules.setdefault(f"qpsolvers.solvers.{unused}", None)  # type: ignore[arg-type]
    try:
        import daqp  # noqa: F401
        import mink
    except ImportError as error:
        raise UserError(f"inverse kinematics need {error.name}: pip install rtx-robotics[ik]") from error
    return mink


def _reach_task(mink: Any, arm: ArmKinematics) -> Any:
    """What is missing to a pose, place and turn apart: mink's own FrameTask takes the screw between two poses, whose place
    is not the one to go straight to when the turn is large."""

    class Reach(mink.Task):  # the base is known only once mink is imported
        target: Pose

        def compute_error(self, configuration: Any) -> np.ndarray:
            here = arm.pose_now()
            turn = rotations.from_matrix(self.target.rotation @ here.rotation.T, "axis_angle")
            return np.concatenate([self.target.position - here.position, turn])

        def compute_jacobian(self, configuration: Any) -> np.ndarray:
            rows = np.zeros((6, configuration.nv))
            rows[:, arm.at] = -arm.jacobian()
            return rows

    return Reach(cost=np.repeat([1.0, TURN_WEIGHT_M], 3))


def _box_limit(mink: Any, at: np.ndarray) -> Any:
    """How far each joint may go in one program, as mink states a limit."""

    class Box(mink.Limit):
        def set(self, least: np.ndarray, most: np.ndarray) -> None:
            self._bounds = np.concatenate([most, -least])

        def compute_qp_inequalities(self, configuration: Any, dt: float) -> Any:
            rows = np.eye(configuration.nv)[at]
            return mink.Constraint(G=np.concatenate([rows, -rows]), h=self._bounds)

    return Box()
