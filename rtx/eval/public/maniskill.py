"""ManiSkill 3's table-top tasks of a Panda that need no download, in a Python of their own (`mani_skill` 3.0).

    native [x y z (m), axis-angle (rad), gripper] --> pd_ee_delta_pose's -1..1 at 20 Hz, base frame:
        position / 0.1 m; Euler XYZ / -0.1 rad: the controller multiplies by its lower bound (3.0.1); gripper 1 open, -1 closed

Pictures are the suite's own camera of 128 x 128; the goal of PickCube is a place in the air that its pictures do not show.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.spatial.transform import Rotation

from rtx.eval.public.cubes import CubeExpert, Pose, Sight
from rtx.eval.public.environment import Expert
from rtx.eval.public.foreign import Foreign, State
from rtx.eval.public.panda import opening
from rtx.eval.public.suite import PublicSuite
from rtx.robots import rotations
from rtx.robots.public_arms import MANISKILL_PANDA

_METRES, _RADIANS = 0.1, -0.1
TASKS = {
    "PickCube-v1": "pick up the red cube and hold it at the goal",
    "StackCube-v1": "stack the red cube on the green cube",
    "PushCube-v1": "push the cube to the goal",
    "PullCube-v1": "pull the cube to the goal",
    "LiftPegUpright-v1": "lift the peg and stand it upright",
    "PlaceSphere-v1": "pick up the blue sphere and place it into the bin",
    "PegInsertionSide-v1": "insert the peg into the hole of the box",
    "PlugCharger-v1": "plug the charger into the receptacle",
}
SUITE = PublicSuite(
    name="maniskill", title="ManiSkill 3, table-top tasks of a Panda", arm="maniskill_panda", robot=MANISKILL_PANDA,
    tasks=TASKS, max_steps=100, environment="rtx.eval.public.maniskill:ManiSkill",
    install=(
        "into a Python 3.11 of its own: pip install mani_skill==3.0.1 torch msgpack; then set RTX_MANISKILL_PYTHON to that "
        "python. It draws through Vulkan: a driver of a GPU, or Mesa's lavapipe from 25.0 on (docs/public_suites.md)"
    ),
    python="MANISKILL", expert="a script of ours for the tasks with cubes", expert_tasks=("PickCube-v1", "StackCube-v1"),
    task_steps={"PegInsertionSide-v1": 200, "PlugCharger-v1": 200},
)  # fmt: skip


class ManiSkill(Foreign):
    host = "maniskill"

    def raw_action(self, native: np.ndarray) -> np.ndarray:
        # Upper-case: intrinsic, R = Rx Ry Rz, as the suite has it.
        euler = Rotation.from_rotvec(native[3:6]).as_euler("XYZ")
        return np.array([*np.clip(native[:3] / _METRES, -1, 1), *(euler / _RADIANS), np.clip(native[6], -1, 1)])

    def native_action(self, raw: np.ndarray) -> np.ndarray:
        turn = Rotation.from_euler("XYZ", raw[3:6] * _RADIANS).as_rotvec()
        return np.array([*(raw[:3] * _METRES), *turn, raw[6]])

    def proprio(self, state: State) -> np.ndarray:
        """`hand`: position and quaternion wxyz in the frame of the robot's base."""
        turn = rotations.convert(state["hand"][3:], "quat_wxyz", "quat_xyzw")
        return np.array([*state["hand"][:3], *turn, opening(state["fingers"])])

    def _expert(self) -> Expert:
        return CubeExpert(self._sight, closed=-1.0, max_step_m=0.06, max_turn_rad=0.09, gain=1.0)

    def _sight(self) -> Sight:
        state: dict[str, Any] = self._now["state"]
        below = _pose(state["below"])[0] if "below" in state else None
        return Sight(hand=_pose(state["hand"]), cube=_pose(state["cube"]), goal=state.get("goal"), below=below)


def _pose(numbers: np.ndarray) -> Pose:
    return np.asarray(numbers[:3], np.float64), rotations.to_matrix(np.asarray(numbers[3:], np.float64), "quat_wxyz")
