"""The guard's verdict on one command: a function of the command, the measured state, the time and what it remembers.

    command  -> armed? in order? -> SafetyFilter of the policy's space (shape, finite, fresh, box, step, velocity, ...)
             -> adapter -> native -> finite, right width; joints once more in SafetyFilter of the native joints
             -> and back through the adapter: does the native command really go where the verdict says? -> driver

Nothing else decides, so a verdict can be computed again from a log (`rtx.control.guard_log.replay`). Imports no policy.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float

from rtx.embodiment import CANONICAL, ActionField, ActionSpace, Embodiment, Field, Layout, Limits, field_slices
from rtx.errors import UserError, WorldError
from rtx.robots import rotations
from rtx.robots.safety import Past, SafetyFilter

ORDER_REASONS = ("not_armed", "before_arming", "repeated", "overtaken", "superseded", "too_old", "state_stale", "bad_state")
NATIVE_REASONS = ("unreachable", "bad_native", "adapter")

_LOOSE_M, _LOOSE_RAD = 1e-3, 5e-3  # what inverse kinematics may leave
_LOOSE_SHARE = 0.02  # of a step's limit
_STATE_PERIODS = 2.0  # a measured state that is older says nothing of now
_LEAST_STATE_S = 0.1  # and what a fast robot's camera may take
_JOINT_KINDS = ("joint_pos", "joint_delta", "joint_vel")
_BASE_KINDS = ("base_delta_pos", "base_delta_rot", "base_vel")
_RADIANS: Mapping[str, float] = {"rad": 1.0, "deg": np.pi / 180, "m": 1.0, "rad/s": 1.0, "deg/s": np.pi / 180, "m/s": 1.0}


@runtime_checkable
class Converts(Protocol):
    """What the guard needs of an adapter (`rtx.robots.adapter`)."""

    grippers_open: Mapping[str, bool]

    def reset(self, *, proprio_native: Any) -> None: ...

    def to_native(self, action: Any, *, proprio_native: Any) -> np.ndarray: ...

    def to_canonical(self, native: Any, *, proprio_native: Any) -> np.ndarray: ...

    def proprio(self, native: Any) -> np.ndarray: ...


@dataclass(frozen=True, kw_only=True)
class Command:
    """One action `[a]` of the policy's space for one control period. `number` goes up by at least 1 with each command.

    `values` is whatever came: it is the judge who finds out whether it is an action.
    """

    number: int
    values: Any
    stamp_ns: int
    valid_until_ns: int


@dataclass(frozen=True, kw_only=True)
class Memory:
    """All that a verdict depends on besides the command, the state and the time."""

    armed_ns: int | None
    number: int
    outer: Past
    inner: Past | None
    grippers_open: Mapping[str, bool]  # the adapter's: binary grippers, by arm


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """`native` is what to command, None: hold; `action` the same in the policy's space. `reasons`: why it is not as asked."""

    reasons: tuple[str, ...]
    action: tuple[float, ...]
    native: tuple[float, ...] | None

    @property
    def held(self) -> bool:
        return self.native is None


