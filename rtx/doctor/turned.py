"""Canonical vectors in another frame: what a log holds if tool and base, or two bases, were mistaken for each other."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from rtx.embodiment import Layout, field_slices
from rtx.robots import rotations

Actions = Float[np.ndarray, "n a"]
States = Float[np.ndarray, "n p"]


def frames_known(layout: Layout) -> bool:
    """Whether poses and deltas of one arm are there to be turned."""
    have = {*layout.action.slices, *field_slices(layout.proprio)}
    return {"delta_pos", "delta_rot", "eef_pos", "eef_rot"} <= have and all(layout.proprio_mask)


def into_tool(layout: Layout, action: Actions, state: States) -> Actions:
    """Base-frame deltas `action [n, a]` in the frame of the tool of `state [n, p]`: R^T d, R^T R_d R."""
    return _turned(layout, action, rotations.transpose(_tool(layout, state)))


def out_of_tool(layout: Layout, action: Actions, state: States) -> Actions:
    """Inverse of `into_tool`: R d, R R_d R^T."""
    return _turned(layout, action, _tool(layout, state))


def by_yaw(layout: Layout, action: Actions, turn_rad: float) -> Actions:
    """Deltas as seen from a base whose vectors are turned by `turn_rad` about z."""
    return _turned(layout, action, _about_z(turn_rad))


def yawed_state(layout: Layout, state: States, turn_rad: float) -> States:
    """Poses as seen from a base whose vectors are turned by `turn_rad` about z."""
    turn, at, turned = _about_z(turn_rad), field_slices(layout.proprio), state.copy()
    turned[:, at["eef_pos"]] = state[:, at["eef_pos"]] @ turn.T
    turned[:, at["eef_rot"]] = rotations.from_matrix(turn @ _tool(layout, state), "rot6d")
    return turned


def _turned(layout: Layout, action: Actions, turn: np.ndarray) -> Actions:
    """v -> T v, R -> T R T^-1; `turn` [3, 3] or [n, 3, 3]."""
    at, turned = layout.action.slices, action.copy()
    turned[:, at["delta_pos"]] = (turn @ action[:, at["delta_pos"], None])[..., 0]
    rotation = rotations.to_matrix(action[:, at["delta_rot"]], "rpy")
    turned[:, at["delta_rot"]] = rotations.from_matrix(turn @ rotation @ rotations.transpose(turn), "rpy")
    return turned


def _tool(layout: Layout, state: States) -> np.ndarray:
    return rotations.to_matrix(state[:, field_slices(layout.proprio)["eef_rot"]], "rot6d")


def _about_z(turn_rad: float) -> np.ndarray:
    return rotations.to_matrix(np.array([0.0, 0.0, turn_rad]), "rpy")
