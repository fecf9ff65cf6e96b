"""The Franka of DROID: on a mobile desk, two cameras beside it and one on the hand, commanded 15 times a second.

Commanded in poses or in joint angles; its data holds both.
"""

from __future__ import annotations

from rtx.embodiment import Camera
from rtx.robots import fields
from rtx.robots.hardware import embodiment

DROID_HZ = 15.0
_CAMERAS = (
    Camera(role="primary", resolution=(180, 320)),
    Camera(role="secondary", resolution=(180, 320)),
    Camera(role="wrist", resolution=(180, 320), mounting="rolled by 180 degrees against the gripper's axes"),
)
_GRIPPER, _GRIPPER_STATE = fields.gripper(closed=1, opened=0), fields.gripper_state(closed=1, opened=0)

FRANKA_DROID = embodiment(
    "franka_droid", "franka", _CAMERAS, hz=DROID_HZ, action=(fields.abs_pos(), fields.abs_rot("rpy"), _GRIPPER),
    proprio=(fields.eef_pos(), fields.eef_rot("rpy"), _GRIPPER_STATE),
)  # fmt: skip
FRANKA_DROID_JOINTS = embodiment(
    "franka_droid_joints", "franka", _CAMERAS, hz=DROID_HZ, action=(fields.joint_pos(7), _GRIPPER),
    proprio=(fields.joint_state(7), _GRIPPER_STATE),
)  # fmt: skip