class Judge:
    """For one robot. Raises UserError when made for limits or fields that cannot be checked."""

    def __init__(
        self, embodiment: Embodiment, limits: Limits, adapter: Converts, *, layout: Layout = CANONICAL, max_age_s: float = 5.0,
        limited: bool = True,
    ) -> None:  # fmt: skip
        """`layout`: of the actions that will come. `max_age_s`: older actions are refused whatever they say of themselves."""
        self._embodiment, self._limits, self._adapter, self._layout = embodiment, limits, adapter, layout
        self._period_ns, self._max_age_ns, self._limited = 1e9 / embodiment.control_hz, max_age_s * 1e9, limited
        hz, space = embodiment.control_hz, layout.action
        if limited and (unseen := _unseen(layout)):
            raise UserError(
                f"the guard cannot tell where the arm is: the policy's data do not know {', '.join(unseen)}, which limits are "
                "about; measure it and give the layout that has it"
            )
        self._has_joints = any(field.kind in _JOINT_KINDS for field in space.fields)
        # Joints of the policy's space are the robot's own, and bounded there: the order of `Limits` is the robot's.
        outer = ActionSpace(fields=tuple(_unbounded(field) for field in space.fields)) if self._has_joints else space
        self._outer = SafetyFilter(limits, control_hz=hz, space=outer, limited=limited and not self._has_joints)
        self._joints = _Joints(embodiment)
        self._inner = None
        if self._joints.fields:
            self._inner = SafetyFilter(limits, control_hz=hz, space=ActionSpace(fields=self._joints.fields), limited=limited)
        self._armed_ns: int | None = None
        self._number = -1

    @property
    def memory(self) -> Memory:
        inner = None if self._inner is None else self._inner.past
        return Memory(
            armed_ns=self._armed_ns, number=self._number, outer=self._outer.past, inner=inner,
            grippers_open=self._adapter.grippers_open,
        )  # fmt: skip

    @memory.setter
    def memory(self, memory: Memory) -> None:
        self._armed_ns, self._number, self._outer.past = memory.armed_ns, memory.number, memory.outer
        self._adapter.grippers_open = memory.grippers_open
        if self._inner is not None and memory.inner is not None:
            self._inner.past = memory.inner

    def arm(self, proprio: Float[np.ndarray, " p"], now_ns: int) -> None:
        """Commands that answer what is seen from now on may pass; the robot stands still. `proprio` native, measured.

        Raises UserError for a state that is not finite or does not fit the embodiment.
        """
        self._adapter.reset(proprio_native=proprio)
        measured = self._adapter.proprio(proprio)
        fields = self._layout.proprio
        at = field_slices(fields)
        openings = [measured[at[f.name]][0] for f in fields if f.name.endswith("gripper")]
        wanted = sum(field.kind == "gripper" for field in self._layout.action.fields)
        self._outer.reset(gripper=np.array(openings[:wanted]) if len(openings) >= wanted else 1.0)
        if self._inner is not None:
            self._inner.reset(joints=self._joints.measured(proprio))
        self._armed_ns = now_ns

    def disarm(self) -> None:
        self._armed_ns = None

    def stand_still(self, now_ns: int) -> None:
        """The robot was told to hold."""
        self._outer.stand_still(now_ns)
        if self._inner is not None:
            self._inner.stand_still(now_ns)

    def judge(
        self, command: Command, *, newest: int, proprio: Float[np.ndarray, " p"], state_ns: int, now_ns: int
    ) -> Judgement:
        """`newest`: the highest number that waits; `proprio`, `state_ns`: the native state and when it was measured."""
        if reason := self._out_of_order(command, newest, now_ns):
            return self._refused(reason)
        self._number = command.number
        if now_ns - state_ns > max(_STATE_PERIODS * self._period_ns, _LEAST_STATE_S * 1e9):
            return self._refused("state_stale")
        try:
            measured = np.asarray(self._adapter.proprio(proprio), np.float64)
            joints = self._joints.measured(proprio)
        except (UserError, WorldError, IndexError):
            return self._refused("bad_state")
        here = _positions(measured, self._layout)
        verdict = self._outer.check(
            command.values, eef_pos=here, joints=np.zeros(self._outer.num_joints), stamp_ns=command.stamp_ns,
            valid_until_ns=command.valid_until_ns, now_ns=now_ns,
        )  # fmt: skip
        if verdict.held:
            return Judgement(reasons=verdict.reasons, action=tuple(verdict.action.tolist()), native=None)
        return self._converted(verdict.action, verdict.reasons, proprio, here, joints, command, now_ns)

    def _out_of_order(self, command: Command, newest: int, now_ns: int) -> str | None:
        if self._armed_ns is None:
            return "not_armed"
        if command.stamp_ns < self._armed_ns:
            return "before_arming"
        if command.number <= self._number:
            return "repeated" if command.number == self._number else "overtaken"
        if command.number < newest:
            return "superseded"
        if now_ns - command.stamp_ns > self._max_age_ns:
            return "too_old"
        return None

    def _refused(self, *reasons: str) -> Judgement:
        return Judgement(reasons=reasons, action=(), native=None)

    def _converted(
        self, action: np.ndarray, reasons: tuple[str, ...], proprio: np.ndarray, here: np.ndarray, joints: np.ndarray,
        command: Command, now_ns: int,
    ) -> Judgement:  # fmt: skip
        try:
            native = np.array(self._adapter.to_native(action, proprio_native=proprio), np.float64)
        except (UserError, WorldError):
            return self._held(now_ns, *reasons, "unreachable")
        if native.shape != (self._embodiment.action.width,) or not np.all(np.isfinite(native)):
            return self._held(now_ns, *reasons, "bad_native")
        if self._inner is not None:
            verdict = self._inner.check(
                self._joints.commanded(native), joints=joints, stamp_ns=command.stamp_ns,
                valid_until_ns=command.valid_until_ns, now_ns=now_ns,
            )  # fmt: skip
            reasons = tuple(dict.fromkeys((*reasons, *verdict.reasons)))
            if verdict.held:
                return self._held(now_ns, *reasons)
            if verdict.reasons:
                native = self._joints.put(verdict.action, native)
        native = np.clip(native, *_bounds(self._embodiment.action))
        if self._limited and not self._goes_where_it_says(native, proprio, here):
            return self._held(now_ns, *reasons, "adapter")
        return Judgement(reasons=reasons, action=tuple(action.tolist()), native=tuple(native.tolist()))

    def _held(self, now_ns: int, *reasons: str) -> Judgement:
        self.stand_still(now_ns)
        return self._refused(*reasons)

    def _goes_where_it_says(self, native: np.ndarray, proprio: np.ndarray, here: np.ndarray) -> bool:
        """The way back is other code than the way there: a defect of either, or joints that end elsewhere, show here."""
        if self._has_joints:
            return True
        try:
            back = np.asarray(self._adapter.to_canonical(native, proprio_native=proprio), np.float64)
        except (UserError, WorldError):
            return False
        limits, at, arm = self._limits, field_slices(self._layout.action.fields), 0
        for field in self._layout.action.fields:
            if field.kind == "delta_pos":
                start, move, arm = here[3 * arm : 3 * arm + 3], back[at[field.name]], arm + 1
                loose = _LOOSE_M + _LOOSE_SHARE * limits.max_step_m
                low = np.minimum(limits.workspace_low_m, start) - loose
                high = np.maximum(limits.workspace_high_m, start) + loose
                inside = bool(np.all((start + move >= low) & (start + move <= high)))
                if not inside or np.linalg.norm(move) > limits.max_step_m + loose:
                    return False
            if field.kind == "delta_rot" and field.rotation is not None:
                turn = float(rotations.angle(rotations.to_matrix(back[at[field.name]], field.rotation)))
                if turn > limits.max_step_rad * (1 + _LOOSE_SHARE) + _LOOSE_RAD:
                    return False
        return True


