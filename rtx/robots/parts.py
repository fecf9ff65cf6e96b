"""An action or a state taken apart: which fields are one arm's, which the base's, by kind, name and prefix.

Of two arms, fields without a prefix are the right one's and `left_` ones the left one's; `leg_` joints are no arm's but are
converted like one. An arm's command is a place and a turn, or joints; and usually a gripper.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rtx.embodiment import ActionField

PREFIXES = ("left_", "leg_")
POSITIONS, TURNS = ("delta_pos", "abs_pos"), ("delta_rot", "abs_rot")
JOINTS = ("joint_pos", "joint_delta", "joint_vel")
BASE = ("base_delta_pos", "base_delta_rot", "base_vel")


@dataclass(frozen=True, kw_only=True)
class Arm:
    """The fields of one arm's command; None: it has none."""

    pos: ActionField | None = None
    rot: ActionField | None = None
    joints: ActionField | None = None
    gripper: ActionField | None = None


@dataclass(frozen=True, kw_only=True)
class Parts:
    arms: dict[str, Arm]  # by prefix, in the order of their first fields
    base: tuple[ActionField, ...]
    terminate: ActionField | None


def prefix_of(name: str) -> str:
    return next((prefix for prefix in PREFIXES if name.startswith(prefix)), "")


def arm_title(prefix: str) -> str:
    return {"": "the arm", "left_": "the left arm", "leg_": "the legs"}[prefix]


def parts_of(fields: Sequence[ActionField]) -> tuple[Parts, list[str]]:
    """The parts, and what is said twice."""
    slots: dict[str, dict[str, ActionField]] = {}
    base: list[ActionField] = []
    terminate: ActionField | None = None
    problems = []
    for field in fields:
        if field.kind in BASE:
            base.append(field)
            continue
        if field.kind == "terminate":
            problems += [f"action field {field.name!r} is a second terminate"] if terminate else []
            terminate = field
            continue
        arm = slots.setdefault(prefix_of(field.name), {})
        slot = "pos" if field.kind in POSITIONS else "rot" if field.kind in TURNS else "joints"
        slot = "gripper" if field.kind == "gripper" else slot
        if slot in arm:
            problems.append(f"action fields {arm[slot].name!r} and {field.name!r} command the same")
        arm[slot] = field
    arms = {prefix: Arm(**arm) for prefix, arm in slots.items()}
    return Parts(arms=arms, base=tuple(base), terminate=terminate), problems
