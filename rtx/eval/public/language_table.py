"""Language-Table's simulated board (Google, 2022) in a Python of its own; its oracle plans with RRT and pushes.

    native delta xyz (m), rpy, gripper: x and y are the suite's own action, the rest it does not have
    state: where the cylinder is, xy (m) of the board's frame, as in the real data set

Each episode draws its own instruction; the five tasks are the suite's reward families. Success is the suite's reward.
"""

from __future__ import annotations

import numpy as np

from rtx.eval.public.foreign import Foreign, State
from rtx.eval.public.suite import PublicSuite
from rtx.robots.public_arms import LANGUAGE_TABLE_ARM

_HEIGHT_M = 0.145  # of the cylinder's holder: the suite's EFFECTOR_HEIGHT
_DOWN_XYZW = (0.0, 1.0, 0.0, 0.0)  # half a turn about y: its EFFECTOR_DOWN_ROTATION

SUITE = PublicSuite(
    name="language-table", title="Language-Table, the simulated board with eight blocks", arm="language_table",
    robot=LANGUAGE_TABLE_ARM,
    tasks={
        "block2block": "", "block2absolutelocation": "", "block2block_relative_location": "", "block2relativelocation": "",
        "separate_blocks": "",
    },
    max_steps=200, environment="rtx.eval.public.language_table:LanguageTable",
    install=(
        "into a Python 3.11 of its own: pip install pybullet gym==0.23.1 numpy scipy opencv-python matplotlib imageio absl-py "
        "tensorflow-cpu msgpack, and the repository as github.com/google-research/language-table says; then set "
        "RTX_LANGUAGE_TABLE_PYTHON to that python (docs/public_suites.md)"
    ),
    python="LANGUAGE_TABLE", expert="the suite's RRT push oracle",
)  # fmt: skip


class LanguageTable(Foreign):
    """The suite's environment; the arm has the name of the real data set, so that its checkpoints can be evaluated."""

    host = "language_table"

    def raw_action(self, native: np.ndarray) -> np.ndarray:
        return np.clip(native[:2], -0.1, 0.1)

    def native_action(self, raw: np.ndarray) -> np.ndarray:
        return np.array([*raw[:2], 0.0, 0.0, 0.0, 0.0, 1.0])

    def proprio(self, state: State) -> np.ndarray:
        return np.array([*state["effector"][:2], _HEIGHT_M, *_DOWN_XYZW, 1.0])
