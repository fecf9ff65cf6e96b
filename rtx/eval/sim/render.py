"""Frames of a simulated arm, tuned for software rendering on a CPU.

    physics data --qpos--> data of the render model --kinematics--> one mujoco.Renderer per frame size --> uint8 RGB

Cost there is triangles, not pixels: light meshes (`decimate`), no multisampling, shadows or reflections. Never in one process
with TensorFlow: its LLVM and Mesa's crash each other.
"""

from __future__ import annotations

import atexit
import weakref
from typing import Any

import numpy as np
from jaxtyping import Int32, UInt8

from rtx.errors import WorldError
from rtx.eval.sim.mujoco_gl import advice, mujoco

_OPEN: weakref.WeakSet[SceneRenderer] = weakref.WeakSet()


def _close_all() -> None:
    """Contexts that outlive MuJoCo's own clean-up at exit die with noisy tracebacks."""
    for renderer in list(_OPEN):
        renderer.close()


class SceneRenderer:
    """Draws `model` (the render model) in the state of another model with the same joints."""

    def __init__(self, model: Any) -> None:
        self.model = model
        self._data = mujoco.MjData(model)
        self._option = mujoco.MjvOption()
        self._option.geomgroup[:] = [0, 1, 0, 0, 0, 0]
        self._option.sitegroup[:] = 0
        self._renderers: dict[int, Any] = {}
        _OPEN.add(self)

    def pose(self, qpos: np.ndarray) -> None:
        """Takes over a state; cheap."""
        self._data.qpos[:] = qpos
        mujoco.mj_kinematics(self.model, self._data)
        mujoco.mj_comPos(self.model, self._data)  # lights and cameras of the tracking kinds read it
        mujoco.mj_camlight(self.model, self._data)

    def draw(self, camera: str, size: int) -> UInt8[np.ndarray, "h w 3"]:
        """One square frame of `size` pixels. Raises WorldError where there is no OpenGL to draw with."""
        renderer = self._renderer(size)
        renderer.update_scene(self._data, camera=camera, scene_option=self._option)
        return np.asarray(renderer.render())

    def draw_geoms(self, camera: str, size: int) -> Int32[np.ndarray, "h w"]:
        """Which geom each pixel of `draw` shows, -1 for none."""
        renderer = self._renderer(size)
        renderer.update_scene(self._data, camera=camera, scene_option=self._option)
        renderer.enable_segmentation_rendering()
        try:
            number, kind = np.moveaxis(renderer.render(), -1, 0)
        finally:
            renderer.disable_segmentation_rendering()
        return np.where(kind == mujoco.mjtObj.mjOBJ_GEOM, number, -1).astype(np.int32)

    def close(self) -> None:
        for renderer in self._renderers.values():
            renderer.close()
        self._renderers.clear()

    def _renderer(self, size: int) -> Any:
        if size not in self._renderers:
            try:
                renderer = mujoco.Renderer(self.model, height=size, width=size)
            except (ImportError, RuntimeError, AttributeError, mujoco.FatalError) as error:
                raise WorldError(f"OpenGL cannot draw here ({error}): {advice()}") from error
            for flag in (mujoco.mjtRndFlag.mjRND_SHADOW, mujoco.mjtRndFlag.mjRND_REFLECTION):
                renderer.scene.flags[flag] = False
            atexit.register(_close_all)  # after MuJoCo registered its clean-up, so that this one runs before it
            self._renderers[size] = renderer
        return self._renderers[size]
