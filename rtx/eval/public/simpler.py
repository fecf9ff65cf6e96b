"""SimplerEnv's visual matching tasks of the WidowX and of Google's robot, in a Python of their own (SAPIEN 2, numpy 1).

    simpler-widowx   native of `WIDOWX_250`    xyz m, rpy rad, opening 0..1 --> xyz, axis-angle, gripper 1 open, -1 closed; 5 Hz
    simpler-google   native of `GOOGLE_ROBOT`  xyz m, rpy rad, gripper -1 opens .. 1 closes --> xyz, axis-angle, the same; 3 Hz

The arms carry the names of the real data sets: what was trained on those is what is evaluated here. The suite draws its scenes
from the episode's seed: one of its fixed list, of cans a place in the box of its grid. Its package has neither experts nor
demonstrations: the expert (`bridge/simpler_expert.py`) is ours. Tasks in several parts are left out: the suite goes on to the
next part when a policy says that it is done, and here nobody's word for that is taken.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from rtx.embodiment import Embodiment
from rtx.eval.public.foreign import Foreign, State
from rtx.eval.public.suite import PublicSuite
from rtx.robots import rotations
from rtx.robots.google_robot import GOOGLE_ROBOT
from rtx.robots.widowx import WIDOWX_250

_INSTALL = (
    "into a Python 3.10 or 3.11 of its own, as github.com/simpler-env/SimplerEnv says (SAPIEN 2.2.2, numpy below 2), and pip "
    "install msgpack there; then set RTX_SIMPLER_PYTHON to that python. It draws through Vulkan with external semaphores: a "
    "driver of a GPU, or Mesa's lavapipe from 26.1 on (docs/public_suites.md)"
)


def _suite(name: str, title: str, arm: str, robot: Embodiment, tasks: dict[str, int]) -> PublicSuite:
    """`tasks`: with the time limits of the suite's own scripts, in steps."""
    return PublicSuite(
        name=name, title=title, arm=arm, robot=robot, tasks=dict.fromkeys(tasks, ""),
        max_steps=max(tasks.values()), task_steps=tasks, environment="rtx.eval.public.simpler:Simpler", install=_INSTALL,
        python="SIMPLER", episodes_per_cell=24, expert="a script of ours for picking up and putting down",
        expert_tasks=tuple(task for task in tasks if "drawer" not in task),
    )  # fmt: skip


WIDOWX = _suite(
    "simpler-widowx", "SimplerEnv, WidowX (Bridge)", "bridge_dataset", WIDOWX_250,
    {
        "widowx_spoon_on_towel": 60, "widowx_carrot_on_plate": 60, "widowx_stack_cube": 60,
        "widowx_put_eggplant_in_basket": 120,
    },
)  # fmt: skip
GOOGLE = _suite(
    "simpler-google", "SimplerEnv, Google's robot (RT-1)", "fractal20220817_data", GOOGLE_ROBOT,
    {
        "google_robot_pick_horizontal_coke_can": 80, "google_robot_pick_vertical_coke_can": 80,
        "google_robot_pick_standing_coke_can": 80, "google_robot_move_near": 80, "google_robot_open_drawer": 113,
        "google_robot_close_drawer": 113,
    },
)  # fmt: skip


class Simpler(Foreign):
    """One class for both arms: their suites are the same program."""

    host = "simpler"

    def raw_action(self, native: np.ndarray) -> np.ndarray:
        turn = rotations.convert(native[3:6], "rpy", "axis_angle")
        if self.robot is WIDOWX_250:
            gripper = 1.0 if native[6] > 0.5 else -1.0
        else:
            gripper = float(np.clip(native[6], -1, 1))
        return np.array([*native[:3], *turn, gripper])

    def native_action(self, raw: np.ndarray) -> np.ndarray:
        native = np.zeros(self.robot.action.width)
        native[:7] = [*raw[:3], *rotations.convert(raw[3:6], "axis_angle", "rpy"), raw[6]]
        if self.robot is WIDOWX_250:
            native[6] = (raw[6] + 1) / 2
        return native

    def proprio(self, state: State) -> np.ndarray:
        """`hand`: position and quaternion wxyz in the frame of the robot's base; `opening` 0..1."""
        form: Any = "rpy" if self.robot is WIDOWX_250 else "quat_xyzw"
        opening = float(state["opening"])
        gripper = opening if self.robot is WIDOWX_250 else 1 - opening
        return np.array([*state["hand"][:3], *rotations.convert(state["hand"][3:], "quat_wxyz", form), gripper])
