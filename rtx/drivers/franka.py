"""Franka arms (Panda, FR3) through franky, which keeps libfranka's 1 kHz loop in C++: `franka:172.16.0.2`.

Each target replaces the motion under way; franky plans the rest within the arm's own limits, scaled down to the embodiment's.
franky-control is built for one generation of robot system (docs/drivers.md); the kernel must be PREEMPT_RT, or
`?realtime=ignore` given. The pose is that of the end effector set in Desk: set it to the gripper point.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np

from rtx.drivers.arm import ArmDriver
from rtx.drivers.cameras import open_cameras
from rtx.drivers.driver import Driver
from rtx.drivers.native import ArmModel, Measured, Target
from rtx.drivers.registry import DriverSpec
from rtx.drivers.sdk import need_sdk
from rtx.embodiment import Embodiment
from rtx.errors import UserError, WorldError
from rtx.robots import rotations

_FULL_RAD_S, _FULL_M_S = 2.61, 1.7  # what a dynamics factor of 1 means: libfranka's limits of Panda and FR3
_HAND_STEP_M, _HAND_SPEED_M_S = 0.002, 0.1  # the hand takes goals, no stream: it is told of changes only
_ADVICE = "see Franka Desk: brakes released, FCI active, emergency button out; then call connect()"


class FrankaArm:
    """`joint_factor` and `pose_factor` (0 to 1) scale the arm's own speed, acceleration and jerk limits."""

    def __init__(
        self, host: str, *, gripper: bool, realtime: bool, joint_factor: float, pose_factor: float,
        clock_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:  # fmt: skip
        self._franky = need_sdk("franky", driver="franka", install="rtx-robotics[franka]")
        self._host, self._has_hand, self._realtime, self._clock_ns = host, gripper, realtime, clock_ns
        self._joint_factor, self._pose_factor = joint_factor, pose_factor
        self._robot: Any = None
        self._hand: Any = None
        self._hand_goal_m = np.nan
        self._stop_motion: Any = None  # of the kind that is under way
        self.model = ArmModel(name="a Franka arm", num_joints=7, takes_pose=True, knows_pose=True, has_gripper=gripper)

    def connect(self) -> None:
        config = self._franky.RealtimeConfig
        wanted = config.Enforce if self._realtime else config.Ignore
        if self._robot is None:
            self._robot = self._ask(lambda: self._franky.Robot(self._host, realtime_config=wanted))
        if self._ask(lambda: self._robot.has_errors):
            self._ask(self._robot.recover_from_errors)
        self._check_mode(self._ask(lambda: self._robot.state))
        if self._has_hand and self._hand is None:
            self._hand = self._ask(lambda: self._franky.Gripper(self._host))
        self._hand_goal_m = np.nan

    def measure(self) -> Measured:
        self._need_robot()
        if self._stop_motion is not None:
            self._ask(self._robot.poll_motion)  # raises what ended the motion under way
        state = self._ask(lambda: self._robot.state)
        self._check_mode(state)
        pose = np.array(state.O_T_EE.matrix)
        opening = self._ask(lambda: self._hand.width / self._hand.max_width) if self._hand is not None else 1.0
        return Measured(
            joints=np.array(state.q).reshape(7), position=pose[:3, 3], rotation=pose[:3, :3], opening=opening,
            stamp_ns=self._clock_ns(),
        )  # fmt: skip

    def send(self, target: Target, *, period_s: float) -> None:
        self._need_robot()
        if target.joints is not None:
            motion = self.joint_motion(target.joints)
            self._stop_motion = self._franky.JointStopMotion
        else:
            motion = self.pose_motion(target)
            self._stop_motion = self._franky.CartesianStopMotion
        self._ask(lambda: self._robot.move(motion, asynchronous=True))
        if target.opening is not None and self._hand is not None:
            self._move_hand(target.opening)

    def joint_motion(self, joints: np.ndarray) -> Any:
        """franky's motion to joint angles `[7]` rad that goes on holding them."""
        factor = self._joint_factor
        return self._franky.JointMotion(joints.tolist(), relative_dynamics_factor=factor, return_when_finished=False)

    def pose_motion(self, target: Target) -> Any:
        """franky's motion to a pose of the end effector that goes on holding it."""
        assert target.position is not None
        assert target.rotation is not None
        pose = self._franky.Affine(target.position, rotations.from_matrix(target.rotation, "quat_xyzw"))
        return self._franky.CartesianMotion(pose, relative_dynamics_factor=self._pose_factor, return_when_finished=False)

    def hold(self) -> None:
        if self._robot is not None and self._stop_motion is not None:
            stop, self._stop_motion = self._stop_motion(), None
            self._ask(lambda: self._robot.move(stop, asynchronous=True))

    def stop(self) -> None:
        self._stop_motion = None
        if self._robot is not None:
            self._ask(self._robot.stop)

    def close(self) -> None:
        self._robot = self._hand = self._stop_motion = None

    def _move_hand(self, opening: float) -> None:
        goal_m = opening * self._ask(lambda: self._hand.max_width)
        if not abs(goal_m - self._hand_goal_m) < _HAND_STEP_M:
            self._hand_goal_m = goal_m
            self._ask(lambda: self._hand.move_async(goal_m, _HAND_SPEED_M_S))

    def _need_robot(self) -> None:
        if self._robot is None:
            raise WorldError(f"the Franka at {self._host} is not connected: call connect()")

    def _ask(self, call: Callable[[], Any]) -> Any:
        try:
            return call()
        except self._franky.NetworkException as error:
            self.close()  # libfranka does not come back from it
            raise WorldError(f"no Franka at {self._host}: {error}; {_ADVICE}") from None
        except self._franky.Exception as error:
            raise WorldError(f"the Franka at {self._host} stopped: {error}; {_ADVICE}") from None

    def _check_mode(self, state: Any) -> None:
        modes = self._franky.RobotMode
        if state.robot_mode not in (modes.Idle, modes.Move):
            raise WorldError(f"the Franka at {self._host} is in mode {state.robot_mode.name}; {_ADVICE}")


def open(spec: DriverSpec, embodiment: Embodiment) -> Driver:
    """`franka:HOST?gripper=hand|none&realtime=enforce|ignore`."""
    host = spec.need_address("172.16.0.2")
    given = spec.take(gripper="hand", realtime="enforce")
    for key, choices in (("gripper", ("hand", "none")), ("realtime", ("enforce", "ignore"))):
        if given[key] not in choices:
            raise UserError(f"driver 'franka': {key}={given[key]!r} is unknown; there are {' and '.join(choices)}")
    limits = embodiment.limits
    arm = FrankaArm(
        host, gripper=given["gripper"] == "hand", realtime=given["realtime"] == "enforce",
        joint_factor=_share(min(limits.max_joint_velocity_rad_s, default=0.2 * _FULL_RAD_S) / _FULL_RAD_S),
        pose_factor=_share(limits.max_velocity_m_s / _FULL_M_S),
    )  # fmt: skip
    return ArmDriver(embodiment, {"": arm}, open_cameras(spec.cameras, embodiment.cameras))


def _share(factor: float) -> float:
    return float(np.clip(factor, 0.01, 1.0))
