"""Pictures of a suite that runs on MuJoCo: our renderer on the suite's own model and state.

By default without shadows, reflections and smoothed edges, which makes software rendering five to ten times faster and changes
the pictures a little. RTX_SUITE_LOOK=own draws as the suite does: for checkpoints that learned from pictures made elsewhere.
"""

from __future__ import annotations

import atexit
import weakref
from typing import Any

import numpy as np
from jaxtyping import UInt8

from rtx.errors import WorldError
from rtx.eval.public.suite import chosen_look
from rtx.eval.sim.mujoco_gl import advice, mujoco

_OPEN: weakref.WeakSet[View] = weakref.WeakSet()


def _close_all() -> None:
    """Contexts that outlive MuJoCo's own clean-up at exit die with noisy tracebacks."""
    for view in list(_OPEN):
        view.close()


class View:
    """Draws `model` in the state `data`, both alive in the suite; `hidden_groups` of geoms are left out."""

    def __init__(self, model: Any, data: Any, *, hidden_groups: tuple[int, ...] = ()) -> None:
        self._model, self._data, self._fast = model, data, chosen_look() == "fast"
        if self._fast:
            model.vis.quality.offsamples = 0
            model.mat_reflectance[:] = 0
        self._option = mujoco.MjvOption()
        self._option.geomgroup[list(hidden_groups)] = 0
        self._renderers: dict[tuple[int, int], Any] = {}
        _OPEN.add(self)

    def draw(self, camera: str, height: int, width: int) -> UInt8[np.ndarray, "h w 3"]:
        """Raises WorldError where there is no OpenGL to draw with."""
        renderer = self._renderer(height, width)
        renderer.update_scene(self._data, camera=camera, scene_option=self._option)
        return np.asarray(renderer.render())

    def close(self) -> None:
        for renderer in self._renderers.values():
            renderer.close()
        self._renderers.clear()

    def _renderer(self, height: int, width: int) -> Any:
        if (height, width) not in self._renderers:
            size = self._model.vis.global_
            size.offheight, size.offwidth = max(size.offheight, height), max(size.offwidth, width)
            try:
                renderer = mujoco.Renderer(self._model, height=height, width=width)
            except (ImportError, RuntimeError, AttributeError, mujoco.FatalError) as error:
                raise WorldError(f"OpenGL cannot draw here ({error}): {advice()}") from error
            if self._fast:
                for flag in (mujoco.mjtRndFlag.mjRND_SHADOW, mujoco.mjtRndFlag.mjRND_REFLECTION):
                    renderer.scene.flags[flag] = False
            atexit.register(_close_all)  # after MuJoCo registered its clean-up, so that this one runs before it
            self._renderers[height, width] = renderer
        return self._renderers[height, width]
