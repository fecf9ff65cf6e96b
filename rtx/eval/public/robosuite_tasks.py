"""robosuite's own tasks on its own environment class, with a Panda and OSC_POSE (robosuite 1.5).

    native [x y z (m), axis-angle (rad), gripper] / 0.05 m, 0.5 rad --> OSC_POSE's -1..1 at 20 Hz, base frame

robosuite ships no experts: those here are ours, for cubes (`Lift`, `Stack`), and read the poses from the simulator.
"""

from __future__ import annotations

import sys
import types
from typing import Any

import numpy as np

from rtx.embodiment import Embodiment
from rtx.errors import UserError
from rtx.eval.public.suite import Expert, PublicFrame, PublicSuite, native_vector
from rtx.robots import rotations
from rtx.robots.public_arms import ROBOSUITE_PANDA

_QUIET = types.ModuleType("robosuite.macros_private")
_QUIET.__dict__.update(CONSOLE_LOGGING_LEVEL="ERROR", FILE_LOGGING_LEVEL=None)
SCALE = np.array([0.05] * 3 + [0.5] * 3 + [1.0])
"""Metres, radians and gripper of one unit of OSC_POSE's input."""
OPEN_M = 0.08  # between the fingers of the Panda's hand
_ON_TOP_M = 0.047  # from the lower cube's middle to the upper one's, with a little air
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


class Robosuite:
    """Raises UserError where the package is missing."""

    def __init__(self, arm: str) -> None:
        del arm  # there is one
        from rtx.eval.public.view import View  # before the suite: it chooses the OpenGL that MuJoCo binds to

        # In the place of its "private macro file": otherwise it warns three times and writes log files.
        sys.modules.setdefault("robosuite.macros_private", _QUIET)
        try:
            import robosuite

            self._package = robosuite
        except ImportError as error:
            raise SUITE.missing(error) from error
        self._make_view = View
        self._task = ""
        self._env: Any = None
        self._view: View | None = None
        self._success = False

    @property
    def embodiment(self) -> Embodiment:
        return ROBOSUITE_PANDA

    @property
    def instruction(self) -> str:
        return TASKS[self._task]

    @property
    def success(self) -> bool:
        return self._success

    @property
    def goal_distance(self) -> None:
        return None

    def reset(self, *, task: str, seed: int, render: bool = True) -> PublicFrame:
        """The suite's own placement of objects for this seed. Raises UserError for an unknown task."""
        SUITE.check_task(task)
        if task != self._task:
            self._load(task)
        # robosuite 1.5.1 places objects by the global generator.
        before = np.random.get_state()  # noqa: NPY002
        np.random.seed(seed % 2**32)  # noqa: NPY002
        try:
            self._env.reset()
        finally:
            np.random.set_state(before)  # noqa: NPY002
        self._success = False
        return self._frame(render=render)

    def step(self, native_action: np.ndarray, *, render: bool = True) -> PublicFrame:
        native = native_vector(native_action, ROBOSUITE_PANDA)
        self._env.step(np.clip(native / SCALE, -1, 1))
        self._success = self._success or bool(self._env._check_success())
        return self._frame(render=render)

    def render_view(self, size: int = 256) -> np.ndarray:
        return self._drawn("primary", size)

    def expert(self) -> Expert:
        if self._task not in SUITE.expert_tasks:
            raise UserError(f"suite 'robosuite' has an expert for {', '.join(SUITE.expert_tasks)} only, not for {self._task}")
        return CubeExpert(self._env, on_another=self._task == "Stack")

    def close(self) -> None:
        if self._view is not None:
            self._view.close()
            self._view = None
        if self._env is not None:
            self._env.close()
            self._env = None
            self._task = ""

    def _load(self, task: str) -> None:
        self.close()
        self._env = self._package.make(
            task, robots="Panda", use_camera_obs=False, has_offscreen_renderer=False, has_renderer=False, ignore_done=True,
            control_freq=round(ROBOSUITE_PANDA.control_hz), hard_reset=False, reward_shaping=False,
        )  # fmt: skip
        self._task = task

    def _frame(self, *, render: bool) -> PublicFrame:
        images = {}
        if render:
            size = ROBOSUITE_PANDA.cameras[0].resolution[0]
            images = {role: self._drawn(role, size) for role in _CAMERAS}
        position, rotation = hand_pose(self._env)
        fingers = self._env.sim.data.qpos[self._env.robots[0]._ref_gripper_joint_pos_indexes["right"]]
        opening = np.clip(np.abs(fingers).sum() / OPEN_M, 0.0, 1.0)
        quaternion = rotations.from_matrix(rotation, "quat_xyzw")
        return PublicFrame(images=images, proprio=np.concatenate([position, quaternion, [opening]]))

    def _drawn(self, role: str, size: int) -> np.ndarray:
        if self._env is None:
            raise UserError("the environment has no scene yet: call reset(task=..., seed=...) first")
        if self._view is None:
            sim = self._env.sim  # group 0 holds collision shapes
            self._view = self._make_view(sim.model._model, sim.data._data, hidden_groups=(0,))
        return self._view.draw(_CAMERAS[role], size, size)


