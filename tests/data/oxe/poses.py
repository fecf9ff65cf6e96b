"""Synthetic episodes of a robot: smooth poses in metres and rotations of the base frame, gripper, joints, a base, a left arm.

    pos[t], rot[t] ... measured at the start of step t      next_pos[t] ... reached at its end (the pose of step t + 1)

They are what a convention (`tests.data.oxe.convention`) writes in a data set's own keys. Rolls and yaws cross +-pi in all but
the shortest episodes; the gripper closes and opens again; the episode ends itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.spatial.transform import Rotation

DOWN = Rotation.from_euler("x", np.pi)
"""Most robots' gripper frame points along its z: down, turned by pi about x."""
LENGTHS = (3, 5, 9, 31)
MAX_STEP_M, MAX_STEP_RAD = 0.02, 0.12
NUM_JOINTS = 14
Turns = Literal["any", "yaw", "none"]


@dataclass(frozen=True, kw_only=True)
class Arm:
    """T steps of one arm, T + 1 poses."""

    path: np.ndarray  # [T + 1, 3] m
    turned: Rotation  # T + 1
    openings: np.ndarray  # [T + 1] measured, 0 closed .. 1 open
    command: np.ndarray  # [T] 0 or 1
    joint_path: np.ndarray  # [T + 1, 14] rad
    home: Rotation

    @property
    def pos(self) -> np.ndarray:
        return self.path[:-1]

    @property
    def next_pos(self) -> np.ndarray:
        return self.path[1:]

    @property
    def delta_pos(self) -> np.ndarray:
        return self.next_pos - self.pos

    @property
    def rot(self) -> Rotation:
        return self.turned[:-1]

    @property
    def next_rot(self) -> Rotation:
        return self.turned[1:]

    @property
    def delta_rot(self) -> Rotation:
        """In the base frame: next_rot = delta_rot * rot."""
        return self.next_rot * self.rot.inv()

    @property
    def yaw(self) -> np.ndarray:
        """[T] of the turn from `home`, in -pi..pi; all there is to it where the episode turns about the vertical only."""
        return (self.rot * self.home.inv()).as_euler("xyz")[:, 2]

    @property
    def opening(self) -> np.ndarray:
        return self.openings[:-1]

    @property
    def next_opening(self) -> np.ndarray:
        return self.openings[1:]

    @property
    def changes(self) -> np.ndarray:
        """[T] +1 in the step that commands "close", -1 in that of "open", 0 where the command stays."""
        return -np.diff(self.command, prepend=self.command[0])

    def joints(self, count: int) -> np.ndarray:
        return self.joint_path[:-1, :count]

    def next_joints(self, count: int) -> np.ndarray:
        return self.joint_path[1:, :count]


@dataclass(frozen=True, kw_only=True)
class Poses(Arm):
    """One episode: the (right) arm, a left one, and a wheeled base."""

    left: Arm
    base_path: np.ndarray  # [T + 1, 3] x, y (m) and yaw (rad) in the world, yaw in -pi..pi

    def __len__(self) -> int:
        return len(self.command)

    @property
    def base(self) -> np.ndarray:
        return self.base_path[:-1]

    @property
    def next_base(self) -> np.ndarray:
        return self.base_path[1:]

    @property
    def base_delta(self) -> np.ndarray:
        """[T, 3] forward, to the left (m), turn to the left (rad), in the base's own frame at the start of the step."""
        dx, dy, turn = (self.next_base - self.base).T
        cos, sin = np.cos(self.base[:, 2]), np.sin(self.base[:, 2])
        return np.stack([cos * dx + sin * dy, -sin * dx + cos * dy, wrapped(turn)], -1)

    @property
    def is_last(self) -> np.ndarray:
        return np.arange(len(self)) == len(self) - 1

    @property
    def terminate(self) -> np.ndarray:
        """[T] bool: the last step of all these episodes."""
        return self.is_last


def make_poses(num_steps: int, seed: int, *, home: Rotation = DOWN, turns: Turns = "any", flat: bool = False) -> Poses:
    """`turns`: about all axes, about the vertical only, or not at all. `flat`: the height stays."""
    rng = np.random.default_rng([num_steps, seed])
    right, left = (_arm(num_steps, rng, home, turns, flat) for _ in range(2))
    return Poses(**vars(right), left=left, base_path=_base(num_steps, rng))


def wrapped(angle: np.ndarray) -> np.ndarray:
    return np.arctan2(np.sin(angle), np.cos(angle))


def _arm(num_steps: int, rng: np.random.Generator, home: Rotation, turns: Turns, flat: bool) -> Arm:
    t = np.arange(num_steps + 1)
    centre = np.array([0.45, 0.05, 0.25])
    path = centre + 0.1 * np.sin(0.1 * t[:, None] + rng.uniform(0, 6, 3))
    if flat:
        path[:, 2] = centre[2]
    roll, pitch = 0.3 * np.sin(0.2 * t + rng.uniform(-0.5, 0)), 0.35 * np.sin(0.15 * t + rng.uniform(0, 6))
    rpy = np.stack([roll, pitch, np.pi - 0.2 + 0.05 * t + 0.05 * np.sin(0.4 * t)], -1)
    if turns == "yaw":
        rpy[:, :2] = 0
    if turns == "none":
        rpy[:] = rpy[0]
    command = np.where((t >= num_steps / 3) & (t < 0.8 * num_steps), 0.0, 1.0)[:-1]
    return Arm(
        path=path,
        turned=Rotation.from_euler("xyz", rpy) * home,
        openings=_followed(command),
        command=command,
        joint_path=rng.uniform(-1, 1, NUM_JOINTS) + 0.5 * np.sin(0.1 * t[:, None] + rng.uniform(0, 6, NUM_JOINTS)),
        home=home,
    )


def _followed(command: np.ndarray) -> np.ndarray:
    """The opening of a gripper that needs some steps for its way."""
    openings = [float(command[0])]
    for wanted in command:
        openings.append(openings[-1] + float(np.clip(wanted - openings[-1], -0.4, 0.4)))
    return np.array(openings)


def _base(num_steps: int, rng: np.random.Generator) -> np.ndarray:
    t = np.arange(num_steps + 1)
    yaw = np.pi - 0.3 + 0.06 * t + 0.1 * np.sin(0.3 * t)
    forward, left = 0.08 + 0.03 * np.sin(0.2 * t), 0.01 * np.cos(0.3 * t)
    steps = np.stack([np.cos(yaw) * forward - np.sin(yaw) * left, np.sin(yaw) * forward + np.cos(yaw) * left], -1)
    where = rng.uniform(-1, 1, 2) + np.concatenate([np.zeros((1, 2)), np.cumsum(steps[:-1], 0)])
    return np.concatenate([where, wrapped(yaw)[:, None]], -1)
