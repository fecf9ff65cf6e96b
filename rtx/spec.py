"""THE CONTRACT: what a robot, an observation, an action and a batch are, for every room of the house.

Frozen dataclasses, read by the loader, the model, the checkpoint, the server and the adapter, and checked at each
boundary. Imports numpy only (and `rtx.errors`); everybody may import it.

Three spaces an action can be in, and who converts:

    native      one robot's own command (`Embodiment.action`): its rotation form, unit, gripper polarity
       |  rtx.robots.adapter
    canonical   `CANONICAL_ARM`: delta position (m), delta rotation (rpy, rad), in the base frame; gripper (1 open); terminate
       |  Normalizer, built from one Statistics object
    model       [-1, 1] per dimension: what a tokenizer or head sees

Source: the RT-X action of Open X-Embodiment (arXiv 2310.08864), with gripper polarity and units made explicit.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from rtx.errors import UserError, WorldError

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


@dataclass(frozen=True, kw_only=True)
class Observation:
    """What a policy sees at one moment of one robot: the last `t` frames, oldest first.

    `images[role]` is uint8 RGB `[t, h, w, 3]`; `image_mask[role]` bool `[t]`, True = a real frame.
    `proprio` float32 `[t, p]` in `CANONICAL_PROPRIO` (raw units). `stamp_ns` is the monotonic time of the newest frame.
    """

    images: Mapping[str, np.ndarray]
    image_mask: Mapping[str, np.ndarray]
    proprio: np.ndarray
    instruction: str
    stamp_ns: int

    def __post_init__(self) -> None:
        for role, image in self.images.items():
            if image.dtype != np.uint8 or image.ndim != 4 or image.shape[-1] != 3:
                raise UserError(f"camera {role!r}: got {image.dtype}{list(image.shape)}, expected uint8[t, h, w, 3] RGB")
        if not np.all(np.isfinite(self.proprio)):
            raise UserError(f"proprio holds a non-finite value: {self.proprio[-1]}; check the robot's state source")


@dataclass(frozen=True, kw_only=True)
class ActionChunk:
    """`k` canonical actions in physical units, one per control period, and how long they may be executed."""

    actions: np.ndarray  # float32 [k, a]
    names: tuple[str, ...]  # one per dimension, `ActionSpace.dim_names`
    control_hz: float
    stamp_ns: int  # monotonic time of the observation they answer
    valid_until_ns: int

    def __post_init__(self) -> None:
        if self.actions.ndim != 2 or self.actions.shape[1] != len(self.names):
            raise UserError(f"action chunk: shape {self.actions.shape} does not fit {len(self.names)} names")
        if not np.all(np.isfinite(self.actions)):
            raise WorldError("action chunk holds a non-finite value; hold still and check the checkpoint")


@dataclass(frozen=True, kw_only=True)
class FieldStatistics:
    """Statistics of one vector, each a list of one float64 per dimension, over `count` steps of the train split."""

    mean: tuple[float, ...]
    std: tuple[float, ...]
    min: tuple[float, ...]
    max: tuple[float, ...]
    q01: tuple[float, ...]
    q99: tuple[float, ...]
    count: int


@dataclass(frozen=True, kw_only=True)
class Statistics:
    """Of one data set: canonical action and proprio, and what they were computed from."""

    action: FieldStatistics
    proprio: FieldStatistics
    num_episodes: int
    source: str  # fingerprint of the shards and the standardize function


@dataclass(frozen=True)
class Normalizer:
    """Affine pair x_model = clip((x - offset) / scale, -1, 1) and its inverse, made from one object so they cannot drift.

    Dimensions that never change in the data (q01 == q99) map to 0 and back to their constant. `place`: where the `a`
    dimensions of one data set lie among the `width` of a mixture; the others are 0 in model space.
    """

    offset: np.ndarray  # float32 [a]
    scale: np.ndarray  # float32 [a], > 0
    constant: np.ndarray  # bool [a]
    place: np.ndarray | None = None  # int [a]; None: the mixture has no other dimensions
    width: int = 0

    def forward(self, x: np.ndarray) -> np.ndarray:
        """Physical `[..., a]` to model space, float32 `[..., a]` or `[..., width]`."""
        y = np.clip((np.asarray(x, np.float32) - self.offset) / self.scale, -1.0, 1.0)
        y = np.where(self.constant, np.float32(0), y)
        if self.place is None:
            return y
        among = np.zeros((*y.shape[:-1], self.width), np.float32)
        among[..., self.place] = y
        return among

    def inverse(self, y: np.ndarray) -> np.ndarray:
        """Model space to physical, float32 `[..., a]`; input outside [-1, 1] is clipped."""
        y = np.where(self.constant, np.float32(0), np.clip(self.select(np.asarray(y, np.float32)), -1.0, 1.0))
        return (y * self.scale + self.offset).astype(np.float32)

    def select(self, y: np.ndarray) -> np.ndarray:
        """This data set's dimensions `[..., a]` of something in model space."""
        return y if self.place is None else y[..., self.place]

    def placed(self, own: Sequence[str], among: Sequence[str]) -> Normalizer:
        """The same with its dimensions, named `own`, put where `among` has them."""
        if tuple(own) == tuple(among):
            return self
        place = np.array([list(among).index(name) for name in own], np.int64)
        return dataclasses.replace(self, place=place, width=len(among))


def _affine(low: np.ndarray, high: np.ndarray) -> Normalizer:
    constant = high - low < 1e-8
    scale = np.where(constant, 1.0, (high - low) / 2)
    return Normalizer(((high + low) / 2).astype(np.float32), scale.astype(np.float32), constant)


