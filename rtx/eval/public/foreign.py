"""The environment of a suite in another process: everything but what its numbers mean, which subclasses say.

reset, step --> {"state": name -> array, "instruction": of the scene or "", "success"}
look        --> {"images": role -> uint8 RGB}
expert      --> {}; then act --> {"action": what the suite's own expert wants next}
"""

from __future__ import annotations

import abc
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from jaxtyping import Float

from rtx.eval.public.environment import Expert, PublicEnvironment
from rtx.eval.public.process import Bridge
from rtx.eval.public.suite import PublicSuite

State = Mapping[str, np.ndarray]


class Foreign(PublicEnvironment):
    """Raises UserError where the suite's Python or its package is missing."""

    host: ClassVar[str]  # which of `bridge/host_*.py`

    def __init__(self, suite: PublicSuite) -> None:
        super().__init__(suite)
        self._bridge = Bridge(suite, self.host)
        self._now: dict[str, Any] = {}

    @abc.abstractmethod
    def raw_action(self, native: np.ndarray) -> np.ndarray:
        """What the suite's own `step` takes, of a native action in SI units."""

    @abc.abstractmethod
    def native_action(self, raw: np.ndarray) -> np.ndarray:
        """Inverse of `raw_action`."""

    @abc.abstractmethod
    def proprio(self, state: State) -> np.ndarray:
        """The embodiment's native proprio, of the state the host tells."""

    @property
    def instruction(self) -> str:
        return str(self._now["instruction"]) or super().instruction

    def render_view(self, size: int = 256) -> np.ndarray:
        """The primary camera's picture, cut to a square of about that size."""
        from PIL import Image

        image = np.asarray(self._images()["primary"])
        height, width = image.shape[:2]
        side = min(height, width)
        top, left = (height - side) // 2, (width - side) // 2
        square = Image.fromarray(image[top : top + side, left : left + side])
        return np.asarray(square.resize((size, size), Image.Resampling.LANCZOS))

    def close(self) -> None:
        self._bridge.close()

    def _begin(self, task: str, seed: int) -> None:
        self._now = self._bridge.ask("reset", task=task, seed=seed)

    def _advance(self, native: Float[np.ndarray, " a"]) -> bool:
        self._now = self._bridge.ask("step", action=np.asarray(self.raw_action(native), np.float64))
        return bool(self._now["success"])

    def _proprio(self) -> Float[np.ndarray, " p"]:
        return np.asarray(self.proprio(self._now["state"]), np.float64)

    def _images(self) -> Mapping[str, np.ndarray]:
        images: Mapping[str, np.ndarray] = self._bridge.ask("look")["images"]
        return images

    def _expert(self) -> Expert:
        """The host's, which speaks the suite's own actions."""
        self._bridge.ask("expert")
        return lambda: self.native_action(np.asarray(self._bridge.ask("act")["action"], np.float64))
