"""robosuite's own tasks on its own environment class, with a Panda and OSC_POSE (robosuite 1.5).

    native [x y z (m), axis-angle (rad), gripper] / 0.05 m, 0.5 rad --> OSC_POSE's -1..1 at 20 Hz, base frame

robosuite ships no experts: those here are ours, for cubes (`Lift`, `Stack`), and read the poses from the simulator.
"""

from __future__ import annotations

import functools
import sys
import types
from typing import TYPE_CHECKING, Any

import numpy as np

from rtx.errors import UserError
from rtx.eval.public.cubes import CubeExpert, Sight
from rtx.eval.public.in_process import InProcess
from rtx.eval.public.suite import Expert, PublicSuite
from rtx.robots import rotations
from rtx.robots.public_arms import ROBOSUITE_PANDA

if TYPE_CHECKING:
    from rtx.eval.public.view import View

_QUIET = types.ModuleType("robosuite.macros_private")
_QUIET.__dict__.update(CONSOLE_LOGGING_LEVEL="ERROR", FILE_LOGGING_LEVEL=None)
SCALE = np.array([0.05] * 3 + [0.5] * 3 + [1.0])
"""Metres, radians and gripper of one unit of OSC_POSE's input."""
OPEN_M = 0.08  # between the fingers of the Panda's hand
_CAMERAS = {"primary": "frontview", "wrist": "robot0_eye_in_hand"}
TASKS = {
    "Lift": "lift the red cube",
    "Stack": "stack the red cube on the green cube",
    "Door": "open the door",
    "PickPlaceCan": "put the can into its bin",
    "NutAssemblySquare": "put the square nut on the square peg",
}
SUITE = PublicSuite(
    name="robosuite", title="robosuite's own tasks, Panda with OSC_POSE", arms=("robosuite_panda",), tasks=TASKS, max_steps=400,
    control_hz=ROBOSUITE_PANDA.control_hz, environment="rtx.eval.public.robosuite_tasks:Robosuite",
    install="pip install 'rtx-robotics[sim]'", expert="a script of ours for the tasks with cubes",
    expert_tasks=("Lift", "Stack"),
)  # fmt: skip


class Robosuite(InProcess):
    """Raises UserError where the package is missing."""

    suite, robot, cameras = SUITE, ROBOSUITE_PANDA, _CAMERAS

    def __init__(self, arm: str) -> None:
        del arm  # there is one
        super().__init__()
        # In the place of its "private macro file": otherwise it warns three times and writes log files.
        sys.modules.setdefault("robosuite.macros_private", _QUIET)
        try:
            import robosuite

            self._package = robosuite
        except ImportError as error:
            raise SUITE.missing(error) from error
        self._env: Any = None

    def expert(self) -> Expert:
        if self._task not in SUITE.expert_tasks:
            raise UserError(f"suite 'robosuite' has an expert for {', '.join(SUITE.expert_tasks)} only, not for {self._task}")
        look = functools.partial(_sight, self._env, on_another=self._task == "Stack")
        script = CubeExpert(look, max_step_m=0.05, max_turn_rad=0.25, gain=2.0)

        def act() -> np.ndarray:
            move = script()
            return np.array([*move.step, 0.0, 0.0, move.turn, 1.0 if move.closed else -1.0])

        return act

    def close(self) -> None:
        super().close()
        if self._env is not None:
            self._env.close()
            self._env = None
            self._task = ""

    def _load(self, task: str) -> None:
        self._env = self._package.make(
            task, robots="Panda", use_camera_obs=False, has_offscreen_renderer=False, has_renderer=False, ignore_done=True,
            control_freq=round(ROBOSUITE_PANDA.control_hz), hard_reset=False, reward_shaping=False,
        )  # fmt: skip

    def _place(self, seed: int) -> None:
        # robosuite 1.5.1 places objects by the global generator.
        before = np.random.get_state()  # noqa: NPY002
        np.random.seed(seed % 2**32)  # noqa: NPY002
        try:
            self._env.reset()
        finally:
            np.random.set_state(before)  # noqa: NPY002

    def _advance(self, native: np.ndarray) -> bool:
        self._env.step(np.clip(native / SCALE, -1, 1))
        return bool(self._env._check_success())

    def _proprio(self) -> np.ndarray:
        position, rotation = hand_pose(self._env)
        fingers = self._env.sim.data.qpos[self._env.robots[0]._ref_gripper_joint_pos_indexes["right"]]
        opening = np.clip(np.abs(fingers).sum() / OPEN_M, 0.0, 1.0)
        return np.concatenate([position, rotations.from_matrix(rotation, "quat_xyzw"), [opening]])

    def _open_view(self) -> View:
        sim = self._env.sim  # group 0 holds collision shapes
        return self._make_view(sim.model._model, sim.data._data, hidden_groups=(0,))


def hand_pose(env: Any) -> tuple[np.ndarray, np.ndarray]:
    """Of the point between the fingers in the frame of the robot's base: `[3]` m, `[3, 3]`."""
    site = env.robots[0].eef_site_id["right"]
    turn = np.array(env.robots[0].base_ori).reshape(3, 3)
    position = turn.T @ (env.sim.data.site_xpos[site] - np.array(env.robots[0].base_pos))
    return position, turn.T @ env.sim.data.site_xmat[site].reshape(3, 3)


def _sight(env: Any, *, on_another: bool) -> Sight:
    base, turn = np.array(env.robots[0].base_pos), np.array(env.robots[0].base_ori).reshape(3, 3)

    def pose(name: str) -> tuple[np.ndarray, np.ndarray]:
        body = getattr(env, f"{name}_body_id")
        return turn.T @ (env.sim.data.body_xpos[body] - base), turn.T @ env.sim.data.body_xmat[body].reshape(3, 3)

    hand, hand_rotation = hand_pose(env)
    cube, cube_rotation = pose("cubeA" if on_another else "cube")
    return Sight(
        hand=hand, hand_rotation=hand_rotation, cube=cube, cube_rotation=cube_rotation,
        below=pose("cubeB")[0] if on_another else None,
    )  # fmt: skip
