"""One simulated arm at a table: takes its own native commands, shows its own native state, as a driver of a real one would.

    reset(task, seed) -> layout, looks, start pose, all drawn from (arm, task, seed)
    step(native) --adapter--> pose aimed at --motion--> one control period of physics --> SimFrame

A task says which kind of table it is set on; each is loaded once, when it is first wanted (`world`). Imports neither jax nor
tensorflow, and must not share a process with the latter.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, UInt8

from rtx.embodiment import Embodiment, Field
from rtx.errors import UserError
from rtx.eval.seeds import seed_for
from rtx.eval.sim.arms import find_arm
from rtx.eval.sim.build import PRIMARY_CAMERA, WRIST_CAMERA
from rtx.eval.sim.calibrate import home_position
from rtx.eval.sim.layout import Layout, State, Task
from rtx.eval.sim.motion import rotation_matrix, rotation_vector
from rtx.eval.sim.objects import TABLE
from rtx.eval.sim.render import SceneRenderer
from rtx.eval.sim.splits import find_task
from rtx.eval.sim.world import World
from rtx.robots import rotations
from rtx.robots.adapter import Adapter

_CAMERAS = {"primary": PRIMARY_CAMERA, "wrist": WRIST_CAMERA}
_START_SPREAD_M = np.array([0.05, 0.07, 0.03])
_MAX_TILT_RAD = 0.8  # from home; further out some arms fold up or become singular


@dataclass(frozen=True, kw_only=True)
class SimFrame:
    """What the robot shows after a step. The canonical extras are for experts and reports, never for policies."""

    images: Mapping[str, UInt8[np.ndarray, "h w 3"]]  # role -> RGB; empty when not rendered
    proprio: Float[np.ndarray, " p"]  # float64, the embodiment's native vector
    eef_pos: Float[np.ndarray, " 3"]  # m, base frame
    eef_rot: Float[np.ndarray, "3 3"]
    opening: float  # gripper, 0 closed .. 1 open, measured


@dataclass(frozen=True, kw_only=True)
class _Episode:
    task: Task
    layout: Layout
    cube_start: np.ndarray  # [3] m


class SimEnv:
    """Raises UserError for an unknown arm, WorldError where nothing can be rendered (both say what to do).

    `image_size`: frames are squares of that many pixels. Loading takes 0.2 s once an arm is in the cache, 3 to 8 s before.
    """

    def __init__(self, arm: str, *, image_size: int = 128) -> None:
        self.arm = find_arm(arm)
        if not 16 <= image_size <= 640:
            raise UserError(f"image_size {image_size} must be between 16 and 640 pixels")
        self._image_size = image_size
        self._worlds = {TABLE: World(self.arm)}
        self._world = self._worlds[TABLE]
        self._adapter = Adapter(self.embodiment)
        self._episode: _Episode | None = None
        self._success = False
        self._disturbance = np.zeros(6)

    @property
    def embodiment(self) -> Embodiment:
        return self.arm.embodiment

    @property
    def _now(self) -> _Episode:
        if self._episode is None:
            raise UserError("the environment has no scene yet: call reset(task=..., seed=...) first")
        return self._episode

    @property
    def layout(self) -> Layout:
        """What lies where and what is wanted. Raises UserError before the first reset, like all that follow."""
        return self._now.layout

    @property
    def instruction(self) -> str:
        return self.layout.instruction

    @property
    def success(self) -> bool:
        """Whether the task was done at the end of any step since the reset; False before the first."""
        return self._success

    @property
    def goal_distance(self) -> float:
        """Metres missing to success now; 0 when done."""
        return self._now.task.missing(self.layout, self.state)

    @property
    def state(self) -> State:
        """The truth, for success and experts."""
        layout, goal = self.layout, self.layout.goal
        return State(
            gripper=self.gripper, cube=self._world.place(layout.target_body), cube_start=self._now.cube_start,
            goal=self._world.place(goal) if goal else None, let_go=bool(goal) and self._world.is_let_go(layout.target_body),
        )  # fmt: skip

    @property
    def is_gripped(self) -> bool:
        """Whether the hand touches the target from two sides."""
        return self._world.is_gripped(self.layout.target_body)

    @property
    def skill(self) -> str:
        """Which of the experts can do what is wanted."""
        return self._now.task.skill

    @property
    def gripper(self) -> np.ndarray:
        """`[3]` the point between the fingertips, m, base frame."""
        return self._world.motion.position

    @property
    def rotation(self) -> np.ndarray:
        """Of the gripper point, 3x3, base frame."""
        return self._world.motion.rotation

    @property
    def home_rotation(self) -> np.ndarray:
        """Of the upright hand, 3x3, base frame."""
        return self._world.home_rotation

    @property
    def opening(self) -> float:
        """Of the gripper, measured between its pads: 0 closed, 1 open."""
        return self._world.opening

    def reset(self, *, task: str, seed: int, render: bool = True) -> SimFrame:
        """A new scene: the same (arm, task, seed) gives the same one, bit for bit, whatever happened before.

        `task`: a name of `TASKS`, or one with a split, as `lift@distractors`. Raises UserError for an unknown one.
        """
        known = find_task(task)
        rng = np.random.default_rng(seed_for("scene", self.arm.name, known.scenes, seed))
        layout = known.sample(rng)
        self._enter(known.table)
        self._begin(layout, home_position(self.arm) + rng.uniform(-_START_SPREAD_M, _START_SPREAD_M))
        self._world.appearance.dress(layout, rng)
        self._episode = _Episode(task=known, layout=layout, cube_start=self._world.place(layout.target_body))
        self._success = self.goal_distance == 0.0
        return self._frame(render=render)

    def arrange(self, layout: Layout, hand: Float[np.ndarray, " 3"], rng: np.random.Generator) -> SceneRenderer:
        """A still: these things on the table, the open hand at a place (m, base frame) or as near as the arm gets, looks from
        `rng`. Nobody acts in it; what it shows is drawn with the renderer returned, until the next reset."""
        self._episode = None
        self._enter(TABLE)
        self._begin(layout, hand)
        self._world.appearance.dress(layout, rng)
        self._world.renderer.pose(self._world.data.qpos)
        return self._world.renderer

    def step(self, native_action: Float[np.ndarray, " a"], *, render: bool = True) -> SimFrame:
        """One control period of the robot's own command.

        The robot's own controller moves at most `limits.max_step_m` and `max_step_rad`, keeps the gripper point in the
        workspace and the hand within 0.8 rad of its home orientation, as real ones do. Raises UserError for a wrong shape
        or a value that is not finite.
        """
        native = np.asarray(native_action, np.float64)
        if native.ndim != 1:
            raise UserError(f"native action of {self.arm.name!r}: got shape {list(native.shape)}, expected one vector")
        canonical = self._adapter.to_canonical(native, proprio_native=self._proprio()).astype(np.float64)
        self._servo(
            self.gripper + canonical[:3],
            rotations.to_matrix(canonical[3:6], "rpy") @ self.rotation,
            float(canonical[6]),
        )
        self._success = self._success or self.goal_distance == 0.0
        return self._frame(render=render)

    def look(self, *, render: bool = True) -> SimFrame:
        """What the robot shows now, without a step. Raises UserError before the first reset."""
        _ = self._now
        return self._frame(render=render)

    def disturb(self, offset: Float[np.ndarray, " 6"]) -> None:
        """Pushes the arm during the next step: added to the pose it aims at (m, rad, base frame) without its knowing.

        Experts use it, so that a demonstration shows how to recover from errors and not how to make them.
        """
        self._disturbance[:] = offset

    def render_view(self, size: int = 256) -> UInt8[np.ndarray, "h w 3"]:
        """A picture for people, from the primary camera."""
        self._world.renderer.pose(self._world.data.qpos)
        return self._world.renderer.draw(PRIMARY_CAMERA, size)

    def close(self) -> None:
        for world in self._worlds.values():
            world.close()

    def _servo(self, position: np.ndarray, rotation: np.ndarray, opening: float) -> None:
        limits = self.embodiment.limits
        now, turned = self.gripper, self.rotation
        step = _shortened(position - now, limits.max_step_m) + self._disturbance[:3]
        turn = _shortened(rotation_vector(rotation @ turned.T), limits.max_step_rad) + self._disturbance[3:]
        self._disturbance[:] = 0.0
        target = np.clip(now + step, limits.workspace_low_m, limits.workspace_high_m)
        tilt = rotation_vector(rotation_matrix(turn) @ turned @ self.home_rotation.T)
        upright = rotation_matrix(_shortened(tilt, _MAX_TILT_RAD)) @ self.home_rotation
        self._world.motion.servo(target, upright, float(np.clip(opening, 0, 1)), seconds=1 / self.embodiment.control_hz)

    def _enter(self, table: str) -> None:
        if table not in self._worlds:
            self._worlds[table] = World(self.arm, table)
        self._world = self._worlds[table]

    def _begin(self, layout: Layout, hand: np.ndarray) -> None:
        self._world.begin(layout, hand)
        self._disturbance[:] = 0.0

    def _frame(self, *, render: bool) -> SimFrame:
        images: dict[str, np.ndarray] = {}
        if render:
            renderer = self._world.renderer
            renderer.pose(self._world.data.qpos)
            images = {role: renderer.draw(camera, self._image_size) for role, camera in _CAMERAS.items()}
        return SimFrame(
            images=images, proprio=self._proprio(), eef_pos=self.gripper, eef_rot=self.rotation, opening=self.opening
        )

    def _proprio(self) -> np.ndarray:
        measured = {"eef_pos": self.gripper, "eef_rot": self.rotation, "gripper": np.array([self.opening])}
        return np.concatenate([_native(field, measured[field.name]) for field in self.embodiment.proprio])


def _native(field: Field, value: np.ndarray) -> np.ndarray:
    """A measured quantity in the robot's own form and unit."""
    if field.rotation is not None:
        native = rotations.from_matrix(value, field.rotation)
        return np.asarray(np.degrees(native) if field.unit == "deg" else native)
    if field.name == "gripper":
        return field.closed + value * (field.opened - field.closed)
    return value


def _shortened(vector: np.ndarray, longest: float) -> np.ndarray:
    length = float(np.linalg.norm(vector))
    return vector * min(1.0, longest / length) if length > 0 else vector