class _Joints:
    """The joints and wheels in a robot's native vectors, in radians (m for sliding ones)."""

    def __init__(self, embodiment: Embodiment) -> None:
        commands = [field for field in embodiment.action.fields if field.kind in (*_JOINT_KINDS, *_BASE_KINDS)]
        self.fields = tuple(dataclasses.replace(field, unit=field.unit.replace("deg", "rad")) for field in commands)
        if unknown := [f"{field.name} ({field.unit})" for field in commands if field.unit not in _RADIANS]:
            raise UserError(
                f"the guard cannot bound joints in these units: {', '.join(unknown)}; expected {', '.join(_RADIANS)}"
            )
        action_at, proprio_at = field_slices(embodiment.action.fields), field_slices(embodiment.proprio)
        by_name = {field.name: field for field in embodiment.proprio}
        joints = [field.name for field in commands if field.kind in _JOINT_KINDS]
        names = [name.replace("joint_delta", "joint_pos").replace("joint_vel", "joint_pos") for name in joints]
        if missing := [name for name in names if name not in by_name]:
            raise UserError(f"the guard needs the measured joints {', '.join(missing)}; the state has {', '.join(by_name)}")
        self._command_at = _indices([action_at[field.name] for field in commands])
        self._state_at = _indices([proprio_at[name] for name in names])
        self._command_unit = _scales(commands)
        self._state_unit = _scales([by_name[name] for name in names])

    def measured(self, proprio: np.ndarray) -> np.ndarray:
        return np.asarray(proprio, np.float64)[self._state_at] * self._state_unit

    def commanded(self, native: np.ndarray) -> np.ndarray:
        return native[self._command_at] * self._command_unit

    def put(self, joints: np.ndarray, native: np.ndarray) -> np.ndarray:
        changed = native.copy()
        changed[self._command_at] = joints / self._command_unit
        return changed


def _unbounded(field: ActionField) -> ActionField:
    """A joint as the outer filter may take it, in whatever unit: it only asks for its shape, finiteness and age."""
    return dataclasses.replace(field, unit="rad") if field.kind in _JOINT_KINDS else field


def _indices(places: Sequence[slice]) -> np.ndarray:
    return np.concatenate([np.empty(0, int), *(np.arange(place.start, place.stop) for place in places)])


def _scales(fields: Sequence[Field]) -> np.ndarray:
    return np.concatenate([np.empty(0), *(np.full(field.width, _RADIANS.get(field.unit, 1.0)) for field in fields)])


def _bounds(space: ActionSpace) -> tuple[np.ndarray, np.ndarray]:
    return space.per_dim(lambda field: field.low), space.per_dim(lambda field: field.high)


def _unseen(layout: Layout) -> list[str]:
    """Measured positions that the action's moves start from and the layout says are unknown."""
    at = field_slices(layout.proprio)
    names = [f.name.replace("delta_pos", "eef_pos") for f in layout.action.fields if f.kind == "delta_pos"]
    return [name for name in names if name in at and not all(layout.proprio_mask[at[name]])]


def _positions(measured: np.ndarray, layout: Layout) -> np.ndarray:
    """Where each arm's gripper point is, in the order of the action's position fields: `left_delta_pos` with `left_eef_pos`."""
    at = field_slices(layout.proprio)
    names = [f.name.replace("delta_pos", "eef_pos") for f in layout.action.fields if f.kind == "delta_pos"]
    return np.concatenate([np.empty(0), *(measured[at[name]] for name in names if name in at)])