def action_normalizer(space: ActionSpace, statistics: FieldStatistics) -> Normalizer:
    """q01..q99 to [-1, 1] for normalized fields, the declared bounds for the others (gripper, terminate)."""
    q01, q99 = np.asarray(statistics.q01), np.asarray(statistics.q99)
    if len(q01) != space.width:
        raise UserError(f"statistics have {len(q01)} action dimensions, the action space has {space.width}: {space.dim_names}")
    by_statistics = space.per_dim(lambda f: f.normalize).astype(bool)
    low = np.where(by_statistics, q01, space.per_dim(lambda f: f.low))
    high = np.where(by_statistics, q99, space.per_dim(lambda f: f.high))
    return _affine(low, high)


def proprio_normalizer(statistics: FieldStatistics) -> Normalizer:
    """q01..q99 to [-1, 1] in every dimension."""
    return _affine(np.asarray(statistics.q01), np.asarray(statistics.q99))


@dataclass(frozen=True, kw_only=True)
class Contract:
    """What a checkpoint promises: which robots it knows, what it must be fed, what comes out.

    `embodiments`, `layouts` and `statistics` are keyed by data set name, in the order of the mixture: the position is the
    embodiment index the model was trained with. Statistics are in the data set's own layout; the model sees the union.
    """

    roles: tuple[str, ...]
    image_size: tuple[int, int]  # (height, width) fed to the model
    history: int  # frames t
    chunk: int  # actions k
    fit: Fit = "stretch"  # how pictures of another shape come to `image_size`
    embodiments: Mapping[str, Embodiment]
    layouts: Mapping[str, Layout]
    statistics: Mapping[str, Statistics]

    def __post_init__(self) -> None:
        if not list(self.embodiments) == list(self.layouts) == list(self.statistics):
            raise UserError("contract: embodiments, layouts and statistics must name the same data sets in the same order")
        union_of(tuple(self.layouts.values()))

    @functools.cached_property
    def action(self) -> ActionSpace:
        """Of the model: every action field of every data set."""
        return union_of(tuple(self.layouts.values()))[0]

    @functools.cached_property
    def proprio(self) -> tuple[Field, ...]:
        """Of the model: every proprio field of every data set."""
        return union_of(tuple(self.layouts.values()))[1]

    def action_normalizer(self, name: str) -> Normalizer:
        """Between the action of data set `name` (its own layout, physical) and the model's."""
        own = self.layouts[name].action
        return action_normalizer(own, self.statistics[name].action).placed(own.dim_names, self.action.dim_names)

    def proprio_normalizer(self, name: str) -> Normalizer:
        """Between the proprio of data set `name` (its own layout, physical) and the model's."""
        own = dim_names(self.layouts[name].proprio)
        return proprio_normalizer(self.statistics[name].proprio).placed(own, dim_names(self.proprio))

    def action_mask(self, name: str) -> np.ndarray:
        """bool [a] over the model's action: which dimensions data set `name` knows."""
        known = dict(zip(self.layouts[name].action.dim_names, self.layouts[name].action_mask, strict=True))
        return np.array([known.get(dim, False) for dim in self.action.dim_names])

    def fingerprint(self) -> str:
        """Sixteen hexadecimal digits of everything in it, the order of the data sets included: it is the embodiment index."""
        ordered = {"order": list(self.embodiments), **to_json(self)}
        return hashlib.sha256(json.dumps(ordered, sort_keys=True).encode()).hexdigest()[:16]


@dataclass(frozen=True, kw_only=True)
class Batch:
    """One training batch. Host arrays come from the loader; the same structure holds device arrays inside the step.

    Action and proprio are in model space. Masks: True = valid. History padding repeats the first frame and clears
    `history_mask`; chunk padding after the episode's end stands still (`rtx.data.windows`) and clears `action_mask`.
    Samples of web data have a `target` text and no action; robot samples have a target of padding only.
    """

    images: Mapping[str, Any]  # role -> uint8 [b, t, h, w, 3]
    image_mask: Mapping[str, Any]  # role -> bool [b, t]
    history_mask: Any  # bool [b, t]
    proprio: Any  # float32 [b, t, p]
    text: Any  # int32 [b, l], 0 = padding: words; or float32 [b, s]: one vector for the whole instruction
    action: Any  # float32 [b, k, a]: of the k steps ahead; or, where a loader was asked to, of the t frames of the history
    action_mask: Any  # bool [b, k, a]
    embodiment: Any  # int32 [b], position in Contract.embodiments
    sample: Any  # int64 [b], global sample number: which sample this is, for good
    target: Any = None  # int32 [b, m], the text to answer, 0 = padding; None where no data set of the mixture has any
    depth: Mapping[str, Any] | None = None  # role -> float32 [b, t, h, w] metres, 0 = not measured; None unless asked for
    depth_mask: Mapping[str, Any] | None = None  # role -> bool [b, t], as `image_mask`
    goal: Mapping[str, Any] | None = None  # role -> uint8 [b, h, w, 3], a later frame of the episode; None unless asked for
    goal_mask: Mapping[str, Any] | None = None  # role -> bool [b]


def to_json(value: Any) -> Any:
    """A contract object as plain JSON data (dataclasses to objects, tuples to lists, infinities to strings)."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: to_json(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(k): to_json(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [to_json(v) for v in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not np.isfinite(value):
        return str(value)
    return value
