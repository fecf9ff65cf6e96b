"""Still pictures of an arm at its table with cubes of several sizes: what `scenes` asks about. Never beside TensorFlow.

    place cubes and props --> project --> who is left of whom --> compose colours and question --> draw --> all seen?
                                                                                                       no: again

Only the render model is used, and posed: nothing moves, nothing is simulated.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int32, UInt8

from rtx.errors import WorldError
from rtx.eval.seeds import seed_for
from rtx.eval.sim.appearance import Appearance
from rtx.eval.sim.arms import find_arm
from rtx.eval.sim.build import PRIMARY_CAMERA
from rtx.eval.sim.calibrate import look_at
from rtx.eval.sim.layout import Layout, Placed
from rtx.eval.sim.models import load_models
from rtx.eval.sim.mujoco_gl import mujoco
from rtx.eval.sim.objects import NUM_CUBES, PROPS
from rtx.eval.sim.questions import Deal, compose, deal
from rtx.eval.sim.render import SceneRenderer

_AREA_M = np.array([0.14, 0.18])  # half extents of where things lie
_GAP_M = 0.03  # between two things
_HALVES_M = (0.016, 0.034)  # half the edge of a cube, smallest and largest
_PROP_HALF_M = {"cylinder": (0.018, 0.03), "ball": (0.022, 0.018), "slab": (0.037, 0.01)}  # across, and height
_APART = 0.06  # of the picture's width between two cubes' middles, at least
_SEEN = 1.0  # faces' worth of a cube, at least; one that nothing hides shows about 1.5
_POSE_NOISE_RAD = 0.12
_ATTEMPTS = 200


@dataclass(frozen=True, kw_only=True)
class Cube:
    """One cube as it lies there; `column` is where its middle is seen, in pixels from the left."""

    body: str
    colour: str
    half_m: float
    column: float


@dataclass(frozen=True, kw_only=True)
class Scene:
    """A picture and what is true of it. `cubes` from left to right; `geoms`: which geom each pixel shows."""

    dealt: Deal
    question: str
    cubes: tuple[Cube, ...]
    image: UInt8[np.ndarray, "h w 3"]
    geoms: Int32[np.ndarray, "h w"]


class Studio:
    """Of one arm. Raises what `SimEnv` raises."""

    def __init__(self, arm: str, *, image_size: int) -> None:
        self._arm, self._size = find_arm(arm), image_size
        models = load_models(self._arm)
        self._model, self._calibration = models.render, models.calibration
        self._renderer = SceneRenderer(self._model)
        self._appearance = Appearance(self._model, self._arm)
        self._data = mujoco.MjData(self._model)
        self._table = np.array([self._arm.center_x_m, 0.0, self._arm.table_z_m])  # the middle of the working area

    def scene(self, seed: int, index: int) -> Scene:
        """The same for equal (seed, index), whatever was drawn before. Raises WorldError if no attempt shows every cube."""
        dealt = deal(seed, index)
        for attempt in range(_ATTEMPTS):
            scene = self._attempt(dealt, np.random.default_rng(seed_for("scene of questions", seed, index, attempt)))
            if scene is not None:
                return scene
        raise WorldError(
            f"scene {index} of seed {seed}: {_ATTEMPTS} attempts hid a cube; leave {dealt.arm} out, please report it"
        )

    def geom(self, body: str) -> int:
        return int(self._model.geom(body).id)

    def close(self) -> None:
        self._renderer.close()

    def _attempt(self, dealt: Deal, rng: np.random.Generator) -> Scene | None:
        """None where things do not fit, cannot have the answer, or hide a cube."""
        halves = rng.uniform(*_HALVES_M, dealt.num_cubes)
        props = [PROPS[i] for i in rng.permutation(len(PROPS))[: rng.integers(0, 3)]]
        spots = _scattered([*(1.42 * halves), *(_PROP_HALF_M[prop][0] for prop in props)], rng)
        if spots is None:
            return None
        self._choose_view(rng)
        middles = np.concatenate([spots[: len(halves)], halves[:, None]], axis=1)
        columns, rows, metres = self._projected(self._table + middles)
        order = np.argsort(columns)
        if np.any(np.diff(columns[order]) < _APART * self._size) or not _inside(columns, rows, self._size):
            return None
        composed = compose(dealt, halves[order].tolist(), rng)
        if composed is None:
            return None
        bodies = [f"cube{i}" for i in rng.permutation(NUM_CUBES)[: len(halves)]]
        colours = dict(zip(order.tolist(), composed.colours, strict=True))
        things = [*((body, colours[i]) for i, body in enumerate(bodies)), *((prop, "") for prop in props)]
        placed = [
            Placed(body=body, xy=(float(x), float(y)), yaw=float(rng.uniform(-np.pi, np.pi)), colour=colour)
            for (body, colour), (x, y) in zip(things, spots, strict=True)
        ]
        self._lay_out(placed, dict(zip(bodies, halves.tolist(), strict=True)))
        self._dress(placed, rng)
        self._pose_arm(rng)
        geoms = self._renderer.draw_geoms(PRIMARY_CAMERA, self._size)
        seen = np.array([np.count_nonzero(geoms == self.geom(body)) for body in bodies])
        if np.any(seen < _SEEN * (2 * halves / metres) ** 2):
            return None
        cubes = [
            Cube(body=bodies[i], colour=colours[i], half_m=float(halves[i]), column=float(columns[i])) for i in order.tolist()
        ]
        image = self._renderer.draw(PRIMARY_CAMERA, self._size)
        return Scene(dealt=dealt, question=composed.question, cubes=tuple(cubes), image=image, geoms=geoms)

    def _choose_view(self, rng: np.random.Generator) -> None:
        """Wider than the arm's own camera, that the robot is seen too, and from more sides."""
        view = self._arm.primary
        azimuth = np.radians(view.azimuth_deg + rng.uniform(-40, 40))
        elevation = np.radians(np.clip(view.elevation_deg + rng.uniform(-8, 8), 36, 60))
        middle = self._table + np.array([0.0, 0.0, 0.10])
        away = np.array([np.cos(azimuth) * np.cos(elevation), np.sin(azimuth) * np.cos(elevation), np.sin(elevation)])
        self._eye = middle + view.distance_m * rng.uniform(1.2, 1.5) * away
        self._rotation = look_at(self._eye, middle + rng.normal(0, 0.01, 3), up=np.array([0.0, 0.0, 1.0]))

    def _dress(self, placed: list[Placed], rng: np.random.Generator) -> None:
        cubes, props = (tuple(p for p in placed if bool(p.colour) == is_cube) for is_cube in (True, False))
        self._appearance.dress(Layout(cubes=cubes, props=props, target=0), rng)
        camera = self._model.camera(PRIMARY_CAMERA)
        camera.pos[:] = self._eye
        mujoco.mju_mat2Quat(camera.quat, self._rotation.reshape(9))

    def _projected(self, points: Float[np.ndarray, "n 3"]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Column and row of each point in pixels, and the metres that a pixel is wide there."""
        local = (points - self._eye) @ self._rotation  # right, up, back
        focal = self._size / 2 / np.tan(np.radians(float(self._model.camera(PRIMARY_CAMERA).fovy[0])) / 2)
        depth = -local[:, 2]
        return self._size / 2 + focal * local[:, 0] / depth, self._size / 2 - focal * local[:, 1] / depth, depth / focal

    def _lay_out(self, placed: list[Placed], halves: dict[str, float]) -> None:
        for number, name in enumerate((*(f"cube{i}" for i in range(NUM_CUBES)), *PROPS)):
            self._data.joint(name).qpos[:] = [-2.0, number, 0.0, 1, 0, 0, 0]
        for thing in placed:
            half = halves[thing.body] if thing.colour else _PROP_HALF_M[thing.body][1]
            if thing.colour:
                self._model.geom(thing.body).size[:] = half
            pose = self._data.joint(thing.body).qpos
            pose[:3] = self._table + np.array([*thing.xy, half])
            pose[3:] = [np.cos(thing.yaw / 2), 0, 0, np.sin(thing.yaw / 2)]

    def _pose_arm(self, rng: np.random.Generator) -> None:
        c = self._calibration
        for name, q in zip(c.gripper_joints, c.open_qpos, strict=True):
            self._data.joint(name).qpos[0] = q
        for name, q in zip(c.arm_joints, c.home_qpos, strict=True):
            self._data.joint(name).qpos[0] = q + rng.uniform(-_POSE_NOISE_RAD, _POSE_NOISE_RAD)
        self._renderer.pose(self._data.qpos)


def _scattered(radii: list[float], rng: np.random.Generator) -> Float[np.ndarray, "n 2"] | None:
    """Places in the area for things of these radii that do not touch; None if they do not fit this time."""
    places: list[np.ndarray] = []
    for radius in radii:
        for _ in range(30):
            place = rng.uniform(-_AREA_M, _AREA_M)
            apart = [np.linalg.norm(place - other) >= radius + r + _GAP_M for other, r in zip(places, radii, strict=False)]
            if all(apart):
                places.append(place)
                break
        else:
            return None
    return np.array(places).reshape(-1, 2)


def _inside(columns: np.ndarray, rows: np.ndarray, size: int) -> bool:
    margin = 0.08 * size
    return bool(np.all((np.minimum(columns, rows) > margin) & (np.maximum(columns, rows) < size - margin)))
