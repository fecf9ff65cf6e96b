"""The layout of a policy's vectors that suits a robot, where no checkpoint says which it was trained on.

pose commands, or joints of known kinematics   `CANONICAL_ARM`, `CANONICAL_PROPRIO`; the second arm's after `left_`
other joints                                   the same joints in radians, and the gripper's opening
a base                                         its displacement in one step

What an arm has no command for, or does not measure, is unknown to such a policy, as in the arm's own data sets.
"""

from __future__ import annotations

import dataclasses
from typing import TypeVar

from rtx.embodiment import CANONICAL_ARM, CANONICAL_PROPRIO, ActionField, ActionSpace, Embodiment, Field, Layout
from rtx.robots import fields
from rtx.robots.measured import FINGERS
from rtx.robots.parts import Arm, parts_of

_AnyField = TypeVar("_AnyField", bound=Field)
_POS, _ROT, _GRIPPER, _TERMINATE = CANONICAL_ARM.fields


def default_layout(embodiment: Embodiment) -> Layout:
    """Right arm first, then the left one, then the base."""
    parts, _ = parts_of(embodiment.action.fields)
    action: list[ActionField] = []
    proprio: list[Field] = []
    unknown: list[str] = []
    for prefix in sorted(parts.arms):
        arm = parts.arms[prefix]
        by_pose = arm.joints is None or _is_solvable(embodiment, arm)
        action += _poses(prefix) if by_pose else _joints(prefix, arm)
        proprio += [_named(prefix, field) for field in CANONICAL_PROPRIO] if by_pose else _joint_state(prefix, embodiment)
        unknown += _unknown(prefix, arm, embodiment) if by_pose else []
        if prefix == "" and (by_pose or parts.terminate):
            action.append(_TERMINATE)
    if parts.base:
        action += fields.base_delta()
        proprio += [] if parts.arms else fields.BASE_POSE
    return Layout(action=ActionSpace(fields=tuple(action)), proprio=tuple(proprio)).without(*unknown)


def known_action_fields(layout: Layout) -> tuple[ActionField, ...]:
    """Those of which the policy knows at least one dimension."""
    return tuple(f for f in layout.action.fields if any(layout.action_mask[layout.action.slices[f.name]]))


def _unknown(prefix: str, arm: Arm, embodiment: Embodiment) -> list[str]:
    """Names for `Layout.without`. A field that is there and wrong is not unknown: the adapter says what is wrong with it.

    Where the arm is must be measured: limits are about that.
    """
    have = {field.name.removeprefix(prefix) for field in embodiment.proprio if field.name.startswith(prefix)}
    unknown = []
    if not arm.rot and not arm.joints:
        unknown.append(f"{prefix}{_ROT.name}")
    if not arm.gripper:
        unknown.append(f"{prefix}{_GRIPPER.name}")
    if "eef_rot" not in have and embodiment.kinematics is None:
        unknown.append(f"proprio.{prefix}eef_rot")
    if not have & {"gripper", FINGERS}:
        unknown.append(f"proprio.{prefix}gripper")
    return unknown


def _is_solvable(embodiment: Embodiment, arm: Arm) -> bool:
    kinematics = embodiment.kinematics
    return kinematics is not None and arm.joints is not None and arm.joints.width == len(kinematics.joints)


def _poses(prefix: str) -> list[ActionField]:
    return [_named(prefix, field) for field in (_POS, _ROT, _GRIPPER)]


def _joints(prefix: str, arm: Arm) -> list[ActionField]:
    assert arm.joints is not None
    kind, count = arm.joints.kind, arm.joints.width
    unit = "rad/s" if kind == "joint_vel" else "rad"
    joints = dataclasses.replace(arm.joints, name=f"{prefix}{kind}_{count}", unit=unit, frame="joint")
    return [joints, *([_named(prefix, _GRIPPER)] if arm.gripper else [])]


def _joint_state(prefix: str, embodiment: Embodiment) -> list[Field]:
    """What is measured of joints and gripper."""
    own = [field for field in embodiment.proprio if field.name.startswith(prefix)]
    state: list[Field] = [
        fields.joint_state(field.width, prefix=prefix) for field in own if field.name == f"{prefix}joint_pos_{field.width}"
    ]
    return state + [_named(prefix, CANONICAL_PROPRIO[2]) for field in own if field.name == f"{prefix}gripper"]


def _named(prefix: str, field: _AnyField) -> _AnyField:
    return dataclasses.replace(field, name=f"{prefix}{field.name}")
