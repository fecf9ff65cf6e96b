"""Still pictures of a robot's own table as its own camera sees it, the hand anywhere over it: what `grounding` asks about.

    cubes of all colours, props, a hand --SimEnv.arrange--> draw --all seen?--> project --> Sight --> questions
                                                              no: again

They look as the pictures of an episode do; only nobody acts. Never beside TensorFlow.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, UInt8

from rtx.errors import WorldError
from rtx.eval.seeds import seed_for
from rtx.eval.sim.build import PRIMARY_CAMERA
from rtx.eval.sim.env import SimEnv
from rtx.eval.sim.grounding import Question, Seen, Sight, ask_all
from rtx.eval.sim.layout import Layout, furnish, scatter
from rtx.eval.sim.mujoco_gl import mujoco
from rtx.eval.sim.objects import CUBE_HALF_M, NUM_CUBES, PALETTE

_HAND_LOW_M = np.array([-0.14, -0.19, 0.04])  # from the middle of the working area, on the table
_HAND_HIGH_M = np.array([0.14, 0.19, 0.24])
_SEEN = 0.3  # faces' worth of a cube, at least; one that nothing hides shows about 1.5
_ATTEMPTS = 100


@dataclass(frozen=True, kw_only=True)
class Still:
    """A picture, what is to be seen on it, and true answers about it."""

    image: UInt8[np.ndarray, "h w 3"]
    sight: Sight
    questions: tuple[Question, ...]


class Workcell:
    """Of one arm. Raises what `SimEnv` raises."""

    def __init__(self, arm: str, *, image_size: int) -> None:
        self._env, self._size = SimEnv(arm, image_size=image_size), image_size

    def scene(self, seed: int, index: int, *, num_cubes: tuple[int, int] = (1, NUM_CUBES)) -> Still:
        """With so many cubes, at least and at most; the same for equal arguments.

        Raises WorldError if no attempt shows every cube.
        """
        for attempt in range(_ATTEMPTS):
            rng = np.random.default_rng(seed_for("workcell", self._env.arm.name, *num_cubes, seed, index, attempt))
            if (still := self._attempt(index, num_cubes, rng)) is not None:
                return still
        raise WorldError(f"scene {index} of seed {seed}: {_ATTEMPTS} attempts hid a cube; please report it")

    def close(self) -> None:
        self._env.close()

    def _attempt(self, index: int, num_cubes: tuple[int, int], rng: np.random.Generator) -> Still | None:
        layout, arm = _layout(num_cubes, rng), self._env.arm
        middle = np.array([arm.center_x_m, 0.0, arm.table_z_m])
        renderer = self._env.arrange(layout, middle + rng.uniform(_HAND_LOW_M, _HAND_HIGH_M), rng)
        cubes = np.array([[*cube.xy, CUBE_HALF_M] for cube in layout.cubes]) + middle
        columns, rows, metres = self._projected(renderer.model, np.concatenate([cubes, [self._env.gripper]]))
        geoms = renderer.draw_geoms(PRIMARY_CAMERA, self._size)
        shown = np.array([np.count_nonzero(geoms == renderer.model.geom(cube.body).id) for cube in layout.cubes])
        if np.any(shown < _SEEN * (2 * CUBE_HALF_M / metres[:-1]) ** 2):
            return None
        places = [
            Seen(row=float(row), column=float(column), xy=(float(x), float(y)), colour=colour)
            for row, column, (x, y, _), colour in zip(
                rows, columns, [*cubes, self._env.gripper], [*(cube.colour for cube in layout.cubes), ""], strict=True
            )
        ]
        sight = Sight(cubes=tuple(places[:-1]), gripper=places[-1])
        return Still(image=renderer.draw(PRIMARY_CAMERA, self._size), sight=sight, questions=ask_all(sight, index, rng))

    def _projected(
        self, model: Any, points: Float[np.ndarray, "n 3"]
    ) -> tuple[Float[np.ndarray, " n"], Float[np.ndarray, " n"], Float[np.ndarray, " n"]]:
        """Column and row of each point as shares of the picture, and the metres that a pixel is wide there."""
        camera = model.camera(PRIMARY_CAMERA)
        rotation = np.zeros(9)
        mujoco.mju_quat2Mat(rotation, camera.quat)
        local = (points - camera.pos) @ rotation.reshape(3, 3)  # right, up, back
        focal = 0.5 / np.tan(np.radians(float(camera.fovy[0])) / 2)
        depth = -local[:, 2]
        return 0.5 + focal * local[:, 0] / depth, 0.5 - focal * local[:, 1] / depth, depth / (focal * self._size)


def _layout(num_cubes: tuple[int, int], rng: np.random.Generator) -> Layout:
    count = int(rng.integers(num_cubes[0], num_cubes[1] + 1))
    colours = rng.permutation(list(PALETTE))[:count].tolist()
    cubes, props = furnish(rng, scatter(rng, count + int(rng.integers(0, 2))), colours)
    return Layout(cubes=cubes, props=props, target=0)
