"""LIBERO's four suites of ten tasks, and its ninety, in a Python of their own (`hf-libero` 0.1: LIBERO on robosuite 1.4).

    native [x y z (m), axis-angle (rad), gripper] / 0.05 m, 0.5 rad --> OSC_POSE's -1..1 at 20 Hz
    state: pose in the suite's world, as the published data sets have it; pictures turned by half a turn, likewise

A scene is one of the task's stored initial states, chosen by the seed; the suite's time limits; ten idle steps before the
episode, in which things settle, as published evaluations have it. The package has neither an expert nor demonstrations: the
script is ours (bridge/libero_expert.py), for tasks that are done by putting something on or into something.
"""

from __future__ import annotations

import numpy as np

from rtx.eval.public.foreign import Foreign, State
from rtx.eval.public.panda import SCALE, opening
from rtx.eval.public.suite import PublicSuite
from rtx.robots.public_arms import LIBERO_PANDA

_STEPS = {"libero_spatial": 220, "libero_object": 280, "libero_goal": 300, "libero_10": 520, "libero_90": 400}
"""Published evaluations' limits, longer than the longest demonstration of each suite."""
_COUNT = {name: 90 if name == "libero_90" else 10 for name in _STEPS}
TASKS = {f"{name}-{number}": "" for name, count in _COUNT.items() for number in range(count)}
_PUTS = {"libero_spatial": range(10), "libero_object": range(10)}
"""Suites whose tasks are all of that kind; of the other suites' tasks none is offered to the script."""
SUITE = PublicSuite(
    name="libero", title="LIBERO: spatial, object, goal, 10 (and 90 when asked for)", arm="libero_panda", robot=LIBERO_PANDA,
    tasks=TASKS, max_steps=520, task_steps={task: _STEPS[task.rpartition("-")[0]] for task in TASKS},
    environment="rtx.eval.public.libero:Libero",
    install=(
        "into a Python of its own: pip install hf-libero==0.1.4 msgpack (its meshes are fetched from the Hugging Face hub when "
        "first used); then set RTX_LIBERO_PYTHON to that python (docs/public_suites.md)"
    ),
    python="LIBERO", expert="a script of ours for putting things on or into others",
    expert_tasks=tuple(f"{name}-{number}" for name, numbers in _PUTS.items() for number in numbers),
    default_tasks=tuple(task for task in TASKS if not task.startswith("libero_90")),
)  # fmt: skip


class Libero(Foreign):
    host = "libero"

    def raw_action(self, native: np.ndarray) -> np.ndarray:
        return np.clip(native / SCALE, -1, 1)

    def native_action(self, raw: np.ndarray) -> np.ndarray:
        return raw * SCALE

    def proprio(self, state: State) -> np.ndarray:
        """`hand`: position m and quaternion xyzw; `fingers`: joints `[2]` of both, m."""
        return np.array([*state["hand"], opening(state["fingers"])])
