"""How a scene looks: colours of table, floor and cubes, the lamp, where exactly the cameras stand; drawn anew every episode.

Numbers are edited in the render model's arrays; nothing is compiled again.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from rtx.eval.sim.arms import SimArm
from rtx.eval.sim.build import PRIMARY_CAMERA, WRIST_CAMERA
from rtx.eval.sim.calibrate import look_at
from rtx.eval.sim.mujoco_gl import mujoco
from rtx.eval.sim.tasks import NUM_CUBES, PALETTE, PROPS, Layout

# Dull, so that only cubes are saturated: wood, sand, greys, white, slate.
_TABLES = np.array([[0.62, 0.50, 0.38], [0.76, 0.70, 0.60], [0.55, 0.55, 0.56], [0.82, 0.82, 0.80], [0.36, 0.39, 0.43]])
_PROPS = np.array([[0.15, 0.15, 0.16], [0.90, 0.90, 0.88], [0.50, 0.47, 0.44]])
_EYE_JITTER_M = 0.012
_AIM_JITTER_M = 0.006
_WRIST_JITTER_M = 0.002


class Appearance:
    """Owns what an episode may change in `model`, remembering how it was built."""

    def __init__(self, model: Any, arm: SimArm) -> None:
        self._model, self._arm = model, arm
        self._wrist = model.camera(WRIST_CAMERA).pos.copy()

    def dress(self, layout: Layout, rng: np.random.Generator) -> None:
        self._colour("table", _TABLES[rng.integers(len(_TABLES))] + rng.normal(0, 0.015, 3))
        self._colour("floor", rng.uniform(0.3, 0.7) + rng.normal(0, 0.015, 3))
        for name in (*(f"cube{i}" for i in range(NUM_CUBES)), *PROPS):
            self._model.geom(name).rgba[3] = 0.0  # absent ones are invisible
        for cube in layout.cubes:
            self._colour(cube.body, np.array(PALETTE[cube.colour]) * rng.uniform(0.85, 1.1) + rng.normal(0, 0.02, 3))
        for prop in layout.props:
            self._colour(prop.body, _PROPS[rng.integers(len(_PROPS))] + rng.normal(0, 0.02, 3))
        self._light(rng)
        self._aim(rng)

    def _colour(self, geom: str, rgb: np.ndarray) -> None:
        self._model.geom(geom).rgba[:] = [*np.clip(rgb, 0.0, 1.0), 1.0]

    def _light(self, rng: np.random.Generator) -> None:
        lamp = self._model.light("lamp")
        lamp.dir[:] = [*rng.uniform(-0.5, 0.5, 2), -1.0]
        lamp.diffuse[:] = rng.uniform(0.35, 0.6)

    def _aim(self, rng: np.random.Generator) -> None:
        view, camera = self._arm.primary, self._model.camera(PRIMARY_CAMERA)
        middle = np.array([self._arm.center_x_m, 0.0, self._arm.table_z_m + view.look_up_m])
        azimuth, elevation = np.radians([view.azimuth_deg, view.elevation_deg])
        away = np.array([np.cos(azimuth) * np.cos(elevation), np.sin(azimuth) * np.cos(elevation), np.sin(elevation)])
        eye = middle + view.distance_m * away + rng.normal(0, _EYE_JITTER_M, 3)
        rotation = look_at(eye, middle + rng.normal(0, _AIM_JITTER_M, 3), up=np.array([0.0, 0.0, 1.0]))
        camera.pos[:] = eye
        mujoco.mju_mat2Quat(camera.quat, rotation.reshape(9))
        self._model.camera(WRIST_CAMERA).pos[:] = self._wrist + rng.normal(0, _WRIST_JITTER_M, 3)
