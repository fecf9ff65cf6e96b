"""ALOHA: two ViperX 300 arms commanded in joint angles at 50 Hz, on a table (ALOHA) or on wheels (Mobile ALOHA).

As its software has it, the left arm comes first. Fields without a prefix are the right arm's. Joint limits and kinematics are
those of one arm and hold for each, in its own base frame.
"""

from __future__ import annotations

from rtx.embodiment import CANONICAL_ARM, CANONICAL_PROPRIO, ActionField, Camera, Field
from rtx.robots import fields
from rtx.robots.hardware import embodiment

ALOHA_HZ = 50.0
_GRIPPER, _GRIPPER_STATE = CANONICAL_ARM.fields[2], CANONICAL_PROPRIO[2]  # 0 closed, 1 open: normalized by its software
_RIGHT: tuple[ActionField, ...] = (fields.joint_pos(6), _GRIPPER)
_RIGHT_STATE: tuple[Field, ...] = (fields.joint_state(6), _GRIPPER_STATE)
_ARMS = (*(fields.left(field) for field in _RIGHT), *_RIGHT)
_STATE = (*(fields.left(field) for field in _RIGHT_STATE), *_RIGHT_STATE)
_BASE_VELOCITY = (
    ActionField(name="base_vel", width=1, kind="base_vel", unit="m/s", frame="base"),
    ActionField(name="base_turn_vel", width=1, kind="base_vel", unit="rad/s", frame="base"),
)


def _camera(role: str, mounting: str = "") -> Camera:
    return Camera(role=role, resolution=(480, 640), mounting=mounting)


ALOHA = embodiment(
    "aloha", "aloha",
    (
        _camera("primary", "above the table (cam_high)"), _camera("secondary", "at the table's edge (cam_low)"),
        _camera("wrist_right"), _camera("wrist_left"),
    ),
    hz=ALOHA_HZ, morphology="two arms", action=_ARMS, proprio=_STATE,
)  # fmt: skip
ALOHA_MOBILE = embodiment(
    "aloha_mobile", "aloha", (_camera("primary"), _camera("wrist_right"), _camera("wrist_left")),
    hz=ALOHA_HZ, morphology="two arms on a wheeled base", action=(*_ARMS, *_BASE_VELOCITY), proprio=_STATE,
)  # fmt: skip
