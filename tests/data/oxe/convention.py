"""What a data set documents about its numbers, as a function from poses to its native keys: the other side of a record.

Written from the published description of each set, never from the record's standardize function: the replay test holds one
against the other.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from scipy.spatial.transform import Rotation

from tests.data.oxe.poses import DOWN, Poses, Turns, make_poses

Native = Callable[[Poses], Mapping[str, Any]]
"""Path under steps/ -> [T, ...]; path outside the steps -> one value."""
Expected = Callable[[Poses], np.ndarray]


@dataclass(frozen=True, kw_only=True)
class Convention:
    """How one data set stores an episode, and which episodes it can store at all.

    `turns`, `flat`, `home`: of the poses it is proven on (a set that only knows a yaw cannot hold others). `choices`: the
    switches under which it is read. `gripper`: what the action's gripper must come out as. `expected`: of native fields with a
    meaning of their own ("action.base_vel", "proprio.torso"), what they must be, [T, width]. `filtered`: values outside the
    steps with which the record's `keep` drops the episode.
    """

    native: Native
    turns: Turns = "any"
    flat: bool = False
    home: Rotation = DOWN
    choices: Mapping[str, str] = field(default_factory=dict)
    gripper: Literal["command", "opening", "next_opening"] = "command"
    expected: Mapping[str, Expected] = field(default_factory=dict)
    filtered: Mapping[str, Any] = field(default_factory=dict)

    def poses(self, num_steps: int, seed: int) -> Poses:
        return make_poses(num_steps, seed, home=self.home, turns=self.turns, flat=self.flat)


def joined(*parts: Any) -> np.ndarray:
    """Columns and matrices [T], [T, n] side by side."""
    return np.concatenate([np.asarray(part, np.float64).reshape(len(part), -1) for part in parts], -1)


def column(values: Any) -> np.ndarray:
    """[T] as [T, 1]."""
    return np.asarray(values).reshape(-1, 1)


def wxyz(rotation: Rotation) -> np.ndarray:
    return np.roll(rotation.as_quat(), 1, axis=-1)


def xyzw(rotation: Rotation) -> np.ndarray:
    return rotation.as_quat()


def rpy(rotation: Rotation) -> np.ndarray:
    """R = Rz(yaw) Ry(pitch) Rx(roll)."""
    return rotation.as_euler("xyz")


def one_hot_terminate(poses: Poses) -> np.ndarray:
    """RT-X: [1, 0, 0] terminates, [0, 1, 0] moves the arm."""
    return np.stack([poses.terminate, ~poses.terminate, np.zeros(len(poses), bool)], -1).astype(np.int32)
