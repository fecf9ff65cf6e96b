"""Which native commands would have led from each measured state to the next: the actions of a recording that has only states.

For an arm that something else moved: a leader arm, a hand, the vendor's pendant. What the arm did is taken for what it was
told, but for the gripper: a hand that squeezes a thing stays where the thing stops it, so its command is read from where it
begins to close and to open (`intended_opening`).
"""

from __future__ import annotations

import dataclasses

import numpy as np
from jaxtyping import Float

from rtx.embodiment import ActionField, Embodiment, field_slices
from rtx.errors import UserError
from rtx.robots import rotations
from rtx.robots.adapter import Adapter
from rtx.robots.adapter_layout import default_layout, known_action_fields
from rtx.robots.commanded import commanded_layout
from rtx.robots.parts import BASE, prefix_of

_TURNED = 0.05  # of the gripper's range: less is noise


class Between:
    """For one robot: poses for arms commanded in poses, joints for arms commanded in joints.

    Raises UserError when made, naming what the robot would have to measure.
    """

    def __init__(self, robot: Embodiment) -> None:
        if wheels := [field.name for field in robot.action.fields if field.kind in BASE]:
            raise UserError(
                f"{robot.name!r}: the motion of a base ({wheels[0]!r}) cannot be computed from states; record commands"
            )
        by_joints = any(field.kind.startswith("joint_") for field in robot.action.fields)
        own = dataclasses.replace(robot, kinematics=None) if by_joints else robot  # joints stay joints
        self._layout = layout = commanded_layout(default_layout(own), robot)
        known = {f.name for f in layout.proprio if any(layout.proprio_mask[field_slices(layout.proprio)[f.name]])}
        missing = [field for field in known_action_fields(layout) if not self._needs(field) <= known]
        if missing:
            raise UserError(
                f"{robot.name!r} does not measure what it commands ({missing[0].name!r}): its actions cannot be computed"
            )
        try:
            self._adapter = Adapter(robot, layout)
        except UserError as error:
            raise UserError(f"actions cannot be computed from what {robot.name!r} measures: {error}") from error
        self._hz = robot.control_hz

    def __call__(self, states: Float[np.ndarray, "n m"]) -> Float[np.ndarray, "k a"]:
        """Native states `[T + 1, m]`, a control period apart -> native actions `[T, a]`, float64."""
        self._adapter.reset(proprio_native=states[0])
        measured = self._adapter.proprio(states).astype(np.float64)
        parts = {name: measured[:, at] for name, at in field_slices(self._layout.proprio).items()}
        action = np.zeros((len(states) - 1, self._layout.action.width))
        for field in known_action_fields(self._layout):
            action[:, self._layout.action.slices[field.name]] = self._column(field, parts, len(action))
        return self._adapter.to_native(action, proprio_native=states[:-1])

    def _needs(self, field: ActionField) -> set[str]:
        prefix = prefix_of(field.name)
        names = {"delta_pos": "eef_pos", "delta_rot": "eef_rot", "gripper": "gripper", "terminate": ""}
        name = names.get(field.kind, f"joint_pos_{field.width}")
        return {prefix + name} if name else set()

    def _column(self, field: ActionField, parts: dict[str, np.ndarray], count: int) -> np.ndarray:
        if field.kind == "terminate":
            return np.full((count, 1), field.low)
        (name,) = self._needs(field)
        values = parts[name]
        if field.kind == "gripper":
            return intended_opening(values[:, 0])[:, None]
        if field.kind == "delta_rot":
            turns = rotations.to_matrix(values, "rot6d")
            return np.asarray(rotations.from_matrix(turns[1:] @ rotations.transpose(turns[:-1]), "rpy"))
        if field.kind == "joint_pos":
            return values[1:]
        return (values[1:] - values[:-1]) * (self._hz if field.kind == "joint_vel" else 1.0)


def intended_opening(opening: Float[np.ndarray, " n"]) -> Float[np.ndarray, " k"]:
    """Measured openings `[T + 1]`, 0 closed to 1 open -> commands `[T]`: 0 from where it begins to close, 1 to open."""
    command = np.empty(len(opening) - 1)
    is_open, extreme, at, start = bool(opening[0] > 0.5), float(opening[0]), 0, 0
    for t, value in enumerate(opening.tolist()):
        onward = value >= extreme if is_open else value <= extreme
        if onward:
            extreme, at = value, t
        elif abs(value - extreme) > _TURNED:
            command[start:at] = is_open
            is_open, extreme, start, at = not is_open, value, at, t
    command[start:] = is_open
    return command
