"""How a scene looks: colours of table, floor and things, the lamp, where exactly the cameras stand; drawn anew every episode.

Numbers are edited in the render model's arrays; nothing is compiled again.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from rtx.eval.sim.arms import SimArm
from rtx.eval.sim.build import PRIMARY_CAMERA, WRIST_CAMERA
from rtx.eval.sim.calibrate import look_at
from rtx.eval.sim.layout import Layout, Placed
from rtx.eval.sim.mujoco_gl import mujoco
from rtx.eval.sim.objects import BAR, BENCH, BOX, CABINET, CLOTHS, DRAWER, KNOB, PALETTE, PLATES, TABLE, fixed, loose

# Dull, so that only cubes are saturated: wood, sand, greys, white, slate.
_TABLES = np.array([[0.62, 0.50, 0.38], [0.76, 0.70, 0.60], [0.55, 0.55, 0.56], [0.82, 0.82, 0.80], [0.36, 0.39, 0.43]])
_PROPS = np.array([[0.15, 0.15, 0.16], [0.90, 0.90, 0.88], [0.50, 0.47, 0.44]])
_FURNITURE = {  # where no colour of the palette is given
    PLATES[0]: (0.50, 0.62, 0.74),
    BOX: (0.45, 0.30, 0.18),
    CABINET: (0.30, 0.20, 0.14),
    DRAWER: (0.72, 0.58, 0.40),
    BAR: (0.12, 0.12, 0.13),
}
_UNSEEN_FURNITURE = {CABINET: (0.16, 0.30, 0.36), DRAWER: (0.55, 0.68, 0.70), KNOB: (0.90, 0.75, 0.30)}  # with the other handle
_FLOORS = np.array([[0.25, 0.45, 0.28], [0.62, 0.32, 0.22], [0.20, 0.28, 0.50]])  # of unseen backgrounds
_LAMPS = np.array([[0.62, 0.50, 0.34], [0.36, 0.46, 0.62]])  # likewise: evening, moonlight
_AS_ITS_MATERIAL = (0.5, 0.5, 0.5, 1.0)  # MuJoCo takes this grey for "not given"
_EYE_JITTER_M = 0.012
_AIM_JITTER_M = 0.006
_WRIST_JITTER_M = 0.002


class Appearance:
    """Owns what an episode may change in `model`, remembering how it was built."""

    def __init__(self, model: Any, arm: SimArm, table: str = TABLE) -> None:
        self._model, self._arm, self._table = model, arm, table
        self._names = (*loose(table), *fixed(table), *((DRAWER, BAR, KNOB) if table == BENCH else ()))
        self._wrist = model.camera(WRIST_CAMERA).pos.copy()

    def dress(self, layout: Layout, rng: np.random.Generator) -> None:
        self._colour("table", _TABLES[rng.integers(len(_TABLES))] + rng.normal(0, 0.015, 3))
        self._colour("floor", rng.uniform(0.3, 0.7) + rng.normal(0, 0.015, 3))
        for name in self._names:
            self._rgba(name)[:, 3] = 0.0  # absent ones are invisible
        for cube in layout.cubes:
            self._tint(cube.body, np.array(PALETTE[cube.colour]) * rng.uniform(0.85, 1.1) + rng.normal(0, 0.02, 3))
        for prop in layout.props:
            self._tint(prop.body, _PROPS[rng.integers(len(_PROPS))] + rng.normal(0, 0.02, 3))
        self._light(rng)
        self._aim(rng)
        if self._table == BENCH:
            self._furnish(layout, rng)

    def _furnish(self, layout: Layout, rng: np.random.Generator) -> None:
        """What only the bench has, drawn last: a scene looks the same on both but for that."""
        for thing in layout.clutter:
            colour = PALETTE[thing.colour] if thing.colour else _PROPS[rng.integers(len(_PROPS))]
            self._tint(thing.body, np.array(colour) + rng.normal(0, 0.02, 3))
        for piece in layout.furniture:
            for part, colour in _parts(piece, layout):
                self._tint(part, np.array(colour) + rng.normal(0, 0.015, 3))
        for cloth in CLOTHS:
            self._model.geom(cloth).rgba[:] = _AS_ITS_MATERIAL if cloth == layout.cloth else 0.0
        if layout.cloth:
            self._model.geom("table").rgba[3] = 0.0
            self._colour("floor", _FLOORS[rng.integers(len(_FLOORS))])
            self._model.light("lamp").diffuse[:] = _LAMPS[rng.integers(len(_LAMPS))]

    def _colour(self, geom: str, rgb: np.ndarray) -> None:
        self._model.geom(geom).rgba[:] = [*np.clip(rgb, 0.0, 1.0), 1.0]

    def _tint(self, body: str, rgb: np.ndarray) -> None:
        self._rgba(body)[:] = [*np.clip(rgb, 0.0, 1.0), 1.0]

    def _rgba(self, body: str) -> np.ndarray:
        """Of all shapes of a body, `[n, 4]`, a view."""
        found = self._model.body(body)
        return np.asarray(self._model.geom_rgba[found.geomadr[0] : found.geomadr[0] + found.geomnum[0]])

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


def _parts(piece: Placed, layout: Layout) -> list[tuple[str, Sequence[float]]]:
    """Bodies of a piece of furniture with their colours."""
    if piece.body != CABINET:
        return [(piece.body, PALETTE[piece.colour] if piece.colour else _FURNITURE[piece.body])]
    colours = _FURNITURE if layout.handle == BAR else _UNSEEN_FURNITURE
    return [(part, colours[part]) for part in (CABINET, DRAWER, layout.handle)]
