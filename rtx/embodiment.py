"""A robot as data: what it measures, how it is commanded, in which units and frames, its limits, how its joints move it.

Frozen dataclasses, checked when they are made. Imports numpy only (and `rtx.errors`); everybody may import it. What passes
between data, policy and robot is made of these in `rtx.spec`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from rtx.errors import UserError

ActionKind = Literal[
    "delta_pos", "abs_pos", "delta_rot", "abs_rot", "gripper", "terminate",
    "joint_pos", "joint_delta", "joint_vel", "base_delta_pos", "base_delta_rot", "base_vel",
]  # fmt: skip
RELATIVE_KINDS = ("delta_pos", "delta_rot", "joint_delta", "joint_vel", "base_delta_pos", "base_delta_rot", "base_vel")
"""Kinds of which zero means: stay where you are."""
Frame = Literal["base", "tool", "joint", "world", "none"]
RotationForm = Literal["rpy", "quat_wxyz", "quat_xyzw", "axis_angle", "rot6d"]
ROTATION_WIDTH: Mapping[str, int] = {"rpy": 3, "quat_wxyz": 4, "quat_xyzw": 4, "axis_angle": 3, "rot6d": 6}
Fit = Literal["stretch", "pad"]
"""How a picture comes to another size: each side by itself, or with its aspect kept and black bars on two sides."""
CAMERA_ROLES = ("primary", "secondary", "tertiary", "quaternary", "wrist", "wrist_left", "wrist_right")


@dataclass(frozen=True, kw_only=True)
class Camera:
    """One camera of a robot. `resolution` is (height, width) in pixels as the driver delivers it."""

    role: str
    resolution: tuple[int, int]
    channel_order: Literal["rgb", "bgr"] = "rgb"
    mounting: str = ""

    def __post_init__(self) -> None:
        if self.role not in CAMERA_ROLES:
            raise UserError(f"camera role {self.role!r} is unknown; roles are {', '.join(CAMERA_ROLES)}")


@dataclass(frozen=True, kw_only=True)
class Field:
    """One named run of numbers in a vector: of a proprioceptive state or, as `ActionField`, of an action.

    For a gripper `closed` and `opened` state polarity and range: the value of a closed and of an open one, as
    measured in a state, as commanded in an action (canonical: 0 closed, 1 open).
    """

    name: str
    width: int
    unit: str  # "m", "cm", "rad", "deg", "m/s", "1", "percent"
    frame: Frame = "none"
    rotation: RotationForm | None = None  # of rotations only
    closed: float = 0.0
    opened: float = 1.0

    def __post_init__(self) -> None:
        if self.width < 1:
            raise UserError(f"field {self.name!r}: width {self.width} must be at least 1")
        if self.rotation is not None and ROTATION_WIDTH[self.rotation] != self.width:
            raise UserError(
                f"field {self.name!r}: rotation {self.rotation} needs width {ROTATION_WIDTH[self.rotation]}, got {self.width}"
            )


@dataclass(frozen=True, kw_only=True)
class ActionField(Field):
    """A `Field` of an action. `low`/`high` are scalar bounds in `unit`.

    `normalize=False` fields (gripper, terminate) go to model space by their bounds instead of by statistics.
    """

    kind: ActionKind
    low: float = -np.inf
    high: float = np.inf
    normalize: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.low < self.high:
            raise UserError(f"action field {self.name!r}: low {self.low} must be below high {self.high}")
        if not self.normalize and not (np.isfinite(self.low) and np.isfinite(self.high)):
            raise UserError(f"action field {self.name!r}: normalize=False needs finite low and high")
        if self.kind == "gripper" and self.closed == self.opened:
            raise UserError(f"action field {self.name!r}: closed and opened are both {self.closed}")


def field_slices(fields: Sequence[Field]) -> dict[str, slice]:
    """Where each field lies in the concatenated vector."""
    slices, start = {}, 0
    for field in fields:
        slices[field.name] = slice(start, start + field.width)
        start += field.width
    return slices


@dataclass(frozen=True, kw_only=True)
class ActionSpace:
    """Ordered fields of one action vector."""

    fields: tuple[ActionField, ...]

    def __post_init__(self) -> None:
        names = [field.name for field in self.fields]
        if len(set(names)) != len(names) or not names:
            raise UserError(f"action space needs distinct field names, got {names}")

    @property
    def width(self) -> int:
        return sum(field.width for field in self.fields)

    @property
    def slices(self) -> dict[str, slice]:
        return field_slices(self.fields)

    def per_dim(self, value: Callable[[ActionField], Any]) -> np.ndarray:
        """`value(field)` repeated over each field's width: `[a]`."""
        return np.concatenate([np.full(field.width, value(field)) for field in self.fields])

    @property
    def dim_names(self) -> tuple[str, ...]:
        return dim_names(self.fields)


