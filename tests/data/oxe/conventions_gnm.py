"""The navigation sets: odometry of a base, and a waypoint in its frame."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tests.data.oxe.convention import Convention, column, joined
from tests.data.oxe.poses import Poses


def base(poses: Poses) -> Mapping[str, Any]:
    """The waypoint one step ahead: forward and left, and the turn with it."""
    return {
        "observation/position": poses.base[:, :2],
        "observation/yaw": column(poses.base[:, 2]),
        "observation/state": poses.base,
        "action": poses.base_delta[:, :2],
        "action_angle": poses.base_delta,
    }


def base_scaled(poses: Poses) -> Mapping[str, Any]:
    """Waypoints in another unit than the odometry's."""
    waypoint = poses.base_delta * [4, 4, 1]
    return dict(base(poses)) | {"action": waypoint[:, :2], "action_angle": joined(waypoint)}


GNM: Mapping[str, tuple[Convention, ...]] = {
    name: (Convention(native=base_scaled), Convention(native=base, choices={"motion": "command"}))
    for name in ("berkeley_gnm_cory_hall", "berkeley_gnm_recon", "berkeley_gnm_sac_son")
}
