"""The WidowX 250 of BridgeData V2, with the conventions of its data: base-frame deltas, continuous gripper opening."""

from __future__ import annotations

from rtx.embodiment import ActionField, ActionSpace, Camera, Embodiment, Field, Limits
from rtx.robots.hardware import HARDWARE

_ARM = HARDWARE["widowx_250"]

WIDOWX_250 = Embodiment(
    name="widowx_250",
    morphology="single arm",
    cameras=(
        Camera(role="primary", resolution=(256, 256), mounting="over the arm's shoulder, fixed"),
        Camera(role="secondary", resolution=(256, 256), mounting="beside the table, moved between sessions"),
    ),
    # The orientation is the gripper's true one. The robot's own software reports it relative to gripper down:
    # compose with `rtx.data.oxe.bridge.GRIPPER_DOWN` before it gets here.
    proprio=(
        Field(name="eef_pos", width=3, unit="m", frame="base"),
        Field(name="eef_rot", width=3, unit="rad", frame="base", rotation="rpy"),
        Field(name="gripper", width=1, unit="1"),
    ),
    action=ActionSpace(
        fields=(
            ActionField(name="delta_pos", width=3, kind="delta_pos", unit="m", frame="base"),
            ActionField(name="delta_rot", width=3, kind="delta_rot", unit="rad", frame="base", rotation="rpy"),
            ActionField(name="gripper", width=1, kind="gripper", unit="1", low=0.0, high=1.0, normalize=False),
        )
    ),
    control_hz=5.0,
    limits=Limits(
        workspace_low_m=(0.1, -0.25, -0.01),
        workspace_high_m=(0.45, 0.25, 0.30),
        max_step_m=0.05,
        max_step_rad=0.35,
        max_velocity_m_s=0.25,
        max_acceleration_m_s2=2.5,
        joint_low_rad=_ARM.joint_low_rad,
        joint_high_rad=_ARM.joint_high_rad,
        max_joint_velocity_rad_s=_ARM.max_joint_velocity_rad_s,
        source="RT-X scales Bridge actions by 0.05 m and 0.25 rad a step; box around the debug shards' positions, not "
        f"measured. Joints: {_ARM.joint_source}",
    ),
    kinematics=_ARM.kinematics,
)