CANONICAL_ARM = ActionSpace(
    fields=(
        ActionField(name="delta_pos", width=3, kind="delta_pos", unit="m", frame="base"),
        ActionField(name="delta_rot", width=3, kind="delta_rot", unit="rad", frame="base", rotation="rpy"),
        ActionField(name="gripper", width=1, kind="gripper", unit="1", low=0.0, high=1.0, normalize=False),
        ActionField(name="terminate", width=1, kind="terminate", unit="1", low=0.0, high=1.0, normalize=False),
    )
)
"""Width 8. Positions add, rotations compose: R_next = R(delta_rot) R_now, with R(rpy) = Rz(yaw) Ry(pitch) Rx(roll)."""

CANONICAL_PROPRIO: tuple[Field, ...] = (
    Field(name="eef_pos", width=3, unit="m", frame="base"),
    Field(name="eef_rot", width=6, unit="1", frame="base", rotation="rot6d"),
    Field(name="gripper", width=1, unit="1"),
)
"""Width 10. `rot6d`: the first two columns of the rotation matrix, one after the other (no wrap at pi); gripper: 1 open."""


@dataclass(frozen=True, kw_only=True)
class Layout:
    """What the rows of one data set hold. False in a mask: the data set knows nothing about that dimension (it holds 0).

    Fields are shared between data sets by name, so a name means one definition everywhere. Most data sets have `CANONICAL`
    less what they lack (`without`); robots that fit no single arm bring fields of their own (joints, a base, a second arm).
    """

    action: ActionSpace = CANONICAL_ARM
    proprio: tuple[Field, ...] = CANONICAL_PROPRIO
    action_mask: tuple[bool, ...] = ()  # () = all known
    proprio_mask: tuple[bool, ...] = ()

    def __post_init__(self) -> None:
        for name, width in (("action_mask", self.action.width), ("proprio_mask", self.proprio_width)):
            mask = getattr(self, name) or (True,) * width
            if len(mask) != width:
                raise UserError(f"layout: {name} has {len(mask)} entries, expected {width}")
            object.__setattr__(self, name, tuple(mask))

    @property
    def proprio_width(self) -> int:
        return sum(field.width for field in self.proprio)

    def without(self, *names: str) -> Layout:
        """The same with these dimensions unknown: "terminate", "delta_rot.0", "proprio.gripper", "proprio" (all of it)."""
        masks = {"action": list(self.action_mask), "proprio": list(self.proprio_mask)}
        for name in names:
            part, _, rest = name.partition(".") if name.split(".")[0] == "proprio" else ("action", "", name)
            dims = dim_names(self.action.fields if part == "action" else self.proprio)
            hit = [i for i, dim in enumerate(dims) if rest in ("", dim, dim.split(".")[0])]
            if not hit:
                raise UserError(f"layout: no dimension {name!r}; {part} has {', '.join(dims)}")
            for i in hit:
                masks[part][i] = False
        return dataclasses.replace(self, action_mask=tuple(masks["action"]), proprio_mask=tuple(masks["proprio"]))


CANONICAL = Layout()


def dim_names(fields: Sequence[Field]) -> tuple[str, ...]:
    """One name per dimension, `delta_pos.0` style for fields wider than 1."""
    return tuple(f.name if f.width == 1 else f"{f.name}.{i}" for f in fields for i in range(f.width))


def union_of(layouts: Sequence[Layout]) -> tuple[ActionSpace, tuple[Field, ...]]:
    """Every field of the layouts once, canonical ones first: what a model of a mixture of them sees.

    Raises UserError where two layouts use one name for different fields.
    """
    action = _united([layout.action.fields for layout in layouts], CANONICAL_ARM.fields)
    return ActionSpace(fields=action), _united([layout.proprio for layout in layouts], CANONICAL_PROPRIO)


