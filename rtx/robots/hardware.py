"""Limits of the robots in Open X-Embodiment, by hardware. Reach is the maker's; speeds are well below what it allows.

Nobody measured the cells these data sets were recorded in: the box is what the arm can reach, so put your own table and
walls into your embodiment before a policy moves a real arm.
"""

from __future__ import annotations

from collections.abc import Mapping

from rtx.errors import unknown_name
from rtx.spec import Limits

_REACH_M: Mapping[str, float] = {
    "aloha": 0.75, "cobotta": 0.34, "dlr_edan": 0.94, "dlr_sara": 0.94, "fanuc_mate": 0.72,
    "franka": 0.855, "google_robot": 1.0, "jaco2": 0.90, "kinova_gen3": 0.90, "kuka_iiwa": 0.82, "pr2": 0.93, "sawyer": 1.26,
    "spot": 0.98, "stretch": 1.1, "ur5": 0.85, "viperx_300": 0.75, "wheeled_base": 1.0, "quadruped": 0.5, "widowx_250": 0.65,
    "xarm6": 0.70, "xarm7": 0.70,
}  # fmt: skip
_SPEED_M_S = 0.5  # every one of them can do more; people stand beside them
_SPEED_RAD_S = 1.5
_ACCELERATION_M_S2 = 5.0


def limits(hardware: str, hz: float) -> Limits:
    """Limits of one arm driven at `hz` commands a second. Raises UserError for hardware that is not in the table."""
    if hardware not in _REACH_M:
        raise unknown_name("hardware", hardware, _REACH_M)
    reach = _REACH_M[hardware]
    return Limits(
        workspace_low_m=(-reach, -reach, -reach),
        workspace_high_m=(reach, reach, reach),
        max_step_m=_SPEED_M_S / hz,
        max_step_rad=_SPEED_RAD_S / hz,
        max_velocity_m_s=_SPEED_M_S,
        max_acceleration_m_s2=_ACCELERATION_M_S2,
        source="the arm's reach and a careful speed; the cell of the data set is not known",
    )
