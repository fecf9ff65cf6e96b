"""Between a policy's vectors and one robot's own, both ways, by what the embodiment and the layout say of their fields.

    policy's action [a]   the layout's fields: by default `CANONICAL_ARM`, a second arm's `left_*`, a base's displacement
         |  ^
         v  |             measured: the robot's own state, in its own vector
    native [n]            fields of `Embodiment.action`, in their order, unit, frame, rotation form and polarity

    native state [m]  ->  policy's proprio [p], the layout's fields: what was trained is what is fed

Arms: `rtx.robots.arm_motion` (poses, joints by inverse kinematics, grippers); a base: `rtx.robots.mobile_base`. A policy
trained in joint space passes through with its units: give the adapter its layout (`Contract.layouts`). Joints found by
inverse kinematics keep the joint limits and speeds; nothing else is clipped here: limits are the safety filter's. A robot
that fits none of this is refused when the adapter is made, with everything that does not fit.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike

from rtx.embodiment import ActionField, Embodiment, Layout, field_slices
from rtx.errors import UserError
from rtx.robots import mobile_base
from rtx.robots.adapter_layout import default_layout, known_action_fields
from rtx.robots.arm_motion import ArmMotion, arm_problems
from rtx.robots.grippers import Hysteresis, from_unit, to_unit
from rtx.robots.kinematics import ArmKinematics, Solution
from rtx.robots.measured import ArmState
from rtx.robots.parts import Arm, Parts, arm_title, parts_of
from rtx.robots.proprio import ProprioReader


@dataclass(frozen=True, kw_only=True)
class Command:
    """A native command, and how its poses came to joints: by arm ("" or "left_"), one `Solution` for each of the batch.

    `solutions` is empty where no inverse kinematics were needed.
    """

    native: Float[np.ndarray, "*b n"]
    solutions: Mapping[str, tuple[Solution, ...]]

    @property
    def reached(self) -> bool:
        """Whether the joints have the poses that were asked for at the end of the period."""
        return all(solution.reached for of_arm in self.solutions.values() for solution in of_arm)


class Adapter:
    """Converts for one embodiment and one layout of a policy's vectors.

    The same input gives the same output, but for binary grippers, which remember whether they are open (`reset`).
    One caller at a time. Raises UserError when made, with everything it cannot convert.
    """

    def __init__(self, embodiment: Embodiment, layout: Layout | None = None) -> None:
        self.embodiment = embodiment
        self.layout = layout = layout or default_layout(embodiment)
        self._kinematics = _shared_kinematics(embodiment) if embodiment.kinematics else None
        ours, problems = parts_of(known_action_fields(layout))
        theirs, more = parts_of(embodiment.action.fields)
        self._ours, self._theirs = ours, theirs
        prefixes = list(dict.fromkeys([*ours.arms, *theirs.arms]))
        count = len(embodiment.kinematics.joints) if embodiment.kinematics else 0
        self._states = {p: ArmState(p, embodiment.proprio, kinematics=self._kinematics, num_joints=count) for p in prefixes}
        self._down = self._motions(ours, theirs)
        self._up = self._motions(theirs, ours)
        self._proprio = ProprioReader(embodiment, layout, self._states)
        problems = [*problems, *more, *self._problems(), *self._proprio.problems()]
        if problems:
            raise UserError(
                f"embodiment {embodiment.name!r} has no conversion from the policy's action "
                f"({', '.join(field.name for field in layout.action.fields)}): " + "; ".join(dict.fromkeys(problems))
            )
        self._hysteresis = {
            prefix: Hysteresis() for prefix, arm in theirs.arms.items() if arm.gripper and arm.gripper.unit == "binary"
        }

    def reset(self, *, proprio_native: ArrayLike) -> None:
        """A new episode from this state: binary grippers are what they are measured to be."""
        native = self._state_vector(proprio_native)
        for prefix, hysteresis in self._hysteresis.items():
            if self._states[prefix].has_gripper:
                hysteresis.reset(float(self._states[prefix].read(native).opening.flat[-1]))

    @property
    def grippers_open(self) -> Mapping[str, bool]:
        """All that is remembered between two calls: whether each binary gripper is open, by arm. Can be set."""
        return {prefix: hysteresis.is_open for prefix, hysteresis in self._hysteresis.items()}

    @grippers_open.setter
    def grippers_open(self, are_open: Mapping[str, bool]) -> None:
        for prefix, is_open in are_open.items():
            self._hysteresis[prefix].is_open = is_open

    def to_native(self, action: ArrayLike, *, proprio_native: ArrayLike) -> Float[np.ndarray, "*b n"]:
        """A policy's `action [..., a]` as this robot's command `[..., n]`, float64, at the measured state `proprio_native`.

        `terminate` is dropped where the robot has no such field; a base that the policy does not drive stands.
        """
        return self.command(action, proprio_native=proprio_native).native

    def command(self, action: ArrayLike, *, proprio_native: ArrayLike) -> Command:
        """`to_native`, with what inverse kinematics could and could not do."""
        value = _vector(action, self.layout.action.width, "canonical action")
        values = {name: value[..., at] for name, at in self.layout.action.slices.items()}
        parts, solutions = self._converted(values, self._down, self._ours, self._theirs, proprio_native)
        for prefix, hysteresis in self._hysteresis.items():
            gripper = self._theirs.arms[prefix].gripper
            assert gripper is not None
            parts[gripper.name] = to_unit(hysteresis(from_unit(parts[gripper.name], gripper)), gripper)
        return Command(native=_ordered(parts, self.embodiment.action.fields, value.shape[:-1]), solutions=solutions)

    def to_canonical(self, native: ArrayLike, *, proprio_native: ArrayLike) -> Float[np.ndarray, "*b a"]:
        """Inverse of `to_native`, float32: what the command `native [..., n]` does from the state `proprio_native`.

        What the robot has no field for (`terminate`), and what the layout says is unknown, is 0.
        """
        value = _vector(native, self.embodiment.action.width, f"native action of {self.embodiment.name!r}")
        values = {name: value[..., at] for name, at in self.embodiment.action.slices.items()}
        parts, _ = self._converted(values, self._up, self._theirs, self._ours, proprio_native)
        return _ordered(parts, self.layout.action.fields, value.shape[:-1]).astype(np.float32)

    def proprio(self, native: ArrayLike) -> Float[np.ndarray, "*b p"]:
        """Native state `[..., m]` as the layout's proprio, float32; by default `CANONICAL_PROPRIO`: position (m), rot6d,
        gripper (0 closed, 1 open; within them, as in training). What the layout says is unknown is 0."""
        return self._proprio(self._state_vector(native))

    def _converted(
        self, values: Mapping[str, np.ndarray], motions: Mapping[str, ArmMotion], source: Parts, target: Parts,
        proprio_native: ArrayLike,
    ) -> tuple[dict[str, np.ndarray], dict[str, tuple[Solution, ...]]]:  # fmt: skip
        state = self._state_vector(proprio_native)
        parts: dict[str, np.ndarray] = {}
        solutions = {}
        for prefix, motion in motions.items():
            arm, solved = motion(values, self._states[prefix].read(state))
            parts |= arm
            if solved:
                solutions[prefix] = solved
        if target.base:
            period_s = 1 / self.embodiment.control_hz
            pose = mobile_base.pose_of(source.base, values, period_s) if source.base else np.zeros(3)
            parts |= mobile_base.command_for(target.base, pose, period_s)
        if target.terminate:
            parts[target.terminate.name] = _terminate(source.terminate, target.terminate, values)
        return parts, solutions

    def _motions(self, source: Parts, target: Parts) -> dict[str, ArmMotion]:
        period_s = 1 / self.embodiment.control_hz
        return {
            prefix: ArmMotion(source.arms.get(prefix, Arm()), arm, period_s=period_s, kinematics=self._kinematics)
            for prefix, arm in target.arms.items()
        }

    def _state_vector(self, native: ArrayLike) -> np.ndarray:
        width = sum(field.width for field in self.embodiment.proprio)
        return _vector(native, width, f"native proprio of {self.embodiment.name!r}")

    def _problems(self) -> list[str]:
        ours, theirs = self._ours, self._theirs
        problems = [problem for parts in (ours, theirs) for arm in parts.arms.values() for problem in arm_problems(arm)]
        for base in (ours.base, theirs.base):
            problems += mobile_base.base_problems(base) if base else []
        if ours.base and not theirs.base:
            problems.append("the policy drives a base, the robot has none")
        for terminate in (ours.terminate, theirs.terminate):
            if terminate and not (terminate.width == 1 and np.isfinite(terminate.high - terminate.low)):
                problems.append(f"action field {terminate.name!r} (terminate) needs finite low (go on) and high (stop)")
        if problems:
            return problems
        for prefix in self._states:
            problems += self._arm_problems(prefix)
        return problems

    def _arm_problems(self, prefix: str) -> list[str]:
        """Of one arm's fields, each right by itself, in their going together."""
        ours, theirs = self._ours.arms.get(prefix, Arm()), self._theirs.arms.get(prefix, Arm())
        problems = _missing_parts(prefix, ours, theirs)
        if ours.joints and theirs.joints and ours.joints.width != theirs.joints.width:
            problems.append(f"{arm_title(prefix)} has {theirs.joints.width} joints, the policy commands {ours.joints.width}")
        state, needs = self._states[prefix], self._needs(prefix)
        problems += state.problems(sorted(needs & {"pose", "joints", "gripper"}))
        if "kinematics" in needs:
            problems += self._kinematics_problems(prefix, ours.joints or theirs.joints)
        return problems

    def _needs(self, prefix: str) -> set[str]:
        return set().union(*(motions[prefix].needs() for motions in (self._down, self._up) if prefix in motions))

    def _kinematics_problems(self, prefix: str, joints: ActionField | None) -> list[str]:
        kinematics = self.embodiment.kinematics
        if kinematics is None:
            return [f"{arm_title(prefix)} needs kinematics between poses and joints: give the embodiment a Kinematics"]
        assert joints is not None
        if joints.width != len(kinematics.joints):
            return [f"action field {joints.name!r} has {joints.width} joints, the kinematics {len(kinematics.joints)}"]
        return []


