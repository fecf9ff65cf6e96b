"""What of a layout a robot can be commanded in at all: the rest is unknown to a policy of its own data."""

from __future__ import annotations

from rtx.embodiment import Embodiment, Layout
from rtx.robots.parts import Arm, parts_of, prefix_of


def commanded_layout(layout: Layout, embodiment: Embodiment, *, ends: bool = False) -> Layout:
    """The layout without the actions that the robot is not commanded in. `ends`: its episodes tell when to terminate."""
    parts, _ = parts_of(embodiment.action.fields)
    for field in layout.action.fields:
        arm = parts.arms.get(prefix_of(field.name), Arm())
        given = {
            "delta_pos": arm.pos or arm.joints,
            "delta_rot": arm.rot or arm.joints,
            "gripper": arm.gripper,
            "terminate": parts.terminate or ends,
        }
        if not given.get(field.kind, True):
            layout = layout.without(field.name)
    return layout
