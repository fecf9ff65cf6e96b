"""Whose pictures come from elsewhere: web data, and models that learned from them alone."""

from rtx.embodiment import CANONICAL_ARM, Camera, Embodiment, Limits

NO_ROBOT = Embodiment(
    name="no_robot",
    morphology="none: pictures from elsewhere",
    cameras=(Camera(role="primary", resolution=(224, 224)),),
    proprio=(),
    action=CANONICAL_ARM,
    control_hz=1.0,
    limits=Limits(
        workspace_low_m=(-1e-3, -1e-3, -1e-3), workspace_high_m=(1e-3, 1e-3, 1e-3), max_step_m=1e-6, max_step_rad=1e-6,
        max_velocity_m_s=1e-6, max_acceleration_m_s2=1e-6, source="nothing may move: there is no robot",
    ),
)  # fmt: skip
"""What data sets without a robot name as theirs."""
