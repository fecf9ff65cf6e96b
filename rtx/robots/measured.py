"""What a robot measures of one arm, from its native state: pose, joints, how open the gripper is.

The pose is the robot's own where it reports one, else that of its joints by forward kinematics. Both in the base frame. A
gripper that is measured finger by finger is as open as they are on average.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence

import numpy as np

from rtx.embodiment import Field, field_slices
from rtx.robots import grippers, rotations
from rtx.robots.kinematics import ArmKinematics
from rtx.robots.units import METRES, RADIANS, per_unit, unit_problem

FINGERS = "fingers"


class ArmState:
    """Where one arm's part lies in a native state. Fields are found by the names of `CANONICAL_PROPRIO`, after a prefix."""

    def __init__(
        self, prefix: str, proprio: Sequence[Field], *, kinematics: Callable[[], ArmKinematics] | None, num_joints: int
    ) -> None:
        """`num_joints`: of the kinematics; joints of another number have no pose."""
        self.prefix, self._kinematics = prefix, kinematics
        self._slices = field_slices(proprio)
        self._fields = {field.name.removeprefix(prefix): field for field in proprio if field.name.startswith(prefix)}
        joints = [name for name in self._fields if name.startswith("joint_pos")]
        self._joint_name = joints[0] if joints else "joint_pos"
        self.has_eef = not (self._problem("eef_pos") or self._problem("eef_rot"))
        self.has_position = not self._problem("eef_pos")
        self.has_joints = not self._problem(self._joint_name)
        self._gripper_name = FINGERS if FINGERS in self._fields and "gripper" not in self._fields else "gripper"
        self.has_gripper = not self._problem(self._gripper_name)
        self.has_pose = self.has_eef or (self.has_joints and kinematics is not None and self.num_joints == num_joints)

    def read(self, native: np.ndarray) -> Measured:
        return Measured(self, native)

    def value(self, name: str, native: np.ndarray) -> np.ndarray:
        """SI units; rotations as the robot's form."""
        field = self._fields[name]
        table = METRES if name == "eef_pos" else RADIANS
        scale = 1.0 if name in ("gripper", FINGERS) else per_unit(field, table, 1.0)
        return native[..., self._slices[field.name]] * scale

    def field(self, name: str) -> Field:
        return self._fields[name]

    @property
    def num_joints(self) -> int:
        return self._fields[self._joint_name].width

    def joints(self, native: np.ndarray) -> np.ndarray:
        return self.value(self._joint_name, native)

    def opening(self, native: np.ndarray) -> np.ndarray:
        measured = self.value(self._gripper_name, native).mean(-1, keepdims=True)
        return grippers.from_unit(measured, self.field(self._gripper_name))

    def forward(self, joints: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Positions `[..., 3]` and rotations `[..., 3, 3]` of joints `[..., j]`."""
        assert self._kinematics is not None  # checked when the adapter was made
        poses = [self._kinematics().pose(q) for q in joints.reshape(-1, joints.shape[-1])]
        leading = joints.shape[:-1]
        positions, turns = np.array([pose.position for pose in poses]), np.array([pose.rotation for pose in poses])
        return positions.reshape(*leading, 3), turns.reshape(*leading, 3, 3)

    def problems(self, names: Sequence[str]) -> list[str]:
        """Why the state cannot give these: "pose", "position" (all that is wanted of it), "joints", "gripper"."""
        problems = []
        if "pose" in names and not self.has_pose:
            problems += [problem for name in ("eef_pos", "eef_rot") if (problem := self._problem(name))]
        if "position" in names and not (self.has_pose or self.has_position):
            problems.append(str(self._problem("eef_pos")))
        if "joints" in names and not self.has_joints:
            problems.append(str(self._problem(self._joint_name)))
        if "gripper" in names and not self.has_gripper:
            problems.append(str(self._problem(self._gripper_name)))
        return problems

    def _problem(self, name: str) -> str | None:
        if name not in self._fields:
            have = ", ".join(self._slices) or "none"
            return f"proprio lacks a field named '{self.prefix}{name}', has {have}"
        field = self._fields[name]
        full = f"proprio field {field.name!r}"
        if name in ("gripper", FINGERS):
            return f"{full}: closed and opened are both {field.closed}" if field.closed == field.opened else None
        if name.startswith("eef") and field.frame != "base":
            return f"{full} is in frame {field.frame!r}, expected base"
        if name == "eef_pos" and field.width != 3:
            return f"{full} has width {field.width}, expected 3"
        if name == "eef_rot" and field.rotation is None:
            return f"{full} does not say its rotation form"
        problem = unit_problem(field, METRES if name == "eef_pos" else RADIANS)
        return f"{full} {problem}" if problem else None


class Measured:
    """One arm's states, with the leading dimensions of the native ones. Raises UserError for what is no orientation."""

    def __init__(self, state: ArmState, native: np.ndarray) -> None:
        self._state, self._native = state, native
        self._eef: tuple[np.ndarray, np.ndarray] | None = None
        if state.has_eef:
            form = state.field("eef_rot").rotation
            assert form is not None  # else it had a problem
            turn = rotations.to_matrix(state.value("eef_rot", native), form)
            self._eef = state.value("eef_pos", native), turn

    @functools.cached_property
    def joints(self) -> np.ndarray:
        return self._state.joints(self._native)

    @functools.cached_property
    def kinematic_pose(self) -> tuple[np.ndarray, np.ndarray]:
        """By forward kinematics."""
        return self._state.forward(self.joints)

    def forward(self, joints: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return self._state.forward(joints)

    @property
    def position(self) -> np.ndarray:
        if self._eef is None and self._state.has_position:  # and no rotation
            return self._state.value("eef_pos", self._native)
        return (self._eef or self.kinematic_pose)[0]

    @property
    def rotation(self) -> np.ndarray:
        return (self._eef or self.kinematic_pose)[1]

    @property
    def opening(self) -> np.ndarray:
        """`[..., 1]`."""
        return self._state.opening(self._native)
