"""What RT-1-X's action tokens stand for, set by set: fixed bounds in place of each set's quantiles.

RT-1-X cuts world_vector into bins between -2 and 2 and rotation_delta between -pi/2 and pi/2, and multiplies each set's
actions by numbers of its own beforehand. Bounds over scale, in our units, is where that set's bins begin and end:

    bridge   x35: 0.05 m -> 1.75      so delta_pos between -2 / 35 and 2 / 35 m

One bound serves tokenizing and decoding (the notebook's loss tokenizes between -1 and 1 what it decodes between -2 and 2).
Sets whose scaling cannot be said in metres and radians keep their quantiles: viola (commands without a unit), taco_play (the
notebook scales absolute poses by Bridge's numbers, a slip), kuka and language_table (not in the notebook).

Source: google-deepmind/open_x_embodiment, `models/rt1.py` and `colabs/Minimal_Training_Example.ipynb`.
"""

from __future__ import annotations

from collections.abc import Mapping

from rtx.robots.rt1x_bounds import BASE_DISPLACEMENT, BASE_ROTATION, BRIDGE_SCALE, ROTATION_DELTA, WORLD_VECTOR

Bounds = Mapping[str, tuple[float, float]]
"""Name of an action field or of one of its dimensions ("delta_pos", "delta_pos.0") -> (low, high) in the field's unit."""

_BASE: Bounds = {
    "base_delta_pos": (-BASE_DISPLACEMENT, BASE_DISPLACEMENT),
    "base_delta_yaw": (-BASE_ROTATION, BASE_ROTATION),
}


def scaled(position: float, rotation: float) -> Bounds:
    """Of a set whose translations (m) and rotations (rad) are multiplied by these numbers before they are cut into bins."""
    return {
        "delta_pos": (-WORLD_VECTOR / position, WORLD_VECTOR / position),
        "delta_rot": (-ROTATION_DELTA / rotation, ROTATION_DELTA / rotation),
    }


_CABLE_HZ, _JACO_HZ, _TOTO_HZ = 10.0, 10.0, 30.0  # these sets hold velocities, we their displacement in a step
_BRIDGE = scaled(*BRIDGE_SCALE)
_JACO_MEAN, _JACO_STD = (0.00096585, -0.00580069, -0.00395066), (0.12234575, 0.09676983, 0.11155209)  # m/s


def _jaco() -> Bounds:
    """Standardized by mean and standard deviation; no rotation."""
    reach = [WORLD_VECTOR * std for std in _JACO_STD]
    centres = enumerate(zip(_JACO_MEAN, reach, strict=True))
    return {f"delta_pos.{i}": ((mean - r) / _JACO_HZ, (mean + r) / _JACO_HZ) for i, (mean, r) in centres}


RT1X_BOUNDS: Mapping[str, Bounds] = {
    "fractal20220817_data": {**scaled(1.0, 1.0), **_BASE},
    "bridge": _BRIDGE,
    "bridge_dataset": _BRIDGE,  # the same robot and units
    "jaco_play": _jaco(),
    "berkeley_cable_routing": scaled(_CABLE_HZ, _CABLE_HZ),
    "roboturk": scaled(1.0, 1.0),
    "berkeley_autolab_ur5": scaled(100.0, 15.0),
    "toto": scaled(2 * _TOTO_HZ, _TOTO_HZ),
}
"""By data set."""
