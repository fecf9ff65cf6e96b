"""Where there is no expert to replay: does the arm go where a canonical action says? One axis at a time, through rtx.

    reset, `STEPS` times the same canonical action along one axis --> measured canonical proprio: how far along, how far aside

It proves units, signs, frames and which camera is whose, not that a task can be solved.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from rtx.embodiment import CANONICAL_PROPRIO, field_slices
from rtx.errors import UserError
from rtx.eval.play import Frame, Pilot
from rtx.eval.public.environment import PublicEnvironment, build
from rtx.eval.public.replay import chunk_of, layout_of
from rtx.eval.public.suite import PublicSuite
from rtx.eval.seeds import seed_for
from rtx.robots import rotations

STEPS = 8
_STEP_M, _STEP_RAD = 0.01, 0.05


@dataclass(frozen=True, kw_only=True)
class Probed:
    """`asked`: the sum of the commands, `along`: what was measured of it, `aside`: at right angles to it; m or rad.

    For the gripper: its measured opening before and after it was told to close, in `asked` and `along`.
    """

    axis: str
    asked: float
    along: float
    aside: float

    def __str__(self) -> str:
        if self.axis == "gripper":
            return f"gripper   told to close: opening {self.asked:.2f} -> {self.along:.2f}"
        return f"{self.axis:9} asked {self.asked:+.3f}   measured {self.along:+.3f}   aside {self.aside:.3f}"


def probe(suite: PublicSuite, task: str) -> Iterator[Probed]:
    """Raises UserError for an arm that is not commanded in poses."""
    env = build(suite)
    seed = seed_for("probe", suite.name, suite.arm, task)
    try:
        layout = layout_of(suite)
        at = layout.action.slices
        if "delta_pos" not in at:
            raise UserError(f"suite {suite.name!r} commands {', '.join(at)}: there are no axes to probe")
        for axis in range(6):
            name, unit = ("delta_pos", _STEP_M) if axis < 3 else ("delta_rot", _STEP_RAD)
            place = at[name].start + axis % 3
            if layout.action_mask[place]:
                yield _along(env, task, seed, place, unit, axis)
        if layout.action_mask[at["gripper"].start]:
            yield _closing(env, task, seed)
    finally:
        env.close()


def _along(env: PublicEnvironment, task: str, seed: int, place: int, unit: float, axis: int) -> Probed:
    before, after = _driven(env, task, seed, {place: unit})
    moved = after[:3] - before[:3] if axis < 3 else _turned(before, after)
    along = float(moved[axis % 3])
    name = ("x", "y", "z", "about x", "about y", "about z")[axis]
    return Probed(axis=name, asked=STEPS * unit, along=along, aside=float(np.linalg.norm(np.delete(moved, axis % 3))))


def _closing(env: PublicEnvironment, task: str, seed: int) -> Probed:
    before, after = _driven(env, task, seed, {}, opening=0.0)
    return Probed(axis="gripper", asked=float(before[-1]), along=float(after[-1]), aside=0.0)


def _driven(
    env: PublicEnvironment, task: str, seed: int, moves: dict[int, float], *, opening: float = 1.0
) -> tuple[np.ndarray, np.ndarray]:
    """Canonical proprio before and after."""
    frame: Frame = env.reset(task=task, seed=seed, render=False)
    pilot = Pilot(env, frame, safety=True, layout=layout_of(env.suite))
    action = np.zeros(pilot.adapter.layout.action.width, np.float32)
    action[pilot.adapter.layout.action.slices["gripper"]] = opening
    for place, value in moves.items():
        action[place] = value
    before = pilot.adapter.proprio(frame.proprio)
    for _ in range(STEPS):
        frame = pilot.step(chunk_of(pilot, action), 0, frame, render=False)
    return before, pilot.adapter.proprio(frame.proprio)


def _turned(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """The rotation between two canonical states, axis-angle in the base frame."""
    place = field_slices(CANONICAL_PROPRIO)["eef_rot"]
    first, last = (rotations.to_matrix(state[place].astype(np.float64), "rot6d") for state in (before, after))
    return rotations.from_matrix(last @ first.T, "axis_angle")