def _united(parts: Sequence[tuple[Any, ...]], first: tuple[Any, ...]) -> tuple[Any, ...]:
    found: dict[str, Field] = {}
    for field in (field for part in parts for field in part):
        if found.setdefault(field.name, field) != field:
            raise UserError(
                f"field {field.name!r} has two meanings in one mixture: {found[field.name]} and {field}; rename one"
            )
    leading = [field for field in first if field.name in found]
    return (*leading, *(field for field in found.values() if field not in leading))


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What may never be exceeded at the arm, in SI units and the base frame."""

    workspace_low_m: tuple[float, float, float]
    workspace_high_m: tuple[float, float, float]
    max_step_m: float  # one action's translation
    max_step_rad: float  # one action's rotation angle
    max_velocity_m_s: float
    max_acceleration_m_s2: float
    joint_low_rad: tuple[float, ...] = ()
    joint_high_rad: tuple[float, ...] = ()
    max_joint_velocity_rad_s: tuple[float, ...] = ()
    source: str = ""

    def __post_init__(self) -> None:
        problems = [
            f"{name} {getattr(self, name)} must be positive"
            for name in ("max_step_m", "max_step_rad", "max_velocity_m_s", "max_acceleration_m_s2")
            if not getattr(self, name) > 0
        ]
        if not all(lo < hi for lo, hi in zip(self.workspace_low_m, self.workspace_high_m, strict=True)):
            problems.append(f"workspace_low_m {self.workspace_low_m} must be below workspace_high_m {self.workspace_high_m}")
        if problems := problems + self._joint_problems():
            raise UserError("limits: " + "; ".join(problems))

    def _joint_problems(self) -> list[str]:
        low, high, velocity = self.joint_low_rad, self.joint_high_rad, self.max_joint_velocity_rad_s
        if len(low) != len(high):
            return ["joint_low_rad and joint_high_rad differ in length"]
        problems = [
            f"joint_low_rad[{i}] {a} must be below joint_high_rad[{i}] {b}"
            for i, (a, b) in enumerate(zip(low, high, strict=True))
            if not a < b
        ]
        problems += [f"max_joint_velocity_rad_s[{i}] {v} must be positive" for i, v in enumerate(velocity) if not v > 0]
        if low and velocity and len(low) != len(velocity):
            problems.append(f"max_joint_velocity_rad_s has {len(velocity)} joints, joint_low_rad has {len(low)}")
        return problems


KINEMATIC_SOURCES = ("robot_descriptions", "robosuite", "file")


@dataclass(frozen=True, kw_only=True)
class Kinematics:
    """How an arm's joints move its gripper point: a description made elsewhere, and which of its names are ours.

    `source`: "robot_descriptions:NAME" (the package's module), "robosuite:NAME" (its robots' MJCF) or "file:PATH" of an MJCF
    (.xml) or a URDF; a relative path is looked for beside the robot's own file.
    `joints`: in the order of the robot's joint fields. `tip`: the site or body of the gripper point. `base`: the body whose
    frame poses are in, "" for the description's world. `home`: a safe pose, rad (m for sliding joints), one for each joint.
    """

    source: str
    joints: tuple[str, ...]
    tip: str
    base: str = ""
    home: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        kind, _, name = self.source.partition(":")
        problems = []
        if kind not in KINEMATIC_SOURCES or not name:
            problems.append(f"source {self.source!r} is none of {', '.join(f'{k}:NAME' for k in KINEMATIC_SOURCES)}")
        if not self.joints or len(set(self.joints)) != len(self.joints) or not all(self.joints):
            problems.append(f"joints {list(self.joints)} must be distinct names, at least one")
        if not self.tip:
            problems.append("tip is empty; it is the site or body of the gripper point")
        if self.home and len(self.home) != len(self.joints):
            problems.append(f"home has {len(self.home)} values for {len(self.joints)} joints")
        if not np.all(np.isfinite(self.home)):
            problems.append(f"home {self.home} is not finite")
        if problems:
            raise UserError("kinematics: " + "; ".join(problems))


@dataclass(frozen=True, kw_only=True)
class Embodiment:
    """A robot as data, policy and driver know it. `action` and `proprio` are its native vectors."""

    name: str
    morphology: str  # "single arm", "two arms", ...
    cameras: tuple[Camera, ...]
    proprio: tuple[Field, ...]
    action: ActionSpace
    control_hz: float
    limits: Limits
    kinematics: Kinematics | None = None

    def __post_init__(self) -> None:
        roles = [camera.role for camera in self.cameras]
        if len(set(roles)) != len(roles):
            raise UserError(f"embodiment {self.name!r}: camera roles repeat: {roles}")
        if not self.control_hz > 0:
            raise UserError(f"embodiment {self.name!r}: control_hz {self.control_hz} must be positive")
        if self.kinematics is None:
            return
        for name in ("joint_low_rad", "max_joint_velocity_rad_s"):
            if (limits := getattr(self.limits, name)) and len(limits) != len(self.kinematics.joints):
                raise UserError(
                    f"embodiment {self.name!r}: limits.{name} has {len(limits)} values, "
                    f"kinematics has {len(self.kinematics.joints)} joints"
                )

    @property
    def roles(self) -> tuple[str, ...]:
        return tuple(camera.role for camera in self.cameras)
