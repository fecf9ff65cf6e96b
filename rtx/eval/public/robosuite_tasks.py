"""robosuite's own tasks on its own environment class, with a Panda and OSC_POSE (robosuite 1.5).

    native [x y z (m), axis-angle (rad), gripper] / 0.05 m, 0.5 rad --> OSC_POSE's -1..1 at 20 Hz, base frame

robosuite ships no experts: those here are ours, for cubes (`Lift`, `Stack`), and read the poses from the simulator.
"""

from __future__ import annotations

import functools
import sys
import types
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from rtx.eval.public.cubes import CubeExpert, Pose, Sight
from rtx.eval.public.environment import Expert
from rtx.eval.public.in_process import InProcess
from rtx.eval.public.panda import SCALE, opening
from rtx.eval.public.suite import PublicSuite
from rtx.robots import rotations
from rtx.robots.public_arms import ROBOSUITE_PANDA

if TYPE_CHECKING:
    from rtx.eval.public.view import View

_QUIET = types.ModuleType("robosuite.macros_private")
_QUIET.__dict__.update(CONSOLE_LOGGING_LEVEL="ERROR", FILE_LOGGING_LEVEL=None)
TASKS = {
    "Lift": "lift the red cube",
    "Stack": "stack the red cube on the green cube",
    "Door": "open the door",
    "PickPlaceCan": "put the can into its bin",
    "NutAssemblySquare": "put the square nut on the square peg",
}
SUITE = PublicSuite(
    name="robosuite", title="robosuite's own tasks, Panda with OSC_POSE", arm="robosuite_panda", robot=ROBOSUITE_PANDA,
    tasks=TASKS, max_steps=400, environment="rtx.eval.public.robosuite_tasks:Robosuite",
    install="pip install 'rtx-robotics[sim]'", expert="a script of ours for the tasks with cubes",
    expert_tasks=("Lift", "Stack"),
)  # fmt: skip


class Robosuite(InProcess):
    cameras: ClassVar = {"primary": "frontview", "wrist": "robot0_eye_in_hand"}

    def _import_suite(self) -> None:
        # In the place of its "private macro file": otherwise it warns three times and writes log files.
        sys.modules.setdefault("robosuite.macros_private", _QUIET)
        import robosuite

        self._package = robosuite
        self._env: Any = None

    def _expert(self) -> Expert:
        look = functools.partial(_sight, self._env, on_another=self._task == "Stack")
        return CubeExpert(look, closed=1.0, max_step_m=0.05, max_turn_rad=0.25, gain=2.0)

    def close(self) -> None:
        super().close()
        if self._env is not None:
            self._env.close()
            self._env = None

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
        return np.concatenate([position, rotations.from_matrix(rotation, "quat_xyzw"), [opening(fingers)]])

    def _open_view(self) -> View:
        sim = self._env.sim  # group 0 holds collision shapes
        return self._make_view(sim.model._model, sim.data._data, hidden_groups=(0,))


def hand_pose(env: Any) -> Pose:
    """Of the point between the fingers in the frame of the robot's base: `[3]` m, `[3, 3]`."""
    site = env.robots[0].eef_site_id["right"]
    turn = np.array(env.robots[0].base_ori).reshape(3, 3)
    position = turn.T @ (env.sim.data.site_xpos[site] - np.array(env.robots[0].base_pos))
    return position, turn.T @ env.sim.data.site_xmat[site].reshape(3, 3)


def _sight(env: Any, *, on_another: bool) -> Sight:
    base, turn = np.array(env.robots[0].base_pos), np.array(env.robots[0].base_ori).reshape(3, 3)

    def pose(name: str) -> Pose:
        body = getattr(env, f"{name}_body_id")
        return turn.T @ (env.sim.data.body_xpos[body] - base), turn.T @ env.sim.data.body_xmat[body].reshape(3, 3)

    if on_another:
        return Sight(hand=hand_pose(env), cube=pose("cubeA"), below=pose("cubeB")[0])
    return Sight(hand=hand_pose(env), cube=pose("cube"))