def make_adapter(embodiment: Embodiment, layout: Layout | None = None) -> Adapter:
    """The adapter between a robot and a policy's vectors.

    `layout`: what the policy was trained on (`Contract.layouts[name]`). Without one, poses for every arm that is commanded in
    poses or whose kinematics are known, joints for the others. Raises UserError naming everything that does not fit.
    """
    return Adapter(embodiment, layout)


def _shared_kinematics(embodiment: Embodiment) -> Callable[[], ArmKinematics]:
    """Made when first asked for: it reads a description and imports MuJoCo. Of two equal arms it serves both."""
    limits, kinematics = embodiment.limits, embodiment.kinematics
    assert kinematics is not None
    # As the safety filter has it: a robot that names no joint speeds turns no joint faster than its hand.
    slowest = (limits.max_step_rad * embodiment.control_hz,) * len(kinematics.joints)

    @functools.cache
    def make() -> ArmKinematics:
        return ArmKinematics(
            kinematics, joint_low=limits.joint_low_rad, joint_high=limits.joint_high_rad,
            max_joint_velocity=limits.max_joint_velocity_rad_s or slowest,
        )  # fmt: skip

    return make


def _missing_parts(prefix: str, ours: Arm, theirs: Arm) -> list[str]:
    """What one side commands and the other cannot follow."""
    problems, title = [], arm_title(prefix)
    if not theirs.joints:
        for slot, kinds in (("pos", "delta_pos or abs_pos"), ("rot", "delta_rot or abs_rot")):
            if (getattr(ours, slot) or ours.joints) and not getattr(theirs, slot):
                problems.append(f"{title} needs one {kinds} action field, has none")
    if ours.gripper and not theirs.gripper:
        problems.append(f"{title} needs one gripper action field, has none")
    if not (ours.pos or ours.rot or ours.joints):
        problems.append(f"{title} is not moved by the policy's action")
    return problems


def _terminate(source: ActionField | None, target: ActionField, values: Mapping[str, np.ndarray]) -> np.ndarray:
    share = (values[source.name] - source.low) / (source.high - source.low) if source else np.zeros(1)
    return target.low + share * (target.high - target.low)


def _ordered(parts: Mapping[str, np.ndarray], fields: tuple[ActionField, ...], leading: tuple[int, ...]) -> np.ndarray:
    """The parts side by side; fields without one are 0."""
    leading = np.broadcast_shapes(leading, *(part.shape[:-1] for part in parts.values()))
    value = np.zeros((*leading, sum(field.width for field in fields)))
    for name, at in field_slices(fields).items():
        if name in parts:
            value[..., at] = parts[name]
    return value


def _vector(value: ArrayLike, width: int, what: str) -> np.ndarray:
    array = np.asarray(value, np.float64)
    if array.shape[-1:] != (width,):
        raise UserError(f"{what}: got shape {list(array.shape)}, expected [..., {width}]")
    if not np.all(np.isfinite(array)):
        raise UserError(f"{what} holds a non-finite value; hold still and check where it comes from")
    return array
