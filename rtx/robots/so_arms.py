"""SO-100 and SO-101, the printed arms of the LeRobot community: five joints and a jaw, commanded in joint angles at 30 Hz.

Five joints cannot hold any orientation: a pose is reached as nearly as they allow. LeRobot counts joints in degrees or in
percent of their calibrated range; here they are radians, and the jaw is LeRobot's percent.
"""

from __future__ import annotations

from rtx.embodiment import Camera, Embodiment
from rtx.robots import fields
from rtx.robots.hardware import embodiment

SO_HZ = 30.0


def _so_arm(name: str) -> Embodiment:
    cameras = (
        Camera(role="primary", resolution=(480, 640), mounting="where you put it: the kit prescribes nothing"),
        Camera(role="wrist", resolution=(480, 640), mounting="on the hand"),
    )
    return embodiment(
        name, name, cameras, hz=SO_HZ,
        action=(fields.joint_pos(5), fields.gripper(closed=0, opened=100, unit="percent")),
        proprio=(fields.joint_state(5), fields.gripper_state(closed=0, opened=100, unit="percent")),
    )  # fmt: skip


SO_100, SO_101 = _so_arm("so100"), _so_arm("so101")
