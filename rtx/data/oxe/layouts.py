"""Layouts of robots that are no single arm, shared between data sets: a name means one definition everywhere.

    ARM_AND_BASE   the canonical arm, then the base's motion: base_delta_pos (2), base_delta_yaw (1)
    BASE           a base alone: its motion; where it stands and looks in its odometry's frame
    TWO_ARMS       the right arm in the canonical fields, the left one in left_delta_pos (3), left_delta_rot (3),
                   left_gripper (1); in proprio left_eef_pos (3), left_eef_rot (6), left_gripper (1)
    TOOL_DELTA_*   motion in the gripper's own frame, in place of delta_pos and delta_rot
    joints(...)    an arm commanded in joints: they take the place of delta_pos and delta_rot

Fields of one name stay equal because they are copied from `CANONICAL_ARM` and `CANONICAL_PROPRIO` or made here only.
"""

from __future__ import annotations

from rtx.embodiment import CANONICAL_ARM, CANONICAL_PROPRIO, ActionField, ActionSpace, Field, Layout
from rtx.robots import fields
from rtx.robots.fields import left

DELTA_POS, DELTA_ROT, GRIPPER, TERMINATE = CANONICAL_ARM.fields
EEF_POS, EEF_ROT, GRIPPER_STATE = CANONICAL_PROPRIO

TOOL_DELTA_POS = ActionField(name="tool_delta_pos", width=3, kind="delta_pos", unit="m", frame="tool")
TOOL_DELTA_ROT = ActionField(name="tool_delta_rot", width=3, kind="delta_rot", unit="rad", frame="tool", rotation="rpy")
"""Motion in the gripper's own frame at the start of the step, of sets that measure no orientation."""

LEFT_ARM: tuple[ActionField, ...] = (left(DELTA_POS), left(DELTA_ROT), left(GRIPPER))
"""Width 7. One terminate is enough for both arms."""

LEFT_PROPRIO: tuple[Field, ...] = (left(EEF_POS), left(EEF_ROT), left(GRIPPER_STATE))
"""Width 10."""

ARM_AND_BASE = Layout(action=ActionSpace(fields=(*CANONICAL_ARM.fields, *fields.base_delta())))
"""Action width 11: `CANONICAL_ARM`, then forward and left (m) and the turn to the left (rad), in the base's own frame."""

BASE = Layout(action=ActionSpace(fields=fields.base_delta()), proprio=fields.BASE_POSE)
"""Action width 3, proprio width 4."""

TWO_ARMS = Layout(
    action=ActionSpace(fields=(*CANONICAL_ARM.fields, *LEFT_ARM)),
    proprio=(*CANONICAL_PROPRIO, *LEFT_PROPRIO),
)
"""Action width 15, proprio width 20, both arms in the base frame the data set uses for the two."""


def joints(*action: ActionField, proprio: tuple[Field, ...]) -> Layout:
    """Joint commands (`fields.joint_delta(7)`, ...), then the canonical gripper. `proprio` as the data set measures it."""
    return Layout(action=ActionSpace(fields=(*action, GRIPPER)), proprio=proprio)
