"""The environment of a suite in another process: everything but what its numbers mean, which subclasses say.

A host's answers: {"state": name -> array, "images": role -> uint8 RGB, "instruction", "success", "distance" or None}.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from rtx.embodiment import Embodiment
from rtx.eval.public.process import Bridge
from rtx.eval.public.suite import Expert, PublicFrame, PublicSuite, native_vector

State = Mapping[str, np.ndarray]


class Foreign:
    """`suite`, `host` and `robot` are a subclass's; so are the two conversions."""

    suite: PublicSuite
    host: str
    robot: Embodiment

    def __init__(self, arm: str) -> None:
        del arm  # a suite of several sets `suite` and `robot` first
        self._bridge = Bridge(self.suite, self.host)
        self._now: dict[str, Any] = {}
        self._task, self._success = "", False

    def raw_action(self, native: np.ndarray) -> np.ndarray:
        """What the suite's own `step` takes, of a native action in SI units."""
        raise NotImplementedError

    def native_action(self, raw: np.ndarray) -> np.ndarray:
        """Inverse of `raw_action`, for experts."""
        raise NotImplementedError

    def proprio(self, state: State) -> np.ndarray:
        """The embodiment's native proprio, of the state the host tells."""
        raise NotImplementedError

    @property
    def embodiment(self) -> Embodiment:
        return self.robot

    @property
    def instruction(self) -> str:
        return str(self._now["instruction"]) or self.suite.tasks[self._task]

    @property
    def success(self) -> bool:
        return self._success

    @property
    def goal_distance(self) -> float | None:
        distance = self._now.get("distance")
        return None if distance is None else float(distance)

    def reset(self, *, task: str, seed: int, render: bool = True) -> PublicFrame:
        """The suite's own scene for this seed. Raises UserError for an unknown task."""
        self.suite.check_task(task)
        self._task, self._success = task, False
        return self._shown(self._bridge.ask("reset", task=task, seed=seed, render=render))

    def step(self, native_action: np.ndarray, *, render: bool = True) -> PublicFrame:
        raw = self.raw_action(native_vector(native_action, self.robot))
        return self._shown(self._bridge.ask("step", action=np.asarray(raw, np.float64), render=render))

    def render_view(self, size: int = 256) -> np.ndarray:
        """The primary camera's picture, cut to a square of about that size."""
        from PIL import Image

        image = np.asarray(self._bridge.ask("look")["images"]["primary"])
        height, width = image.shape[:2]
        side = min(height, width)
        top, left = (height - side) // 2, (width - side) // 2
        square = Image.fromarray(image[top : top + side, left : left + side])
        return np.asarray(square.resize((size, size), Image.Resampling.LANCZOS))

    def expert(self) -> Expert:
        self.suite.replayable()
        self._bridge.ask("expert")

        def act() -> np.ndarray:
            return self.native_action(np.asarray(self._bridge.ask("act")["action"], np.float64))

        return act

    def close(self) -> None:
        self._bridge.close()

    def _shown(self, answer: dict[str, Any]) -> PublicFrame:
        self._now = answer
        self._success = self._success or bool(answer["success"])
        return PublicFrame(images=answer["images"], proprio=np.asarray(self.proprio(answer["state"]), np.float64))
