"""The Google (Everyday Robots) mobile manipulator of RT-1, with the conventions of its data.

Its gripper command is relative: -1 opens, +1 closes, 0 keeps. In the canonical action that is 1, 0 and one half: an opening of
about one half means "as it is", which the driver has to hold.
"""

from __future__ import annotations

from rtx.embodiment import ActionField, ActionSpace, Camera, Embodiment, Field
from rtx.robots import fields
from rtx.robots.hardware import limits

_HZ = 3.0

GOOGLE_ROBOT = Embodiment(
    name="google_robot",
    morphology="one arm on a wheeled base",
    cameras=(Camera(role="primary", resolution=(256, 320), mounting="on the head"),),
    proprio=(
        fields.eef_pos(),
        Field(name="eef_rot", width=4, unit="1", frame="base", rotation="quat_xyzw"),
        fields.gripper_state(closed=1.0, opened=0.0),
    ),
    action=ActionSpace(
        fields=(
            fields.delta_pos(),
            fields.delta_rot(),
            ActionField(
                name="gripper", width=1, kind="gripper", unit="1", closed=1.0, opened=-1.0, low=-1.0, high=1.0, normalize=False
            ),
            fields.terminate(),
            *fields.base_delta(),
        )
    ),
    control_hz=_HZ,
    limits=limits("google_robot", _HZ),
)