def hand_pose(env: Any) -> tuple[np.ndarray, np.ndarray]:
    """Of the point between the fingers in the frame of the robot's base: `[3]` m, `[3, 3]`."""
    site = env.robots[0].eef_site_id["right"]
    turn = np.array(env.robots[0].base_ori).reshape(3, 3)
    position = turn.T @ (env.sim.data.site_xpos[site] - np.array(env.robots[0].base_pos))
    return position, turn.T @ env.sim.data.site_xmat[site].reshape(3, 3)


class CubeExpert:
    """Above the cube, down, close, up; and above the other one, down, open. What is next follows from what is seen, but for the
    time that fingers take to close."""

    _ABOVE_M, _LIFT_M, _NEAR_M, _CLOSE_STEPS, _GAIN = 0.08, 0.15, 0.012, 8, 2.0

    def __init__(self, env: Any, *, on_another: bool) -> None:
        self._env, self._on_another = env, on_another
        self._closing, self._released = 0, False

    def __call__(self) -> np.ndarray:
        position, rotation = hand_pose(self._env)
        cube = self._cube("cubeA" if self._on_another else "cube")
        if self._released:
            return self._command(_up(0.1), 0.0, closed=False)
        if self._closing >= self._CLOSE_STEPS:
            return self._carry(position, cube)
        to_cube = cube[0] - position
        turn = _to_nearest_face(rotation, cube[1])
        if np.linalg.norm(to_cube) < self._NEAR_M:
            self._closing += 1
            return self._command(to_cube, 0.0, closed=True)
        self._closing = 0
        aside = float(np.linalg.norm(to_cube[:2]))
        if aside > self._NEAR_M or abs(turn) > 0.15:
            to_cube = to_cube + _up(self._ABOVE_M)
        return self._command(to_cube, turn, closed=False)

    def _carry(self, position: np.ndarray, cube: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
        if not self._on_another:
            return self._command(_up(self._LIFT_M), 0.0, closed=True)
        other = self._cube("cubeB")[0]
        goal = other + _up(_ON_TOP_M)
        missing = goal - cube[0]
        aside = float(np.linalg.norm(missing[:2]))
        if aside > 0.01:
            height = other[2] + self._ABOVE_M + 0.02 - cube[0][2]
            across = missing[:2] if height < 0.04 else np.zeros(2)
            return self._command(np.array([*across, height]), 0.0, closed=True)
        if missing[2] > -0.004:
            self._released = True
            return self._command(np.zeros(3), 0.0, closed=False)
        return self._command(missing, 0.0, closed=True)

    def _cube(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        """In the base frame."""
        body = getattr(self._env, f"{name}_body_id")
        base, turn = np.array(self._env.robots[0].base_pos), np.array(self._env.robots[0].base_ori).reshape(3, 3)
        data = self._env.sim.data
        return turn.T @ (data.body_xpos[body] - base), turn.T @ data.body_xmat[body].reshape(3, 3)

    def _command(self, move: np.ndarray, turn: float, *, closed: bool) -> np.ndarray:
        step = np.clip(self._GAIN * np.asarray(move), -SCALE[:3], SCALE[:3])
        yaw = np.clip(self._GAIN * turn, -0.25, 0.25)
        return np.array([*step, 0.0, 0.0, yaw, 1.0 if closed else -1.0])


def _up(metres: float) -> np.ndarray:
    return np.array([0.0, 0.0, metres])


def _to_nearest_face(hand: np.ndarray, cube: np.ndarray) -> float:
    """The smallest turn about the vertical (rad) that brings the fingers' axis (y of the hand) along one of the cube's."""
    angle = np.arctan2(cube[1, 0], cube[0, 0]) - np.arctan2(hand[1, 1], hand[0, 1])
    return float((angle + np.pi / 4) % (np.pi / 2) - np.pi / 4)
